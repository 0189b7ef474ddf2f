"""The feeder: publishes every accepted event to the topic ``feed``, one a record, for those who are not Stepwell.

Who has a partition is again only advice; what makes the feed right is written in the feed. Every record names the
event that it comes from, and

- **a session goes on behind the newest position that the feed's own partition holds**, and publishes without a hole
  from there: one append at a time, and the first that fails, or ends in doubt, is the session's last.

So whatever a session appends, however late, comes after its predecessor by the same session, or after all that the
feed held when the session began. By induction: **when a position appears first, all before it have appeared**. A
feeder that was replaced and does not know it can repeat events; it can never let one appear too early, or leave one
out. Repeats have the same ``ce_id`` and ``ce_position``, so whoever keeps the last position of each partition drops
them by one comparison.

Repeats are few: an acknowledgement names where a batch landed. Anything but the offset after the session's last means
that somebody else writes, and the session ends there; who goes on asks the group afresh. There is no other fence, and
no Kafka transaction (``docs/adr/0014``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from stepwell.backoff import Backoff
from stepwell.consumers.reading.events import EventReader, place, read_range
from stepwell.consumers.reading.names import Names
from stepwell.consumers.reading.snapshots import SurpriseError, load_snapshot
from stepwell.core.fold.acceptance import Acceptance
from stepwell.errors import LogClosedError, LogCorruptedError
from stepwell.log.port import EVENTS, FEED, Log, Membership, NewRecord
from stepwell.logs import Logger
from stepwell.schemas.records.events import Transition
from stepwell.schemas.records.feed import FeedHead, FeedPosition, feed_headers, feed_position, feed_value
from stepwell.supervision import FATAL, STEADY_AFTER
from stepwell.tasks import cancel_and_wait

FEEDERS: Final = "feed"  # the group that shares out the partitions

_logger = Logger("stepwell.feed")

_TRANSITIONS: Final = 200  # read at once: what is published by one append, and the most that is repeated
_TAIL: Final = 500  # records of the feed to look at for the newest position: more than one append has, as a rule
_FIRST_PAUSE: Final = 0.05  # seconds; doubled for each further surprise
_LONGEST_PAUSE: Final = 2.0


class FeedSession:
    """Publishes one partition from where the feed ends, until its first trouble.

    Args:
        source: The ``ce_source`` of its events.
        reached: Told up to where the events were published; see ``port.Membership``.

    Attributes:
        published: How many events it has published.
    """

    def __init__(
        self, log: Log, partition: int, source: str, reached: Callable[[str, int, int], None] | None = None
    ) -> None:
        self._log = log
        self._reached = reached
        self._partition = partition
        self._source = source
        self._names = Names()
        self._reader = EventReader(log, partition)
        self._last: FeedPosition | None = None
        self._end = 0  # of the feed's partition, as far as this session knows
        self.published: int = 0

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            SurpriseError: Somebody else has written to the feed's partition.
            LogError: The log cannot be used, or nothing is known about what was appended last.
        """
        await self.begin()
        while True:
            await self.step(wait=None)

    async def begin(self) -> None:
        """Find where the feed ends."""
        self._end = await self._log.end(FEED, self._partition)
        self._last = last = await self._newest_position()
        if last is None:
            return
        if last.offset >= await self._log.end(EVENTS, self._partition):
            raise LogCorruptedError(
                f"the feed has published {place(self._partition, last.offset)}, which does not exist",
                place=f"{FEED}[{self._partition}]",
                remedy="Was the log restored from a backup? Delete the topic of the feed: it is made anew.",
            )
        # A reader starts in the middle with what the rule knew there; the transition itself is read once more, for
        # the feed may end within it.
        await self._learn_names(last)
        self._reader.position = last.offset
        self._reader.acceptance = Acceptance(last.epoch, last.turn - 1)
        _logger.debug("goes on", partition=self._partition, offset=last.offset, number=last.number)

    async def _newest_position(self) -> FeedPosition | None:
        newest = await _newest_position(self._log, self._partition, self._end)
        if newest is None and self._end:
            raise LogCorruptedError(
                "all records of the feed have been deleted, so nobody knows up to where it was published",
                place=f"{FEED}[{self._partition}]",
                remedy="Delete the topic: the feed is made anew, from the beginning of the log. Keep its records "
                "for longer than it may be quiet, or compact it (retention.ms, cleanup.policy).",
            )
        return newest

    async def _learn_names(self, last: FeedPosition) -> None:
        """The names of the instances that were live there, as far as the newest snapshot knows them."""
        reader = EventReader(self._log, self._partition)
        state = await load_snapshot(self._log, reader, await self._log.end(EVENTS, self._partition))
        self._names.known = {one.id: one.workflow for one in state.instances.values()}
        while reader.position <= last.offset:
            before = reader.position
            for record in await reader.read(end=last.offset + 1):
                self._names.of(reader.decode(record))
            if reader.position == before:
                break

    async def step(self, *, wait: float | None = 0.0) -> int:
        """Publish what has happened since; return how many events.

        Args:
            wait: Seconds to wait for the first; None for ever.
        """
        position = self._reader.position
        records = await self._log.read(EVENTS, self._partition, position, limit=_TRANSITIONS, wait=wait)
        if records and records[0].offset != position:
            raise LogCorruptedError(
                f"records {position} to {records[0].offset - 1} were deleted before they were published",
                place=f"{EVENTS}[{self._partition}]",
                remedy="The feed would have a gap. To begin it anew behind them, delete the topic of the feed.",
            )
        batch: list[NewRecord] = []
        for record in records:
            if self._reader.take(record):
                acceptance = self._reader.acceptance
                transition = self._reader.decode(record)
                self._add(batch, transition, record.offset, acceptance)
        if batch:
            await self._publish(batch)
        if self._reached is not None:
            self._reached(EVENTS, self._partition, self._reader.position)
        return len(batch)

    def _add(self, batch: list[NewRecord], transition: Transition, offset: int, acceptance: Acceptance) -> None:
        workflow = self._names.of(transition)
        for number, event in enumerate(transition.events):
            position = FeedPosition(offset, number, acceptance.epoch, acceptance.index)
            if self._last is not None and position <= self._last:
                continue
            sequence = transition.sequence + number if transition.sequence else 0
            head = FeedHead(transition.instance_id, sequence, transition.at, workflow, transition.life)
            value = feed_value(head, event)
            if len(value) > self._log.max_record_bytes:  # the transition fitted, without the name
                value = feed_value(FeedHead(head.instance_id, head.sequence, head.at, life=head.life), event)
            batch.append(NewRecord(head.instance_id, value, feed_headers(head, event, position, self._source)))

    async def _publish(self, batch: Sequence[NewRecord]) -> None:
        offsets = await self._log.append(FEED, self._partition, batch)
        if list(offsets) != list(range(self._end, self._end + len(batch))):
            raise SurpriseError(f"{FEED}[{self._partition}]: somebody else has written behind {self._end - 1}")
        self._end += len(batch)
        self.published += len(batch)


async def _newest_position(log: Log, partition: int, end: int) -> FeedPosition | None:
    """The newest position that the feed has below an offset; None where none is kept."""
    while end > 0:
        start = max(0, end - _TAIL)
        found = [
            position
            for record in await read_range(log, FEED, partition, start, end)
            if (position := feed_position(record.headers)) is not None
        ]
        if found:
            return max(found)
        end = start
    return None


async def newest_published(log: Log, partition: int) -> int | None:
    """The offset of the newest event that the feed has published; None where there is no feed."""
    if not await log.is_there(FEED):
        return None
    newest = await _newest_position(log, partition, await log.end(FEED, partition))
    return None if newest is None else newest.offset


class Feeder:
    """Publishes the partitions that the group gives to this process.

    Args:
        log: Whose topic ``feed`` is there.
        source: The ``ce_source`` of its events.
        told: Called once it has partitions, and again when they change.
    """

    def __init__(self, log: Log, source: str, told: Callable[[frozenset[int]], None] | None = None) -> None:
        self._log = log
        self._source = source
        self._told = told
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._membership: Membership
        self._fatal: asyncio.Future[None]

    async def run(self) -> None:
        """Work until cancelled, then leave.

        Raises:
            LogError: Of a kind that a person must look at.
        """
        self._fatal = asyncio.get_running_loop().create_future()
        self._membership = await self._log.join(FEEDERS)
        follow = asyncio.ensure_future(self._follow_assignment())
        try:
            await asyncio.wait((follow, self._fatal), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._fatal, follow):
                if done.done():
                    done.result()
        except LogClosedError:
            pass
        finally:
            await cancel_and_wait(follow, *self._tasks.values())
            self._fatal.cancel()
            await self._membership.leave()

    async def _follow_assignment(self) -> None:
        given = await self._membership.assignment()
        while True:
            for partition in sorted(self._tasks.keys() - given):
                await cancel_and_wait(self._tasks.pop(partition))
            for partition in sorted(given):
                if partition not in self._tasks:
                    self._tasks[partition] = asyncio.ensure_future(self._feed(partition))
            if self._told is not None:
                self._told(given)
            given = await self._membership.changed(given)

    async def _feed(self, partition: int) -> None:
        """Publish a partition for as long as the group says so, with a new session after every surprise."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, well_after=STEADY_AFTER)
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                given = await self._membership.assignment()
                while partition not in given:  # we are about to be told so, unless it comes back first
                    given = await self._membership.changed(given)
                await FeedSession(self._log, partition, self._source, self._membership.reached).run()
            except LogClosedError:
                return
            except FATAL as error:
                if not self._fatal.done():
                    self._fatal.set_exception(error)
                return
            except SurpriseError as surprise:
                _logger.info("somebody else published; looking again", partition=partition, reason=str(surprise))
            except Exception as error:
                _logger.warning("beginning anew where the feed ends", partition=partition, error=str(error))
            await asyncio.sleep(backoff.next(clock() - began))
