"""What a computation costs, said so that it is the same on a machine five times slower, or a busy one.

Counts come first: ``lines`` is exact. Where much of the work is inside of libraries, ``usual_seconds`` measures the
process's own processor time in units of a yardstick that is measured beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

USUAL: Final = 0.006  # seconds of processor time that the yardstick takes on the machine where limits were found


def lines(action: Callable[[], Any]) -> int:
    """How many lines of Python an action runs."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


class Took:
    """What it took, once it is over: seconds of processor time, as on the usual machine."""

    seconds = 0.0


def yardstick() -> float:
    """Seconds of processor time that a fixed piece of work takes here and now."""
    began = time.process_time()
    seen: dict[int, str] = {}
    for number in range(40_000):
        seen[number % 1_000] = str(number)
    return time.process_time() - began


@contextmanager
def usual_seconds() -> Iterator[Took]:
    """Measure the processor time of what is within; the process must do nothing else meanwhile."""
    took = Took()
    slowness, began = yardstick(), time.process_time()
    try:
        yield took
    finally:
        spent = time.process_time() - began
        took.seconds = spent / max(1.0, max(slowness, yardstick()) / USUAL)
