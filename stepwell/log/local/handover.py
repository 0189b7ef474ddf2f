"""Records in the hands of a worker of the process that enqueued them, and not (yet) in the file.

An engine and a worker in one process are the ordinary case, and most steps are done within milliseconds. Such a
record is handed over at once, in memory. If it is settled soon, it never touches the disk: its outcome is appended,
and there is no row to be written and none to be deleted. What is still there after a moment is written, claimed.

Nothing is lost by this. Until a record is settled or written its ``enqueue`` is not acknowledged, so whoever enqueued
it knows of it still: an engine that dies before derives it again from its events.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Iterable, Sequence
from itertools import count, groupby
from operator import attrgetter
from typing import Final

from stepwell.errors import LogError
from stepwell.log.local.batches import Batch
from stepwell.log.local.resends import tokens_of
from stepwell.log.local.services import Services, Taker
from stepwell.log.local.transaction import Row, Transaction
from stepwell.log.port import Delivery

# How long a record may be in hand before it is written: longer than ordinary steps take, even with many before them;
# short, because an engine that dies is to send little again.
LINGER: Final = 0.1

_FIRST: Final = -(2**62)  # tokens of records that are in no row: below any row's, and in the order of handing over


class Handed:
    """A record that was handed over.

    Attributes:
        id: Its row's id, once it has one; the writer thread's own.
        awaited: Whether its batch still waits for it.
    """

    __slots__ = ("awaited", "batch", "holder", "id", "queue", "row", "token")

    def __init__(self, token: int, queue: str, row: Row, holder: Taker, batch: Batch) -> None:
        self.token: int = token
        self.queue: str = queue
        self.row: Row = row
        self.holder: Taker = holder
        self.batch: Batch = batch
        self.id: int | None = None
        self.awaited: bool = True

    def safe(self) -> None:
        """It is settled, or in the file."""
        if self.awaited:
            self.awaited = False
            self.batch.safe(1)


class Handover:
    """All records of one log object that are in hand."""

    def __init__(self, log: Services) -> None:
        self._log = log
        self._tokens = count(_FIRST)
        self._fresh: dict[int, Handed] = {}  # in no row, and not on the way to one
        self._older: dict[int, Handed] = {}  # likewise, since before the last look
        self._written: dict[int, Handed] = {}  # in a row, or on the way to one
        self._timer: TimerHandle | None = None

    def give(self, queue: str, row: Row, delivery: Delivery, holder: Taker, batch: Batch) -> Delivery:
        """Note a record as handed over; return it with its token."""
        handed = Handed(next(self._tokens), queue, row, holder, batch)
        self._fresh[handed.token] = handed
        if self._timer is None:
            self._timer = self._log.loop.call_later(LINGER, self._look)
        return Delivery(queue, handed.token, delivery.key, delivery.value, delivery.headers)

    def take_back(self, tokens: Sequence[int]) -> tuple[list[int], list[Handed]]:
        """Those that are being settled or released: tokens of ordinary rows, and what was handed over."""
        rows, handed = [], []
        for token in tokens:
            found = None
            if token < 0:
                found = self._fresh.pop(token, None) or self._older.pop(token, None) or self._written.pop(token, None)
            if found is None:
                rows.append(token)
            else:
                handed.append(found)
        return rows, handed

    def keep(self, handed: Iterable[Handed]) -> None:
        """They could not be settled or released: they are in hand still, if whoever has them is still there."""
        left = []
        for one in handed:
            if one.id is None and one.holder.closed:
                left.append(one)
            else:
                (self._fresh if one.id is None else self._written)[one.token] = one
        if left:
            self._log.submit(Write(self._log, left, claimed=False))

    def write(self) -> None:
        """Have all that is in hand in the file."""
        for some in (self._older, self._fresh):
            self._write(some)
        self._older, self._fresh = {}, {}

    def _write(self, some: dict[int, Handed]) -> None:
        if some:
            self._written.update(some)
            self._log.submit(Write(self._log, list(some.values()), claimed=True))

    def _look(self) -> None:
        self._timer = None
        older, self._older, self._fresh = self._older, self._fresh, {}
        self._write(older)
        if self._older:
            self._timer = self._log.loop.call_later(LINGER, self._look)

    def give_up(self, holder: Taker | None = None) -> None:
        """A worker (or all of them) ends: what it had in hand is written, for others to take."""
        if holder is None and self._timer is not None:
            self._timer.cancel()
        left = []
        for part in (self._older, self._fresh):
            for token, handed in list(part.items()):
                if holder is None or handed.holder is holder:
                    left.append(part.pop(token))
        if left:
            self._log.submit(Write(self._log, left, claimed=False))

    def drop(self, error: LogError) -> None:
        """The process ends at once: whoever enqueued learns that nothing is known."""
        if self._timer is not None:
            self._timer.cancel()
        for part in (self._older, self._fresh, self._written):
            for handed in part.values():
                handed.batch.failed(error)
            part.clear()


class Write:
    """Write records that were handed over into the queues' table.

    Args:
        claimed: For those who have them; otherwise for anybody.
    """

    durable = True

    def __init__(self, log: Services, handed: list[Handed], *, claimed: bool) -> None:
        self._log = log
        self._handed = sorted(handed, key=attrgetter("queue", "token"))
        self._claimed = claimed
        self._settled: list[Handed] = []
        self.size: int = sum(len(one.row.value) for one in handed)

    def apply(self, tx: Transaction) -> None:
        self._settled = write(tx, self._handed, claimed=self._claimed)

    def done(self) -> None:
        for one in self._handed:
            one.safe()
        for one in self._settled:
            one.holder.forget([one.token])
        if not self._claimed:
            self._log.gave_back()

    def failed(self, error: LogError) -> None:
        for one in self._handed:
            one.id = None
            one.batch.failed(error)


def write(tx: Transaction, handed: Sequence[Handed], *, claimed: bool) -> list[Handed]:
    """Write records into the queues' table and note their ids. They must be in the order of their queues.

    Returns:
        Those that others have sent again and settled meanwhile. What they have sent again, and has not been settled,
        stays the only entry.
    """
    known = tokens_of(tx, [one.row for one in handed])
    settled = []
    for one in handed:
        token = known.get(one.row.effect)
        if token is not None:
            one.id = token
            tx.execute(
                "UPDATE queue SET claimed_by = ? WHERE id = ? AND claimed_by IS NULL",
                (one.holder.member if claimed else None, token),
            )
            if not tx.execute("SELECT 1 FROM queue WHERE id = ?", (token,)).fetchone():
                settled.append(one)
    new = [one for one in handed if one.row.effect not in known] if known else handed
    for queue, group in groupby(new, key=attrgetter("queue")):
        some = list(group)
        claims = [one.holder.member if claimed else None for one in some]
        first = tx.enqueue(queue, [one.row for one in some], claims)
        for token, one in enumerate(some, first):
            one.id = token
    return settled
