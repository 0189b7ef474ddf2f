"""When a partition's owner takes a snapshot, and how."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct

from stepwell.consumers.reading.events import EventReader
from stepwell.core.fold.acceptance import Acceptance
from stepwell.core.fold.partition import PartitionState, Progress
from stepwell.core.fold.snapshots import encode_partition
from stepwell.errors import LogClosedError
from stepwell.log.port import COMMANDS, SNAPSHOTS, STARTS, Log, NewRecord
from stepwell.schemas.records.events import EVENTS_VERSION
from stepwell.schemas.records.partition_records import PartitionSnapshotted

# A snapshot is taken once the transitions since the last one are this many times its size: so snapshots cost a
# constant share of what is written, and recovery reads a constant multiple of the live state.
FACTOR: Final = 4
# And not before this: reading so much takes some tens of milliseconds, which no snapshot would save.
SMALLEST_TAIL: Final = 4 * 1024 * 1024
# But after this even for less, in milliseconds: only what a snapshot covers can be cleaned away.
LONGEST_TAIL: Final = 24 * 60 * 60 * 1000


class SinceSnapshot(NamedTuple):
    """The transitions since the newest snapshot.

    Attributes:
        size: Bytes of all of them.
        since: Time of the first one, in milliseconds; 0 where there are none.
    """

    size: int = 0
    since: int = 0


class Covered(Struct, frozen=True, gc=False):
    """What a snapshot holds: a state, and the transition that it comes after."""

    state: PartitionState
    at: Acceptance


class Snapshots:
    """The snapshots of one partition under one owner.

    Args:
        owner: Its name, for people.
        tail: What has happened since the newest one.

    Attributes:
        at: Offset of the newest accepted snapshot record; -1 before the first.
    """

    def __init__(self, log: Log, partition: int, reader: EventReader, tail: SinceSnapshot, *, owner: str) -> None:
        self._log = log
        self._owner = owner
        self._partition = partition
        self._refused = tuple(sorted(reader.refused))  # none can be added while this owner's claim stands
        self._size = reader.snapshot.size if reader.snapshot else 0
        self._tail = tail.size
        self._since = tail.since
        self._task: asyncio.Task[None] | None = None
        self._taken: tuple[PartitionSnapshotted, Progress] | None = None
        self.at: int = reader.snapshot_at

    def grew(self, size: int, at: int) -> None:
        """Note that a transition of so many bytes was accepted, and its time."""
        self._tail += size
        self._since = self._since or at

    def due(self, at: int) -> bool:
        """Whether it is time for one, as of the partition's newest transition that it could cover."""
        is_old = 0 < self._since < at - LONGEST_TAIL
        return self.idle and (is_old or self._tail > max(SMALLEST_TAIL, FACTOR * self._size))

    @property
    def idle(self) -> bool:
        """Whether none is under way."""
        return self._task is None or (self._task.done() and self._taken is None)

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call this once what is under way is over."""
        if self._task is not None:
            self._task.add_done_callback(lambda task: None if task.cancelled() else then())

    def start(
        self,
        covered: Covered,
        append: Callable[[PartitionSnapshotted], None],
        stumble: Callable[[BaseException], None],
    ) -> None:
        """Take one in the background, then hand its record to ``append``.

        Args:
            stumble: Told of any trouble.
        """
        self._tail = self._since = 0
        self._task = asyncio.ensure_future(self._take(covered, append))
        self._task.add_done_callback(lambda task: _report(task, stumble))

    async def _take(self, covered: Covered, append: Callable[[PartitionSnapshotted], None]) -> None:
        first, count, size = -1, 0, 0
        for chunk in encode_partition(covered.state):
            (offset,) = await self._log.append(SNAPSHOTS, self._partition, [NewRecord("", chunk)])
            if count and offset != first + count:
                self._tail = SMALLEST_TAIL  # a former owner's chunk came in between: soon again
                return
            first = offset if first < 0 else first
            count += 1
            size += len(chunk)
        snapshot = PartitionSnapshotted(
            version=EVENTS_VERSION,
            at=covered.state.at,
            covers=covered.at.offset,
            epoch=covered.at.epoch,
            index=covered.at.index,
            first=first,
            chunks=count,
            size=size,
            refused=self._refused,
            owner=self._owner,
        )
        self._taken = (snapshot, covered.state.progress)
        append(snapshot)

    def accepted(self, offset: int) -> None:
        """The snapshot's record counts: what it supersedes may go."""
        if self._taken is None:
            return
        snapshot, progress = self._taken
        self._taken = None
        self.at, self._size = offset, snapshot.size
        self._task = asyncio.ensure_future(self._forget(snapshot.first, progress))
        self._task.add_done_callback(lambda task: _report(task, lambda _: None))

    async def _forget(self, first: int, progress: Progress) -> None:
        await self._log.delete_before(SNAPSHOTS, self._partition, first)
        # Commands below were decided, and what they led to is in the events for good.
        await self._log.delete_before(COMMANDS, self._partition, progress.command)
        await self._log.delete_before(STARTS, self._partition, progress.start)

    def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()


def _report(task: asyncio.Task[None], stumble: Callable[[BaseException], None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, LogClosedError):
        stumble(error)
