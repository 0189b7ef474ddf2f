"""The log, as everything above it sees it.

All correctness rests on one sentence: *a partition is one totally ordered, append-only sequence of records, and
a record once acknowledged stays.* Nothing rests on group membership, leases or clocks: those only decide who
tries. Implementations: one local file (``local``), Kafka and a simulated log; they pass the same contract suite
(``tests/contract``).

Topics and partitions are addressed by name and number. Values are opaque bytes here; what they mean is written in
``stepwell.schemas``.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

COMMANDS: Final = "commands"
STARTS: Final = "starts"  # commands that may wait until there is room for them: StartWorkflow
EVENTS: Final = "events"
DEFINITIONS: Final = "definitions"  # one partition
SNAPSHOTS: Final = "snapshots"
DEAD_LETTERS: Final = "dead-letters"  # commands and work that could not be decoded, events nobody would take
CONTROL: Final = "control"  # one partition; every worker reads all of it
SUBSCRIPTIONS: Final = "subscriptions"  # one partition; how far each durable name has come
CLEANUPS: Final = "cleanups"  # one partition; what was cleaned away, for whoever keeps read models
REFUSALS: Final = "refusals"  # one partition; what was refused before it reached an engine, for the audit
FEED: Final = "feed"  # optional: accepted events one by one, for those who are not Stepwell

ENGINES: Final = "engines"  # the group that shares out the partitions
WORKERS: Final = "workers"  # the group that those who consume are in

PARTITIONED: Final = frozenset({COMMANDS, STARTS, EVENTS, SNAPSHOTS, DEAD_LETTERS})
"""The topics that have as many partitions as the log."""

ID: Final = "id"  # headers of a queue's record: what it is known by, however often it is sent,
AGAIN: Final = "again"  # and that it may have been sent before

TopicPartition = tuple[str, int]  # a topic, and the number of one of its partitions

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class NewRecord(NamedTuple):
    """A record on its way into the log."""

    key: str
    value: bytes
    headers: Mapping[str, str] = NO_HEADERS


class Record(Struct, frozen=True, gc=False):
    """A record as the log holds it.

    Attributes:
        offset: Its place in the partition: 0, 1, 2, … without holes, but for what retention has deleted.
        timestamp: When it was appended, in milliseconds since 1970, by the clock of whoever did. For people; nothing
            is decided by it but whether a command came before or after a timer was due.
    """

    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    timestamp: int


class Delivery(NamedTuple):
    """A queue's record in the hands of one worker.

    Attributes:
        queue: The queue that it came from.
        token: What the queue knows it by; unique within the queue.
        deliveries: How often it was handed out, this time included, to workers that did not give it back. Counted
            as far as the log can know of workers that died.
    """

    queue: str
    token: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    deliveries: int = 1


class Outgoing(NamedTuple):
    """Records for one partition, to be appended together with something else."""

    topic: str
    partition: int
    records: Sequence[NewRecord]


class Member(NamedTuple):
    """A live member of a group: an engine or a worker, with what it says about itself."""

    id: str
    group: str
    about: Mapping[str, str]


class Description(Struct, frozen=True):
    """What an open log says about itself, so that nobody has to look at what kind of object it is.

    Attributes:
        kind: Where its records are: in one file, in Kafka, or in the memory of this process.
        where: Where the log is, as messages and files name it; without users and passwords.
        path: The log's file, absolute; None for a log that is in no file of its own.
        finds_keys: Whether ``known_keys`` and ``read_key`` of ``events`` use an index, and so are quick however much
            the log holds.
    """

    kind: Literal["file", "kafka", "simulated"]
    where: str
    path: Path | None = None
    finds_keys: bool = False


class Membership(Protocol):
    """One process's place in a group. What it is told is advice, not a lock."""

    async def assignment(self) -> frozenset[int]:
        """The partitions that the group, asked afresh, gives to this member now."""

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """Wait until the assignment differs from ``known``; return the new one."""

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """Say up to where this member has followed a topic, as the offset of its next record.

        For tools that watch how far consumers are behind, where a log has such tools; nothing reads it back.
        """

    async def leave(self) -> None:
        """Leave at once, so that the others take over without waiting."""


class WorkQueue(Protocol):
    """A worker's end of one or more queues: each record goes to one live worker.

    A record that was taken and not settled goes back to the queue when its worker leaves or dies.
    """

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for at least one record; return at most ``limit``, higher ``priority`` headers first."""

    def settle(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outgoing] = ()) -> Future[None]:
        """Append the outcomes, then forget the deliveries; never the second without the first.

        May be called in any order of deliveries. Done when both are written. A log that writes them as one need
        not wait for its disk: what is appended afterwards proves them, and if both are lost the step is run again.
        """

    def release(self, deliveries: Sequence[Delivery], *, lost: bool = False) -> Future[None]:
        """Hand records back unsettled, for any worker to take.

        Args:
            lost: They were in the hands of somebody who has died, which counts as for a worker that has died.
        """

    def resize(self, prefetch: int) -> None:
        """Change how many records may be in this worker's hands at once; 0 for none.

        What is on its way already may still come; what is more than that stays until it is settled or released.
        """

    async def close(self) -> None:
        """Leave; what was taken and not settled goes back to the queue."""


class Log(Protocol):
    """The port. Every method belongs to the event loop that opened the log.

    Attributes:
        partitions: How many partitions each topic of ``PARTITIONED`` has; fixed when made.
        max_record_bytes: The largest value that a record may have.
    """

    partitions: int
    max_record_bytes: int

    def describe(self) -> Description:
        """What the log is, where it is, and what it can do. It stays the same, and costs nothing."""

    def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Future[Sequence[int]]:
        """Append records; the future gives their offsets once they are durable.

        The appends of one log object to one partition keep the order of the calls. A failed future means that
        the records may be in the log, may land later, or may never.

        Raises (through the future):
            LogError: Nothing is known about the records.
        """

    async def read(
        self, topic: str, partition: int, offset: int, *, limit: int = 1000, wait: float | None = 0.0
    ) -> Sequence[Record]:
        """Records from ``offset`` on, in order, at most ``limit``.

        Args:
            wait: How many seconds to wait for the first one: 0 not at all, None for ever. It wakes when a
                record arrives, it does not poll hot.

        Returns:
            Records; none when the time has passed. Where retention has deleted ``offset``, the first one kept.
        """

    async def read_key(self, topic: str, partition: int, key: str, *, offset: int = 0) -> Sequence[Record]:
        """All records of one key from ``offset`` on: by an index where there is one, else by reading all."""

    async def known_keys(self, topic: str, partition: int, keys: Collection[str]) -> set[str]:
        """Those of the keys of which the partition holds records; found as ``read_key`` finds them."""

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the next record will get."""

    async def is_there(self, topic: str) -> bool:
        """Whether a topic that a log can do without (``feed``) may be read; False where it would have to be made.

        Raises:
            LogError: The log does not say.
        """

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Let the log forget records below ``offset``; it may do so later, or not at all."""

    async def free_space(self) -> None:
        """Give the room of records that were deleted back to the disk, where the log does not do so by itself.

        Raises:
            LogError: The log cannot be written.
        """

    def enqueue(self, queue: str, records: Sequence[NewRecord]) -> Future[None]:
        """Put records into a queue of workers. Keeps the order with this log object's appends.

        A header ``priority`` (0 to 100, as text) says what is taken first. Of a record with the headers ``id`` and
        ``again``, a log that can look into its queues (Kafka cannot) keeps one entry: none is added while there is
        one of this id, and none of this id that is written late comes beside it.
        """

    async def consume(
        self,
        queues: Sequence[str],
        *,
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None = None,
        about: Mapping[str, str] = NO_HEADERS,
    ) -> WorkQueue:
        """Become a worker of these queues.

        Args:
            prefetch: How many records may be in this worker's hands at once; ``resize`` changes it.
            accepts: Which records this worker can do anything with. Advice: a log that cannot look into its
                queues (Kafka) delivers others too.
            about: What other processes are told about this worker.
        """

    async def join(self, group: str, about: Mapping[str, str] = NO_HEADERS) -> Membership:
        """Join a group that shares out the partitions among its members."""

    async def members(self, group: str) -> Sequence[Member]:
        """The live members of a group; workers are in the group ``workers``."""

    async def close(self) -> None:
        """Finish what was appended, give back what was taken, and close."""
