"""Reading an events partition: only what counts.

Everybody who reads events goes through here, so that engine, clients and read models agree on one history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from stepwell.core.fold.acceptance import (
    CLAIM,
    KIND,
    SNAPSHOT,
    SNAPSHOT_AT,
    TRANSITION,
    Acceptance,
    Stamp,
    read_stamp,
)
from stepwell.errors import LogCorruptedError
from stepwell.log.port import EVENTS, Log, Record
from stepwell.schemas.records.codec import decode_snapshotted, decode_transition
from stepwell.schemas.records.events import Transition, WorkflowReopened
from stepwell.schemas.records.partition_records import PartitionSnapshotted

T = TypeVar("T")

_STEP_BACK = 64  # claims are rare, so the newest transition is almost always among the last few records
_BATCH = 2_000
_CLAIMS = 32  # each process makes two or three before it decides anything


def place(partition: int, offset: int) -> str:
    """How messages name a record."""
    return f"{EVENTS}[{partition}]@{offset}"


class Accepted(NamedTuple):
    """A transition that counts, and the record that holds it."""

    record: Record
    transition: Transition


class EventReader:
    """Reads one events partition in order and keeps what the acceptance rule keeps.

    Attributes:
        position: Offset of the next record to read.
        acceptance: What the rule knows there.
        refused: Offsets of the transitions up to there that do not count.
        snapshot: The newest accepted snapshot record; None before the first.
        snapshot_at: Its offset; -1 before the first.
        claims: The last claims since the last accepted transition.
    """

    def __init__(self, log: Log, partition: int) -> None:
        self._log = log
        self.partition = partition
        self.position: int = 0
        self.acceptance: Acceptance = Acceptance()
        self.refused: set[int] = set()
        self.snapshot: PartitionSnapshotted | None = None
        self.snapshot_at: int = -1
        self.claims: deque[Record] = deque(maxlen=_CLAIMS)

    async def seek_snapshot(self, end: int | None = None) -> PartitionSnapshotted | None:
        """Go to the newest snapshot below ``end`` (the end as of now), from where the rule can be followed.

        Returns:
            The snapshot's record; None where there is none, and the reader stands at the beginning.
        """
        end = await self._log.end(EVENTS, self.partition) if end is None else end
        stamp = await newest_stamp(self._log, self.partition, end)
        missing = -1
        if stamp is not None and stamp.snapshot < 0 and await self._begins_later():
            # Written late by an owner that was replaced before the first snapshot: others before it name one.
            stamp = await newest_stamp(self._log, self.partition, end, beyond=missing)
        while stamp is not None and stamp.snapshot >= 0:
            found = await self._log.read(EVENTS, self.partition, stamp.snapshot, limit=1)
            if found and found[0].offset == stamp.snapshot:
                self.snapshot = decode_snapshotted(found[0].value, place(self.partition, stamp.snapshot))
                self.snapshot_at = stamp.snapshot
                return self._restart(self.snapshot)
            # Named by a replaced owner that wrote late, after a cleanup: others before it name a newer one.
            missing = stamp.snapshot
            stamp = await newest_stamp(self._log, self.partition, end, beyond=missing)
        if missing >= 0:
            raise LogCorruptedError(
                "the newest snapshot's record was deleted, and what it stood for before it",
                place=place(self.partition, missing),
                remedy="Restore the log from a backup. Nothing behind the newest snapshot may be deleted.",
            )
        return None

    async def _begins_later(self) -> bool:
        """Whether the first records of the partition are gone."""
        first = await self._log.read(EVENTS, self.partition, 0, limit=1)
        return bool(first) and first[0].offset > 0

    async def seek_newer_snapshot(self, end: int) -> PartitionSnapshotted | None:
        """Read on to a newer snapshot than the one this reader stands at, and go to it; None if there is none."""
        stale = self.snapshot_at
        while self.position < end and self.snapshot_at <= stale:
            before = self.position
            await self.read(end=end)
            if self.position == before:
                break
        return None if self.snapshot is None or self.snapshot_at <= stale else self._restart(self.snapshot)

    def _restart(self, snapshot: PartitionSnapshotted) -> PartitionSnapshotted:
        self.position = snapshot.covers + 1
        self.acceptance = Acceptance(snapshot.epoch, snapshot.index)
        self.refused = set(snapshot.refused)
        return snapshot

    async def read(self, *, wait: float | None = 0.0, end: int | None = None) -> Sequence[Record]:
        """The records of further accepted transitions, in order.

        Args:
            wait: Seconds to wait for the first record of any kind; None for ever.
            end: Read no further than this offset.
        """
        limit = _BATCH if end is None else max(0, min(_BATCH, end - self.position))
        if not limit:
            return ()
        records = await self._log.read(EVENTS, self.partition, self.position, limit=limit, wait=wait)
        return [record for record in records if self.take(record)]

    def take(self, record: Record) -> bool:
        """Follow the rule over one record; whether it holds a transition of an instance that counts."""
        headers = record.headers
        self.acceptance, counts = self.acceptance.read(record.offset, headers)
        self.position = record.offset + 1
        kind = headers.get(KIND)
        if not counts:
            if kind == CLAIM:
                self.claims.append(record)
            else:
                self.refused.add(record.offset)
            return False
        if kind == SNAPSHOT:
            self.snapshot = decode_snapshotted(record.value, place(self.partition, record.offset))
            self.snapshot_at = record.offset
            return False
        self.claims.clear()
        return kind == TRANSITION

    def jump(self, epoch: int, index: int) -> None:
        """Stand behind transition ``index`` of ``epoch``, which its owner has seen proved."""
        self.position = epoch + index + 1
        self.acceptance = Acceptance(epoch, index)

    def decode(self, record: Record) -> Transition:
        """What a record holds.

        Raises:
            LogVersionError, LogCorruptedError: It cannot be read; nothing may be decided without it.
        """
        return decode_transition(record.value, place(self.partition, record.offset))

    async def catch_up(self) -> None:
        """Follow the rule up to the end as of now, without looking at what the transitions hold."""
        end = await self._log.end(EVENTS, self.partition)
        while self.position < end:
            before = self.position
            await self.read(end=end)
            if self.position == before:
                return

    async def history(self, instance_id: str) -> list[Accepted]:
        """All accepted transitions of one instance up to where this reader stands; none of one that was cleaned away.

        What is left of an instance whose beginning was deleted is no history: nothing can be folded from it.
        """
        return whole(await self.left_of(instance_id))

    async def left_of(self, instance_id: str) -> list[Accepted]:
        """The same, but also what is left of an instance whose beginning was deleted."""
        records = await self._log.read_key(EVENTS, self.partition, instance_id)
        return [
            Accepted(record, self.decode(record))
            for record in records
            if record.offset < self.position
            and record.headers.get(KIND) == TRANSITION
            and record.offset not in self.refused
        ]


def accepted_or_claim(reader: EventReader, record: Record) -> tuple[bool, bool]:
    """Have a reader take a record: whether it is an instance's transition that counts, and whether it counts at all.

    Behind what counts (a claim, a snapshot's record and a transition that was accepted) the rule can be followed by
    whoever knows no more than this record; behind what does not, it cannot.
    """
    before = reader.acceptance
    is_transition = reader.take(record)
    return is_transition, reader.acceptance != before


def whole(found: Sequence[Accepted]) -> list[Accepted]:
    """An instance's transitions from the first one on that needs nothing before it, and all mere answers."""
    kept, begun = [], False
    for accepted in found:
        transition = accepted.transition
        begun = begun or transition.sequence == 1 or isinstance(transition.events[0], WorkflowReopened)
        if begun or not transition.sequence:
            kept.append(accepted)
    return kept


async def newest_stamp(log: Log, partition: int, end: int, *, beyond: int = -2) -> Stamp | None:
    """The headers of the last transition below ``end``, accepted or not; None where there is none.

    A refused transition will do: the snapshot that it names was accepted when it was written.

    Args:
        beyond: Only one that names a later snapshot than this offset.
    """

    def newest(records: Sequence[Record]) -> Stamp | None:
        stamped = (record.headers for record in reversed(records) if SNAPSHOT_AT in record.headers)
        return next((stamp for stamp in map(read_stamp, stamped) if stamp.snapshot > beyond), None)

    first = await log.read(EVENTS, partition, 0, limit=1) if beyond >= -1 else ()
    return await find_back(log, partition, end, newest, start=first[0].offset if first else 0)


async def find_back(
    log: Log, partition: int, end: int, find: Callable[[Sequence[Record]], T | None], *, start: int = 0
) -> T | None:
    """What ``find`` finds in the last few events below ``end``, else in the few before those, down to ``start``."""
    while end > start:
        begin = max(start, end - _STEP_BACK)
        found = find(await read_range(log, EVENTS, partition, begin, end))
        if found is not None:
            return found
        end = begin
    return None


async def read_range(log: Log, topic: str, partition: int, start: int, end: int) -> list[Record]:
    """The records from ``start`` up to ``end``, all that are there: a single read may give fewer than there are."""
    found: list[Record] = []
    while start < end and (more := await log.read(topic, partition, start, limit=end - start)):
        found += [record for record in more if record.offset < end]
        start = more[-1].offset + 1
    return found
