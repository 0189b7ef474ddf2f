"""Reading at the ends of partitions: from memory where this process wrote last, else from the file; and waiting."""

from __future__ import annotations

import sqlite3
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence

from stepwell.log.local.reader import Reader
from stepwell.log.local.tail import Tail
from stepwell.log.local.transaction import Row
from stepwell.log.port import Record, TopicPartition
from stepwell.log.wake import Arrivals


class RecentRecords:
    """The newest records of each partition that somebody reads, and who waits for the next one.

    Args:
        loop: Of those who read.
        check_open: Raises where the log is closed.
    """

    def __init__(self, loop: AbstractEventLoop, check_open: Callable[[], None]) -> None:
        self._loop = loop
        self._check_open = check_open
        self._arrivals = Arrivals(loop)
        self._tails: dict[TopicPartition, Tail] = {}

    def landed(self, place: TopicPartition, first: int, rows: Sequence[Row], now: int) -> None:
        """Show what was just committed to those who wait for it or will soon read it."""
        tail = self._tails.get(place)
        if tail is not None:
            tail.add(first, rows, now)
        self._arrivals.fire(place, first + len(rows))

    async def read(
        self, reader: Reader, place: TopicPartition, offset: int, limit: int, wait: float | None
    ) -> Sequence[Record]:
        """As the port says.

        Args:
            reader: Reads the file, where memory does not do.
        """
        deadline = None if wait is None else self._loop.time() + wait
        while limit > 0:
            self._check_open()
            left = None if deadline is None else deadline - self._loop.time()
            waits = left is None or left > 0
            tail = self._tails.get(place)
            found = tail.read(offset, limit) if tail is not None else []
            if not found and not (waits and tail is not None and tail.ends_at(offset)):
                found = await reader.read(*place, offset, limit)
                if tail is not None and not found:
                    tail.found_end(offset)
            if len(found) < limit and tail is None:
                self._tails[place] = Tail()  # somebody reads at the end: what we append next is worth keeping
            if found or not waits:
                return found
            await self._arrivals.wait(place, offset, left)
        return []

    def look(self, reader: Reader) -> None:
        """Another process has written, or may have: wake those whom it may concern."""
        for tail in self._tails.values():
            tail.whole = False
        for place in self._arrivals.awaited():
            try:
                end = reader.end(*place)
            except sqlite3.Error:
                end = sys.maxsize  # let the readers see for themselves what is wrong
            self._arrivals.fire(place, end)

    def close(self, error: Exception) -> None:
        """End all waiting with an error."""
        self._arrivals.end(error)
