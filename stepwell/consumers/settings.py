"""What the environment says about workers."""

from __future__ import annotations

import os
from typing import Final

from stepwell.errors import StepwellError

CONCURRENCY: Final = "WORKER_CONCURRENCY"
DEFAULT_CONCURRENCY: Final = 64
MAX_DELIVERIES: Final = "STEPWELL_MAX_DELIVERIES"
DEFAULT_MAX_DELIVERIES: Final = 5


def concurrency() -> int:
    """How many steps a worker runs at once.

    Raises:
        StepwellError: The variable holds no number from 1 to 10,000.
    """
    return _number(CONCURRENCY, DEFAULT_CONCURRENCY)


def max_deliveries() -> int:
    """How often a run is handed out without an outcome before it counts as an attempt that failed.

    Raises:
        StepwellError: The variable holds no number from 1 to 10,000.
    """
    return _number(MAX_DELIVERIES, DEFAULT_MAX_DELIVERIES)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) <= 10_000):
        raise StepwellError(f"{text!r} is no number from 1 to 10,000", place=name, remedy="Mend it, or unset it.")
    return int(text)
