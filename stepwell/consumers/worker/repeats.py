"""Whether work that may come a second time is still to be done.

Work that was sent again, or that was in the hands of a worker that has died, may have an outcome in the log by the
time that a worker meets it. That outcome stands in the events, or, where no engine has followed it yet, among the
commands behind the last one that was followed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Final

from stepwell.consumers.reading.events import EventReader, accepted_or_claim
from stepwell.core.decide.effects import is_under_way
from stepwell.core.fold.acceptance import SOURCE
from stepwell.core.fold.evolve import fold
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, EVENTS, Log
from stepwell.schemas.records.codec import decode_command
from stepwell.schemas.records.commands import CompleteStep, FailStep, ReturnStep
from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    StepCancelled,
    StepCompensated,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepRetryScheduled,
    StepReturned,
    StepsDeferred,
    StepStarted,
    StepSucceeded,
    Transition,
)
from stepwell.schemas.records.work import WorkItem

_PAGE: Final = 1000
_REMEMBERED: Final = 10_000  # instances
_SETTLES: Final = (StepSucceeded, StepFailed, StepRetryScheduled, StepCancelled, StepCompensated, StepReturned)
_ENDS_NO_RUN: Final = (StepStarted, StepHeartbeat, StepsDeferred, CommandNoted, CommandRejected)
_OUTCOMES: Final = (CompleteStep, FailStep, ReturnStep)


class Repeats:
    """What one worker knows of what was settled."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._partitions: dict[int, _Partition] = {}

    async def is_wanted(self, item: WorkItem) -> bool:
        """Whether the log holds no outcome of this run, and somebody still waits for one.

        Raises:
            LogError: It cannot be read.
        """
        number = partition_for(item.instance_id, self._log.partitions)
        partition = self._partitions.get(number)
        if partition is None:
            partition = self._partitions[number] = _Partition(self._log, number)
        return await partition.is_wanted(item)


class _Partition:
    """One partition: its events as far as they were read, and the outcomes behind them."""

    def __init__(self, log: Log, number: int) -> None:
        self._log = log
        self._number = number
        self._lock = asyncio.Lock()
        self._reader: EventReader | None = None
        self._followed = -1  # offset of the last command that an engine has followed
        self._position = 0  # of the next command to read
        self._outcomes: deque[tuple[int, str, int]] = deque()  # offset, instance, run: not followed yet
        # By instance, whether each run that we have read of is under way: some logs have no index to ask instead.
        self._runs: OrderedDict[str, dict[int, bool]] = OrderedDict()

    async def is_wanted(self, item: WorkItem) -> bool:
        async with self._lock:
            # The commands as of now come first: of each of them the events tell, or it is read behind them.
            end = await self._log.end(COMMANDS, self._number)
            reader = await self._read_events()
            await self._read_commands(end)
            if any(key == item.instance_id and run == item.step.run for _, key, run in self._outcomes):
                return False
            known = self._runs.get(item.instance_id, {}).get(item.step.run)
            if known is not None:
                return known
            history = await reader.history(item.instance_id)
        state = fold(accepted.transition for accepted in history)
        return state is not None and is_under_way(state, item.step)

    async def _read_events(self) -> EventReader:
        if self._reader is None:
            reader = EventReader(self._log, self._number)
            await reader.seek_snapshot()
            self._reader = reader
        reader = self._reader
        end = await self._log.end(EVENTS, self._number)
        while reader.position < end:
            records = await self._log.read(EVENTS, self._number, reader.position, limit=end - reader.position)
            if not records:
                break
            for record in records:
                is_transition, counts = accepted_or_claim(reader, record)
                if is_transition:
                    self._follow(reader.decode(record))
                if counts and SOURCE in record.headers:
                    self._followed = int(record.headers[SOURCE])
        return reader

    def _follow(self, transition: Transition) -> None:
        runs = self._runs.setdefault(transition.instance_id, {})
        for event in transition.events:
            if isinstance(event, StepReady):
                runs[event.run] = True
            elif isinstance(event, _SETTLES):
                runs[event.run] = False
            elif not isinstance(event, _ENDS_NO_RUN):
                runs.clear()  # whether they end by it is for the fold to say
        self._runs.move_to_end(transition.instance_id)
        if len(self._runs) > _REMEMBERED:
            self._runs.popitem(last=False)

    async def _read_commands(self, end: int) -> None:
        self._position = max(self._position, self._followed + 1)
        while self._outcomes and self._outcomes[0][0] <= self._followed:
            self._outcomes.popleft()
        while self._position < end:
            records = await self._log.read(COMMANDS, self._number, self._position, limit=_PAGE)
            if not records:
                break
            for record in records:
                self._position = record.offset + 1
                try:
                    command = decode_command(record.value)
                except ValueError:  # an engine will put it aside
                    continue
                if isinstance(command, _OUTCOMES):
                    self._outcomes.append((record.offset, command.instance_id, command.run))
