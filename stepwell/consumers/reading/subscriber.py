"""Watching instances: follows the events partitions, folds what is asked for, and wakes who waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from stepwell.consumers.reading.events import Accepted, EventReader
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.state import InstanceState
from stepwell.errors import LogClosedError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import Log
from stepwell.schemas.records.events import Event, Transition
from stepwell.tasks import cancel_and_wait

Listener = Callable[[Transition], None]
Condition = Callable[[InstanceState], bool]
Audience = tuple[Callable[[Accepted], None], Callable[[BaseException], None]]  # of everything, and of its end


class Answer(NamedTuple):
    """What answered a command, and where it is in the log.

    Attributes:
        event: What the command led to, a rejection, or a note.
        partition: Of the topic ``events``,
        offset: and the record's there.
    """

    event: Event
    partition: int
    offset: int

    @property
    def position(self) -> str:
        """The same as text: ``PARTITION@OFFSET``. Who has followed the log behind it has seen what was answered."""
        return f"{self.partition}@{self.offset}"


class Watch:
    """One instance, folded as its events arrive.

    Attributes:
        state: As far as it was read; None before its first event, or while its history was not asked for.
    """

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.state: InstanceState | None = None
        self.users = 0
        self.listeners: list[Listener] = []
        self._waiting: list[tuple[Condition, asyncio.Future[None]]] = []
        self._loading = asyncio.Lock()
        self._arrived: list[Transition] | None = None  # while the history is being read

    def take(self, transition: Transition) -> None:
        """Fold a transition that has arrived."""
        if self._arrived is not None:
            self._arrived.append(transition)
        elif self.state is not None or transition.sequence == 1:  # else it begins before what we have read
            self._fold(transition)

    async def moved(self, condition: Condition) -> None:
        """Wait until a new state meets a condition, or until nothing more is to be expected.

        The condition is looked at where the state is folded: who waits for the end is not woken at every step.
        """
        moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (condition, moved)
        self._waiting.append(entry)
        try:
            await moved
        finally:
            self._waiting.remove(entry)

    def wake(self) -> None:
        """Wake whoever waits, whatever the state is."""
        for _, moved in self._waiting:
            if not moved.done():
                moved.set_result(None)

    async def load(self, reader: EventReader) -> None:
        """Read what happened so far. What arrives meanwhile is folded behind it."""
        async with self._loading:
            if self.state is not None:
                return
            self._arrived = []
            try:
                for accepted in await reader.history(self.instance_id):
                    self._fold(accepted.transition)
            finally:
                arrived, self._arrived = self._arrived, None
            for transition in arrived:
                self.take(transition)

    def _fold(self, transition: Transition) -> None:
        known = self.state.sequence if self.state is not None else 0
        began_anew = transition.sequence == 1 and known > 1  # the id was used again, long after it had finished
        if not transition.sequence or (transition.sequence <= known and not began_anew):
            return
        self.state = fold((transition,), self.state)
        for listener in self.listeners:
            listener(transition)
        for condition, moved in self._waiting:
            if not moved.done():
                try:
                    if self.state is not None and condition(self.state):
                        moved.set_result(None)
                except Exception as error:  # the caller's own code: what it raises is the caller's
                    moved.set_exception(error)


class Subscriber:
    """Follows the partitions of whatever is watched; reads nothing as long as nothing is."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._readers: dict[int, EventReader] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._watches: dict[str, Watch] = {}
        self._answers: dict[str, list[asyncio.Future[Answer]]] = {}  # by the id of the command
        self._asked: Counter[str] = Counter()  # instances from which answers are expected
        self._everything: list[Audience] = []
        self._endings: list[Callable[[BaseException], None]] = []
        self._broken: BaseException | None = None
        self._starting = asyncio.Lock()

    @property
    def partitions(self) -> int:
        """How many the log has."""
        return self._log.partitions

    async def follow(self, partition: int) -> EventReader:
        """Start to follow a partition, from its end as of now; or go on where reading it failed."""
        task = self._tasks.get(partition)
        if task is not None and not task.done():
            return self._readers[partition]
        async with self._starting:
            task = self._tasks.get(partition)
            if task is not None and not task.done():
                return self._readers[partition]
            reader = self._readers.get(partition)
            if reader is None:
                reader = EventReader(self._log, partition)
                await reader.seek_snapshot()
                await reader.catch_up()
                self._readers[partition] = reader
            self._tasks[partition] = asyncio.ensure_future(self._pump(reader))
            return reader

    async def _pump(self, reader: EventReader) -> None:
        whole = True  # whether all that was read has been handed on
        try:
            while True:
                records = await reader.read(wait=None)
                whole = False
                for record in records:
                    watch = self._watches.get(record.key)
                    if watch is None and record.key not in self._asked and not self._everything:
                        continue
                    transition = reader.decode(record)
                    if watch is not None:
                        watch.take(transition)
                    if self._answers:
                        self._answer(transition, reader.partition, record.offset)
                    for listener, _ in self._everything:
                        listener(Accepted(record, transition))
                whole = True
        except LogClosedError:
            return
        except Exception as error:
            if not whole:  # what was folded has a hole now: whoever watches again begins anew
                self._readers.pop(reader.partition, None)
                for watch in self._watches.values():
                    watch.state = None
            self._tell(error)
            raise

    def fail(self, error: BaseException) -> None:
        """Nothing more is to be expected: whoever waits, now or later, gets this error."""
        self._broken = error
        self._tell(error)
        for ended in tuple(self._endings):
            ended(error)

    def _tell(self, error: BaseException) -> None:
        for future in (future for waiting in self._answers.values() for future in waiting):
            if not future.done():
                future.set_exception(error)
        for watch in self._watches.values():
            watch.wake()
        for _, failed in self._everything:
            failed(error)

    def _answer(self, transition: Transition, partition: int, offset: int) -> None:
        for event in transition.events:
            command_id = getattr(event, "command_id", "")
            for future in self._answers.pop(command_id, ()) if command_id else ():
                if not future.done():
                    future.set_result(Answer(event, partition, offset))

    def failed(self, instance_id: str) -> BaseException | None:
        """Why an instance cannot be followed any more; None while it can."""
        if self._broken is not None:
            return self._broken
        task = self._tasks.get(partition_for(instance_id, self._log.partitions))
        if task is None or not task.done() or task.cancelled():
            return None
        return task.exception()

    async def watch(self, instance_id: str, *, history: bool = True) -> Watch:
        """Watch an instance. Every call needs an ``unwatch``.

        Args:
            history: Whether what happened so far is needed; not so for an instance about to be started.
        """
        watch = self._watches.get(instance_id)
        if watch is None:
            watch = self._watches[instance_id] = Watch(instance_id)
        watch.users += 1
        reader = await self.follow(partition_for(instance_id, self._log.partitions))
        if history:
            await watch.load(reader)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Watch it no more, if nobody else does."""
        watch.users -= 1
        if watch.users <= 0 and self._watches.get(watch.instance_id) is watch:
            del self._watches[watch.instance_id]

    async def expect(self, instance_id: str, command_id: str) -> asyncio.Future[Answer]:
        """What will answer a command. Every call needs a ``give_up``.

        Args:
            instance_id: Whom the command is for.
        """
        self._asked[instance_id] += 1
        try:
            await self.follow(partition_for(instance_id, self._log.partitions))
        except BaseException:
            self._ask_no_more(instance_id)
            raise
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            future.set_exception(self._broken)
        self._answers.setdefault(command_id, []).append(future)
        return future

    def give_up(self, instance_id: str, command_id: str, future: asyncio.Future[Answer]) -> None:
        """Expect an answer no more."""
        waiting = self._answers.get(command_id, [])
        if future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._answers[command_id]
        if future.done() and not future.cancelled():
            future.exception()  # asked for, so that asyncio does not complain
        self._ask_no_more(instance_id)

    def _ask_no_more(self, instance_id: str) -> None:
        self._asked[instance_id] -= 1
        if self._asked[instance_id] <= 0:
            del self._asked[instance_id]

    async def listen(
        self, listener: Callable[[Accepted], None], failed: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """Hear every accepted transition of all partitions from now on; call what is returned to stop.

        Args:
            failed: Told why nothing more will come.
        """
        for partition in range(self._log.partitions):
            await self.follow(partition)
        audience = (listener, failed)
        self._everything.append(audience)
        if self._broken is not None:
            failed(self._broken)
        return lambda: self._everything.remove(audience)

    def when_ended(self, ended: Callable[[BaseException], None]) -> Callable[[], None]:
        """Have it told, once, why nothing more is to be expected; call what is returned to stop that."""
        self._endings.append(ended)
        if self._broken is not None:
            ended(self._broken)
        return lambda: self._endings.remove(ended)

    async def close(self) -> None:
        """Stop following; whoever still waits is told."""
        self.fail(LogClosedError("the client was closed"))
        await cancel_and_wait(*self._tasks.values())
