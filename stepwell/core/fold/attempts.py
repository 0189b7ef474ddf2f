"""What is told of an attempt besides its outcome: who made it, and what it took."""

from __future__ import annotations

from typing import Final, NamedTuple

LONGEST_WORKER: Final = 200  # characters of a worker's name in an event; only a stranger's is longer


class Effort(NamedTuple):
    """An attempt's cost, for those who look: nothing is decided by it.

    Attributes:
        worker: Who ran the handler; empty where nobody did, or nobody is known.
        took: Milliseconds from the handler's beginning to its end; 0 for less than one, and where it is not known.
        cpu: Milliseconds of CPU of a function that ran in a thread; 0 for a coroutine, which shares its thread.
    """

    worker: str = ""
    took: int = 0
    cpu: int = 0


UNKNOWN: Final = Effort()
