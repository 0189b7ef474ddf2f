"""Appending to a partition, and letting it forget."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Final

from stepwell.errors import LogError
from stepwell.log.local.services import Services
from stepwell.log.local.store import EVENTS_NUMBER, TOPIC_SHIFT
from stepwell.log.local.transaction import Row, Transaction

_DELETE_AT_ONCE: Final = 1000  # records; appends of the same moment wait for no more than that


class Append:
    """Append to one partition.

    Args:
        log: Who is to know.
        topic: The topic.
        partition: The partition.
        rows: What to append.
    """

    durable = True

    def __init__(self, log: Services, topic: str, partition: int, rows: list[Row]) -> None:
        self._log = log
        self._place = (topic, partition)
        self._rows = rows
        self._first = 0
        self._now = 0
        self.future: Future[Sequence[int]] = log.loop.create_future()
        self.size: int = sum(len(row.value) for row in rows)

    def apply(self, tx: Transaction) -> None:
        self._now = tx.now
        self._first = tx.append(*self._place, self._rows)

    def done(self) -> None:
        self._log.landed(self._place, self._first, self._rows, self._now)
        if not self.future.done():
            self.future.set_result(range(self._first, self._first + len(self._rows)))

    def failed(self, error: LogError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def delete_some(topic: str, partition: int, offset: int) -> Callable[[Transaction], int]:
    """Delete some of a partition's records below ``offset``; gives how many."""

    def act(tx: Transaction) -> int:
        base = tx.base(topic, partition)
        tx.flush()
        # The newest record stays whatever is asked: it is how the file knows which offset comes next.
        below = min(base + offset, tx.end(base) - 1)
        last = tx.execute(
            "SELECT max(id) FROM (SELECT id FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)",
            (base, below, _DELETE_AT_ONCE),
        ).fetchone()[0]
        if last is None:
            return 0
        if base >> TOPIC_SHIFT == EVENTS_NUMBER:
            tx.execute(
                "DELETE FROM by_key WHERE (key, id) IN (SELECT key, id FROM records WHERE id >= ? AND id <= ?)",
                (base, last),
            )
        deleted = tx.execute("DELETE FROM records WHERE id >= ? AND id <= ?", (base, last)).rowcount
        tx.shrinks = True
        return deleted

    return act


def free_pages(tx: Transaction) -> int:
    """How many pages hold nothing; some of them are given back once the transaction is done."""
    found: int = tx.execute("PRAGMA freelist_count").fetchone()[0]
    tx.shrinks = found > 0
    return found
