"""Passing records from worker to worker: asking, giving, and hearing of it. See ``exchange`` for the words."""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from stepwell.errors import LogClosedError, LogError
from stepwell.log.kafka import exchange
from stepwell.log.kafka.assigned import Assignment
from stepwell.log.kafka.exchange import Note, Spot, Wants, place_of
from stepwell.log.kafka.group import GroupMember
from stepwell.log.kafka.queue_state import Entry, QueueState
from stepwell.log.kafka.services import Services
from stepwell.log.kafka.topics import HANDS
from stepwell.log.port import TopicPartition
from stepwell.logs import Logger
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.log.kafka")

_PAGE: Final = 500
_BEFORE_ASKING: Final = 0.02  # seconds that a free hand waits for its own partitions before it asks others
_NOT_AGAIN_FOR: Final = 3.0  # seconds for which what somebody handed back is not given to him again
_MOST_WANTED: Final = 1000  # records at once
_REST: Final = 0.2  # seconds after trouble


class Passing:
    """One worker's part in it.

    Args:
        queues: The names of its queues, by topic.
        settled: Told when something of our partitions was settled by others.

    Attributes:
        heard: Offset in ``hands`` of the next note to hear.
        coming: Records that we were given and are fetching.
    """

    def __init__(
        self,
        log: Services,
        assignment: Assignment,
        member: GroupMember,
        queues: Mapping[str, str],
        settled: Callable[[], None],
    ) -> None:
        self.heard: int = 0
        self.coming: set[Spot] = set()
        self._log = log
        self._assignment = assignment
        self._member = member
        self._queues = queues
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._wants = Wants()
        self._asking = False  # a want of ours is on its way, or will be in a moment
        self._promised: Counter[str] = Counter()  # what we have given, and have not heard of yet
        self._tasks: set[Task[None]] = set()

    async def start(self) -> None:
        """Learn from where on to listen."""
        self.heard = await self._log.reader.end((HANDS, 0))

    def listen(self) -> None:
        """Begin to listen."""
        self._spawn(self._listen())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def entry(self, place: TopicPartition, record: Any) -> Entry:
        """An entry of a queue's record."""
        return Entry(place, record, self._queues[place[0]], self._log.topics.count(place[0]))

    def say(self, note: Note, failed: Callable[[], None] | None = None) -> Future[Sequence[int]]:
        """Say something to all workers.

        Args:
            failed: Called when nobody may have heard.
        """

        def said(future: Future[Sequence[int]]) -> None:
            if (future.cancelled() or future.exception() is not None) and failed is not None:
                failed()

        future = self._log.append(HANDS, 0, [exchange.encode(note)])
        future.add_done_callback(said)
        return future

    # Asking.

    def ask(self, room: int) -> None:
        """Ask the others for records, unless some come by themselves in a moment."""
        if not self._asking and self._wants.left(self._assignment.name) <= 0 and len(self._member.live) > 1:
            self._asking = True
            self._loop.call_later(_BEFORE_ASKING, self._ask, room)

    def _ask(self, room: int) -> None:
        room = min(room, self._assignment.free - len(self._assignment.given), _MOST_WANTED)
        if self._assignment.closed or room <= 0 or not self._assignment.arrived:  # nobody waits to take any more
            self._asking = False
        else:
            self.say(Note(self._assignment.name, want=room, topics=list(self._queues)), failed=self._not_heard)

    def _not_heard(self) -> None:
        self._asking = False
        self._assignment.arrived.fire()  # who waits asks again

    def shared_out(self) -> None:
        """The group has been shared out anew: who came does not know what we want, and who went wants nothing."""
        self._wants.keep(self._member.live - {self._assignment.name})
        self._promised.clear()
        self._asking = False
        self._assignment.arrived.fire()  # who waits asks again

    # Giving.

    def offer(self) -> None:
        """Give what we cannot take to those who have asked."""
        hands = sum(
            max(left - self._promised[name], 0)
            for topic in self._queues
            for name, left in self._wants.of(topic, self._assignment.name)
        )
        if hands:
            for entry in self._assignment.surplus():
                hands -= self.give(entry)
                if hands <= 0:
                    return

    def give(self, entry: Entry) -> bool:
        """Give one to somebody who has asked; False if nobody has."""
        now = self._loop.time()
        for name, left in self._wants.of(entry.spot[0], self._assignment.name):
            if left > self._promised[name] and entry.refused.get(name, 0.0) < now and self._assignment.waits(entry):
                self._promised[name] += 1
                self._assignment.giving[entry.spot] = entry
                lost = entry.delivery.deliveries - 1
                note = Note(self._assignment.name, to=name, give=[entry.spot], times=[lost] if lost else ())
                self.say(note, failed=partial(self._keep, [entry.spot], name))
                return True
        return False

    def _keep(self, spots: Sequence[Spot], name: str) -> None:
        """A gift does not count."""
        self._promised[name] -= len(spots)
        for spot in spots:
            entry = self._assignment.giving.pop(spot, None)
            if entry is not None and self._assignment.waits(entry):
                self._assignment.put(entry)
        self._assignment.arrived.fire()

    # Hearing.

    async def _listen(self) -> None:
        while True:
            try:
                for record in await self._log.reader.read((HANDS, 0), self.heard, limit=_PAGE, wait=None):
                    self._hear(exchange.decode(record))
                    self.heard = record.offset + 1
            except LogClosedError:
                return
            except LogError as error:
                _logger.warning("other workers cannot be heard", error=str(error))
                await asyncio.sleep(_REST)

    def _hear(self, note: Note) -> None:
        me = self._assignment.name
        counts = self._wants.follow(note)
        void = note.give[len(counts) :]
        if note.by == me:
            self._asking = self._asking and note.want < 0
            self._promised[note.to] -= min(len(counts), max(self._promised[note.to], 0))
            self._keep(void, note.to)
        for spot in (*counts, *note.done, *note.back):
            state = self._assignment.state_of(spot)
            if state is not None:
                self._follow(state, spot, note)
        if note.to == me:
            # What we have no hand for goes back; void gifts too, for who comes later cannot know that they are.
            room = max(0, self._assignment.free - len(self._assignment.given) - len(self.coming))
            if counts[:room]:
                self.coming.update(counts[:room])
                self._spawn(self._receive(list(counts[:room]), dict(zip(note.give, note.times, strict=False))))
            if counts[room:] or void:
                self.say(Note(me, back=[*counts[room:], *void]))
        if note.want > 0 and note.by != me:
            self.offer()
        self._assignment.arrived.fire()

    def _follow(self, state: QueueState, spot: Spot, note: Note) -> None:
        """Note who has a record of one of our partitions."""
        offset = spot[2]
        if spot in note.done:
            state.settle(offset)
            self._settled()
        elif spot in note.back:
            if note.lost and state.holder(offset) == note.by:
                state.lose(offset)
            entry = state.put_back(offset) if state.holder(offset) == note.by else None
            if entry is not None:
                entry.refused[note.by] = self._loop.time() + _NOT_AGAIN_FOR
                if not self.give(entry):
                    self._assignment.put(entry)
        elif note.to not in self._member.live:
            # He was gone before this was heard: no sharing out is to come that would free what he were to hold.
            entry = self._assignment.giving.pop(spot, None)
            if entry is not None and self._assignment.waits(entry):
                self._assignment.put(entry)
        elif state.holder(offset) != self._assignment.name:  # else one who has lost the partition gives what we have
            self._assignment.giving.pop(spot, None)
            self._assignment.passed.pop(spot, None)
            state.take(offset, note.to)
            self._assignment.room.fire()

    async def catch_up(self, state: QueueState) -> None:
        """Follow, for a partition that we get, what was said since its position was noted."""
        at = state.heard
        while at < self.heard:
            records = await self._log.reader.read((HANDS, 0), at, limit=_PAGE, wait=0)
            for record in records:
                if record.offset < self.heard:
                    note = exchange.decode(record)
                    for spot in (*note.give, *note.done, *note.back):
                        if place_of(spot) == state.place:
                            self._follow(state, spot, note)
            at = records[-1].offset + 1 if records else self.heard

    async def _receive(self, spots: Sequence[Spot], times: Mapping[Spot, int]) -> None:
        """Fetch records that others have given to us.

        Args:
            times: How often some of them were lost.
        """
        back, gone = [], []
        for spot in spots:
            try:
                found = await self._log.reader.read(place_of(spot), spot[2], limit=1, wait=0)
            except LogError:
                back.append(spot)
                continue
            finally:
                self.coming.discard(spot)
            if not found or found[0].offset != spot[2]:
                gone.append(spot)  # deleted meanwhile, so it was settled
                continue
            entry = self.entry(place_of(spot), found[0])
            entry.count(times.get(spot, 0))
            known = (
                entry.delivery.queue,
                entry.delivery.token,
            ) in self._assignment.hand or spot in self._assignment.given
            if not known and (self._assignment.closed or not self._assignment.put_given(entry)):
                back.append(spot)
        if back or gone:
            self.say(Note(self._assignment.name, back=back, done=gone))
        self._assignment.arrived.fire()

    async def stop(self) -> None:
        """Hear no more."""
        await cancel_and_wait(*self._tasks, report=True)
