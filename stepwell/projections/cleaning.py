"""What a cleanup means for the read models: the instances that began before its cut go, and the statistics keep them.

Whether a file has followed the whole log, or was made anew from what is left of it, it comes to the same: whatever it
still has of those instances goes, and what the cleanup itself says of them is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from stepwell.projections import tables
from stepwell.projections.connections import Queryable
from stepwell.projections.counting import Count, Counts, counts_of, move, step_counts_of
from stepwell.projections.fields import fields_of
from stepwell.projections.folding import Changes, Tracked, project, reopens
from stepwell.projections.rows import AttemptRow, InstanceRow
from stepwell.projections.store import Store
from stepwell.projections.tables import OFFSET_BITS
from stepwell.schemas.records.cleanups import CleanedUp, CountRow
from stepwell.schemas.records.codec import decode_transition

_ARCHIVED: Final = "archived:"  # and the status that it had: what takes the place of `total` and `status:…`
_NUMBERS: Final = "(SELECT value FROM json_each(?))"


def place_of(partition: int, offset: int) -> int:
    """How the tables name a record's place."""
    return partition << OFFSET_BITS | offset


async def began_before(file: Queryable, partition: int, cut: int) -> list[int]:
    """The numbers of the instances of which anything happened before an offset of a partition."""
    query = "SELECT DISTINCT instance FROM history WHERE place >= ? AND place < ?"
    rows = await file.all(query, (place_of(partition, 0), place_of(partition, cut)))
    return [number for (number,) in rows]


async def counted(file: Queryable, numbers: Sequence[int]) -> dict[int, Counts]:
    """Where each of some instances counts now, with its attempts, by number."""
    wanted = f"[{','.join(map(str, numbers))}]"
    rows: dict[int, InstanceRow] = {}
    found: dict[int, Counts] = {}
    columns = tables.columns_of(tables.INSTANCE_COLUMNS, "i")
    query = (
        f"SELECT i.number, w.name, {columns} FROM instances i JOIN workflows w ON w.number = i.workflow "
        f"WHERE i.number IN {_NUMBERS}"
    )
    for number, workflow, instance_id, _, *rest in await file.all(query, (wanted,)):
        rows[number] = InstanceRow(instance_id, workflow, *rest)
        found[number] = counts_of(rows[number])
    columns = tables.columns_of(tables.ATTEMPT_COLUMNS)
    query = f"SELECT instance, {columns} FROM attempts WHERE finished_at > 0 AND instance IN {_NUMBERS}"
    for number, *attempt in await file.all(query, (wanted,)):
        move(found[number], {}, step_counts_of(rows[number], AttemptRow(*attempt)))
    return found


def kept(counted_now: Iterable[Counts]) -> tuple[CountRow, ...]:
    """What the statistics keep of finished instances that go, from where they count now."""
    sums: Counts = {}
    for counts in counted_now:
        for count, amount in counts.items():
            measure = count.measure
            if measure == "total":
                continue
            if measure.startswith("status:"):
                measure = _ARCHIVED + measure.removeprefix("status:")
            moved = count._replace(measure=measure)
            sums[moved] = sums.get(moved, 0) + amount
    return tuple((*count, amount) for count, amount in sorted(sums.items()) if amount)


async def take_out(store: Store, cleanup: CleanedUp) -> tuple[Changes, dict[str, Tracked]]:
    """Take out, within a transaction, what a cleanup says.

    Returns:
        What is to be written besides: the counts, and the new rows of instances that were reopened after the cleanup
        had been decided. Those begin where they were reopened, as for whoever reads the log anew; by id.
    """
    changes = Changes()
    numbers = await began_before(store, cleanup.partition, cleanup.cut)
    for counts in (await counted(store, numbers)).values():
        move(changes.counts, counts, {})
    move(changes.counts, {}, {Count(*row[:5]): row[5] for row in cleanup.counts})
    reopened = {}
    upto = place_of(cleanup.partition, cleanup.upto)
    for number in numbers:
        tail = await store.all(
            "SELECT place, value FROM history WHERE instance = ? AND place >= ? ORDER BY place", (number, upto)
        )
        await _forget(store, number)
        tracked = Tracked(store.new_number()) if tail else None
        for place, value in tail:
            transition = decode_transition(value, f"history {place}")
            if tracked is not None and (tracked.state is not None or reopens(transition)):
                project(changes, tracked, transition, place, value)
                reopened[transition.instance_id] = tracked
    await store.connection.execute(
        "DELETE FROM audit WHERE place >= ? AND place < ?",
        (place_of(cleanup.partition, 0), place_of(cleanup.partition, cleanup.cut)),
    )
    return changes, reopened


async def _forget(store: Store, number: int) -> None:
    """Delete all rows of an instance."""
    state = (await store.load_number(number)).state
    execute = store.connection.execute
    if state is not None:
        for root, payload in (("input", state.input), ("output", state.output)):
            for name, value in fields_of(payload, root).items():
                await execute(
                    "DELETE FROM fields WHERE name = (SELECT number FROM names WHERE name = ?) "
                    "AND value = ? AND instance = ?",
                    (name, value, number),
                )
    await execute(  # how FTS5 is told what a table outside of it no longer holds
        "INSERT INTO error_texts(error_texts, rowid, kind, message) "
        "SELECT 'delete', number, kind, message FROM errors WHERE instance = ?",
        (number,),
    )
    for table in ("errors", "attempts", "history", "bases"):
        await execute(f"DELETE FROM {table} WHERE instance = ?", (number,))
    await execute("DELETE FROM instances WHERE number = ?", (number,))
