"""A worker's queues: partitions from a consumer group, records from its own partitions and from others' hands.

A record is in one live worker's hands at most, as far as the log can know. The group gives partitions; what stands in
their positions (``positions``) and in ``hands`` (``exchange``) says who has which record, and outlives
rebalances: a worker keeps what it has in hand even when the partition moves on, and settles it through ``hands``.
Handlers run at least once all the same: a worker that dies, or is silent for longer than its session, loses what it
had to others, and between the outcome and the settlement lies a moment in which it can die.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from stepwell.errors import LogClosedError, LogError
from stepwell.log.kafka.assigned import Assignment
from stepwell.log.kafka.exchange import Note, place_of
from stepwell.log.kafka.group import GroupMember
from stepwell.log.kafka.handover import Passing
from stepwell.log.kafka.positions import QueuePosition, decode
from stepwell.log.kafka.queue_state import MOST_WAITING, QueueState
from stepwell.log.kafka.services import Services
from stepwell.log.kafka.settling import Settling
from stepwell.log.port import WORKERS, Delivery, Outgoing, TopicPartition
from stepwell.log.wake import failed_future
from stepwell.logs import Logger
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.log.kafka")

_PAGE: Final = 500
_REST: Final = 0.2  # seconds after trouble


class KafkaQueue:
    """One worker's end of its queues; see ``port.WorkQueue``."""

    def __init__(
        self,
        log: Services,
        queues: Sequence[str],
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None,
        about: Mapping[str, str],
    ) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        names = {log.topics.of_queue(queue): queue for queue in queues}
        self._topics = list(names)
        self.member: GroupMember = GroupMember(
            log.settings,
            log.topics,
            WORKERS,
            self._topics,
            about,
            losing=self._losing,
            gained=self._gained,
            owned=self._owned,
            counted=self._counted,
        )
        self._assignment = Assignment(self.member.name, prefetch, accepts)
        self._settling = Settling(log, self._assignment, self.member)
        self._passing = Passing(log, self._assignment, self.member, names, self._settling.stir)
        self._busy: dict[str, list[int]] = {}
        self._arranging: Task[None] | None = None
        self._readers: list[Task[None]] = []
        self._begun: Future[None] = self._loop.create_future()
        self._trouble: LogError | None = None
        self._live: frozenset[str] = frozenset()  # who was in the group when it was last shared out
        self._somebody_went = False  # since then, and perhaps with something in hand

    @property
    def closed(self) -> bool:
        """Whether it was left."""
        return self._assignment.closed

    async def start(self) -> None:
        """Join the workers, and look at what waits.

        Raises:
            LogError: That is not possible.
        """
        for topic in self._topics:
            await self._log.topics.have(topic)
        await self._passing.start()
        await self.member.join()
        self._passing.listen()
        self._settling.start(self._passing)
        await self._begun

    # What the worker does.

    async def take(self, limit: int) -> Sequence[Delivery]:
        """As the port says.

        Raises:
            LogClosedError: The log or this worker was closed.
            LogError: The queues could not be read; taking may be tried again.
        """
        while True:
            if self._assignment.closed:
                raise self._closed_error()
            if self._trouble is not None:
                error, self._trouble = self._trouble, None
                raise error
            if not self.member.is_counted:  # others have what we would take
                await self._assignment.arrived.wait()
                continue
            taken = self._assignment.take(max(limit, 1))
            if taken:
                await self._note(taken)
                if self._assignment.free <= 0:
                    self._passing.offer()
                return taken
            if self._assignment.free > 0:
                self._passing.ask(min(limit, self._assignment.free))
            await self._assignment.arrived.wait()

    async def _note(self, taken: Sequence[Delivery]) -> None:
        """Note who has what others may have died of, before he gets it."""
        spots = [self._assignment.hand[one.queue, one.token].spot for one in taken]
        noted = {state for spot in spots if (state := self._assignment.state_of(spot)) and spot[2] < state.noting}
        if not noted:
            return
        for state in noted:
            state.dirty = True
        try:
            async with asyncio.timeout(self._log.settings.session_timeout):
                await self._settling.flush()
        except (LogError, TimeoutError) as error:
            _logger.warning("who has which step could not be noted", error=str(error))

    def _closed_error(self) -> LogClosedError:
        return LogClosedError("the queue was closed", place=self._log.settings.place)

    def settle(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outgoing] = ()) -> Future[None]:
        """As the port says. A worker that dies between the two leaves an outcome, and a record that runs again.

        Errors as in ``append``; where outcomes are refused or in doubt, the records stay in hand.
        """
        if self._assignment.closed:
            return failed_future(self._loop, self._closed_error())
        try:
            for outgoing in outcomes:
                self._log.check(outgoing)
        except LogError as error:
            return failed_future(self._loop, error)
        future = self._settling.settle(self._assignment.drop(deliveries), outcomes)
        self._assignment.arrived.fire()
        return future

    def release(self, deliveries: Sequence[Delivery], *, lost: bool = False) -> Future[None]:
        """As the port says. Who has asked for records gets them first; what was not accepted is looked at again."""
        done: Future[None] = self._loop.create_future()
        if self._assignment.closed:
            done.set_result(None)
            return done
        self._assignment.look_again()
        back = []
        for entry in self._assignment.drop(deliveries):
            state = self._assignment.state_of(entry.spot)
            if state is None:
                back.append(entry.spot)
                continue
            if lost:
                state.lose(entry.spot[2])
                self._settling.stir()
            # Another object than ours, where we were given the record before its partition.
            waiting = state.put_back(entry.spot[2])
            if waiting is not None and not self._passing.give(waiting):
                self._assignment.put(waiting)
        self._passing.offer()
        self._assignment.arrived.fire()
        if not back:
            done.set_result(None)
            return done
        said = self._passing.say(Note(self._assignment.name, back=back, lost=lost))
        return asyncio.ensure_future(self._said(said))

    def resize(self, prefetch: int) -> None:
        """As the port says."""
        self._assignment.prefetch = prefetch
        if self._assignment.free <= 0:
            self._passing.offer()
            back = self.release(self._assignment.decline())
            back.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard when we leave, at last
        self._assignment.arrived.fire()

    @staticmethod
    async def _said(said: Future[Sequence[int]]) -> None:
        await said

    # Partitions come and go.

    def _owned(self) -> Mapping[str, Sequence[int]]:
        return self._busy

    async def _losing(self) -> None:
        """The group is about to be shared out anew: note all that others have to know of our partitions."""
        await self._stop_reading()
        self._busy = self._assignment.busy()
        try:
            # No longer than the others wait for us.
            async with asyncio.timeout(self._log.settings.session_timeout):
                await self._settling.flush(everything=True)
        except (LogError, TimeoutError) as error:
            _logger.warning("positions could not be noted before a rebalance; steps may run twice", error=str(error))
        self._assignment.clear()

    async def _stop_reading(self) -> None:
        tasks = [*self._readers, *([self._arranging] if self._arranging else [])]
        self._readers = []
        await cancel_and_wait(*tasks, report=True)

    def _counted(self) -> None:
        self._assignment.arrived.fire()

    def _gained(self) -> None:
        if self._assignment.closed:  # a round that we are just leaving
            return
        self._arranging = self._loop.create_task(self._arrange(), name="stepwell-queue-arrange")

    async def _arrange(self) -> None:
        """Set up the partitions that we have now."""
        places = sorted(self.member.places)
        self._somebody_went = not self._live <= self.member.live or not self._live
        self._live = self.member.live
        while True:
            try:
                positions = await self._log.directory.committed(WORKERS, places)
                ends = [await self._log.reader.end(place) for place in places]
                for place in places:
                    low, text = positions.get(place, (0, ""))
                    await self._add(place, decode(low, text))
                break
            except LogClosedError as error:
                self._end_beginning(error)
                return
            except LogError as error:
                _logger.warning("the queues' positions are unknown; trying again", error=str(error))
                await asyncio.sleep(_REST)
        starts = []
        for place, end in zip(places, ends, strict=True):
            there: Future[None] = self._loop.create_future()
            starts.append(there)
            self._readers.append(self._loop.create_task(self._read(self._assignment.partitions[place], end, there)))
        self._settling.stir()
        self._passing.shared_out()
        if starts:
            await asyncio.wait(starts)
        self._end_beginning()

    def _end_beginning(self, error: LogError | None = None) -> None:
        if self._begun.done():
            return
        if error is None:
            self._begun.set_result(None)
        else:
            self._begun.set_exception(error)
            self._begun.exception()  # perhaps nobody waits for it any more

    async def _add(self, place: TopicPartition, position: QueuePosition) -> None:
        state = QueueState(place, position)
        if self._somebody_went:
            state.noting = position.low + MOST_WAITING
        await self._passing.catch_up(state)
        # From here to the end without waiting: what is said from now on is followed in the assignment.
        me, live = self._assignment.name, self.member.live
        mine = (
            {entry.spot for entry in self._assignment.hand.values()}
            | self._assignment.given.keys()
            | self._passing.coming
        )
        ours = {spot[2] for spot in mine if place_of(spot) == place}
        state.free(
            lambda offset, name: (
                name not in live or (name == me and offset not in ours and not self._settling.has((*place, offset)))
            ),
            lambda name: name not in live,
        )
        for offset in ours:
            state.take(offset, me)
        self._settling.overlay(state)
        self._assignment.partitions[place] = state

    async def _read(self, state: QueueState, end: int, there: Future[None]) -> None:
        """Read a partition ahead of need, as far as there is room."""
        try:
            while True:
                if (state.position >= end or state.full) and not there.done():
                    there.set_result(None)
                while state.full:
                    await self._assignment.room.wait()
                try:
                    start = state.position
                    wait = None if there.done() else 0.0
                    records = await self._log.reader.read(state.place, start, limit=_PAGE, wait=wait)
                except LogClosedError:
                    return
                except LogError as error:
                    self._trouble = error
                    self._assignment.arrived.fire()
                    await asyncio.sleep(_REST)
                    continue
                if not records:  # all that was before us when we began has been deleted
                    there.set_result(None)
                    continue
                entries = [self._passing.entry(state.place, record) for record in records]
                for entry in state.read(entries, start, records[-1].offset + 1):
                    self._assignment.put(entry)
                self._passing.offer()
                self._assignment.arrived.fire()
        finally:
            if not there.done():
                there.set_result(None)

    # The end.

    async def close(self) -> None:
        """As the port says."""
        await self.shut(tidy=True)

    async def shut(self, *, tidy: bool) -> None:
        """Leave, or without ``tidy`` go as a process does that was killed."""
        assignment = self._assignment
        if assignment.closed:
            return
        assignment.closed = True
        assignment.arrived.fire()
        if tidy:
            await self._give_back()
        await self._stop_reading()
        await self._passing.stop()
        error = self._closed_error()
        self._end_beginning(error)
        if not tidy:
            await self._settling.drop(error)
        await self.member.leave(tidy=tidy)
        if tidy:
            await self._settling.finish()
            self._settling.fail(error)
        assignment.clear()

    async def _give_back(self) -> None:
        """Finish what is being settled, and let the others have the rest."""
        assignment = self._assignment
        await self._settling.close()
        back = [
            entry.spot
            for entry in (*assignment.hand.values(), *assignment.given.values())
            if assignment.state_of(entry.spot) is None
        ]
        for entry in assignment.hand.values():
            state = assignment.state_of(entry.spot)
            if state is not None:
                state.put_back(entry.spot[2])
        with suppress(LogError):  # they find out when we are gone
            if back:
                await self._passing.say(Note(assignment.name, back=back))
            await self._settling.flush(everything=True)
            for state in assignment.partitions.values():
                if state.low > state.trimmed:
                    self._settling.trim(state)
