"""Instances that wait for an engine to decide their start, in the lists of the read models.

They have no rows: rows are made of events, and these have none. What waits is read from ``starts``, as of the place
up to which the read models have followed the engines; so an instance is in a list once, pending or begun.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from stepwell.consumers.reading.pending import WaitingStart, WaitingStarts, progress_at
from stepwell.core.fold.partition import Progress
from stepwell.log.port import Log
from stepwell.projections.connections import Queryable
from stepwell.projections.fields import fields_of
from stepwell.projections.filters import Cursor, InstanceFilter
from stepwell.projections.rows import InstanceRow
from stepwell.projections.store import PROGRESS, read_progress
from stepwell.schemas.records.statuses import PENDING

_FIRST: Final = 1 << 62  # the numbers of those that wait: above all of those that have begun
_PARTITION_BITS: Final = 20
_AT_ONCE: Final = 10_000  # ids that one query looks for


class Waiting(NamedTuple):
    """Those that wait and are wanted.

    Attributes:
        starts: The starts.
        exact: Whether these are all; else there are more than were looked at.
    """

    starts: Sequence[WaitingStart] = ()
    exact: bool = True

    def page(self, order: str, cursor: Cursor | None, limit: int) -> list[tuple[int, int, InstanceRow]]:
        """The first ones in an order, behind a cursor: for each what the order goes by, its number, and its row."""
        down = order.startswith("-")
        by_priority = order.lstrip("-") == "priority"
        behind = None if cursor is None else (cursor.key, cursor.number)

        def keyed() -> Iterable[tuple[int, int, WaitingStart]]:
            for start in self.starts:
                key = start.priority if by_priority else start.at
                number = _FIRST | start.offset << _PARTITION_BITS | start.partition
                if behind is None or ((key, number) < behind if down else (key, number) > behind):
                    yield key, number, start

        first = heapq.nlargest if down else heapq.nsmallest
        return [(key, number, row_of(start)) for key, number, start in first(limit, keyed(), key=_place_in_order)]


def _place_in_order(keyed: tuple[int, int, WaitingStart]) -> tuple[int, int]:
    return keyed[:2]


def row_of(start: WaitingStart) -> InstanceRow:
    """The row of an instance that waits."""
    return InstanceRow(
        start.instance_id, start.workflow, start.version, PENDING, priority=start.priority, updated_at=start.at,
        parent=start.parent,
    )  # fmt: skip


class Pending:
    """Finds those that wait.

    Args:
        log: The log.
        starts: What waits there.
    """

    def __init__(self, log: Log, starts: WaitingStarts) -> None:
        self._log = log
        self._starts = starts
        self._looked: dict[int, int] = {}  # by partition: starts below this offset were looked for among the begun
        self._begun: dict[int, set[int]] = {}  # by partition: offsets of starts of ids that there are already

    async def matching(self, file: Queryable, wanted: InstanceFilter) -> Waiting:
        """Those that a filter wants.

        Args:
            asked: The file of the read models that the rest is asked of.
        """
        if not _may_wait(wanted):
            return Waiting()
        progress = await self._progress_of_all(file)
        tagged = await _tagged(file, wanted.tag) if wanted.tag else None
        found: list[WaitingStart] = []
        beyond = 0
        for partition in range(self._log.partitions):
            waiting, more = await self._starts.in_partition(partition, progress.get(partition, Progress()))
            await self._look(file, partition, waiting)
            begun = self._begun[partition]
            found += [one for one in waiting if one.offset not in begun and _is_wanted(one, wanted, tagged)]
            beyond += more
        found = list({start.instance_id: start for start in reversed(found)}.values())  # the first of each id
        fields = [field for field in wanted.fields() if field[0].partition(".")[0] == "input"]
        if fields:
            found = [start for start in found if await self._has(start, fields)]
        return Waiting(found, exact=beyond <= 0)

    async def count(self, file: Queryable) -> int:
        """How many wait; where more wait than are kept at hand, some of those may be counted twice."""
        progress = await self._progress_of_all(file)
        total = 0
        for partition in range(self._log.partitions):
            waiting, beyond = await self._starts.in_partition(partition, progress.get(partition, Progress()))
            await self._look(file, partition, waiting)
            begun = self._begun[partition]
            total += len({one.instance_id for one in waiting if one.offset not in begun}) + max(0, beyond)
        return total

    async def _progress_of_all(self, file: Queryable) -> Mapping[int, Progress]:
        """How far the engines had come where the read models stand."""
        progress = read_progress(await file.all(PROGRESS))
        for partition, offset in await file.all("SELECT partition, offset FROM positions WHERE partition >= 0"):
            if partition not in progress and offset:  # a file that an older Stepwell keeps
                progress[partition] = await progress_at(self._log, partition, offset)
        return progress

    async def _look(self, file: Queryable, partition: int, waiting: Sequence[WaitingStart]) -> None:
        """Find out whose id there is already: such a start will only be told so."""
        looked = self._looked.get(partition, 0)
        first = waiting[0].offset if waiting else looked
        begun = self._begun[partition] = {one for one in self._begun.get(partition, ()) if one >= first}
        fresh = [start for start in waiting if start.offset >= looked]
        for place in range(0, len(fresh), _AT_ONCE):
            part = fresh[place : place + _AT_ONCE]
            query = "SELECT id FROM instances WHERE id IN (SELECT value FROM json_each(?))"
            known = {row[0] for row in await file.all(query, (json.dumps([start.instance_id for start in part]),))}
            begun.update(start.offset for start in part if start.instance_id in known)
        if fresh:
            self._looked[partition] = fresh[-1].offset + 1

    async def _has(self, start: WaitingStart, wanted: Sequence[tuple[str, str]]) -> bool:
        command = await self._starts.whole(start)
        fields = {} if command is None else fields_of(command.input, "input")
        return all(fields.get(name) == value for name, value in wanted)


def _may_wait(wanted: InstanceFilter) -> bool:
    """Whether one that waits can be like that: it has no output, no error and no end."""
    if wanted.status and PENDING not in wanted.status:
        return False
    return not (wanted.output or wanted.error or wanted.finished_after or wanted.finished_before)


def _is_wanted(start: WaitingStart, wanted: InstanceFilter, tagged: frozenset[str] | None) -> bool:
    return (
        (not wanted.workflow or start.workflow == wanted.workflow)
        and (not wanted.version or start.version == wanted.version)
        and (tagged is None or start.workflow in tagged)
        and (wanted.created_after is None or start.at >= wanted.created_after)
        and (wanted.created_before is None or start.at < wanted.created_before)
        and (wanted.priority_min is None or start.priority >= wanted.priority_min)
        and (wanted.priority_max is None or start.priority <= wanted.priority_max)
        and (not wanted.parent or start.parent == wanted.parent)
        and (not wanted.id or start.instance_id == wanted.id)
    )


async def _tagged(file: Queryable, tag: str) -> frozenset[str]:
    query = "SELECT workflow FROM definitions, json_each(definitions.tags) AS tag WHERE tag.value = ?"
    return frozenset(row[0] for row in await file.all(query, (tag,)))
