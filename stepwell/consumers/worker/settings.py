"""What the environment says about workers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from stepwell.arguments import texts
from stepwell.errors import StepwellError

CONCURRENCY: Final = "WORKER_CONCURRENCY"
HEARTBEAT: Final = "WORKER_HEARTBEAT_INTERVAL"
_LONGEST_HEARTBEAT: Final = 3600.0
DEFAULT_CONCURRENCY: Final = 64
MAX_DELIVERIES: Final = "STEPWELL_MAX_DELIVERIES"
DEFAULT_MAX_DELIVERIES: Final = 5


def listed(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names of queues or modules; a text names one, or several between commas, as in the terminal.

    Raises:
        StepwellError: It is no text, nor several.
    """
    several = texts(StepwellError, "names", names)
    if isinstance(names, str):
        return tuple(name for part in names.split(",") if (name := part.strip()))
    return several


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


def heartbeat_seconds() -> float | None:
    """How many seconds lie between two heartbeats with progress at the least; None where nobody says.

    Raises:
        StepwellError: The variable holds no number from 0.1 to 3,600.
    """
    text = os.environ.get(HEARTBEAT)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= _LONGEST_HEARTBEAT:
        raise StepwellError(
            f"{text!r} is no number of seconds from 0.1 to 3,600", place=HEARTBEAT, remedy="Mend it, or unset it."
        )
    return seconds
