"""Logs whose partitions hold everything that may lie in one, and what a reader must make of them."""

from __future__ import annotations

from collections import defaultdict

from stepwell.core.fold.acceptance import CLAIM, KIND, SNAPSHOT, TRANSITION, Stamp, stamp_headers
from stepwell.log.port import EVENTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import EVENTS_VERSION, StepHeartbeat, Transition, WorkflowStarted
from stepwell.schemas.records.partition_records import PartitionOwned, PartitionSnapshotted


class Scribe:
    """Writes events partitions as owners do, and as owners that were replaced do too.

    Attributes:
        expected: What counts, by partition, in order: (offset, number of the event).
    """

    def __init__(self, log, rng):
        self.log, self.rng = log, rng
        self.expected = defaultdict(list)
        self.owner = {}  # partition: (epoch, index of the newest transition)
        self.refused = defaultdict(list)
        self.snapshot = defaultdict(lambda: -1)
        self.gap = set()
        self.names = set()

    async def act(self, partition):
        """Do one of the things that may happen to a partition."""
        dice = self.rng.random()
        if partition not in self.owner or partition in self.gap or dice < 0.04:
            offset = await self.append(partition, {KIND: CLAIM}, encode(PartitionOwned(EVENTS_VERSION, 1, "me")))
            self.owner[partition] = (offset, 0)
            self.gap.discard(partition)
        elif dice < 0.12:
            await self.late(partition)
        elif dice < 0.16:
            await self.covers(partition)
        else:
            await self.counts(partition)

    async def append(self, partition, headers, value, key="i"):
        (offset,) = await self.log.append(EVENTS, partition, [NewRecord(key, value, headers)])
        return offset

    def transition(self, partition):
        key = f"i{partition}-{self.rng.randrange(5)}"
        events = [StepHeartbeat("a", 1, number) for number in range(self.rng.choice((1, 1, 1, 2, 3)))]
        if key not in self.names:
            self.names.add(key)
            events[0] = WorkflowStarted(workflow=f"w{key[-1]}", version="1", definition="d")
            return key, encode(Transition(EVENTS_VERSION, 1, key, 1, tuple(events))), len(events)
        return key, encode(Transition(EVENTS_VERSION, 1, key, 2, tuple(events))), len(events)

    async def counts(self, partition):
        epoch, index = self.owner[partition]
        key, value, count = self.transition(partition)
        stamp = Stamp(epoch, index + 1, snapshot=self.snapshot[partition])
        offset = await self.append(partition, stamp_headers(TRANSITION, stamp), value, key)
        self.owner[partition] = (epoch, index + 1)
        self.expected[partition] += [(offset, number) for number in range(count)]

    async def late(self, partition):
        """What does not count: of a former owner, a second time, or after a gap."""
        epoch, index = self.owner[partition]
        how = self.rng.choice(("former", "again", "gap"))
        if how == "former":
            epoch, index = epoch - 1, self.rng.randrange(1, 5)
        elif how == "gap":
            index += 2
            self.gap.add(partition)
        key = f"i{partition}-0"
        value = encode(Transition(EVENTS_VERSION, 1, key, 9, (StepHeartbeat("late", 1),)))
        stamp = Stamp(epoch, index, snapshot=self.snapshot[partition])
        self.refused[partition].append(await self.append(partition, stamp_headers(TRANSITION, stamp), value, key))

    async def covers(self, partition):
        """The record of a snapshot."""
        epoch, index = self.owner[partition]
        end = await self.log.end(EVENTS, partition)
        taken = PartitionSnapshotted(
            EVENTS_VERSION, 1, end - 1, epoch, index, 0, 0, 0, tuple(self.refused[partition])
        )  # fmt: skip
        stamp = Stamp(epoch, index + 1, snapshot=self.snapshot[partition])
        self.snapshot[partition] = await self.append(partition, stamp_headers(SNAPSHOT, stamp), encode(taken))
        self.owner[partition] = (epoch, index + 1)


async def take(events, count):
    """The next events of a subscription."""
    return [await anext(events) for _ in range(count)]


def by_partition(records):
    found = defaultdict(list)
    for record in records:
        found[record.partition].append(record)
    return found
