"""Write ``stepwell/events.py`` and the table of docs/events.md from the events: ``python -m tests.docs.events_table``.

A test compares both with what this makes.
"""

import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import get_args

from stepwell.schemas.records.events import Event

ROOT = Path(__file__).parents[2]
MODULE, PAGE = ROOT / "stepwell" / "events.py", ROOT / "docs" / "events.md"
TABLE = re.compile(r"(<!-- made by `just generate`: events -->\n)(?:.*\n)*?(<!-- end -->\n)")

HEAD = '''\
"""The events of workflows, as ``client.subscribe``, ``client.history`` and handlers of the feed give them.

``event.event`` of an ``EventRecord`` is one of these: ``isinstance(record.event, stepwell.events.StepFailed)``.
"""

# Written by `just generate` from the events in stepwell/schemas/records. Change those, not this file.

'''


def module() -> str:
    """The text of ``stepwell/events.py``."""
    homes = defaultdict(list)
    homes["stepwell.schemas.records.error_info"].append("ErrorInfo")
    homes["stepwell.schemas.records.events"].append("Event")
    for kind in get_args(Event):
        homes[kind.__module__].append(kind.__name__)
    lines = [HEAD]
    for home, names in sorted(homes.items()):
        lines += [f"from {home} import (\n", *(f"    {name},\n" for name in sorted(names, key=str.lower)), ")\n"]
    exported = sorted(name for names in homes.values() for name in names)
    return "".join([*lines, "\n__all__ = [\n", *(f'    "{name}",\n' for name in exported), "]\n"])


def page(text: str) -> str:
    """The page, with a row for each event."""
    rows = "".join(f"| `{kind.__struct_config__.tag}` | {_meaning(kind)} |\n" for kind in get_args(Event))
    return TABLE.sub(lambda found: f"{found[1]}| event | meaning |\n|---|---|\n{rows}{found[2]}", text)


def _meaning(kind: type) -> str:
    """What its docstring says before it comes to the fields."""
    first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return " ".join(first.split()).replace("``", "`")


if __name__ == "__main__":
    MODULE.write_text(module())
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
