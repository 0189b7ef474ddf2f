"""What the environment says about workers."""

from __future__ import annotations

import os
from typing import Final

from stepwell.errors import StepwellError

CONCURRENCY: Final = "WORKER_CONCURRENCY"
DEFAULT_CONCURRENCY: Final = 64


def concurrency() -> int:
    """How many steps a worker runs at once.

    Raises:
        StepwellError: The variable holds no number from 1 to 10,000.
    """
    text = os.environ.get(CONCURRENCY)
    if not text:
        return DEFAULT_CONCURRENCY
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 10_000):
        raise StepwellError(
            f"{text!r} is no number from 1 to 10,000", place=CONCURRENCY, remedy="Mend it, or unset it."
        )
    return int(text)
