"""When an engine takes further starts.

Outcomes, cancellations and timers are always decided first; a start only when none of them is left, and only while
workers do not have enough to do already. What is held back waits in the log, where it costs no memory.
"""

from __future__ import annotations

import asyncio
from typing import Final

from stepwell.logs import Logger

# Runs in the hands of workers beyond which no start is taken while those get done: enough to keep hundreds of
# workers busy from one answer to the next, few enough that what was started soon comes to its end.
PLENTY: Final = 4_000
# Runs that nobody takes (there is no worker for their queue, or each takes minutes) must not hold up the starts of
# everything else: after so many seconds without an outcome they are no longer counted as ones to wait for.
PATIENCE: Final = 1.0
# Runs in all at which starts wait whatever happens, so that memory stays bounded: some 3 kB each.
MOST_RUNS: Final = 100_000
_TELL_AFTER: Final = 60.0  # seconds between two warnings

_logger = Logger("stepwell.engine")


class Admission:
    """Counts the runs that the partitions of one engine have given to workers.

    Args:
        most: Runs in all at which starts wait whatever happens.

    Attributes:
        runs: How many there are.
    """

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._loop = asyncio.get_running_loop()
        self._most = most
        self._mark = PLENTY
        self._moved = self._loop.time()
        self._told = -_TELL_AFTER
        self._opened: asyncio.Future[None] | None = None
        self.runs: int = 0

    def changed(self, more: int) -> None:
        """Workers have so many runs more, or fewer."""
        self.runs += more
        if more < 0:
            self._moved = self._loop.time()
            if self._opened is not None and self.runs < min(self._mark, self._most):
                self._open(self._opened)

    def room(self) -> int:
        """For how many starts there is room; 0 while they must wait."""
        now = self._loop.time()
        if self.runs >= self._mark and now - self._moved >= PATIENCE:
            self._mark, self._moved = self.runs + PLENTY, now
        self._mark = max(PLENTY, min(self._mark, self.runs + PLENTY))
        if self.runs >= self._most and now - self._told >= _TELL_AFTER:
            self._told = now
            _logger.warning("starts wait until workers have caught up", runs=self.runs, most=self._most)
        return max(0, min(self._mark, self._most) - self.runs)

    def opening(self) -> asyncio.Future[None]:
        """Done when it is time to ask for room again."""
        if self._opened is None or self._opened.done():
            self._opened = opened = self._loop.create_future()
            self._loop.call_later(PATIENCE, self._open, opened)
        return self._opened

    def _open(self, opened: asyncio.Future[None]) -> None:
        if not opened.done():
            opened.set_result(None)
