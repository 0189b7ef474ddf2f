"""Appending: one idempotent producer for the process, and one lane for each partition.

A lane has one batch on its way at a time; whatever is appended meanwhile goes into the next. So the order of the
calls is kept, and an acknowledgement names the offset of each record.

Any error is the end of the producer: it has used sequence numbers whose fate is unknown, and going on with it is how
writes get lost or doubled (Jepsen's analyses of Kafka's protocol). What was on its way then fails, for nothing is
known about it, and the next batch goes out through a new producer.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from stepwell.errors import LogClosedError, LogError, RecordTooLargeError
from stepwell.log.kafka.errors import HOPELESS, TROUBLE, explain
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.kafka.topics import Topics
from stepwell.log.port import NewRecord, Record, TopicPartition
from stepwell.log.wake import failed_future
from stepwell.process import now_ms
from stepwell.tasks import cancel_and_wait

_BATCH: Final = 256 * 1024  # bytes, before compression: several times the throughput of the default 16 KB
_PAUSE: Final = 0.1  # seconds between two attempts to start a producer
_LINGER_OF_THE_DEAD: Final = 2.0  # seconds that an abandoned producer gets to take its tasks down

Encoded = tuple[bytes, bytes, list[tuple[str, bytes]]]
Landed = Callable[[str, int, int, Callable[[], Sequence[Record]]], None]


def encode(record: NewRecord, limit: int, place: str) -> Encoded:
    """Check a record and copy it.

    Raises:
        RecordTooLargeError: Its value is larger than ``limit`` bytes, or key and headers together are.
        TypeError, AttributeError, UnicodeError: It is not what it should be.
    """
    key, headers = record.key.encode(), [(name, value.encode()) for name, value in record.headers.items()]
    size = max(len(record.value), len(key) + sum(len(name.encode()) + len(value) for name, value in headers))
    if size > limit:
        raise RecordTooLargeError(
            f"a record of {size:,} bytes is larger than the log takes ({limit:,})",
            size=size,
            limit=limit,
            place=place,
            remedy="Keep large payloads elsewhere and put a reference to them into the record.",
        )
    return key, bytes(record.value), headers


def _records(sent: Sequence[Encoded], first: int, now: int) -> list[Record]:
    return [
        Record(offset, key.decode(), value, {name: text.decode() for name, text in headers}, now)
        for offset, (key, value, headers) in enumerate(sent, first)
    ]


class _Append:
    """One call of ``append``.

    Attributes:
        sent: How many of its records are in batches already.
        deadline: When it fails if it was not sent.
    """

    __slots__ = ("deadline", "future", "offsets", "records", "sent")

    def __init__(self, records: list[Encoded], future: Future[Sequence[int]], deadline: float) -> None:
        self.records = records
        self.future = future
        self.deadline = deadline
        self.sent = 0
        self.offsets: list[int] = []


class _Session:
    """A producer, from its start to its first error."""

    def __init__(self, producer: Any, loop: AbstractEventLoop) -> None:
        self.producer = producer
        self.ended: Future[None] = loop.create_future()


class Appender:
    """All appends of one log object.

    Args:
        landed: Told of what has been acknowledged: where, from which offset on, and what gives the records.
    """

    def __init__(self, settings: KafkaSettings, topics: Topics, landed: Landed) -> None:
        self._settings = settings
        self._topics = topics
        self._landed = landed
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[TopicPartition, deque[_Append]] = {}
        self._tasks: set[Task[None]] = set()
        self._session: _Session | None = None
        self._starting = asyncio.Lock()
        self._dying: set[Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Start the first producer, to know early whether that is possible."""
        await self._ready()

    def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Future[Sequence[int]]:
        """As the port says."""
        if self._closed:
            return failed_future(self._loop, LogClosedError("the log is closed", place=self._settings.place))
        limit, place = self._settings.max_record_bytes, self._settings.place
        try:
            encoded = [encode(record, limit, place) for record in records]
        except LogError as error:
            return failed_future(self._loop, error)
        except (TypeError, AttributeError, UnicodeError) as error:
            return failed_future(self._loop, LogError(f"this is no record: {error}", place=place))
        future: Future[Sequence[int]] = self._loop.create_future()
        if not encoded:
            future.set_result([])
            return future
        lane = self._lanes.get((topic, partition))
        work = _Append(encoded, future, self._loop.time() + self._settings.append_timeout)
        if lane is None:
            lane = self._lanes[topic, partition] = deque()
            task = self._loop.create_task(self._run(topic, partition, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.append(work)
        return future

    async def _run(self, topic: str, partition: int, lane: deque[_Append]) -> None:
        while lane:
            batch: list[tuple[_Append, int]] = []
            try:
                await self._send(topic, partition, lane, batch)
            except asyncio.CancelledError:
                self._fail(lane, batch, LogClosedError("the log was closed", place=self._settings.place))
                raise
            except Exception as error:  # whatever it is: nobody must wait for a lane that has stopped
                doing = f"append to {topic}[{partition}]"
                self._fail(lane, batch, explain(error, self._settings.place, doing))
        del self._lanes[topic, partition]  # in the same turn in which it was found empty

    def _fail(self, lane: deque[_Append], batch: list[tuple[_Append, int]], error: LogError) -> None:
        """Fail what was in a batch; if there was no batch yet, what has waited too long, or if nothing has, all."""
        late = self._loop.time() + _PAUSE
        failed = [work for work, _ in batch] or [work for work in lane if work.deadline <= late] or list(lane)
        for work in failed:
            with suppress(ValueError):  # those that are in the batch to their end have left the lane
                lane.remove(work)
            if not work.future.done():
                work.future.set_exception(error)

    async def _send(self, topic: str, partition: int, lane: deque[_Append], batch: list[tuple[_Append, int]]) -> None:
        """Send one batch of what is in the lane, and hand out its offsets."""
        session = await self._ready(lane[0].deadline)
        builder = session.producer.create_batch()
        now = now_ms()
        sent: list[Encoded] = []
        while lane:
            work = lane[0]
            before = work.sent
            for record in work.records[before:]:
                key, value, headers = record
                if builder.append(timestamp=now, key=key, value=value, headers=headers) is None:
                    break
                work.sent += 1
                sent.append(record)
            if work.sent > before:
                batch.append((work, work.sent - before))
            if work.sent < len(work.records):
                break
            lane.popleft()
        builder.close()
        first = await self._deliver(session, builder, topic, partition)
        self._landed(topic, partition, first, partial(_records, sent, first, now))
        for work, count in batch:
            work.offsets += range(first, first + count)
            first += count
            if len(work.offsets) == len(work.records) and not work.future.done():
                work.future.set_result(work.offsets)

    async def _deliver(self, session: _Session, builder: Any, topic: str, partition: int) -> int:
        """The offset of a batch's first record, once it is durable."""
        sending = asyncio.ensure_future(
            self._acknowledgement(session.producer, builder, self._topics.name(topic), partition)
        )
        try:
            await asyncio.wait(
                (sending, session.ended),
                timeout=self._settings.append_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not sending.done():
                raise LogError(  # noqa: TRY301 - whatever it is, the producer ends
                    f"no acknowledgement of an append to {topic}[{partition}]",
                    place=self._settings.place,
                    remedy="Nothing is known about it. Is the broker up, with enough replicas in sync?",
                )
            offset: int = sending.result()
            if offset < 0:  # DUPLICATE_SEQUENCE_NUMBER: it is in the log, but nobody says where
                raise LogError(  # noqa: TRY301 - likewise
                    f"Kafka has acknowledged an append to {topic}[{partition}] without its offset",
                    place=self._settings.place,
                )
        except BaseException:
            self._abandon(session)
            raise
        else:
            return offset
        finally:
            if not sending.cancel() and not sending.cancelled():
                sending.exception()  # asked for, so that asyncio does not complain where it failed too late

    @staticmethod
    async def _acknowledgement(producer: Any, builder: Any, topic: str, partition: int) -> int:
        # The first answer to a client describes all topics, every later one those that it has asked for. Where one of
        # those comes between the look at a topic and its sending, the topic's leader would never be known again.
        producer.client.add_topic(topic)
        metadata = await (await producer.send_batch(builder, topic, partition=partition))
        return -1 if metadata is None else int(metadata.offset)

    # Producers.

    async def _ready(self, deadline: float | None = None) -> _Session:
        """The producer, or a new one; tries until the deadline, or once."""
        async with self._starting:
            while self._session is None:
                # Longer than a batch may take: the one who gives up first has to be us, with a clear error.
                patience = int(self._settings.append_timeout * 1000)
                producer = AIOKafkaProducer(
                    **self._settings.client(),
                    acks="all",
                    enable_idempotence=True,
                    compression_type=None if self._settings.compression == "none" else self._settings.compression,
                    max_batch_size=_BATCH,
                    request_timeout_ms=patience,
                )
                try:
                    limit = self._settings.append_timeout if deadline is None else deadline - self._loop.time()
                    async with asyncio.timeout(limit):
                        await producer.start()
                except BaseException as error:
                    self._bury(producer)
                    late = deadline is None or self._loop.time() + _PAUSE >= deadline
                    if late or isinstance(error, HOPELESS) or not isinstance(error, TROUBLE):
                        raise
                    await asyncio.sleep(_PAUSE)
                else:
                    self._session = _Session(producer, self._loop)
            return self._session

    def _abandon(self, session: _Session) -> None:
        if self._session is session:
            self._session = None
        if not session.ended.done():
            session.ended.set_result(None)
            self._bury(session.producer)

    def _bury(self, producer: Any) -> None:
        task = self._loop.create_task(take_down(producer))
        self._dying.add(task)
        task.add_done_callback(self._dying.discard)

    # The end.

    async def close(self) -> None:
        """Finish what was appended, and stop."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._session is not None:
            await self._session.producer.stop()
            self._session = None
        if self._dying:
            await asyncio.wait(self._dying)

    async def drop(self, error: LogError) -> None:
        """Stop at once; nothing is known about what was on its way."""
        self._closed = True
        await cancel_and_wait(*self._tasks, report=True)
        for lane in self._lanes.values():
            for work in lane:
                if not work.future.done():
                    work.future.set_exception(error)
        if self._session is not None:
            self._abandon(self._session)
        if self._dying:
            await asyncio.wait(self._dying)


async def take_down(producer: Any) -> None:
    """Stop a producer that must send no more. Its own ``stop`` would first send what it has, for ever if need be."""
    producer._closed = True  # noqa: SLF001 - else it complains that it was not stopped
    sending = producer._sender.sender_task  # noqa: SLF001 - there is no other way to it
    connections = list(producer.client._conns.values())  # noqa: SLF001 - likewise
    for connection in connections:
        connection.close()
    deadline = asyncio.get_running_loop().time() + _LINGER_OF_THE_DEAD
    while sending is not None and not sending.done() and asyncio.get_running_loop().time() < deadline:
        sending.cancel()  # again and again: it waits for its requests, which may try once more
        await asyncio.wait([sending], timeout=0.2)
    if sending is not None and sending.done() and not sending.cancelled():
        sending.exception()
    with suppress(*TROUBLE):
        await producer.client.close()
