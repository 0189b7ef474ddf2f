"""What something took: seconds of processor time, and megabytes at its peak."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OWN = Path("/proc/self")


class Took:
    """What it took, once it is over."""

    seconds = 0.0
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
    before, began = _of("VmRSS"), time.process_time()
    try:
        yield took
    finally:
        took.seconds = time.process_time() - began
        took.megabytes = max(_of("VmHWM") - before, 0.0)
