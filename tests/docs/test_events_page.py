"""docs/events.md names every event that can be subscribed to, once, and none besides."""

import re
from pathlib import Path
from typing import get_args

from stepwell.schemas.records.events import Event

PAGE = (Path(__file__).resolve().parents[2] / "docs/events.md").read_text(encoding="utf-8")


def test_every_event_stands_in_the_table_of_names_and_none_that_there_is_not():
    table = PAGE[PAGE.index("## Names of events") :]
    rows = [
        line for line in table[: table.index("\n\n", table.index("|---|"))].splitlines() if line.startswith("| `")
    ]
    named = [name for row in rows for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(kind.__struct_config__.tag for kind in get_args(Event))
