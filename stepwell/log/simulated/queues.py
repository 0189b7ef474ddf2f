"""Workers' queues of a simulated log."""

from __future__ import annotations

import heapq
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stepwell.errors import LogClosedError, LogError
from stepwell.log.port import Delivery, NewRecord, Outgoing
from stepwell.log.sharing import priority_of
from stepwell.log.wake import failed_future

if TYPE_CHECKING:
    from stepwell.log.simulated.log import SimulatedLog, SimulatedStorage


class _Entry:
    """A record in a queue.

    Attributes:
        holder: The worker that has it in hand.
        lost: How often it was in the hands of a worker that died, or was taken for dead.
        visible: From when on workers see it.
    """

    __slots__ = ("delivery", "holder", "lost", "rank", "visible")

    def __init__(self, delivery: Delivery, visible: float) -> None:
        self.delivery = delivery
        self.rank = (-priority_of(delivery.headers.get("priority")), delivery.token)
        self.holder: SimulatedConsumer | None = None
        self.lost = 0
        self.visible = visible


class Queues:
    """All the queues of a storage."""

    def __init__(self, storage: SimulatedStorage) -> None:
        self._storage = storage
        self._entries: dict[int, _Entry] = {}
        self._token = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, queue: str, records: Sequence[NewRecord]) -> None:
        """Put records into a queue."""
        faults, loop = self._storage.faults, self._storage.loop
        for record in records:
            self._token += 1
            delivery = Delivery(queue, self._token, record.key, record.value, record.headers)
            visible = loop.time()
            if faults.strikes("delivery delayed", faults.rates.delayed):
                visible += faults.late()
                loop.call_at(visible + 1e-6, self._storage.queued.fire)
            self._entries[self._token] = _Entry(delivery, visible)
        if self._storage.observer is not None:
            self._storage.observer.queued(queue, records)
        self._storage.queued.fire()

    def hand_out(self, worker: SimulatedConsumer, most: int) -> list[Delivery]:
        """Give a worker what waits and what it accepts."""
        faults, now = self._storage.faults, self._storage.loop.time()
        waiting = [
            entry
            for entry in self._entries.values()
            if entry.holder is None
            and entry.delivery.queue in worker.queues
            and entry.visible <= now
            and worker.accepts(entry.delivery)
        ]
        if len(waiting) > 1 and faults.strikes("deliveries reordered", faults.rates.shuffled):
            chosen = faults.dice.sample(waiting, min(most, len(waiting)))
        else:
            chosen = heapq.nsmallest(most, waiting, key=lambda entry: entry.rank)
        for entry in chosen:
            entry.holder = worker
        found = [entry.delivery._replace(deliveries=1 + entry.lost) for entry in chosen]
        if self._storage.observer is not None:
            self._storage.observer.handed(worker.log, found)
        return found

    def forget(self, deliveries: Sequence[Delivery]) -> None:
        """They are settled."""
        for delivery in deliveries:
            self._entries.pop(delivery.token, None)

    def give_back(
        self, holder: SimulatedConsumer, deliveries: Sequence[Delivery] | None = None, *, lost: bool = False
    ) -> int:
        """What a worker holds, or some of it, is for anybody again; gives how many there were.

        Args:
            lost: The worker is dead, as far as anybody knows.
        """
        tokens = None if deliveries is None else {delivery.token for delivery in deliveries}
        count = 0
        for token, entry in self._entries.items():
            if entry.holder is holder and (tokens is None or token in tokens):
                entry.holder = None
                entry.lost += lost
                count += 1
        if count:
            self._storage.queued.fire()
        return count


class SimulatedConsumer:
    """One worker's end of its queues; see ``port.WorkQueue``."""

    def __init__(
        self,
        log: SimulatedLog,
        member: int,
        queues: Sequence[str],
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None,
    ) -> None:
        self.queues: frozenset[str] = frozenset(queues)
        self.closed: bool = False
        self._member = member
        self.log = log
        self._prefetch = prefetch
        self._accepts = accepts
        self._ready: list[Delivery] = []
        self._held: set[int] = set()

    def accepts(self, delivery: Delivery) -> bool:
        """Whether the worker wants it. Where its own code cannot say, it gets it."""
        try:
            return self._accepts is None or self._accepts(delivery)
        except Exception:
            return True

    async def take(self, limit: int) -> Sequence[Delivery]:
        """As the port says."""
        while not self._ready:
            self._check()
            await self.log.travel()
            self._check()
            room = self._prefetch - len(self._held)
            found = self.log.storage.queues.hand_out(self, min(limit, room)) if room > 0 else []
            if found:
                self._ready += found
                self._held.update(delivery.token for delivery in found)
                await self.log.travel()
            else:
                await self.log.wait(self.log.storage.queued)
            self._check()
        taken, self._ready = self._ready[:limit], self._ready[limit:]
        return taken

    def _check(self) -> None:
        if self.closed:
            raise LogClosedError("the queue was closed")

    def settle(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outgoing] = ()) -> Future[None]:
        """As the port says."""
        log = self.log
        try:
            checked = [log.check(outgoing) for outgoing in outcomes]
        except LogError as error:
            return failed_future(log.loop, error)
        tokens = [delivery.token for delivery in deliveries]
        self._held.difference_update(tokens)
        kept = log.storage.faults.strikes("settlement forgot nothing", log.storage.faults.rates.forgetful)

        def land() -> None:
            for outgoing in checked:
                log.storage.land(log, outgoing.topic, outgoing.partition, outgoing.records)
            if not kept:  # else it comes again, once this worker has gone: the port's "never the second …"
                log.storage.queues.forget(deliveries)
                self._held.difference_update(tokens)  # again: it may have come to us twice
            log.storage.queued.fire()

        places = [(outgoing.topic, outgoing.partition) for outgoing in checked]
        return log.submit(f"settle {len(deliveries)}", places, land)

    def release(self, deliveries: Sequence[Delivery], *, lost: bool = False) -> Future[None]:
        """As the port says."""
        self._held.difference_update(delivery.token for delivery in deliveries)

        def land() -> None:
            self.log.storage.queues.give_back(self, deliveries, lost=lost)

        return self.log.submit(f"release {len(deliveries)}", [], land)

    def resize(self, prefetch: int) -> None:
        """As the port says."""
        self._prefetch = prefetch
        self.log.storage.queued.fire()

    async def close(self) -> None:
        """As the port says."""
        if not self.closed:
            self.shut()
            if not self.log.closed:
                await self.log.travel()
                self.log.storage.leave(self._member)
                self.log.storage.queues.give_back(self)

    def shut(self) -> None:
        """Take no more; who waits is told."""
        self.closed = True
        self._ready.clear()
        self.log.storage.queued.fire()
