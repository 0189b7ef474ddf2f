"""Write the tables of docs/definitions.md from the declarations of step types: ``python -m tests.step_types.tables``.

Each stands between two comments, of which the first says what is in it. A test compares.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from stepwell.schemas.definitions.step_type import INSTANT_WAYS, Field, StepType, fields_of
from stepwell.step_types.table import BUILT_IN

FILE = Path(__file__).parents[2] / "docs" / "definitions.md"
REGION = re.compile(r"(<!-- made by `just generate`: (.+) -->\n)(?:.*\n)*?(<!-- end -->\n)")
OWN = "| a name of your own | See [Types of your own](#types-of-your-own). | see above | what your function returns | on a worker |"


def page(text: str) -> str:
    """The page with its tables as the declarations have them."""
    return REGION.sub(lambda found: found[1] + "".join(f"{line}\n" for line in _table(found[2])) + found[3], text)


def regions(text: str) -> list[str]:
    """What the page has tables of."""
    return [found[2] for found in REGION.finditer(text)]


def wanted() -> set[str]:
    """What it has to have tables of."""
    return {"step types", *(f"settings of {declared.name}" for declared in BUILT_IN if fields_of(declared))}


def _table(name: str) -> Iterator[str]:
    if name == "step types":
        yield from ("| type | what it does | its input | its output | runs |", "|---|---|---|---|---|")
        yield from (_type(declared) for declared in BUILT_IN)
        yield OWN
    else:
        yield from ("| setting | default | meaning |", "|---|---|---|")
        yield from (_setting(field) for field in fields_of(BUILT_IN[name.removeprefix("settings of ")]))


def _type(declared: StepType) -> str:
    others = f", also {', '.join(f'`{alias}`' for alias in declared.aliases)}" if declared.aliases else ""
    runs = (
        "at once"
        if declared.way in INSTANT_WAYS
        else "on a worker"
        if declared.way == "worker"
        else "needs no worker"
    )
    return _row(f"`{declared.name}`{others}", declared.text, declared.takes or "see above", declared.gives, runs)


def _setting(field: Field) -> str:
    default = "needed" if field.required else field.setting.default or "none"
    return _row(f"`{field.name}`", default, field.setting.text)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text(encoding="utf-8")), encoding="utf-8")
