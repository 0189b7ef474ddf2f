"""Asking brokers for records and offsets, one request at a time.

aiokafka's consumer follows a fixed set of partitions; a log is also read in the middle, by several readers at once,
and must not wait there for a long poll to end. So requests are made here, with aiokafka's client, protocol and
decoders. A broker answers the requests of one connection in turn: what polls for long has connections of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

import aiokafka.errors as kafka
from aiokafka import TopicPartition as BrokerPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import DeleteRecordsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords

from stepwell.errors import LogCorruptedError, LogError
from stepwell.log.kafka.errors import HOPELESS, TROUBLE, explain
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.kafka.topics import Topics
from stepwell.log.port import EVENTS, NO_HEADERS, Record, TopicPartition

_CHUNK: Final = 1024 * 1024  # bytes of one partition in one answer; a larger batch comes whole all the same
_ANSWER: Final = 16 * 1024 * 1024  # bytes of one answer
_ASK: Final = "ask"  # the connection for what is answered at once
_EARLIEST: Final = -2
_LATEST: Final = -1
_PAUSE: Final = 0.1  # seconds between two attempts

_Answer = TypeVar("_Answer")


class Fetched(NamedTuple):
    """What a broker has of a partition.

    Attributes:
        start: Where its records begin: below, retention has deleted them.
        end: Where they end, as of the answer.
        next: From where on to look further: behind the records, and behind what only transactions have left.
    """

    records: list[Record]
    start: int
    end: int
    next: int


class OutOfRangeError(Exception):
    """The partition has no such offset: it was deleted, or is still to come."""


class Fetcher:
    """Asks the brokers that lead partitions."""

    def __init__(self, settings: KafkaSettings, topics: Topics, client: AIOKafkaClient) -> None:
        self._settings = settings
        self._topics = topics
        self._client = client
        self._lines: set[tuple[int, str]] = set()
        self._connecting: set[asyncio.Future[bool]] = set()

    async def _send(self, node: int, request: Any, line: str = _ASK) -> Any:
        """Send a request by one of our connections to a broker."""
        if (node, line) not in self._lines:
            # aiokafka loses a connection whose making is cancelled, so nobody's impatience may reach it.
            connecting = asyncio.ensure_future(self._client.ready(node, group=line))
            self._connecting.add(connecting)
            connecting.add_done_callback(self._connecting.discard)
            if await asyncio.shield(connecting):
                self._lines.add((node, line))
        return await self._client.send(node, request, group=line)

    async def close(self) -> None:
        """Wait for what may not be cut short."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    # Where partitions are.

    def leader(self, place: TopicPartition) -> int | None:
        """The broker that leads a partition; None where that is not known."""
        found = self._client.cluster.leader_for_partition(BrokerPartition(self._topics.name(place[0]), place[1]))
        return None if found is None or found < 0 else int(found)

    async def find(self, places: Iterable[TopicPartition]) -> None:
        """Have a fresh look at who leads these partitions."""
        for topic, _ in places:
            self._client.add_topic(self._topics.name(topic))
        await self._client.force_metadata_update()

    async def _leader(self, place: TopicPartition) -> int:
        found = self.leader(place)
        if found is None:
            await self.find([place])
            found = self.leader(place)
        if found is None:
            name = self._topics.name(place[0])
            if name in self._client.cluster.unauthorized_topics:
                raise kafka.TopicAuthorizationFailedError(name)
            raise kafka.LeaderNotAvailableError
        return found

    # One partition, at once.

    async def now(self, place: TopicPartition, offset: int, *, within: float) -> Fetched:
        """What is there from an offset on; the first records kept where it was deleted.

        Args:
            within: How many seconds to try, when the broker does not answer.

        Raises:
            LogError: It did not answer in time, or refused.
        """

        async def ask() -> Fetched:
            node = await self._leader(place)
            try:
                answer = await self.fetch(node, {place: offset}, wait=0.0)
                return answer[place]
            except OutOfRangeError:
                start, end = await self._bounds(place, node)
                if offset >= end:
                    return Fetched([], start, end, offset)
                return (await self.fetch(node, {place: start}, wait=0.0))[place]

        return await self._patiently(ask, place, "read", within)

    async def end(self, place: TopicPartition, *, within: float) -> int:
        """The offset that the next record will get."""

        async def ask() -> int:
            return await self._offset(place, await self._leader(place), _LATEST)

        return await self._patiently(ask, place, "ask for the end of", within)

    async def delete_before(self, place: TopicPartition, offset: int, *, within: float) -> None:
        """Delete the records below an offset."""
        topic, partition = place
        name = self._topics.name(topic)

        async def ask() -> None:
            request = DeleteRecordsRequest([(name, [(partition, offset)])], int(within * 1000))
            response = await self._send(await self._leader(place), request)
            for answered in response.topics:
                for one in answered[1]:
                    _check(one[2], name)

        await self._patiently(ask, place, "forget records of", within)

    async def _bounds(self, place: TopicPartition, node: int) -> tuple[int, int]:
        return await self._offset(place, node, _EARLIEST), await self._offset(place, node, _LATEST)

    async def _offset(self, place: TopicPartition, node: int, which: int) -> int:
        topic, partition = place
        request = OffsetRequest(-1, 0, [(self._topics.name(topic), [(partition, which)])])
        response = await self._send(node, request)
        ((_, ((_, code, *rest),)),) = response.topics
        _check(code, self._topics.name(topic))
        return int(rest[-1])

    async def _patiently(
        self, ask: Callable[[], Awaitable[_Answer]], place: TopicPartition, doing: str, within: float
    ) -> _Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            try:
                return await ask()
            except TROUBLE as error:
                late = loop.time() + _PAUSE >= deadline
                if late or isinstance(error, HOPELESS) or not _is_passing(error):
                    raise explain(error, self._settings.place, f"{doing} {place[0]}[{place[1]}]") from error
            await asyncio.sleep(_PAUSE)
            await self.find([place])

    # Many partitions.

    async def fetch(
        self, node: int, offsets: dict[TopicPartition, int], *, wait: float, line: str = _ASK
    ) -> dict[TopicPartition, Fetched]:
        """What one broker has.

        Args:
            offsets: From where on to read which partition.
            wait: Seconds that the broker may wait for a first record of any of them.
            line: Which of our connections to it to use.

        Raises:
            OutOfRangeError: With the places whose offsets do not exist.
            KafkaError: Anything else.
        """
        asked: dict[str, list[tuple[int, int, int]]] = {}
        for (topic, partition), offset in offsets.items():
            asked.setdefault(self._topics.name(topic), []).append((partition, offset, _CHUNK))
        topics = {self._topics.name(topic): topic for topic, _ in offsets}
        request = FetchRequest(int(wait * 1000), 1, _ANSWER, 0, list(asked.items()))
        response = await self._send(node, request, line)
        found: dict[TopicPartition, Fetched] = {}
        outside = []
        for name, partitions in response.topics:
            for partition, code, high, _, start, *_, data in partitions:
                place = (topics[name], partition)
                if kafka.for_code(code) is kafka.OffsetOutOfRangeError:
                    outside.append(place)
                    continue
                _check(code, name)
                records, behind = self._decode(place, data, offsets[place])
                found[place] = Fetched(records, start, high, behind)
        if outside:
            raise OutOfRangeError(outside)
        return found

    def _decode(self, place: TopicPartition, data: bytes | None, offset: int) -> tuple[list[Record], int]:
        """The records from an offset on, and the offset behind the last batch."""
        found: list[Record] = []
        behind = offset
        batches = MemoryRecords(data or b"")
        while batches.has_next():
            batch = batches.next_batch()
            behind = max(behind, batch.next_offset)
            if not batch.validate_crc():
                raise LogCorruptedError(
                    "a batch's checksum is wrong",
                    place=f"{self._settings.place} {place[0]}[{place[1]}]@{batch.base_offset}",
                    remedy="If reading again does not help, the broker's disk is damaged.",
                )
            if batch.is_control_batch or batch.is_transactional:
                if place[0] == EVENTS:
                    raise LogError(
                        "a transactional producer has written to events: its offsets have holes, so nothing can be "
                        "proved by them",
                        place=f"{self._settings.place} {place[0]}[{place[1]}]@{batch.base_offset}",
                        remedy="Only engines write events, without transactions. Start with another namespace.",
                    )
                if batch.is_control_batch:
                    continue
            for record in batch:
                if record.offset >= offset:
                    headers = record.headers
                    found.append(
                        Record(
                            record.offset,
                            "" if record.key is None else record.key.decode(errors="replace"),
                            b"" if record.value is None else record.value,
                            {name: _text(value) for name, value in headers} if headers else NO_HEADERS,
                            record.timestamp,
                        )
                    )
        return found, behind


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="replace")


def _check(code: int, name: str) -> None:
    if code:
        raise kafka.for_code(code)(name)


def _is_passing(error: BaseException) -> bool:
    return not isinstance(error, kafka.KafkaError) or error.retriable or isinstance(error, kafka.KafkaConnectionError)
