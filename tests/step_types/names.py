"""Write the names in ``stepwell/step_types/table.py`` from the files beside it: ``python -m tests.step_types.names``.

Those that stand there keep their order, in which messages list them; new ones come last. A test compares.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "stepwell" / "step_types"
FILE = FOLDER / "table.py"
_NAMES = re.compile(r"(NAMES: Final = \(\n)((?:    \"\w+\",\n)*)")


def source(text: str) -> str:
    """The text of the table, with the names of all files that declare a type."""
    there = {path.stem for path in FOLDER.glob("*.py") if "\nTYPE: Final = " in path.read_text()}
    known = [name for name in re.findall(r"\w+", _NAMES.search(text)[2]) if name in there]
    names = [*known, *sorted(there - {*known})]
    return _NAMES.sub(lambda found: found[1] + "".join(f'    "{name}",\n' for name in names), text)


if __name__ == "__main__":
    FILE.write_text(source(FILE.read_text()))
