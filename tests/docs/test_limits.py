"""docs/limits.md names each limit as the code has it."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/limits.md").read_text(encoding="utf-8")


def limits():
    """Rows that name a constant: what it says, the constant and the file that holds it."""
    file = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        named = re.search(r"`([A-Z_]{4,})`", line)
        found = re.search(r"`(stepwell/[\w/]+)\.py`", line)
        file = found[1] if found else file
        if named and len(cells) >= 3:
            yield pytest.param(cells[1], named[1], file, id=f"{named[1]}-{cells[0][:20]}")


def test_the_page_names_at_least_twenty_limits():
    assert len(list(limits())) >= 20


@pytest.mark.parametrize(("said", "name", "file"), list(limits()))
def test_a_limit_is_what_the_page_says(said, name, file):
    value = getattr(importlib.import_module(file.replace("/", ".")), name)
    written = {f"{value:,}", f"{value // 2**20} MiB"}
    if name == "LONGEST_SECONDS":
        written = {"ten years"} if value // (366 * 86400) == 10 else set()
    assert any(said == one or said.startswith(f"{one},") for one in written), f"{name} is {value:,}"
