"""Reading: buffers of records in memory, and long polls for what is to come.

Whoever reads at the end of a partition *follows* it: long polls, one request for many partitions, bring what arrives
before it is asked for. What this process appends itself is put there at once. Who reads elsewhere asks the broker
directly and leaves what came beyond the limit for the next read.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import Task
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from aiokafka.errors import UnknownTopicOrPartitionError

from stepwell.backoff import Backoff
from stepwell.errors import LogClosedError, LogError
from stepwell.log.kafka.ends import EndOffsets
from stepwell.log.kafka.errors import HOPELESS, TROUBLE, explain
from stepwell.log.kafka.fetch import Fetched, Fetcher, OutOfRangeError
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.port import Record, TopicPartition
from stepwell.log.wake import Arrivals
from stepwell.logs import Logger
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.log.kafka")

_AHEAD: Final = 8192  # records that nobody has read yet, before a partition is followed no further
_MOST_RECORDS: Final = 4096  # of a buffer that were read and are kept for others; both may double for a moment
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_OTHERS: Final = 4  # buffers of a partition besides the followed one
_FORGET_AFTER: Final = 60.0  # seconds without a reader
_SHORT_POLL: Final = 0.02  # seconds: who comes newly waits for a poll under way no longer
_LONG_POLL: Final = 0.5
_POLLERS: Final = 2  # of a broker: while one waits long, the other can take in who comes newly
_FLOW: Final = 4  # records in one answer: more will come, and
_BREATH: Final = 0.005  # seconds later they come together. Each request costs as much as several steps
_PAUSE: Final = 0.1  # seconds after trouble; doubled, up to the next
_LONGEST_PAUSE: Final = 2.0

_offset_of = attrgetter("offset")


class RecordBuffer:
    """Consecutive records of a partition that were read, and are kept for others who will read them.

    Attributes:
        start: Their first offset; what lies between it and the first record, retention has deleted.
        end: Where the next one belongs.
        seen: Up to where somebody has read.
        used: When it was last read from.
    """

    __slots__ = ("bytes", "end", "records", "seen", "start", "used")

    def __init__(self, start: int, now: float) -> None:
        self.start: int = start
        self.end: int = start
        self.seen: int = start
        self.records: list[Record] = []
        self.bytes: int = 0
        self.used: float = now

    def add(self, records: Sequence[Record]) -> bool:
        """Take in what follows; whether anything was new."""
        new = [record for record in records if record.offset >= self.end]
        if not new:
            return False
        self.records += new
        self.end = new[-1].offset + 1
        self.bytes += sum(len(record.value) for record in new)
        return True

    def skip(self, offset: int) -> None:
        """Go on behind what is no record: a transaction's mark."""
        if offset > self.end:
            self.seen = offset if self.seen == self.end else self.seen
            self.end = offset

    def read(self, offset: int, limit: int) -> list[Record]:
        """Records from ``offset`` on; it must lie within."""
        first = offset - (self.end - len(self.records))  # without holes, that is where it stands
        if not 0 <= first < len(self.records) or self.records[first].offset != offset:
            first = bisect_left(self.records, offset, key=_offset_of)
        found = self.records[first : first + limit]
        if found:
            self.seen = max(self.seen, found[-1].offset + 1)
        return found

    def forget(self, offset: int) -> None:
        """Forget the records below an offset."""
        count = bisect_left(self.records, offset, key=_offset_of)
        self.bytes -= sum(len(record.value) for record in self.records[:count])
        del self.records[:count]
        self.start = self.records[0].offset if self.records else self.end

    def trim(self) -> None:
        """Forget the oldest of what was read, seldom, so that it costs nothing a record."""
        while len(self.records) > 2 * _MOST_RECORDS or self.bytes > 2 * _MOST_BYTES:
            count = min(len(self.records) // 2 + 1, bisect_left(self.records, self.seen, key=_offset_of))
            if not count:
                return
            self.forget(self.records[count - 1].offset + 1)


class Reader:
    """All reading of one log object."""

    def __init__(self, settings: KafkaSettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._ends = EndOffsets(fetcher, settings.append_timeout)
        self._loop = asyncio.get_running_loop()
        self._followed: dict[TopicPartition, RecordBuffer] = {}
        self._others: dict[TopicPartition, list[RecordBuffer]] = {}
        self._covered: set[TopicPartition] = set()  # being polled now
        self._pollers: dict[int, list[Task[None]]] = {}
        self._stirred: dict[int, asyncio.Event] = {}
        self._arrivals = Arrivals(self._loop)
        self._lost: Task[None] | None = None
        self._closed: LogError | None = None

    async def read(self, place: TopicPartition, offset: int, *, limit: int, wait: float | None) -> Sequence[Record]:
        """As the port says."""
        deadline = None if wait is None else self._loop.time() + wait
        offset = max(offset, 0)
        while limit > 0:
            if self._closed is not None:
                raise self._closed
            found: Sequence[Record] = self._have(place, offset, limit)
            left = None if deadline is None else deadline - self._loop.time()
            if not found and (wait == 0 or not self._follows(place, offset)):
                found, offset = await self._ask(place, offset, limit, left)
                left = None if deadline is None else deadline - self._loop.time()
            if found or (left is not None and left <= 0):
                return found
            if self._follows(place, offset):  # else it was overtaken while we asked
                self._stir(place)
                await self._arrivals.wait(place, offset, left)
        return []

    def _have(self, place: TopicPartition, offset: int, limit: int) -> list[Record]:
        followed = self._followed.get(place)
        buffers: list[RecordBuffer] = self._others.get(place, [])
        for buffer in buffers if followed is None else [followed, *buffers]:
            if buffer.start <= offset < buffer.end:
                found = buffer.read(offset, limit)
                buffer.used = self._loop.time()
                if buffer is followed:
                    self._stir(place)  # it may have been too far ahead
                return found
        return []

    def _follows(self, place: TopicPartition, offset: int) -> bool:
        """Whether what will be at ``offset`` is on its way."""
        buffer = self._followed.get(place)
        return buffer is not None and buffer.end <= offset and self._is_behind(buffer)

    async def _ask(
        self, place: TopicPartition, offset: int, limit: int, left: float | None
    ) -> tuple[Sequence[Record], int]:
        """Ask the broker. Where it has nothing there yet, begin to follow the partition.

        Returns:
            Records; and from where on to look if there are none: what was at ``offset`` may have been deleted, and
            whatever was behind it, too.
        """
        # Who waits for ever waits for a broker to come back, too; any other gets a fair time.
        within = math.inf if left is None else max(left, self._settings.append_timeout)
        found = await self._fetcher.now(place, offset, within=within)
        now = self._loop.time()
        if not found.records:
            buffer = self._followed.get(place)
            if buffer is None or buffer.end < found.end:
                buffer = self._followed[place] = RecordBuffer(found.end, now)
            buffer.used = now
            buffer.seen = buffer.end  # there is one who has come so far; who has not will ask for himself
            buffer.trim()
            return [], found.next
        buffer = RecordBuffer(min(offset, found.records[0].offset), now)
        buffer.add(found.records)
        followed = self._followed.get(place)
        if followed is None or (followed.end <= buffer.end and now - followed.used > 1.0):
            if buffer.end >= found.end:
                self._followed[place] = buffer
                self._arrivals.fire(place, buffer.end)
                return buffer.read(offset, limit), offset
        elif followed.end == buffer.end and followed.start <= buffer.start:
            return buffer.read(offset, limit), offset
        others = self._others.setdefault(place, [])
        others[:] = [other for other in others if other.end != buffer.start][-_MOST_OTHERS + 1 :]
        others.append(buffer)
        return buffer.read(offset, limit), offset

    async def end(self, place: TopicPartition) -> int:
        """As the port says."""
        if self._closed is not None:
            raise self._closed
        return await self._ends.of(place)

    async def delete_before(self, place: TopicPartition, offset: int) -> None:
        """As the port says."""
        if self._closed is not None:
            raise self._closed
        end = await self._ends.of(place)
        await self._fetcher.delete_before(place, min(offset, end), within=self._settings.append_timeout)
        others = self._others.get(place, [])
        others[:] = [buffer for buffer in others if buffer.start >= offset]
        followed = self._followed.get(place)
        if followed is not None and followed.start < offset:
            followed.forget(offset)

    def landed(self, topic: str, partition: int, first: int, records: Callable[[], Sequence[Record]]) -> None:
        """Show those who follow what this process itself has appended; most of it nobody here follows."""
        buffer = self._followed.get((topic, partition))
        if buffer is not None and buffer.end == first and self._is_behind(buffer):
            self._arrived((topic, partition), buffer, records())

    def _take(self, found: Mapping[TopicPartition, Fetched], wanted: Mapping[TopicPartition, int]) -> None:
        """Keep what a poll has brought, for those who follow it still."""
        for place, (records, _, _, behind) in found.items():
            buffer = self._followed.get(place)
            if buffer is not None and buffer.end >= wanted[place]:
                self._arrived(place, buffer, records)
                buffer.skip(behind)

    def _arrived(self, place: TopicPartition, buffer: RecordBuffer, records: Sequence[Record]) -> None:
        if buffer.add(records):
            buffer.trim()
            self._arrivals.fire(place, buffer.end)

    # Following.

    @staticmethod
    def _is_behind(buffer: RecordBuffer) -> bool:
        """Whether its readers keep up well enough to read ahead of them."""
        return buffer.end - buffer.seen < _AHEAD and buffer.bytes < 4 * _MOST_BYTES

    def _stir(self, place: TopicPartition) -> None:
        """See to it that a partition is polled."""
        if place in self._covered:
            return
        node = self._fetcher.leader(place)
        if node is None:
            if self._lost is None or self._lost.done():
                self._lost = self._loop.create_task(self._find(place))
            return
        if node not in self._pollers:
            self._stirred[node] = asyncio.Event()
            self._pollers[node] = [
                self._loop.create_task(self._poll(node, f"follow-{number}")) for number in range(_POLLERS)
            ]
        self._stirred[node].set()

    async def _find(self, place: TopicPartition) -> None:
        while self._fetcher.leader(place) is None:
            await self._fetcher.find([place])
            await asyncio.sleep(_PAUSE)
        self._loop.call_soon(self._stir, place)

    def _wanted(self, node: int) -> dict[TopicPartition, int]:
        """What a poll of this broker is to ask for."""
        forgotten = self._loop.time() - _FORGET_AFTER
        awaited = set(self._arrivals.awaited())
        for place in [
            one for one, buffer in self._followed.items() if buffer.used < forgotten and one not in awaited
        ]:
            del self._followed[place]
            self._others.pop(place, None)
        return {
            place: buffer.end
            for place, buffer in self._followed.items()
            if place not in self._covered and self._is_behind(buffer) and self._fetcher.leader(place) == node
        }

    async def _poll(self, node: int, line: str) -> None:
        wait, before = _SHORT_POLL, frozenset[TopicPartition]()
        backoff = Backoff(_PAUSE, _LONGEST_PAUSE)
        while True:
            wanted = self._wanted(node)
            if not wanted:
                self._stirred[node].clear()
                await self._stirred[node].wait()
                continue
            wait = min(wait * 2, _LONG_POLL) if wanted.keys() == before else _SHORT_POLL
            before = frozenset(wanted)
            self._covered.update(wanted)
            try:
                found = await self._fetcher.fetch(node, wanted, wait=wait, line=line)
            except OutOfRangeError as error:
                # Deleted by somebody, or lost with a broker: let those who wait ask anew.
                for place in error.args[0]:
                    self._followed.pop(place, None)
                    self._arrivals.tell(place)
            except HOPELESS as error:
                self._refuse(wanted, explain(error, self._settings.place, "read"))
            except TROUBLE as error:
                tell = _logger.debug
                if backoff.is_fresh and isinstance(error, UnknownTopicOrPartitionError):
                    tell = _logger.warning  # somebody has deleted a topic; that does not pass by itself
                tell("reading goes on when what is read is there again", error=repr(error), node=node)
                await asyncio.sleep(backoff.next())
                await self._fetcher.find(wanted)
                for place in wanted:  # another broker may lead it now
                    self._loop.call_soon(self._stir, place)
            except Exception as error:  # whatever it is: nobody must wait for a poll that has stopped
                self._refuse(wanted, explain(error, self._settings.place, "read"))
            else:
                backoff.reset()
                self._take(found, wanted)
                if sum(len(records) for records, *_ in found.values()) >= _FLOW:
                    await asyncio.sleep(_BREATH)
            finally:
                self._covered.difference_update(wanted)

    def _refuse(self, places: Iterable[TopicPartition], error: LogError) -> None:
        """Tell those who wait; who asks again will ask the broker itself."""
        for place in places:
            self._followed.pop(place, None)
            self._arrivals.tell(place, error)

    async def close(self) -> None:
        """Stop; who waits is told."""
        self._closed = LogClosedError("the log is closed", place=self._settings.place)
        self._arrivals.end(LogClosedError("the log was closed", place=self._settings.place))
        tasks = [task for pollers in self._pollers.values() for task in pollers]
        if self._lost is not None:
            tasks.append(self._lost)
        await cancel_and_wait(*tasks, report=True)
        await self._fetcher.close()
