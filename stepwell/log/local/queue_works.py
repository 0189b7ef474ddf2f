"""What is done to the queues in a transaction: enqueue, claim, settle, release."""

from __future__ import annotations

from asyncio import Future

from stepwell.errors import LogError
from stepwell.log.local.batches import Batch
from stepwell.log.local.handover import Handed, Handover, write
from stepwell.log.local.resends import count_lost, tokens_of
from stepwell.log.local.services import Entry, Services, Taker
from stepwell.log.local.store import encode_rowids
from stepwell.log.local.transaction import Row, Transaction
from stepwell.log.port import Outgoing


class Enqueue:
    """Put records into a queue, for any worker to take.

    Args:
        log: The log.
        queue: The queue.
        rows: The records.
        batch: What they are part of.
    """

    durable = True

    def __init__(self, log: Services, queue: str, rows: list[Row], batch: Batch) -> None:
        self._log = log
        self._queue = queue
        self._rows = rows
        self._batch = batch
        self.size: int = sum(len(row.value) for row in rows)

    def apply(self, tx: Transaction) -> None:
        known = tokens_of(tx, self._rows)
        rows = [row for row in self._rows if row.effect not in known] if known else self._rows
        tx.enqueue(self._queue, rows, [None] * len(rows))

    def done(self) -> None:
        self._log.gave_back()
        self._batch.safe(len(self._rows))

    def failed(self, error: LogError) -> None:
        self._batch.failed(error)


class ClaimEntries:
    """Take waiting entries for a worker; others may be quicker.

    Args:
        worker: For whom.
        entries: Which.
        future: Gets how many it got.
    """

    durable = False
    size = 0

    def __init__(self, worker: Taker, entries: list[Entry], future: Future[int]) -> None:
        self._worker = worker
        self._entries = entries
        self._future = future
        self._got: set[int] = set()

    def apply(self, tx: Transaction) -> None:
        chosen = encode_rowids([token for _, token, _ in self._entries])
        found = tx.execute(
            "SELECT id FROM queue WHERE id IN (SELECT value FROM json_each(?)) AND claimed_by IS NULL", (chosen,)
        ).fetchall()
        self._got = {token for (token,) in found}
        if self._got:
            tx.execute(
                "UPDATE queue SET claimed_by = ? WHERE id IN (SELECT value FROM json_each(?))",
                (self._worker.member, encode_rowids(list(self._got))),
            )

    def done(self) -> None:
        self._worker.reserved -= len(self._entries)
        for entry in self._entries:
            if entry[1] in self._got:
                self._worker.receive(entry)
        if not self._future.done():
            self._future.set_result(len(self._got))

    def failed(self, error: LogError) -> None:
        self._worker.reserved -= len(self._entries)
        if not self._future.done():
            self._future.set_exception(error)


class Settle:
    """Append outcomes and forget deliveries, in one transaction.

    It does not wait for the disk: the transition that follows from an outcome does, and takes it along. A power
    failure in between takes outcome and settlement back together, and the step is run again.

    Args:
        log: The log.
        handover: What is in hand in memory.
        worker: Whose deliveries they are.
        tokens: Which.
        outcomes: What to append, as it was given and encoded.
    """

    durable = False

    def __init__(
        self,
        log: Services,
        handover: Handover,
        worker: Taker,
        tokens: list[int],
        outcomes: list[tuple[Outgoing, list[Row]]],
    ) -> None:
        self._log = log
        self._handover = handover
        self._worker = worker
        self._tokens = tokens
        self._rows, self._handed = handover.take_back(tokens)
        self._outcomes = outcomes
        self._firsts: list[int] = []
        self._now = 0
        self.future: Future[None] = log.loop.create_future()
        self.size: int = sum(len(row.value) for _, rows in outcomes for row in rows)

    def apply(self, tx: Transaction) -> None:
        self._now = tx.now
        self._firsts = [tx.append(out.topic, out.partition, rows) for out, rows in self._outcomes]
        tx.settle(self._rows + [one.id for one in self._handed if one.id is not None])
        unwritten = [one.row for one in self._handed if one.id is None]
        if unwritten:  # which others may have sent again, so that there is an entry all the same
            tx.settle(list(tokens_of(tx, unwritten).values()))

    def done(self) -> None:
        for one in self._handed:
            one.safe()
        for (out, rows), first in zip(self._outcomes, self._firsts, strict=True):
            self._log.landed((out.topic, out.partition), first, rows, self._now)
        if not self.future.done():
            self.future.set_result(None)

    def failed(self, error: LogError) -> None:
        self._handover.keep(self._handed)
        self._worker.keep(self._tokens)
        if not self.future.done():
            self.future.set_exception(error)


class Release:
    """Give entries back to their queues.

    Args:
        log: The log.
        handover: What is in hand in memory.
        worker: Who had claimed them.
        tokens: Which.
        lost: They count as handed out and lost.
    """

    size = 0

    def __init__(self, log: Services, handover: Handover, worker: Taker, tokens: list[int], *, lost: bool) -> None:
        self._lost = lost
        self._log = log
        self._handover = handover
        self._worker = worker
        self._tokens = tokens
        self._rows, self._handed = handover.take_back(tokens)
        self._unwritten: list[Handed] = []
        self.durable: bool = bool(self._handed)  # some are perhaps in no row yet
        self.future: Future[None] = log.loop.create_future()

    def apply(self, tx: Transaction) -> None:
        self._unwritten = [one for one in self._handed if one.id is None]
        write(tx, self._unwritten, claimed=True)
        mine = (self._worker.member, encode_rowids(self._rows + [one.id or 0 for one in self._handed]))
        chosen = "claimed_by = ? AND id IN (SELECT value FROM json_each(?))"
        if self._lost:
            count_lost(tx, chosen, mine)
        tx.execute(f"UPDATE queue SET claimed_by = NULL WHERE {chosen}", mine)  # noqa: S608 - a constant

    def done(self) -> None:
        for one in self._handed:
            one.safe()
        self._log.gave_back()
        if not self.future.done():
            self.future.set_result(None)

    def failed(self, error: LogError) -> None:
        for one in self._unwritten:
            one.id = None  # the transaction was undone, and the row with it
        self._handover.keep(self._handed)
        self._worker.keep(self._tokens)
        if not self.future.done():
            self.future.set_exception(error)
