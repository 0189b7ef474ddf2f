"""The log in Apache Kafka, for several machines.

What each module beside this one does: ``settings`` what can be chosen, ``topics`` topics and their names,
``producer`` appending, ``fetch`` and ``reader`` reading, ``group``, ``membership`` and ``shares`` who is there and
who takes which partition, ``queue`` and the rest the workers' queues; ``services`` is what these are given of the
log.

There are no Kafka transactions: who owns a partition is written in it (see ``stepwell.core.fold.acceptance``), and
that needs nothing of the broker but order and durability.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import aiokafka.errors as kafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn

from stepwell.backoff import Backoff
from stepwell.errors import LogClosedError, LogError
from stepwell.log.kafka.errors import HOPELESS, TROUBLE, HungUpError, explain, explained
from stepwell.log.kafka.fetch import Fetcher
from stepwell.log.kafka.group import GroupDirectory, GroupMember
from stepwell.log.kafka.membership import KafkaMembership
from stepwell.log.kafka.producer import Appender, encode
from stepwell.log.kafka.queue import KafkaQueue
from stepwell.log.kafka.reader import Reader
from stepwell.log.kafka.settings import KafkaSettings, check
from stepwell.log.kafka.topics import ALONE, Topics
from stepwell.log.port import (
    COMMANDS,
    NO_HEADERS,
    PARTITIONED,
    Delivery,
    Description,
    Member,
    NewRecord,
    Outgoing,
    Record,
)
from stepwell.log.wake import failed_future

# What aiokafka has to say about a broker that is away, ours say too, with place and remedy. It speaks where a program
# has set up logging, and not, for want of that, on stderr.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())

_PAUSE: Final = 0.25  # seconds between two attempts to reach a broker; doubled
_LONGEST_PAUSE: Final = 2.0
_PAGE: Final = 2000  # records that are looked at in one go for those of a key
_CHUNK: Final = 32  # records of one enqueue that stay together; the next go to the next partition


class KafkaLog:
    """A log in Kafka; see ``port.Log`` for what its methods promise. Made by ``open``."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.partitions: int = 0
        self.max_record_bytes: int = settings.max_record_bytes
        self._description = Description("kafka", settings.place)
        self.topics: Topics
        self.reader: Reader
        self.directory: GroupDirectory
        self._loop = asyncio.get_running_loop()
        self._admin: Any
        self._client: Any
        self._appender: Appender
        self._memberships: list[KafkaMembership] = []
        self._queues: list[KafkaQueue] = []
        self._next_partition: dict[str, int] = {}
        self._closed = False
        self._gone: Future[None] = self._loop.create_future()

    @classmethod
    async def open(cls, settings: KafkaSettings, *, create: bool = True) -> Self:
        """Connect, and make the log's topics if need be.

        Args:
            create: Make a log that does not exist; otherwise that is an error.

        Raises:
            LogError: No broker can be reached, it does not let us in, or the topics do not fit.
        """
        check(settings)
        log = cls(settings)
        deadline = log._loop.time() + settings.connect_timeout
        backoff = Backoff(_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await log._start(create=create)
            except (*TROUBLE, LogError) as error:
                pause = backoff.next()
                cause = error.__cause__ if isinstance(error, LogError) else error
                passing = isinstance(cause, TROUBLE) and not isinstance(cause, HOPELESS)
                if not passing or log._loop.time() + pause > deadline:
                    raise explain(error, settings.place, "connect") from error
            else:
                return log
            await asyncio.sleep(pause)

    async def _start(self, *, create: bool) -> None:
        options = self.settings.client()
        timeout = int(min(self.settings.append_timeout, 30.0) * 1000)
        self._client = AIOKafkaClient(**options, request_timeout_ms=timeout)
        self._admin = AIOKafkaAdminClient(**options, request_timeout_ms=timeout)
        try:
            try:
                await self._client.bootstrap()
            except kafka.KafkaConnectionError:
                await self._say_why(options, timeout)
            await self._admin.start()
            self.topics = Topics(self.settings, self._client, self._admin)
            await self.topics.prepare(create=create)
            self.partitions = self.topics.partitions
            fetcher = Fetcher(self.settings, self.topics, self._client)
            await fetcher.find((topic, 0) for topic in PARTITIONED | ALONE)
            self.reader = Reader(self.settings, fetcher)
            self.directory = GroupDirectory(self.settings, self.topics, self._admin)
            self._appender = Appender(self.settings, self.topics, self.reader.landed)
            with explained(self.settings.place, "start to append"):
                await self._appender.start()
        except BaseException:
            with suppress(*TROUBLE):
                await self._admin.close()
                await self._client.close()
            raise

    async def _say_why(self, options: Mapping[str, Any], timeout: int) -> None:
        """Raise why a broker does not let us in, where it is that: aiokafka only says that none can be reached."""
        names = ("client_id", "security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username")
        how = {name: options[name] for name in (*names, "sasl_plain_password") if name in options}
        reasons = []
        hung_up = True
        for host, port, _ in self._client.hosts:
            try:
                connection = await create_conn(host, port, request_timeout_ms=timeout, **how)
            except HOPELESS:
                raise
            except TROUBLE as error:
                reasons.append(", ".join(map(str, error.args)) or type(error).__name__)
                hung_up = hung_up and isinstance(error, (kafka.KafkaConnectionError, ConnectionResetError))
            else:
                connection.close()
        kind = HungUpError if hung_up and reasons else kafka.KafkaConnectionError
        raise kind("; ".join(reasons) or "the brokers closed the connection")

    def describe(self) -> Description:
        """As the port says: no file, and no index of keys."""
        return self._description

    # Records.

    def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Future[Sequence[int]]:
        """As the port says.

        Raises (through the future):
            RecordTooLargeError: A record is larger than ``max_record_bytes``; nothing is appended.
            LogError: Nothing is known about the records; no longer than ``append_timeout`` after the call.
            LogClosedError: The log is closed.
        """
        try:
            self._check(topic, partition)
        except LogError as error:
            return failed_future(self._loop, error)
        return self._appender.append(topic, partition, records)

    def check(self, outgoing: Outgoing) -> None:
        """Raise what ``append`` would fail with before anything is sent."""
        self._check(outgoing.topic, outgoing.partition)
        for record in outgoing.records:
            encode(record, self.max_record_bytes, self.settings.place)

    async def read(
        self, topic: str, partition: int, offset: int, *, limit: int = 1000, wait: float | None = 0.0
    ) -> Sequence[Record]:
        """As the port says. Many or large records come in several reads, about a megabyte at a time.

        Raises:
            LogClosedError: The log is closed, or was while this waited.
            LogError: The broker refuses, or cannot be reached; who already waits for new records goes on waiting.
        """
        self._check(topic, partition)
        return await self.reader.read((topic, partition), offset, limit=limit, wait=wait)

    async def read_key(self, topic: str, partition: int, key: str, *, offset: int = 0) -> Sequence[Record]:
        """As the port says: Kafka has no index of keys, so all is read."""
        pages = self._pages(topic, partition, max(offset, 0))
        return [record async for page in pages for record in page if record.key == key]

    async def known_keys(self, topic: str, partition: int, keys: Collection[str]) -> set[str]:
        """As the port says; all is read."""
        wanted = frozenset(keys)
        return {
            record.key async for page in self._pages(topic, partition, 0) for record in page if record.key in wanted
        }

    async def _pages(self, topic: str, partition: int, offset: int) -> AsyncIterator[Sequence[Record]]:
        """The records from an offset up to where the partition ends now, some at a time."""
        self._check(topic, partition)
        end = await self.reader.end((topic, partition))
        while offset < end:
            records = await self.reader.read((topic, partition), offset, limit=_PAGE, wait=0.0)
            if not records:
                break
            offset = records[-1].offset + 1
            yield records if offset <= end else [record for record in records if record.offset < end]

    async def end(self, topic: str, partition: int) -> int:
        """As the port says."""
        self._check(topic, partition)
        return await self.reader.end((topic, partition))

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """As the port says: the broker deletes whole segments, and hides the rest at once."""
        self._check(topic, partition)
        await self.reader.delete_before((topic, partition), offset)

    async def is_there(self, topic: str) -> bool:
        """As the port says: a topic that nobody has made cannot be read."""
        self._check_open()
        return await self.topics.is_there(topic)

    async def free_space(self) -> None:
        """As the port says: the brokers free the room of deleted segments by themselves."""
        self._check_open()

    async def have(self, topic: str) -> None:
        """Have a topic that a log can do without, with as many partitions as the log; made if need be.

        Raises:
            LogError: It cannot be made, or has another number of partitions.
        """
        self._check_open()
        await self.topics.have(topic)
        found = self.topics.count(topic)
        if found < self.partitions and not any([await self.end(topic, number) for number in range(found)]):
            await self.topics.grow(topic)  # a broker made it in its own way, for a consumer that came before us
        self.topics.check_count(topic, self.topics.count(topic), self.partitions)

    # Queues and groups.

    def enqueue(self, queue: str, records: Sequence[NewRecord]) -> Future[None]:
        """As the port says; errors as in ``append``.

        Records are spread over the queue's partitions whatever their keys, so that the many steps of one instance
        do not all wait for one worker.
        """
        topic = self.topics.of_queue(queue)
        try:
            self._check_open()
            self.check(Outgoing(COMMANDS, 0, records))
        except LogError as error:
            return failed_future(self._loop, error)
        copies = [record._replace(headers=dict(record.headers)) for record in records]
        if not self.topics.has(topic):
            return asyncio.ensure_future(self._enqueue_to_new(topic, copies))
        return self._spread(topic, copies)

    async def _enqueue_to_new(self, topic: str, records: Sequence[NewRecord]) -> None:
        """Make the queue's topic first."""
        await self.topics.have(topic)
        await self._spread(topic, records)

    def _spread(self, topic: str, records: Sequence[NewRecord]) -> Future[None]:
        count = self.topics.count(topic)
        appended = []
        for start in range(0, len(records), _CHUNK):
            partition = self._next_partition.get(topic, 0) % count
            self._next_partition[topic] = partition + 1
            appended.append(self._appender.append(topic, partition, records[start : start + _CHUNK]))
        return asyncio.ensure_future(_all(appended))

    async def consume(
        self,
        queues: Sequence[str],
        *,
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None = None,
        about: Mapping[str, str] = NO_HEADERS,
    ) -> KafkaQueue:
        """As the port says."""
        self._check_open()
        queue = KafkaQueue(self, queues, max(prefetch, 1), accepts, about)
        self._queues = [one for one in self._queues if not one.closed]
        self._queues.append(queue)
        try:
            await queue.start()
        except BaseException:
            await queue.shut(tidy=False)
            raise
        return queue

    async def join(self, group: str, about: Mapping[str, str] = NO_HEADERS) -> KafkaMembership:
        """As the port says. Partitions stay with whom they are, as far as equal shares allow."""
        self._check_open()
        member = GroupMember(self.settings, self.topics, group, [COMMANDS], about)
        await member.join()
        membership = KafkaMembership(member, self.directory, self.settings.place)
        self._memberships = [one for one in self._memberships if not one.left]
        self._memberships.append(membership)
        return membership

    async def members(self, group: str) -> Sequence[Member]:
        """As the port says; one that has died is listed until its session has timed out."""
        self._check_open()
        return await self.directory.members(group)

    def _check(self, topic: str, partition: int) -> None:
        most = self.topics.count(topic)
        if not 0 <= partition < most:
            raise LogError(
                f"{topic} has no partition {partition}",
                place=self.settings.place,
                remedy=f"It has {most}: 0 to {most - 1}. The number is fixed when the log is made.",
            )

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError("the log is closed", place=self.settings.place)

    async def close(self) -> None:
        """As the port says. Closing again does nothing."""
        await self._shut(tidy=True)

    async def _shut(self, *, tidy: bool) -> None:
        """Close; without ``tidy`` it is left as by a process that was killed."""
        if self._closed:
            await asyncio.shield(self._gone)
            return
        self._closed = True
        try:
            error = LogClosedError("the log was closed", place=self.settings.place)
            if not tidy:
                await self._appender.drop(error)
            parts: list[KafkaQueue | KafkaMembership] = [*self._queues, *self._memberships]
            await asyncio.gather(*(part.shut(tidy=tidy) for part in parts), return_exceptions=True)
            if tidy:
                await self._appender.close()
            await self.reader.close()
            with suppress(*TROUBLE):
                await self._admin.close()
                await self._client.close()
        finally:
            self._gone.set_result(None)


async def _all(appended: Sequence[Future[Sequence[int]]]) -> None:
    """Wait for all, then raise the first error."""
    results = await asyncio.gather(*appended, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
