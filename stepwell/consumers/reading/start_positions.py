"""Beginning to read a partition in the middle, with what the acceptance rule knows there.

A position is text that comes from outside: it may be of another log, older than what retention has kept, or made up.
So it is checked against what the log itself says. The newest snapshot lists every transition before it that does not
count; behind it the rule is followed, over no more records than an owner that takes the partition over has to read.
"""

from __future__ import annotations

from stepwell.consumers.reading.events import EventReader, accepted_or_claim, place
from stepwell.core.fold.acceptance import CLAIM, KIND, SNAPSHOT, TRANSITION, Acceptance, read_stamp
from stepwell.errors import PositionError, PositionGoneError
from stepwell.log.port import EVENTS, Log, Record
from stepwell.schemas.records.positions import START, WHOLE, PartitionPosition

_BATCH = 2_000


def gone(partition: int, wanted: int, kept: int) -> PositionGoneError:
    """The error where retention has been quicker than a reader."""
    return PositionGoneError(
        f"records {wanted} to {kept - 1} were deleted before they were read: events would be missing",
        place=f"{EVENTS}[{partition}]",
        remedy=f'Begin anew, from "{START}" (the oldest event that is kept) or from now; a durable name is first '
        "to be forgotten (client.forget_subscription). Keep events for longer than a reader may be behind.",
    )


async def stand_at_start(log: Log, partition: int) -> EventReader:
    """A reader before the oldest record that the log holds."""
    reader = EventReader(log, partition)
    first = await log.read(EVENTS, partition, 0, limit=1)
    if first and first[0].offset > 0:
        await _stand_in_the_middle(log, reader, first[0])
    return reader


async def _stand_in_the_middle(log: Log, reader: EventReader, first: Record) -> None:
    """Stand before a record behind which everything is there, but nothing before it."""
    snapshot = await EventReader(log, reader.partition).seek_snapshot()
    refused = frozenset(snapshot.refused if snapshot is not None else ())
    record, offset = first, first.offset
    while record.headers.get(KIND) not in {CLAIM, TRANSITION, SNAPSHOT} or record.offset in refused:
        found = await log.read(EVENTS, reader.partition, offset + 1, limit=1)
        if not found:
            break
        record, offset = found[0], found[0].offset
    reader.position = offset
    if record.headers.get(KIND) in {TRANSITION, SNAPSHOT}:
        stamp = read_stamp(record.headers)
        reader.acceptance = Acceptance(stamp.epoch, stamp.index - 1)


async def stand_at_end(log: Log, partition: int) -> tuple[EventReader, PartitionPosition]:
    """A reader behind everything that is there now, and how far that is."""
    end = await log.end(EVENTS, partition)
    reader = EventReader(log, partition)
    if await reader.seek_snapshot(end) is None:
        reader = await stand_at_start(log, partition)
    newest = -1
    while reader.position < end:
        limit = min(_BATCH, end - reader.position)
        records = await log.read(EVENTS, partition, reader.position, limit=limit)
        if not records:
            break
        for record in records:
            if accepted_or_claim(reader, record)[1]:
                newest = record.offset
    return reader, PartitionPosition(newest)


async def stand_behind(log: Log, partition: int, where: PartitionPosition) -> EventReader:
    """A reader that goes on behind a place: before the record itself, where not all of its events were read.

    Raises:
        PositionError: There is no such record, or none that counts.
        PositionGoneError: It has been deleted, and perhaps others behind it.
    """
    reader = EventReader(log, partition)
    if where.offset < 0:
        return reader
    end = await log.end(EVENTS, partition)
    if where.offset >= end:
        raise PositionError(
            f"lies beyond the end of the log, which is at {end}",
            place=place(partition, where.offset),
            remedy="Is it the log that the position came from? Was the log restored from a backup?",
        )
    found = await log.read(EVENTS, partition, where.offset, limit=1)
    if not found or found[0].offset != where.offset:
        raise gone(partition, where.offset, found[0].offset if found else end)
    record = found[0]
    before = await _known_before(log, partition, record)
    reader.position, reader.acceptance = record.offset, before
    _, counts = accepted_or_claim(reader, record)
    if not counts or (where.number != WHOLE and not _has(reader, record, where.number)):
        raise PositionError(
            "names no event that counts",
            place=f"{EVENTS}[{partition}]@{where}",
            remedy="Only positions that events of this log carried can be gone on from.",
        )
    if where.number != WHOLE:
        reader.position, reader.acceptance = record.offset, before
    return reader


async def _known_before(log: Log, partition: int, record: Record) -> Acceptance:
    """What the rule knows before a record; nothing sensible where the record does not count."""
    reader = EventReader(log, partition)
    snapshot = await reader.seek_snapshot()
    if snapshot is None:
        reader = await stand_at_start(log, partition)
        if reader.position > record.offset:  # deleted, and still in this process's memory
            raise gone(partition, record.offset, reader.position)
    if snapshot is None or record.offset > snapshot.covers:
        while reader.position < record.offset:
            before = reader.position
            await reader.read(end=record.offset)
            if reader.position == before:
                break
        return reader.acceptance
    if record.offset not in snapshot.refused and record.headers.get(KIND) in {TRANSITION, SNAPSHOT}:
        stamp = read_stamp(record.headers)
        return Acceptance(stamp.epoch, stamp.index - 1)
    return Acceptance()  # a claim counts whatever was before it


def _has(reader: EventReader, record: Record, number: int) -> bool:
    return record.headers.get(KIND) == TRANSITION and number < len(reader.decode(record).events)
