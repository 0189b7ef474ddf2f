"""Settling: the outcomes first, then the record. In our own partitions by a position, elsewhere by a note to all."""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Iterable, Sequence
from typing import Final

from stepwell.errors import LogClosedError, LogError
from stepwell.log.kafka.assigned import Assignment
from stepwell.log.kafka.exchange import Note, Spot, place_of
from stepwell.log.kafka.group import GroupMember
from stepwell.log.kafka.handover import Passing
from stepwell.log.kafka.queue_state import Entry, QueueState
from stepwell.log.kafka.services import Services
from stepwell.log.port import Outgoing
from stepwell.logs import Logger
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.log.kafka")

_REST: Final = 0.2  # seconds after trouble
_TRIM: Final = 20_000  # settled records of a partition that are deleted together


class _Settlement:
    """One call of ``settle``."""

    __slots__ = ("future", "left")

    def __init__(self, future: Future[None], left: set[Spot]) -> None:
        self.future = future
        self.left = left

    def settled(self, spot: Spot) -> None:
        self.left.discard(spot)
        if not self.left and not self.future.done():
            self.future.set_result(None)


class Settling:
    """All settlements of one worker."""

    def __init__(self, log: Services, assignment: Assignment, member: GroupMember) -> None:
        self._log = log
        self._assignment = assignment
        self._member = member
        self._passing: Passing
        self._loop = asyncio.get_running_loop()
        self._tasks: set[Task[None]] = set()  # outcomes on their way
        self._pending: dict[Spot, _Settlement] = {}  # outcomes are safe, records not yet settled
        self._unsettled: set[_Settlement] = set()
        self._stirred = asyncio.Event()
        self._committing = asyncio.Lock()
        self._runner: Task[None] | None = None
        self._trimming: set[Task[None]] = set()

    def start(self, passing: Passing) -> None:
        """Begin to settle."""
        self._passing = passing
        self._runner = self._loop.create_task(self._run(), name="stepwell-settling")

    def stir(self) -> None:
        """There is something to commit."""
        self._stirred.set()

    def settle(self, entries: Sequence[Entry], outcomes: Sequence[Outgoing]) -> Future[None]:
        """Append the outcomes, then settle."""
        settlement = _Settlement(self._loop.create_future(), {entry.spot for entry in entries})
        self._unsettled.add(settlement)
        settlement.future.add_done_callback(lambda _: self._unsettled.discard(settlement))
        appended = [self._log.append(one.topic, one.partition, one.records) for one in outcomes]
        if appended:
            task = self._loop.create_task(self._after(appended, entries, settlement))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._note(entries, settlement)
        return settlement.future

    async def _after(
        self, appended: list[Future[Sequence[int]]], entries: Sequence[Entry], settlement: _Settlement
    ) -> None:
        results = await asyncio.gather(*appended, return_exceptions=True)
        error = next((result for result in results if isinstance(result, BaseException)), None)
        if error is None:
            self._note(entries, settlement)
        else:
            self._assignment.keep(entries)
            if not settlement.future.done():
                settlement.future.set_exception(error)

    def _note(self, entries: Sequence[Entry], settlement: _Settlement) -> None:
        if not entries and not settlement.future.done():
            settlement.future.set_result(None)
        for entry in entries:
            self._pending[entry.spot] = settlement
        self._stirred.set()

    def overlay(self, state: QueueState) -> None:
        """Tell a partition that we got (back) what we know better than its position does."""
        for spot in self._pending:
            if place_of(spot) == state.place:
                state.settle(spot[2])

    def has(self, spot: Spot) -> bool:
        """Whether a record is on its way to being settled."""
        return any(spot in settlement.left for settlement in self._unsettled)

    # Committing.

    async def _run(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            try:
                await self.flush()
            except LogClosedError:
                return
            except LogError as error:
                _logger.warning("settled steps cannot be noted; trying again", error=str(error))
                await asyncio.sleep(_REST)
                self._stirred.set()

    async def flush(self, *, everything: bool = False) -> None:
        """Settle what is pending.

        Args:
            everything: Commit all partitions, because they are about to be shared out anew.

        Raises:
            LogError: Not all of it may be settled.
        """
        async with self._committing:
            others = []
            for spot in list(self._pending):
                state = self._assignment.state_of(spot)
                if state is not None:
                    state.settle(spot[2])
                    state.dirty = True  # also where others have settled it before: who settles waits for a word
                elif self._assignment.partitions or not everything:
                    others.append(spot)
            dirty = [state for state in self._assignment.partitions.values() if state.dirty or everything]
            if dirty:
                await self._commit(dirty)
            if others:
                await self._passing.say(Note(self._assignment.name, done=others))
                self._resolve(others)

    async def _commit(self, states: Sequence[QueueState]) -> None:
        heard = self._passing.heard
        covered = {}
        positions = {}
        for state in states:
            positions[state.place], below = state.commit(heard)
            covered[state.place] = (state, max(below, state.low))
        settled = [
            spot
            for spot in self._pending
            if place_of(spot) in covered
            and spot[2] < covered[place_of(spot)][1]
            and covered[place_of(spot)][0].settled(spot[2])
        ]
        try:
            noted = await self._member.commit(positions)
        except BaseException:
            for state in states:
                state.dirty = True
            raise
        if noted:
            self._resolve(settled)
            for state in states:
                if state.low - state.trimmed >= _TRIM:
                    self.trim(state)

    def _resolve(self, spots: Iterable[Spot]) -> None:
        for spot in spots:
            settlement = self._pending.pop(spot, None)
            if settlement is not None:
                settlement.settled(spot)

    def trim(self, state: QueueState) -> Task[None]:
        """Delete what is settled: nobody reads it again, and should positions get lost, nobody runs it again."""
        state.trimmed = state.low
        task = self._loop.create_task(self._trim(*state.place, state.low))
        self._trimming.add(task)
        task.add_done_callback(self._trimming.discard)
        return task

    async def _trim(self, topic: str, partition: int, offset: int) -> None:
        try:
            await self._log.delete_before(topic, partition, offset)
        except LogError as error:
            _logger.debug("settled steps are not deleted yet", error=str(error))

    # The end.

    async def close(self) -> None:
        """Finish what was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._stop()

    async def _stop(self) -> None:
        tasks = [*self._tasks, *([self._runner] if self._runner else [])]
        await cancel_and_wait(*tasks, report=True)

    async def finish(self) -> None:
        """Wait until what is settled is deleted."""
        if self._trimming:
            await asyncio.wait(self._trimming)

    async def drop(self, error: LogError) -> None:
        """End at once; who settles learns that nothing is known."""
        await cancel_and_wait(*self._trimming, report=True)
        await self._stop()
        self.fail(error)

    def fail(self, error: LogError) -> None:
        """Tell those whose settlements are not known to be durable."""
        for settlement in list(self._unsettled):
            if not settlement.future.done():
                settlement.future.set_exception(error)
