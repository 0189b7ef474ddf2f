"""What may be cleaned away: the longest beginning of each partition that nobody needs any more.

A log forgets only what lies before an offset. So an instance that is still live keeps all that has happened in its
partition since its start; what holds a partition back is named, so that a person can do something about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from stepwell.consumers.outbound.feed import newest_published
from stepwell.consumers.reading.bookmarks import Bookmarks
from stepwell.consumers.reading.cleanups import Cleanups
from stepwell.consumers.reading.events import EventReader
from stepwell.errors import PositionError
from stepwell.log.port import EVENTS, Log
from stepwell.projections.cleaning import place_of
from stepwell.projections.queries import Queries
from stepwell.projections.store import proof_of
from stepwell.projections.tables import OFFSETS
from stepwell.schemas.records.positions import read_position

Holder = Literal["instance", "snapshot", "subscription", "feed"]

# Walks the history from the beginning, as far as it may go: what it passes is what will be deleted.
_FIRST_NEEDED: Final = """
SELECT h.place, i.id, i.status, i.started_at, i.finished_at
FROM history h CROSS JOIN instances i ON i.number = h.instance
WHERE h.place >= ? AND h.place < ? AND (i.finished_at = 0 OR i.finished_at >= ?
  OR (SELECT max(place) FROM history WHERE instance = i.number) >= ?)
ORDER BY h.place LIMIT 1
"""
# For whoever reads on from there, an instance that is reopened begins there: it goes as a whole, or not at all.
_SPLIT: Final = """
SELECT began.place, i.id, i.status, i.started_at, i.finished_at FROM (
  SELECT instance AS number, min(place) AS place FROM history WHERE place >= ? AND place < ? GROUP BY instance
) began CROSS JOIN instances i ON i.number = began.number
WHERE EXISTS (
  SELECT 1 FROM history h WHERE h.instance = began.number AND h.place >= ?
    AND instr(CAST(h.value AS TEXT), '"workflow.reopened"'))
ORDER BY began.place LIMIT 1
"""


class HeldBack(Struct, frozen=True, kw_only=True):
    """Why a partition is not cleaned any further.

    Attributes:
        by: ``instance``: one that is live, or has finished too recently. ``snapshot``: no later event is in a
            snapshot yet. ``subscription``, ``feed``: a reader that has not come any further.
        name: The instance's id, or the durable name; else empty.
        status: The instance's,
        since: and when it was started, in milliseconds since 1970.
        finished_at: When it finished, likewise; None if it is live.
    """

    by: Holder
    name: str = ""
    status: str = ""
    since: int | None = None
    finished_at: int | None = None


class Witness(Struct, frozen=True, kw_only=True):
    """A record of a partition, by which the log is known again.

    Attributes:
        proof: What it looks like.
    """

    offset: int
    proof: str


class PartitionPlan(Struct, frozen=True, kw_only=True):
    """What may be cleaned away of one partition.

    Attributes:
        first: The offset of the oldest record that is there.
        cut: Everything below this offset may go.
        upto: All that has happened to its instances lies below this offset.
        instances: How many go,
        transitions: and how many of their transitions lie below the cut.
        held_back: Why no more; None where all events may go.
        witness: The record of the snapshot that the plan rests on.
    """

    partition: int
    first: int
    cut: int
    upto: int = 0
    instances: int = 0
    transitions: int = 0
    held_back: HeldBack | None = None
    witness: Witness | None = None


async def plan_partition(
    log: Log, queries: Queries, cleanups: Cleanups, partition: int, before: int, names: Mapping[str, list[int]]
) -> PartitionPlan:
    """What may be cleaned away of a partition.

    Args:
        queries: Read models that hold all that has happened by now.
        before: Instances that finished before this time may go, in milliseconds since 1970.
        names: For each durable name, the offset in each partition that it still needs.

    Raises:
        LogError, ReadModelsError: The log or the read models cannot be read.
    """
    records = await log.read(EVENTS, partition, 0, limit=1)
    first = max(records[0].offset if records else 0, cleanups.cut(partition))
    reader = EventReader(log, partition)
    snapshot = await reader.seek_snapshot()
    if snapshot is None:
        none = HeldBack(by="snapshot") if records else None
        return PartitionPlan(partition=partition, first=first, cut=first, held_back=none)
    upto = snapshot.covers + 1
    ceiling, holder = min(upto, reader.snapshot_at), HeldBack(by="snapshot")
    for name, places in names.items():
        if places[partition] < ceiling:
            ceiling, holder = places[partition], HeldBack(by="subscription", name=name)
    published = await newest_published(log, partition)
    if published is not None and published < ceiling:
        ceiling, holder = published, HeldBack(by="feed")
    cut = ceiling
    needed = await queries.all(
        _FIRST_NEEDED,
        (place_of(partition, first), place_of(partition, ceiling), before, place_of(partition, upto)),
    )
    for place, instance_id, status, since, finished_at in needed:
        cut = place & OFFSETS
        holder = HeldBack(by="instance", name=instance_id, status=status, since=since, finished_at=finished_at)
    cut, split = await unsplit(queries, partition, first, cut)
    query = "SELECT count(DISTINCT instance), count(*) FROM history WHERE place >= ? AND place < ?"
    counts = await queries.all(query, (place_of(partition, first), place_of(partition, max(cut, first))))
    instances, transitions = counts[0]
    named = await log.read(EVENTS, partition, reader.snapshot_at, limit=1)
    return PartitionPlan(
        partition=partition,
        first=first,
        cut=max(cut, first) if instances else first,
        upto=upto,
        instances=instances,
        transitions=transitions,
        held_back=split or holder,
        witness=Witness(offset=reader.snapshot_at, proof=proof_of(named[0].timestamp, named[0].value)),
    )


async def unsplit(queries: Queries, partition: int, first: int, cut: int) -> tuple[int, HeldBack | None]:
    """A cut at this offset or before it that splits no instance where it was reopened.

    Args:
        first: The offset of the oldest record that is there.

    Returns:
        The offset, and whom it does not split, if it is another one.
    """
    holder = None
    begin = place_of(partition, first)
    while found := await queries.all(_SPLIT, (begin, place_of(partition, cut), place_of(partition, cut))):
        ((place, instance_id, status, since, finished_at),) = found
        cut = place & OFFSETS
        holder = HeldBack(by="instance", name=instance_id, status=status, since=since, finished_at=finished_at)
    return cut, holder


async def needed_by_names(log: Log) -> dict[str, list[int]]:
    """For each durable name, the offset in each partition below which it needs nothing any more."""
    found = {}
    for info in await Bookmarks(log).all():
        try:
            places = read_position(info.position, log.partitions)
        except PositionError:  # of another log: it cannot go on in any case
            continue
        found[info.name] = [max(0, place.offset) for place in places]  # its last record tells it what to follow
    return found
