"""What something took, seconds of processor time and megabytes at its peak; and whether what it says is fit to print."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import cost

_OWN = Path("/proc/self")


class Took(cost.Took):
    """What it took, once it is over."""

    megabytes = 0.0


def _of(name: str) -> float:
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB", (_OWN / "status").read_text(), re.MULTILINE)
    except OSError:  # no Linux: only time is measured
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def measured() -> Iterator[Took]:
    """Measure what is within; the process must do nothing else meanwhile."""
    took = Took()
    with suppress(OSError):
        (_OWN / "clear_refs").write_text("5")  # the peak begins anew
    before = _of("VmRSS")
    try:
        with cost.usual_seconds() as spent:
            yield took
    finally:
        took.seconds = spent.seconds
        took.megabytes = max(_of("VmHWM") - before, 0.0)


def check_message(error: Exception) -> str:
    """The message of an error, which can be printed anywhere.

    Raises:
        AssertionError: It has no end, or holds what a terminal would obey.
    """
    message = str(error)
    assert message.strip()
    assert len(message) < 20_000, "a message of no end"
    odd = {
        char for char in message if unicodedata.category(char) in {"Cc", "Cs"} or char in "\u202e\u2066\u200b\ufeff"
    }
    assert odd <= {"\n", "\t"}, f"{odd!a} in {message!a}"
    message.encode()
    return message
