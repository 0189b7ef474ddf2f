"""Times and sizes, as the verbs of archives read and show them."""

from __future__ import annotations

from stepwell.cli.exits import UsageError
from stepwell.cli.views import local_time, time_of
from stepwell.process import now_ms


def cutoff(older_than: str) -> int:
    """The time that ``--older-than`` names, in milliseconds since 1970.

    Raises:
        UsageError: It is none, or it is in the future.
    """
    before = time_of(older_than, "--older-than")
    if before is None or before > now_ms():
        raise UsageError("is in the future", place="--older-than", remedy="Give an age, 90d, or a time that is over.")
    return before


def day(at: int) -> str:
    """A time as it is shown: long before and long after 2026, too."""
    return local_time(at)


def size_of(size: int) -> str:
    """A number of bytes for people."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
