"""Exponential backoff: the pause before each retry, longer each time, up to a bound.

This module only computes the pauses. The caller sleeps, reads the clock, and decides what counts as a failure. If
several callers could retry at the same moment, they add the jitter.
"""

from __future__ import annotations


class Backoff:
    """Computes the pauses between attempts: each is ``factor`` times the previous one, up to ``longest``.

    Args:
        first: The first pause in seconds.
        longest: The limit of all pauses after the first one, in seconds.
        factor: The factor from one pause to the next.
        well_after: Seconds. An attempt that lasted longer than this before it failed counts as a success, so the
            pauses begin again with the first one. With None, only ``reset`` does this.
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
        """Whether the next pause is the first one: no attempt has failed yet, or none since ``reset``."""
        return self._next == self._first

    def next(self, lasted: float = 0.0) -> float:
        """Count one failure.

        Args:
            lasted: Seconds from the beginning of the attempt to its failure.

        Returns:
            Seconds to wait before the next attempt.
        """
        if self._well_after is not None and lasted > self._well_after:
            self._next = self._first
        pause = self._next
        self._next = min(pause * self._factor, self._longest)
        return pause

    def reset(self) -> None:
        """Begin again with the first pause, after a success."""
        self._next = self._first
