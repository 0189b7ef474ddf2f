"""Queues of workers: who gets a record, and how it is settled.

A record is claimed by a member in the file, so that no other process takes it. When the worker sits in the process
that enqueues, has room and no older record waits, the record is handed over in memory (``handover``). Otherwise a
worker with room looks for records itself, whenever something was added or given back.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Final

from stepwell.errors import LogClosedError, LogError
from stepwell.log.local.batches import Batch
from stepwell.log.local.handover import Handover
from stepwell.log.local.queue_works import ClaimEntries, Release, Settle
from stepwell.log.local.reader import decode_headers
from stepwell.log.local.services import Entry, Services
from stepwell.log.local.transaction import Row
from stepwell.log.port import NO_HEADERS, Delivery, Outgoing
from stepwell.log.wake import Signal, failed_future

_PAGE: Final = 200  # waiting records that are looked at in one go
_REST_AFTER_TROUBLE: Final = 0.2  # seconds, when the file could not be read or written

_REST_PER_REFUSED: Final = 20e-6  # seconds; to look at one takes about a fifth of that

_WAITING: Final = (
    "SELECT id, priority, key, value, headers, (SELECT times FROM lost WHERE token = queue.id) "
    "FROM queue WHERE claimed_by IS NULL AND queue = ? "
    "AND (priority < ? OR priority = ? AND id > ?) ORDER BY priority DESC, id LIMIT ?"
)


class Consumer:
    """One worker's end of its queues; see ``port.WorkQueue``.

    Args:
        log: The log.
        handover: What is in hand in memory.
        member: Its number as a member of the group ``workers``.
        queues: Which queues it takes from.
        prefetch: How many entries it holds at once.
        accepts: Which it can do anything with.
    """

    def __init__(
        self,
        log: Services,
        handover: Handover,
        member: int,
        queues: Sequence[str],
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None,
    ) -> None:
        self.member = member
        self.queues: tuple[str, ...] = tuple(dict.fromkeys(queues))
        self.reserved: int = 0  # entries on their way to us in a commit
        self._log = log
        self._handover = handover
        self._prefetch = prefetch
        self._accepts = accepts
        self._passed_over = 0  # how many entries our last look found that are not for us
        self._ready: list[Entry] = []
        self._held: set[int] = set()  # tokens: what is ready, and what was taken and not yet settled
        self._arrived = Signal(log.loop)
        self._trouble: LogError | None = None
        self._lost: LogError | None = None
        self._closed = False
        self._nothing_waits = False  # as of our last look, and nobody has said otherwise since
        self._stirred = asyncio.Event()
        self._stirred.set()
        self._seeker = log.loop.create_task(self._seek(), name=f"stepwell-queue-{member}")

    @property
    def room(self) -> int:
        """How many more entries it may hold."""
        return 0 if self._closed else self._prefetch - len(self._held) - self.reserved

    @property
    def closed(self) -> bool:
        """Whether it has left."""
        return self._closed

    @property
    def open_to_new(self) -> bool:
        """Whether a new entry may go straight to it: it has room, and nothing older waits for that room."""
        return self._nothing_waits and self.room > 0

    def accepts(self, delivery: Delivery) -> bool:
        """Whether the worker wants it. Where its own code cannot say, it gets it."""
        if self._accepts is None:
            return True
        try:
            return self._accepts(delivery)
        except Exception:
            return True

    def receive(self, entry: Entry) -> None:
        """Take in an entry that is claimed for us."""
        if not self._closed and self._lost is None:  # else our claims are given back by a commit behind this one
            self._held.add(entry[1])
            heapq.heappush(self._ready, entry)
            self._arrived.fire()

    def keep(self, tokens: Sequence[int]) -> None:
        """Hold on to what could not be settled or released."""
        self._held.update(tokens)

    def forget(self, tokens: Sequence[int]) -> None:
        """Others have settled these: take them no more. What was taken already is settled by whoever took it."""
        waiting = [entry[1] for entry in self._ready if entry[1] in tokens]
        if waiting:
            self._ready = [entry for entry in self._ready if entry[1] not in tokens]
            heapq.heapify(self._ready)
            self._handover.take_back(waiting)
            self._free(waiting)

    def stir(self) -> None:
        """Look again: something may wait."""
        self._nothing_waits = False
        self._stirred.set()

    async def take(self, limit: int) -> Sequence[Delivery]:
        """As the port says.

        Raises:
            LogClosedError: The log or this worker was closed.
            LogError: The queues could not be read; taking may be tried again.
        """
        while not self._ready:
            self._check()
            await self._arrived.wait()
        self._check()
        return [heapq.heappop(self._ready)[2] for _ in range(min(max(limit, 1), len(self._ready)))]

    def lose(self, error: LogError) -> None:
        """The log is lost: who takes is told so from now on."""
        self._lost = error
        self._ready.clear()
        self._seeker.cancel()
        self._arrived.fire()

    def _check(self) -> None:
        if self._closed:
            raise LogClosedError("the queue was closed")
        if self._lost is not None:
            raise self._lost
        if self._trouble is not None and not self._ready:
            error, self._trouble = self._trouble, None
            raise error

    def settle(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outgoing] = ()) -> Future[None]:
        """As the port says."""
        tokens = [delivery.token for delivery in deliveries]
        try:
            encoded = [(outgoing, self._log.rows_of(outgoing)) for outgoing in outcomes]
        except LogError as error:
            return failed_future(self._log.loop, error)
        work = Settle(self._log, self._handover, self, tokens, encoded)
        self._free(tokens)
        self._log.submit(work)
        return work.future

    def release(self, deliveries: Sequence[Delivery], *, lost: bool = False) -> Future[None]:
        """As the port says."""
        tokens = [delivery.token for delivery in deliveries]
        work = Release(self._log, self._handover, self, tokens, lost=lost)
        self._free(tokens)
        self._log.submit(work)
        return work.future

    def resize(self, prefetch: int) -> None:
        """As the port says."""
        self._prefetch = prefetch
        self._free([])

    def _free(self, tokens: list[int]) -> None:
        self._held.difference_update(tokens)
        if not self._nothing_waits:
            self._stirred.set()  # there is room again, and its claim may go into the same commit

    async def close(self) -> None:
        """As the port says."""
        if not self._closed:
            self.shut()
            self._handover.give_up(self)
            await self._log.strike_off(self.member)

    def shut(self) -> None:
        """Take no more; who waits is told."""
        self._closed = True
        self._ready.clear()
        self._seeker.cancel()
        self._arrived.fire()

    # Looking for what waits.

    async def _seek(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            try:
                while self.room > 0 and not self._nothing_waits:
                    self._nothing_waits = True  # until somebody says otherwise, from here on
                    await self._claim(self.room)
                    if self._passed_over > _PAGE:
                        # Much waits that others have to take: looking at it must not become all that we do.
                        await asyncio.sleep(min(1.0, self._passed_over * _REST_PER_REFUSED))
            except LogError as error:
                self._trouble = error
                self._arrived.fire()
                await asyncio.sleep(_REST_AFTER_TROUBLE)
                self.stir()

    async def _claim(self, room: int) -> None:
        entries: list[Entry] = []
        self._passed_over = 0
        for queue in self.queues:
            entries += await self._look(queue, room)
        entries = heapq.nsmallest(room, entries)
        if len(entries) == room:
            self._nothing_waits = False  # there may be more
        if entries:
            self.reserved += len(entries)
            future: Future[int] = self._log.loop.create_future()
            self._log.submit(ClaimEntries(self, entries, future))
            if await future < len(entries):
                self._nothing_waits = False  # others were quicker; there may be more behind those

    async def _look(self, queue: str, room: int) -> list[Entry]:
        """Up to ``room`` waiting entries of a queue that the worker accepts, in order."""
        found: list[Entry] = []
        priority, token = 101, 0  # where the next page begins
        while len(found) < room:
            # Where nothing is refused, what is read is what is claimed.
            wanted = _PAGE if self._passed_over else min(_PAGE, room - len(found))
            after = (queue, priority, priority, token, wanted)
            page = await self._log.reader.ask(_WAITING, after)
            for token, priority, key, value, headers, lost in page:
                plain = NO_HEADERS if headers is None else decode_headers(headers)
                delivery = Delivery(queue, token, key, value, plain, 1 + (lost or 0))
                if self.accepts(delivery):
                    found.append((-priority, token, delivery))
                else:
                    self._passed_over += 1
            if len(page) < wanted:
                break
            await asyncio.sleep(0)
        return found


def hand_out(
    consumers: Sequence[Consumer], handover: Handover, queue: str, rows: Sequence[Row], batch: Batch
) -> list[Row]:
    """Hand new records to those of this process's workers that want them; return what is left."""
    consumers = [consumer for consumer in consumers if queue in consumer.queues]
    left = []
    for row in rows:
        chosen = _chosen_for(consumers, queue, row)
        if chosen is None:
            left.append(row)
        else:
            worker, delivery = chosen
            given = handover.give(queue, row, delivery, worker, batch)
            worker.receive((-row.priority, given.token, given))
    return left


def _chosen_for(consumers: Sequence[Consumer], queue: str, row: Row) -> tuple[Consumer, Delivery] | None:
    free = [consumer for consumer in consumers if consumer.open_to_new]
    if not free:
        return None
    headers = NO_HEADERS if row.headers is None else decode_headers(row.headers)
    delivery = Delivery(queue, 0, row.key, row.value, headers)
    willing = [consumer for consumer in free if consumer.accepts(delivery)]
    return (max(willing, key=lambda consumer: consumer.room), delivery) if willing else None
