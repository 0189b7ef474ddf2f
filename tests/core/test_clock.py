"""One clock: what is handed none asks stepwell.process what time it is."""

from __future__ import annotations

import re
import time
from pathlib import Path

import stepwell
from stepwell.cli.views import age
from stepwell.process import now_ms


def test_the_clock_counts_milliseconds_since_1970() -> None:
    assert abs(now_ms() - time.time() * 1000) < 60_000


def test_an_age_is_told_in_seconds_and_is_never_below_zero() -> None:
    assert 90 <= age(now_ms() - 90_000) < 150
    assert age(now_ms() + 90_000) == 0


def test_the_time_of_day_is_read_in_one_place() -> None:
    package = Path(stepwell.__file__).parent
    reads = re.compile(r"\btime\.time(_ns)?\b|\bfrom time import .*\btime(_ns)?\b")
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if reads.search(path.read_text())}
    assert found == {"process.py"}
