"""How long tests wait for what must happen.

A test waits for an event, never for a time. Its deadline only ends what hangs, so it is far beyond what the slowest
machine takes: a test that fails because the machine is busy says nothing about the program.
"""

import time
from collections.abc import Callable
from typing import Any

HANG = 240.0
"""Seconds after which whatever a test waits for does not come: below pytest's own limit, so that the test says what."""


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return what it gave; for tests of other processes.

    ``tests.workbench.until`` is for coroutines.
    """
    deadline = time.monotonic() + HANG
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {HANG} s"
        time.sleep(0.02)
    return value
