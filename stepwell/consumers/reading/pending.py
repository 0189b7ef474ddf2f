"""Instances whose start is in the log, but that no engine has decided about yet: their status is ``pending``.

The truth is the log's: a start waits as long as no accepted transition has taken it (see
``core.fold.partition.Progress``). What waits is read once and kept at hand, so that asking again costs no more
than what came since.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from stepwell.consumers.reading.cleanups import cleaned_away
from stepwell.consumers.reading.events import find_back
from stepwell.consumers.reading.histories import InstanceRecords, look_up, unknown_instance
from stepwell.consumers.reading.views import InstanceView, StepView
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.fold.acceptance import SNAPSHOT_AT, Stamp, read_stamp
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.partition import Progress
from stepwell.core.fold.state import InstanceState
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, EVENTS, STARTS, Log, Record
from stepwell.schemas.records.codec import decode_command
from stepwell.schemas.records.commands import COMMANDS_VERSION, InstanceId, Priority, StartWorkflow
from stepwell.schemas.records.events import CommandRejected
from stepwell.schemas.records.statuses import PENDING, StepStatus
from stepwell.schemas.records.step_waits import Parent

MOST_KEPT: Final = 250_000  # waiting starts of all partitions at hand, the oldest ones: some 60 MB
_SLACK: Final = 1_000  # starts that stay at hand for somebody who looks at an older state of the log
_BATCH: Final = 2_000


class _Head(Struct, frozen=True, gc=False, tag_field="type", tag="StartWorkflow"):
    """What is kept of a start: all but its input."""

    instance_id: InstanceId
    workflow: str
    version: str | None = None
    priority: Priority = 0
    command_id: str = ""
    parent: Parent | None = None
    schema: int = COMMANDS_VERSION


_heads: Final = msgspec.json.Decoder(_Head)


class WaitingStart(Struct, frozen=True, gc=False):
    """A start that waits in the log.

    Attributes:
        at: When it was appended, in milliseconds since 1970.
        partition: Where it is on ``starts``,
        offset: and its record's offset.
        parent: Id of the instance whose step has asked for it; empty where it was somebody else.
    """

    instance_id: str
    workflow: str
    version: str
    priority: int
    command_id: str
    at: int
    partition: int
    offset: int
    parent: str = ""


class _Lane:
    """The starts of one partition, from the first that may wait on."""

    def __init__(self) -> None:
        self.position = 0
        self.lock = asyncio.Lock()
        self.waiting: deque[WaitingStart] = deque()
        self.by_id: dict[str, list[WaitingStart]] = {}

    def keep(self, start: WaitingStart) -> None:
        self.waiting.append(start)
        self.by_id.setdefault(start.instance_id, []).append(start)

    def forget_before(self, offset: int) -> None:
        while self.waiting and self.waiting[0].offset < offset:
            start = self.waiting.popleft()
            left = self.by_id[start.instance_id]
            left.remove(start)
            if not left:
                del self.by_id[start.instance_id]


class WaitingStarts:
    """The starts that wait, read as they are asked for.

    Args:
        log: The log.
        most: How many are kept at hand at once; of what is beyond, only the number is known.
    """

    def __init__(self, log: Log, most: int = MOST_KEPT) -> None:
        self._log = log
        self._most = max(1, most // log.partitions)
        self._lanes: dict[int, _Lane] = {}

    async def _follow(self, partition: int, progress: Progress) -> _Lane:
        lane = self._lanes.setdefault(partition, _Lane())
        async with lane.lock:
            first = max(0, progress.start - _SLACK)
            lane.forget_before(first)
            lane.position = max(lane.position, first)
            while len(lane.waiting) < self._most + _SLACK:
                records = await self._log.read(STARTS, partition, lane.position, limit=_BATCH)
                if not records:
                    break
                for record in records:
                    start = _head_of(record, partition)
                    if start is not None:
                        lane.keep(start)
                lane.position = records[-1].offset + 1
        return lane

    async def in_partition(self, partition: int, progress: Progress) -> tuple[list[WaitingStart], int]:
        """What waits in a partition, the oldest first, and how many starts beyond that were not looked at.

        Args:
            progress: How far the partition's engines have come.
        """
        lane = await self._follow(partition, progress)
        found = [start for start in lane.waiting if not progress.has_had(start.offset)]
        return found, await self._log.end(STARTS, partition) - max(lane.position, progress.start)

    async def of(self, instance_id: str, progress: Progress) -> list[WaitingStart]:
        """The starts of one id that wait, in the order in which they were asked for."""
        partition = partition_for(instance_id, self._log.partitions)
        lane = await self._follow(partition, progress)
        found = [start for start in lane.by_id.get(instance_id, ()) if not progress.has_had(start.offset)]
        if len(lane.waiting) >= self._most:  # there may be more than is kept at hand
            for record in await self._log.read_key(STARTS, partition, instance_id, offset=lane.position):
                start = _head_of(record, partition)
                if start is not None:
                    found.append(start)
        return found

    async def whole(self, start: WaitingStart) -> StartWorkflow | None:
        """The command itself, with its input; None where it can no longer be read."""
        records = await self._log.read(STARTS, start.partition, start.offset, limit=1)
        return _start_of(records[0]) if records and records[0].offset == start.offset else None


def _head_of(record: Record, partition: int) -> WaitingStart | None:
    """What is kept of a start; None of what an engine will put among the dead letters, or send on elsewhere."""
    try:
        head = _heads.decode(record.value)
    except msgspec.DecodeError:
        return None
    if head.schema > COMMANDS_VERSION:
        return None
    return WaitingStart(
        head.instance_id, head.workflow, head.version or "", head.priority, head.command_id, record.timestamp,
        partition, record.offset, head.parent.instance_id if head.parent is not None else "",
    )  # fmt: skip


def _start_of(record: Record) -> StartWorkflow | None:
    try:
        command = decode_command(record.value)
    except ValueError:
        return None
    return command if isinstance(command, StartWorkflow) else None


class PendingInstances:
    """Finds instances, those included that have no event yet.

    Args:
        log: The log.
        definitions: The registry, for the steps that it will have.

    Attributes:
        starts: All that wait.
    """

    def __init__(self, log: Log, definitions: Definitions) -> None:
        self._log = log
        self._definitions = definitions
        self.starts: WaitingStarts = WaitingStarts(log)

    async def find(self, instance_id: str) -> InstanceState | StartWorkflow:
        """An instance's newest state; or, while no engine has decided about it, the start that waits.

        Raises:
            UnknownInstanceError: The log holds none of this id (any more).
            CommandRejectedError: It was asked for, and the engine would not start it.
        """
        found = await look_up(self._log, instance_id)
        state = None if found.cut else fold(accepted.transition for accepted in found.whole)
        if state is not None:
            return state
        waiting = await self._first(found, instance_id)
        if waiting is not None:
            return waiting
        for accepted in reversed(found.whole):
            for event in accepted.transition.events:
                if isinstance(event, CommandRejected) and event.command == "StartWorkflow":
                    raise CommandRejectedError(
                        event.code, f"its start was rejected: {event.message}", instance_id=instance_id
                    )
        gone = await cleaned_away(self._log, instance_id, surely=found.cut)
        raise gone or unknown_instance(instance_id)

    async def start_of(self, instance_id: str) -> StartWorkflow | None:
        """The start that waits for an engine; None where there is none, or it was decided."""
        try:
            found = await self.find(instance_id)
        except (UnknownInstanceError, CommandRejectedError):
            return None
        return found if isinstance(found, StartWorkflow) else None

    async def is_first(self, instance_id: str, command_id: str) -> bool:
        """Whether a start that was just appended begins its instance, as far as one can see: no other came first."""
        try:
            found = await self.find(instance_id)
        except (UnknownInstanceError, CommandRejectedError):
            return True
        if isinstance(found, StartWorkflow):
            return found.command_id == command_id
        return command_id in found.commands

    async def _first(self, found: InstanceRecords, instance_id: str) -> StartWorkflow | None:
        """The start that will be decided first, of those that were not when ``found`` was read."""
        answered = {
            getattr(event, "command_id", "") for accepted in found.left for event in accepted.transition.events
        } - {""}
        taken = {read_stamp(accepted.record.headers).ahead for accepted in found.left}
        reader, partition = found.reader, found.reader.partition
        progress = await progress_at(self._log, partition, reader.position, reader.refused)
        # Children are started by `commands`; and what lies there is decided before any start.
        for record in await self._log.read_key(COMMANDS, partition, instance_id, offset=progress.command):
            command = _start_of(record)
            if command is not None and command.command_id not in answered:
                return command
        for start in await self.starts.of(instance_id, progress):
            if start.offset not in taken and start.command_id not in answered:
                command = await self.starts.whole(start)
                if command is not None:
                    return command
        return None

    async def view(self, start: StartWorkflow) -> InstanceView:
        """A start that waits, as instances are shown."""
        await self._definitions.catch_up()
        wanted = self._definitions.resolve(start.workflow, start.version)
        return InstanceView(
            instance_id=start.instance_id,
            workflow=start.workflow,
            version=start.version or "",
            status=PENDING,
            steps={step_id: StepView(StepStatus.PENDING.value) for step_id in wanted.steps} if wanted else {},
            input=start.input,
            priority=start.priority,
        )


async def progress_at(log: Log, partition: int, end: int, refused: Collection[int] = ()) -> Progress:
    """How far the engines of a partition had come at an offset of ``events``, but for what was taken out of turn.

    Args:
        refused: Offsets of the transitions that are known not to count.
    """

    def newest(records: Sequence[Record]) -> Stamp | None:
        for record in reversed(records):
            if SNAPSHOT_AT in record.headers and record.offset not in refused:
                return read_stamp(record.headers)
        return None

    first = await log.read(EVENTS, partition, 0, limit=1)
    stamp = await find_back(log, partition, end, newest, start=first[0].offset if first else 0)
    return Progress() if stamp is None else Progress(stamp.source + 1, stamp.started + 1)
