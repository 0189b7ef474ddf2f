"""The projector: follows the events of all partitions and keeps the file of the read models up to date.

It keeps the instances that are live at hand as the engine does, folded by the same ``evolve``. What is not at hand is
folded anew from its history in the file, so a restart goes on at once, and memory stays bounded however many there
are.
"""

from __future__ import annotations

import asyncio
import pathlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from stepwell.consumers.reading.cleanups import read_cleanup
from stepwell.consumers.reading.events import EventReader, place
from stepwell.consumers.reading.pending import progress_at
from stepwell.consumers.reading.snapshots import load_snapshot
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.fold.acceptance import AHEAD, KIND, STARTED, TRANSITION, Acceptance, read_stamp
from stepwell.core.fold.partition import PartitionState, Progress
from stepwell.core.fold.state import InstanceState
from stepwell.errors import LogCorruptedError
from stepwell.log.port import CLEANUPS, DEFINITIONS, EVENTS, REFUSALS, Log, Record
from stepwell.logs import Logger
from stepwell.projections.cleaning import take_out
from stepwell.projections.folding import Changes, Tracked, begins_anew, project, reopens, take_over
from stepwell.projections.store import OvertakenError, Position, Store, proof_of
from stepwell.projections.tables import CLEANUPS_PARTITION, DEFINITIONS_PARTITION, OFFSET_BITS, REFUSALS_PARTITION
from stepwell.schemas.records.audit import audit_definition, audit_refusal, audit_transition
from stepwell.schemas.records.events import Transition
from stepwell.schemas.records.partition_records import PartitionSnapshotted
from stepwell.schemas.records.refusals import KEPT

_logger = Logger("stepwell.projector")

_MOST_STEPS: Final = 500_000  # of the instances at hand, together: some 200 MB at the most
_BATCH: Final = 4_000  # records of one transaction; more only let queries wait for news


class AnotherLogError(Exception):
    """The file follows another log than this one, or a former life of it."""


_IN_THE_MIDDLE: Final = Acceptance(-2, 0)  # stands in positions until all that a snapshot covers was read


class _Middle(NamedTuple):
    """What helps to read a partition whose first records are gone, up to where its newest snapshot reaches.

    Attributes:
        state: The partition there,
        beyond: and what the acceptance rule knows there.
    """

    snapshot: PartitionSnapshotted
    state: PartitionState
    beyond: Acceptance

    def counts(self, record: Record) -> bool:
        """Whether a record holds a transition that counts: the snapshot says which do not."""
        return record.headers.get(KIND) == TRANSITION and record.offset not in self.snapshot.refused


class Projector:
    """Keeps one file up to date with one log.

    Args:
        log: The log.
        store: The open file. While the projector works, nobody else uses it.

    Attributes:
        path: The file's.
        positions: Where each partition stands.
        progressed: Set for a moment after every transaction.
    """

    def __init__(self, log: Log, store: Store) -> None:
        self._log = log
        self._store = store
        self.path: pathlib.Path = store.path
        self._readers: dict[int, EventReader] = {}
        self.positions: dict[int, Position] = {}
        self._progress: dict[int, Progress] = {}
        self._hand: OrderedDict[str, Tracked] = OrderedDict()
        self._steps = 0
        self._ended: set[str] = set()
        self._middles: dict[int, _Middle] = {}
        self.progressed: asyncio.Event = asyncio.Event()

    async def begin(self) -> None:
        """Take up the log where the file stands.

        Raises:
            AnotherLogError: The file follows another log.
        """
        self._forget()
        self.positions = await self._store.positions()
        self._progress = await self._store.progress()
        await self._check(DEFINITIONS, 0, self.positions.get(DEFINITIONS_PARTITION, Position()))
        await self._check(CLEANUPS, 0, self.positions.get(CLEANUPS_PARTITION, Position()))
        await self._check(REFUSALS, 0, self.positions.get(REFUSALS_PARTITION, Position()))
        if any(partition >= self._log.partitions for partition in self.positions):
            raise AnotherLogError
        for partition in range(self._log.partitions):
            position = self.positions.setdefault(partition, Position())
            await self._check(EVENTS, partition, position)
            reader = self._readers[partition] = EventReader(self._log, partition)
            reader.position = position.offset
            reader.acceptance = Acceptance(position.epoch, position.number)
            if reader.acceptance == _IN_THE_MIDDLE:
                await self._look_in_the_middle(partition)
            if position.offset and partition not in self._progress:  # the file is of a time when this was not noted
                self._progress[partition] = await progress_at(self._log, partition, position.offset)

    def _forget(self) -> None:
        self._hand.clear()
        self._ended.clear()
        self._middles.clear()
        self._steps = 0

    async def _check(self, topic: str, partition: int, position: Position) -> None:
        """Whether the record before a position is the one that was read there."""
        if not position.offset:
            return
        if position.offset > await self._log.end(topic, partition):
            raise AnotherLogError
        records = await self._log.read(topic, partition, position.offset - 1, limit=1)
        if not records or records[0].offset != position.offset - 1:
            return  # it is gone, and nothing can be compared
        if position.proof and proof_of(records[0].timestamp, records[0].value) != position.proof:
            raise AnotherLogError

    async def catch_up(self) -> None:
        """Follow the log up to its end as it is now."""
        ends = [await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)]
        for partition, end in enumerate(ends):
            while self.positions[partition].offset < end:
                records = await self._read(partition, end=end)
                if not records:
                    break
                await self.take(partition, records)

    async def _read(self, partition: int, end: int) -> Sequence[Record]:
        offset = self.positions[partition].offset
        return await self._log.read(EVENTS, partition, offset, limit=min(_BATCH, end - offset))

    async def take(self, partition: int, records: Sequence[Record]) -> None:
        """Take further records of a partition, and write what they change.

        Raises:
            LogVersionError: A record is of a newer version; nothing is skipped.
            ReadModelsError: The file cannot be written.
        """
        reader = self._readers[partition]
        before = self.positions[partition]
        if records[0].offset != before.offset:
            await self._begin_in_the_middle(partition, records[0].offset)
            return
        middle = self._middles.get(partition)
        if middle is not None:
            records = [record for record in records if record.offset <= middle.snapshot.covers]
        accepted: list[tuple[Record, Transition]] = []
        at = before.at
        former = progress = self._progress.get(partition, Progress())
        for record in records:
            if reader.take(record) if middle is None else middle.counts(record):
                transition = reader.decode(record)
                accepted.append((record, transition))
                at = transition.at
                progress = _followed(progress, record)
        if middle is None:
            reader.refused.clear()  # only histories need them
        else:
            reader.position = records[-1].offset + 1 if records else before.offset  # nothing is left of it
            ends = reader.position > middle.snapshot.covers
            reader.acceptance = middle.beyond if ends else _IN_THE_MIDDLE
        proof = proof_of(records[-1].timestamp, records[-1].value) if records else before.proof
        after = Position(reader.position, reader.acceptance.epoch, reader.acceptance.index, at, proof)
        try:
            async with self._store.transaction():
                changes = await self._fold(partition, accepted)
                if middle is not None and ends:
                    await self._take_over(changes, middle)
                    progress = middle.state.progress
                await self._store.write(
                    changes, partition, before, after, progress=progress if progress != former else None
                )
        except OvertakenError:
            await self.begin()
            return
        except BaseException:
            self._forget()  # what is at hand may be ahead of the file
            reader.position = before.offset
            reader.acceptance = Acceptance(before.epoch, before.number)
            raise
        self.positions[partition] = after
        self._progress[partition] = progress
        if middle is not None and ends:
            del self._middles[partition]
        self._let_go()
        self.progressed.set()
        self.progressed.clear()

    async def copy_definitions(self, definitions: Definitions) -> None:
        """Copy the registry, if anything was registered or switched since: it is small, so all of it."""
        before = self.positions.get(DEFINITIONS_PARTITION, Position())
        changes, after = Changes(), before
        while records := await self._log.read(DEFINITIONS, 0, after.offset):
            for record in records:
                at, offset = record.timestamp, record.offset
                entry = audit_definition(record.key, record.value, record.headers, at=at, partition=0, offset=offset)
                if entry is not None:
                    changes.audit.append(entry)
            last = records[-1]
            after = Position(last.offset + 1, at=last.timestamp, proof=proof_of(last.timestamp, last.value))
        if after != before:
            await definitions.catch_up()
            try:
                async with self._store.transaction():
                    await self._store.write(changes, DEFINITIONS_PARTITION, before, after, definitions.summaries())
            except OvertakenError:
                await self.begin()
                return
            self.positions[DEFINITIONS_PARTITION] = after
            self.progressed.set()
            self.progressed.clear()

    async def copy_refusals(self) -> None:
        """Copy what was refused since to the audit, and forget what the log may have forgotten."""
        before = self.positions.get(REFUSALS_PARTITION, Position())
        while records := await self._log.read(REFUSALS, 0, before.offset, limit=_BATCH):
            changes, last = Changes(), records[-1]
            for record in records:
                entry = audit_refusal(record.value, partition=0, offset=record.offset)
                if entry is not None:
                    changes.audit.append(entry)
            after = Position(last.offset + 1, at=last.timestamp, proof=proof_of(last.timestamp, last.value))
            try:
                async with self._store.transaction():
                    await self._store.write(changes, REFUSALS_PARTITION, before, after)
                    await self._store.forget_refusals(after.offset - KEPT)
            except OvertakenError:
                await self.begin()
                return
            self.positions[REFUSALS_PARTITION] = before = after
            self.progressed.set()
            self.progressed.clear()

    async def clean_up(self) -> bool:
        """Take out what the next cleanup says, once all of it was read; whether there was one.

        Raises:
            LogVersionError: It is of a newer version; nothing is skipped.
            ReadModelsError: The file cannot be written.
        """
        before = self.positions.get(CLEANUPS_PARTITION, Position())
        for record in await self._log.read(CLEANUPS, 0, before.offset):
            cleanup = read_cleanup(record)
            counts = cleanup.number == before.number + 1  # else another one came first
            if counts and self.positions[cleanup.partition].offset < cleanup.upto:
                return False
            proof = proof_of(record.timestamp, record.value)
            after = Position(record.offset + 1, number=before.number + counts, at=cleanup.at, proof=proof)
            changes, reopened = Changes(), dict[str, Tracked]()
            try:
                async with self._store.transaction():
                    if counts:
                        changes, reopened = await take_out(self._store, cleanup)
                    await self._store.write(changes, CLEANUPS_PARTITION, before, after)
            except OvertakenError:
                await self.begin()
                return True
            except BaseException:
                self._forget()
                raise
            self.positions[CLEANUPS_PARTITION] = after
            for instance_id, tracked in reopened.items():
                former = self._hand.pop(instance_id, None)
                self._steps += _size(tracked.state) - (0 if former is None else _size(former.state))
                self._hand[instance_id] = tracked
                self._ended.add(instance_id)  # let go of at once, unless it is live
            self._let_go()
            return True
        return False

    async def _fold(self, partition: int, accepted: Sequence[tuple[Record, Transition]]) -> Changes:
        changes = Changes()
        await self._fetch(accepted)
        for record, transition in accepted:
            entry = audit_transition(record.headers, transition, partition=partition, offset=record.offset)
            if entry is not None:
                changes.audit.append(entry)
            if not transition.sequence:  # an answer about an instance that is not there
                continue
            instance_id = transition.instance_id
            tracked = self._hand.get(instance_id)
            if tracked is None and not (begins_anew(transition) or reopens(transition)):
                if partition in self._middles:
                    continue  # it began before what is left; if it lives, the snapshot has it
                raise LogCorruptedError(
                    f"{instance_id}: event {transition.sequence} of an instance that was never started",
                    place=place(partition, record.offset),
                    remedy="Restore the log from a backup.",
                )
            if tracked is None or (tracked.state is not None and begins_anew(transition)):
                self._steps -= 0 if tracked is None else _size(tracked.state)
                tracked = self._hand[instance_id] = Tracked(self._store.new_number())
            steps = _size(tracked.state)
            project(changes, tracked, transition, partition << OFFSET_BITS | record.offset, record.value)
            self._steps += _size(tracked.state) - steps
            self._hand.move_to_end(instance_id)
            if tracked.state is None or not tracked.state.live:
                self._ended.add(instance_id)
        return changes

    async def _fetch(self, accepted: Sequence[tuple[Record, Transition]]) -> None:
        """Bring to hand what the transitions are about and the file knows."""
        missing: dict[str, None] = {}
        for _, transition in accepted:
            instance_id = transition.instance_id
            if instance_id in self._hand or instance_id in missing or not transition.sequence:
                continue
            if begins_anew(transition):
                self._hand[instance_id] = Tracked(self._store.new_number())
            else:
                missing[instance_id] = None
        if missing:
            for instance_id, tracked in (await self._store.load(list(missing))).items():
                self._hand[instance_id] = tracked
                self._steps += _size(tracked.state)

    # --- where the log no longer begins at its beginning -----------------------------------------------------

    async def _begin_in_the_middle(self, partition: int, first: int) -> None:
        """Go on at the first record that is left, if nothing was read yet of what is gone."""
        if self.positions[partition].offset:
            raise AnotherLogError  # what lies between is missing here: the rest has to be read anew
        _logger.info("older records are gone", partition=partition, first=first)
        start = Position(first, _IN_THE_MIDDLE.epoch, _IN_THE_MIDDLE.index)
        try:
            async with self._store.transaction():
                await self._store.write(Changes(), partition, self.positions[partition], start)
        except OvertakenError:
            await self.begin()
            return
        self.positions[partition] = start
        await self._look_in_the_middle(partition)

    async def _look_in_the_middle(self, partition: int) -> None:
        """Learn from the newest snapshot which of the records that it covers count."""
        reader = self._readers[partition]
        position = self.positions[partition]
        state = await load_snapshot(self._log, reader, await self._log.end(EVENTS, partition))
        if reader.snapshot is None:
            raise LogCorruptedError(
                f"the records before {position.offset} were deleted, and no snapshot says what they added up to",
                place=f"{EVENTS}[{partition}]",
                remedy="Keep events for ever (retention.ms=-1), or let Stepwell delete them: stepwell cleanup.",
            )
        if position.offset > reader.snapshot.covers + 1:
            raise LogCorruptedError(
                f"the records before {position.offset} were deleted, and no snapshot covers all of them",
                place=f"{EVENTS}[{partition}]",
                remedy="Restore the log from a backup. Let only Stepwell delete them: stepwell cleanup.",
            )
        self._middles[partition] = _Middle(
            reader.snapshot, state, Acceptance(reader.snapshot.epoch, reader.snapshot.index)
        )
        reader.position = position.offset

    async def _take_over(self, changes: Changes, middle: _Middle) -> None:
        """Take the instances that began before what is left, as the snapshot has them."""
        for instance_id, instance in sorted(middle.state.instances.items()):
            if instance_id in self._hand or await self._store.load([instance_id]):
                continue
            tracked = self._hand[instance_id] = Tracked(self._store.new_number())
            take_over(changes, tracked, instance, middle.state.at)
            self._steps += _size(instance)

    def _let_go(self) -> None:
        """Keep at hand what was touched last, as far as memory allows, and nothing that has finished."""
        for instance_id in self._ended:
            tracked = self._hand[instance_id]
            if tracked.state is None or not tracked.state.live:  # it may have been reopened since
                self._steps -= _size(self._hand.pop(instance_id).state)
        self._ended.clear()
        while self._steps > _MOST_STEPS and len(self._hand) > 1:
            _, tracked = self._hand.popitem(last=False)
            self._steps -= _size(tracked.state)


def _followed(progress: Progress, record: Record) -> Progress:
    """How far the engines had come behind a transition that counts."""
    headers = record.headers
    if AHEAD not in headers and int(headers.get(STARTED, -1)) < progress.start:
        return progress  # almost always: it is no start's
    return replace(progress.after(read_stamp(headers)), command=0)  # commands are nobody's question here


def _size(state: InstanceState | None) -> int:
    return 0 if state is None else 4 + len(state.steps)
