"""A log in memory whose faults are drawn from a seed, for deterministic simulation.

FoundationDB and TigerBeetle are tested so: the whole system runs in one thread, in virtual time, on a storage and a
network that fail in every way that the real ones may, and whatever happens can be repeated from its seed.

It keeps the port's promises (``tests/contract`` runs on it) and no more than those: whatever the port leaves open
happens sooner or later. An append that fails may be in the log, land later (after others', after its writer was
replaced, twice) or never; groups lie; workers that are taken for dead go on. One ``SimulatedLog`` is one process.

It needs an event loop whose time is virtual (``stepwell.testing``) to be deterministic and fast, and works in any.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import Future
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from stepwell.errors import LogError, RecordTooLargeError
from stepwell.log.port import (
    NO_HEADERS,
    PARTITIONED,
    WORKERS,
    Delivery,
    Description,
    Member,
    NewRecord,
    Outgoing,
    Record,
    TopicPartition,
)
from stepwell.log.simulated.faults import CALM, STORMY, Faults, Rates
from stepwell.log.simulated.groups import Groups, SimulatedMembership
from stepwell.log.simulated.process import Bell, SimulatedProcess, fail
from stepwell.log.simulated.queues import Queues, SimulatedConsumer
from stepwell.log.wake import failed_future

__all__ = ["CALM", "STORMY", "Faults", "Observer", "Rates", "SimulatedLog", "SimulatedStorage"]

_BEGINNING: Final = 1_750_000_000_000  # milliseconds since 1970 at which virtual time starts: some day


class Observer(Protocol):
    """Sees everything that happens in a storage, at the moment when it happens."""

    def asked(self, log: SimulatedProcess, what: str) -> None:
        """A process has called."""

    def landed(self, log: SimulatedProcess, place: TopicPartition, records: Sequence[Record]) -> None:
        """Records are in the log."""

    def sends(self, log: SimulatedProcess, to: TopicPartition | str, records: Sequence[NewRecord]) -> None:
        """A process appends to a partition, or puts records into a queue; they are not there yet."""

    def queued(self, queue: str, records: Sequence[NewRecord]) -> None:
        """Records are in a queue."""

    def handed(self, log: SimulatedProcess, deliveries: Sequence[Delivery]) -> None:
        """Records of queues are given to a worker."""

    def died(self, log: SimulatedProcess) -> None:
        """A process has ended without a word."""


class _Partition:
    """A partition: all records that it ever had, and where what it still has begins."""

    __slots__ = ("arrived", "records", "start")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.start: int = 0
        self.arrived: Bell = Bell()


class SimulatedStorage:
    """What the processes of one simulated world share.

    Args:
        seed: Of all chance, unless ``faults`` brings its own.
        faults: What goes wrong; without it, nothing.
        observer: Sees what happens.
        beginning: When virtual time starts, in milliseconds since 1970.

    Attributes:
        patience: Seconds within which what happens in one process is seen by another.
        settles_at_once: Outcome and settlement are one.
        counts_the_first_death: Whether each worker that dies with a record is counted.
    """

    patience: float = 5.0
    settles_at_once: bool = True
    counts_the_first_death: bool = True

    def __init__(
        self,
        seed: int = 0,
        *,
        partitions: int = 4,
        max_record_bytes: int = 1_048_576,
        faults: Faults | None = None,
        observer: Observer | None = None,
        beginning: int = _BEGINNING,
    ) -> None:
        self.beginning = beginning
        self.partitions = partitions
        self.max_record_bytes = max_record_bytes
        self.faults: Faults = faults or Faults(random.Random(seed))  # noqa: S311 - repeatable on purpose
        self.observer = observer
        self.queues: Queues = Queues(self)
        self.groups: Groups = Groups(partitions)
        self.queued: Bell = Bell()  # something about the queues has changed
        self.regrouped: Bell = Bell()  # something about the groups has changed
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._logs: list[SimulatedLog] = []

    async def open(self, name: str = "") -> SimulatedLog:
        """A log object on this storage; each one stands for a process of its own."""
        log = SimulatedLog(self, name or f"p{len(self._logs)}")
        self._logs.append(log)
        return log

    async def crash(self, log: Any) -> None:
        """End a log object as ``kill -9`` ends a process: nothing is finished, nothing is given back."""
        log.die()

    async def close(self) -> None:
        """Close whatever is open still."""
        for log in self._logs:
            await log.close()

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self.beginning + int(self.loop.time() * 1000)

    def partition(self, topic: str, partition: int) -> _Partition:
        """Where a partition's records are."""
        found = self._partitions.get((topic, partition))
        if found is None:
            found = self._partitions[topic, partition] = _Partition()
        return found

    def records(self, topic: str, partition: int) -> Sequence[Record]:
        """All records that ever were in a partition: for those who check, whatever was deleted since."""
        return self.partition(topic, partition).records

    def land(self, log: SimulatedProcess, topic: str, partition: int, records: Iterable[NewRecord]) -> list[int]:
        """Append records."""
        found, now = self.partition(topic, partition), self.now()
        first = len(found.records)
        added = [Record(offset, new.key, new.value, new.headers, now) for offset, new in enumerate(records, first)]
        found.records += added
        if self.observer is not None:
            self.observer.landed(log, (topic, partition), added)
        found.arrived.fire()
        return list(range(first, first + len(added)))

    def leave(self, member: int) -> None:
        """End a membership."""
        self.groups.leave(member)
        self.regrouped.fire()

    def bury(self, log: SimulatedProcess, *, died: bool = True) -> None:
        """A process is known to have ended: so do its memberships, and what it had in hand is for anybody again.

        Args:
            died: It has ended without a word.
        """
        self.groups.bury(log)
        for worker in log.workers:
            self.queues.give_back(worker, lost=died)
        self.regrouped.fire()

    def expel(self, log: SimulatedProcess, *, expelled: bool = True, told: bool = True) -> None:
        """Take a process for dead that is not, or see that it lives after all.

        Args:
            told: Whether it hears of it itself.
        """
        self.groups.expel(log, expelled=expelled, told=told)
        if expelled:
            for worker in log.workers:
                self.faults.counts["delivered again"] += self.queues.give_back(worker, lost=True)
        self.regrouped.fire()


class SimulatedLog(SimulatedProcess):
    """One process's log object; see ``port.Log``. Made by ``SimulatedStorage.open``."""

    def __init__(self, storage: SimulatedStorage, name: str) -> None:
        super().__init__(storage, name)
        self.partitions: int = storage.partitions
        self.max_record_bytes: int = storage.max_record_bytes
        self._description = Description("simulated", f"simulated:{name}")

    def describe(self) -> Description:
        """As the port says: in memory, and without an index of keys."""
        return self._description

    # Records.

    def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Future[Sequence[int]]:
        """As the port says."""
        try:
            checked = self.check(Outgoing(topic, partition, records)).records
        except LogError as error:
            return failed_future(self.loop, error)
        place, faults = (topic, partition), self.storage.faults
        if self.storage.observer is not None:
            self.storage.observer.sends(self, place, checked)
        what = f"append {len(checked)} to {topic}[{partition}]"
        if len(checked) > 1 and faults.strikes("split", faults.rates.split):
            cut = faults.dice.randrange(1, len(checked))
            return self._append_apart(what, place, checked[:cut], checked[cut:])
        return self.submit(what, [place], lambda: self.storage.land(self, topic, partition, checked))

    def _append_apart(
        self, what: str, place: TopicPartition, head: Sequence[NewRecord], tail: Sequence[NewRecord]
    ) -> Future[Sequence[int]]:
        """The records of one append, in two parts; others' may come in between."""
        parts = [
            self.submit(what, [place], lambda part=part: self.storage.land(self, *place, part))  # type: ignore[misc]
            for part in (head, tail)
        ]
        both: Future[Sequence[int]] = self.loop.create_future()

        def done(_: Future[Any]) -> None:
            if both.done() or not all(part.done() for part in parts):
                return
            errors = [error for part in parts if (error := part.exception()) is not None]
            if errors:
                fail(both, errors[0])
            else:
                both.set_result([offset for part in parts for offset in part.result()])

        for part in parts:
            part.add_done_callback(done)
        return both

    def check(self, outgoing: Outgoing) -> Outgoing:
        """Check records on their way into a partition, and make them our own."""
        self._check_place(outgoing.topic, outgoing.partition)
        return outgoing._replace(records=self._own(outgoing.records))

    def _own(self, records: Sequence[NewRecord]) -> list[NewRecord]:
        self.check_open()
        for record in records:
            if len(record.value) > self.max_record_bytes:
                raise RecordTooLargeError(
                    f"a record of {len(record.value):,} bytes is too large",
                    size=len(record.value),
                    limit=self.max_record_bytes,
                    place=self.name,
                    remedy="Pass a reference to the data instead.",
                )
        return [record._replace(headers=MappingProxyType(dict(record.headers))) for record in records]

    async def read(
        self, topic: str, partition: int, offset: int, *, limit: int = 1000, wait: float | None = 0.0
    ) -> Sequence[Record]:
        """As the port says."""
        self._check_place(topic, partition)
        deadline = None if wait is None else self.loop.time() + wait
        await self.travel()
        found = self.storage.partition(topic, partition)
        offset, faults = max(offset, 0), self.storage.faults
        while limit > 0:
            start = max(offset, found.start)
            records = found.records[start : start + limit]
            left = None if deadline is None else deadline - self.loop.time()
            if records and len(records) > 1 and faults.strikes("short read", faults.rates.short_read):
                records = records[: faults.dice.randrange(1, len(records))]
            if records or (left is not None and left <= 0):
                await self.travel()
                return records
            await self.wait(found.arrived, left)
        return []

    async def read_key(self, topic: str, partition: int, key: str, *, offset: int = 0) -> Sequence[Record]:
        """As the port says."""
        self._check_place(topic, partition)
        await self.travel()
        found = self.storage.partition(topic, partition)
        records = [record for record in found.records[max(offset, found.start) :] if record.key == key]
        await self.travel()
        return records

    async def known_keys(self, topic: str, partition: int, keys: Collection[str]) -> set[str]:
        """As the port says; all is looked at."""
        self._check_place(topic, partition)
        await self.travel()
        found = self.storage.partition(topic, partition)
        known = {record.key for record in found.records[found.start :]}.intersection(keys)
        await self.travel()
        return known

    async def is_there(self, topic: str) -> bool:  # noqa: ARG002 - whatever its name
        """As the port says: every topic is there, for it need not be made."""
        self.check_open()
        return True

    async def free_space(self) -> None:
        """As the port says: there is no disk."""
        self.check_open()

    async def end(self, topic: str, partition: int) -> int:
        """As the port says."""
        self._check_place(topic, partition)
        await self.travel()
        return len(self.storage.partition(topic, partition).records)

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """As the port says."""
        self._check_place(topic, partition)
        await self.travel()
        faults = self.storage.faults
        if not faults.strikes("nothing deleted", faults.rates.keeps):
            found = self.storage.partition(topic, partition)
            found.start = max(found.start, min(offset, len(found.records)))

    # Queues and groups.

    def enqueue(self, queue: str, records: Sequence[NewRecord]) -> Future[None]:
        """As the port says."""
        try:
            checked = self._own(records)
        except LogError as error:
            return failed_future(self.loop, error)
        if self.storage.observer is not None:
            self.storage.observer.sends(self, queue, checked)
        return self.submit(f"enqueue {len(checked)}", [], lambda: self.storage.queues.add(queue, checked), fence=True)

    async def consume(
        self,
        queues: Sequence[str],
        *,
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None = None,
        about: Mapping[str, str] = NO_HEADERS,
    ) -> SimulatedConsumer:
        """As the port says."""
        await self.travel()
        member = self.storage.groups.enter(self, WORKERS, about, shares=False)
        worker = SimulatedConsumer(self, member, queues, max(prefetch, 1), accepts)
        self.workers.append(worker)
        return worker

    async def join(self, group: str, about: Mapping[str, str] = NO_HEADERS) -> SimulatedMembership:
        """As the port says."""
        await self.travel()
        member = self.storage.groups.enter(self, group, about, shares=True)
        self.storage.regrouped.fire()
        return SimulatedMembership(self, member)

    async def members(self, group: str) -> Sequence[Member]:
        """As the port says."""
        await self.travel()
        return self.storage.groups.members(group)

    def _check_place(self, topic: str, partition: int) -> None:
        most = self.partitions if topic in PARTITIONED else 1024
        if not 0 <= partition < most:
            raise LogError(f"{topic} has no partition {partition}", place=self.name, remedy=f"It has {most}.")
