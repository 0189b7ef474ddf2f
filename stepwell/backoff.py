"""How long to wait before something that failed is tried again: longer each time, up to a bound.

Only the pauses are computed here. The caller sleeps, knows the clock, and decides what counts as a failure; jitter is
the caller's too, where several would otherwise try at one moment.
"""

from __future__ import annotations


class Backoff:
    """The pauses between tries: the first, then each as many times as long as the one before, up to the longest.

    Args:
        first: Seconds before the second try.
        longest: Seconds that no pause exceeds, the first one excepted.
        factor: How many times as long the next pause is.
        well_after: Seconds; a try that lasted longer before it failed has gone well, so that the pauses begin anew.
            None: only ``reset`` begins anew.
    """

    __slots__ = ("_factor", "_first", "_longest", "_next", "_well_after")

    def __init__(self, first: float, longest: float, *, factor: float = 2.0, well_after: float | None = None) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._well_after = well_after
        self._next = first

    @property
    def is_fresh(self) -> bool:
        """Whether the next pause is the first one: nothing has failed yet, or nothing since ``reset``."""
        return self._next == self._first

    def next(self, lasted: float = 0.0) -> float:
        """Count one failure.

        Args:
            lasted: Seconds that the try went on for before it failed.

        Returns:
            Seconds to wait before the next try.
        """
        if self._well_after is not None and lasted > self._well_after:
            self._next = self._first
        pause = self._next
        self._next = min(pause * self._factor, self._longest)
        return pause

    def reset(self) -> None:
        """Begin anew with the first pause: it has worked."""
        self._next = self._first
