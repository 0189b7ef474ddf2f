"""Reading the events of a log as they are accepted: from now, from a position, or behind what a durable name has had.

A reader that is slow, or far behind, reads the log itself: no more than one batch of each partition is in memory.
Each event carries the position after it (``stepwell.schemas.records.positions``), and whoever goes on from there
misses nothing and gets nothing twice. Within a partition events come in order; those of different partitions
interleave as they arrive.

A durable name is *at least once*: what is stored, about once a second and at the end, is the position behind the last
event whose processing is finished. An event is finished once the next one is asked for, or once it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from stepwell.arguments import check_texts
from stepwell.consumers.reading.bookmarks import LONGEST_NAME, Bookmarks
from stepwell.consumers.reading.events import EventReader, accepted_or_claim
from stepwell.consumers.reading.histories import EventRecord, accepted_of
from stepwell.consumers.reading.names import Names
from stepwell.consumers.reading.patterns import wanted_types
from stepwell.consumers.reading.start_positions import gone, stand_at_end, stand_at_start, stand_behind
from stepwell.core.fold.acceptance import Acceptance, read_stamp
from stepwell.errors import LogClosedError, LogError, PatternError, PositionError, StepwellError, UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS, Log, Record
from stepwell.logs import Logger
from stepwell.process import now_ms
from stepwell.schemas.records.feed import event_type
from stepwell.schemas.records.positions import START, PartitionPosition, position_text, read_position
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.subscriptions")

_BATCH: Final = 200  # records of a partition that are read at once: what a slow reader keeps in memory
_STORE_EVERY: Final = 1.0  # seconds between two records of a durable name's position

Endings = Callable[[Callable[[BaseException], None]], Callable[[], None]]


class _Follower:
    """One partition, as far as it was read."""

    def __init__(self, log: Log, reader: EventReader, place: PartitionPosition) -> None:
        self._log = log
        self.reader = reader
        self.place = place  # everything up to here is finished
        self.names = Names()
        self.has_learned = False
        self.reading: asyncio.Task[Sequence[Record]] | None = None

    async def read(self) -> Sequence[Record]:
        """Wait for further records."""
        reader = self.reader
        records = await self._log.read(EVENTS, reader.partition, reader.position, limit=_BATCH, wait=None)
        if records and records[0].offset != reader.position:
            raise gone(reader.partition, reader.position, records[0].offset)
        return records


class _Flow:
    """What a subscription does. Nothing in it knows the subscription, so that who drops that one ends this."""

    def __init__(
        self,
        log: Log,
        types: Iterable[str],
        *,
        instance_id: str | None,
        workflow: str | None,
        since: str | None,
        name: str | None,
        named: bool,
        endings: Endings | None,
        clock: Callable[[], int],
    ) -> None:
        self._log = log
        self._types = wanted_types(types)
        self._instance_id = instance_id
        self._workflow = workflow
        self._named = named or workflow is not None
        self._since = since
        self._name = name
        self._bookmarks = Bookmarks(log)
        self._clock = clock
        self._followers: dict[int, _Follower] = {}
        self._places: list[PartitionPosition] = []  # of all partitions, those too that are not followed
        self._given: tuple[int, PartitionPosition] | None = None  # what the event stands at that is being processed
        self._stored = ""
        self._due = 0.0
        self._opened = False
        self._ended: asyncio.Future[None]
        self._endings = endings
        self._forget: Callable[[], None] | None = None

    @property
    def position(self) -> str:
        return position_text(self._places)

    # --- where it begins ------------------------------------------------------------------------------------

    async def open(self) -> None:
        if self._opened:
            return
        self._opened = True
        self._ended = asyncio.get_running_loop().create_future()
        if self._endings is not None:
            self._forget = self._endings(self._end)
        stored = await self._bookmarks.of(self._name) if self._name is not None else None
        since = self._since if stored is None else stored
        log, everywhere = self._log, range(self._log.partitions)
        given = (
            [PartitionPosition()] * len(everywhere)
            if since in {None, START}
            else read_position(str(since), len(everywhere))
        )
        self._places = given
        followed: Sequence[int] = everywhere
        if self._instance_id is not None and self._name is None:
            followed = (partition_for(self._instance_id, len(everywhere)),)
        for partition in followed:
            if since is None:
                reader, self._places[partition] = await stand_at_end(log, partition)
            elif since != START:
                reader = await stand_behind(log, partition, given[partition])
            elif self._instance_id is not None and self._name is None:
                reader, self._places[partition] = await self._stand_at_instance(partition, self._instance_id)
            else:
                reader = await stand_at_start(log, partition)
            self._followers[partition] = _Follower(log, reader, self._places[partition])
        self._stored = stored or ""
        if self._name is not None and stored is None:
            # At once: whoever is killed before the first position was stored would else begin later, or too early.
            await self._bookmarks.store(self._name, self.position, self._clock())
            self._stored = self.position
        self._due = asyncio.get_running_loop().time() + _STORE_EVERY

    async def _stand_at_instance(self, partition: int, instance_id: str) -> tuple[EventReader, PartitionPosition]:
        """A reader right before the first event of an instance; at the end where there is none yet."""
        end = await stand_at_end(self._log, partition)
        history = await accepted_of(self._log, instance_id)
        if not history or history[0].record.offset >= end[0].position:
            return end
        first = history[0].record
        reader, stamp = EventReader(self._log, partition), read_stamp(first.headers)
        reader.position, reader.acceptance = first.offset, Acceptance(stamp.epoch, stamp.index - 1)
        return reader, PartitionPosition()

    def _end(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # looked at, though perhaps nobody reads on

    # --- what it gives --------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[EventRecord]:
        try:
            await self.open()
            while True:
                for follower, records in await self._arrived():
                    for record in records:
                        is_transition, counts = accepted_or_claim(follower.reader, record)
                        if is_transition and self._instance_id in {None, record.key}:
                            for place, event in await self._wanted(follower, record):
                                if self._ended.done():
                                    self._ended.result()
                                self._given = follower.reader.partition, place
                                yield event
                                self.finish()
                                await self._store()
                        if counts:
                            self._reach(follower.reader.partition, PartitionPosition(record.offset))
                    await self._store()
        except LogClosedError:
            return
        finally:
            await self.close()

    async def _arrived(self) -> list[tuple[_Follower, Sequence[Record]]]:
        """Wait for further records of any partition; what was finished meanwhile is stored."""
        followers = self._followers.values()
        loop = asyncio.get_running_loop()
        while True:
            for follower in followers:
                if follower.reading is None:
                    follower.reading = asyncio.ensure_future(follower.read())
            ends: list[asyncio.Future[Any]] = [one.reading for one in followers if one.reading is not None]
            unstored = self._name is not None and self._stored != self.position
            patience = max(self._due - loop.time(), 0) if unstored else None
            await asyncio.wait([*ends, self._ended], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
            found = []
            for follower in followers:
                if follower.reading is not None and follower.reading.done():
                    found.append((follower, follower.reading.result()))
                    follower.reading = None
            if found:
                return found
            await self._store()

    async def _wanted(self, follower: _Follower, record: Record) -> list[tuple[PartitionPosition, EventRecord]]:
        """The wanted events of a record, each with the place after it."""
        partition, offset = follower.reader.partition, record.offset
        transition = follower.reader.decode(record)
        workflow = follower.names.of(transition)
        if self._named and not workflow and transition.sequence != 1 and not follower.has_learned:
            follower.has_learned = True
            await follower.names.learn(self._log, partition, offset)
            workflow = follower.names.of(transition)
        if self._workflow not in {None, workflow}:
            return []
        behind = follower.place.number if follower.place.offset == offset else -1
        last = len(transition.events) - 1
        found = []
        for number, event in enumerate(transition.events):
            kind = event_type(event)
            if number <= behind or kind not in self._types:
                continue
            place = PartitionPosition(offset) if number == last else PartitionPosition(offset, number)
            position = position_text([*self._places[:partition], place, *self._places[partition + 1 :]])
            found.append((
                place,
                EventRecord(
                    instance_id=transition.instance_id,
                    sequence=transition.sequence + number if transition.sequence else 0,
                    type=kind,
                    at=transition.at,
                    event=event,
                    partition=partition,
                    offset=offset,
                    number=number,
                    position=position,
                    workflow=workflow,
                    life=transition.life,
                ),
            ))  # fmt: skip
        return found

    def finish(self) -> None:
        """The event that was given last is processed."""
        if self._given is not None:
            self._reach(*self._given)
            self._given = None

    def _reach(self, partition: int, place: PartitionPosition) -> None:
        self._followers[partition].place = self._places[partition] = place

    # --- what is remembered ---------------------------------------------------------------------------------

    async def _store(self, *, at_once: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if self._name is None or (now < self._due and not at_once):
            return
        self._due = now + _STORE_EVERY
        position = self.position
        if position == self._stored:
            return
        try:
            await self._bookmarks.store(self._name, position, self._clock())
        except LogClosedError:
            raise
        except LogError as error:  # tried again with the next one; a restart before that repeats some events
            _logger.warning("position not stored", subscription=self._name, error=error.sentence)
        else:
            self._stored = position

    async def settle(self) -> None:
        """Store what is finished now."""
        if self._followers and self._stored:
            await self._store(at_once=True)

    async def close(self) -> None:
        """Stop reading, and store what is finished. Closing again does nothing."""
        reads = [follower.reading for follower in self._followers.values() if follower.reading is not None]
        try:
            await cancel_and_wait(*reads)
            await self.settle()
        except LogClosedError:
            pass  # the client has stored it before it closed the log
        finally:
            self._followers = {}
            if self._forget is not None:
                self._forget()
                self._forget = None


class Subscription:
    """The events that a reader asked for, one after the other. Made by ``Client.subscribe``.

    Iterate over it in one task. Used as an asynchronous context manager it begins on entering, and on leaving it lets
    go of the log and stores a durable name's position at once; otherwise it begins with the first event that is asked
    for, and a loop that is left early lets go a moment later.

    Args:
        types: As ``Client.subscribe`` has them; and so are the others.
        named: Whether to find out the workflow of each event, and not only of instances whose start was read.
        endings: Has somebody told why nothing more is to be expected of this client.
        clock: Milliseconds since 1970, for when a position was stored.

    Raises:
        PatternError: A pattern matches no type of event; or ``workflow`` is no text.
        UnknownInstanceError, PositionError: ``instance_id`` or ``since`` is no text.
    """

    def __init__(
        self,
        log: Log,
        types: Iterable[str] = ("*",),
        *,
        instance_id: str | None = None,
        workflow: str | None = None,
        since: str | None = None,
        name: str | None = None,
        named: bool = False,
        endings: Endings | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        if name is not None:
            check_name(name)
        check_texts(UnknownInstanceError, none=True, instance_id=instance_id)
        check_texts(PatternError, none=True, workflow=workflow)
        check_texts(PositionError, none=True, since=since)
        self._flow = _Flow(
            log,
            types,
            instance_id=instance_id,
            workflow=workflow,
            since=since,
            name=name,
            named=named,
            endings=endings,
            clock=clock,
        )
        self._events = self._flow.events()

    @property
    def position(self) -> str:
        """How far it has come: behind the last event that was finished, and what nobody asked for after it.

        Empty before it begins.
        """
        return self._flow.position

    def acknowledge(self) -> None:
        """Call the event that was given last processed, without asking for the next one."""
        self._flow.finish()

    async def settle(self) -> None:
        """Store a durable name's position now."""
        await self._flow.settle()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventRecord:
        """The next event.

        Raises:
            StopAsyncIteration: The client was closed.
            PositionError: It cannot begin at the position that was given.
            PositionGoneError: Retention has deleted what would be next.
            LogError: No more can be read, or the engine of this process has stopped.
        """
        return await anext(self._events)

    async def aclose(self) -> None:
        """Let go of the log; a durable name's position is stored."""
        await self._events.aclose()  # type: ignore[attr-defined]
        await self._flow.close()  # where nobody has asked for an event yet

    async def __aenter__(self) -> Self:
        try:
            await self._flow.open()
        except BaseException:
            await self._flow.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def check_name(name: str) -> None:
    """Refuse what cannot be a durable name.

    Raises:
        StepwellError: It has no characters, or too many.
    """
    check_texts(StepwellError, name=name)
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise StepwellError(
            f"a subscription's name has 1 to {LONGEST_NAME} printable characters",
            place=repr(name[:60]),
            remedy="Name it after what it is for: billing, search-index.",
        )
