"""What happened lately, and what is under way, for each version of a definition: what health is made of."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from stepwell.projections.counting import HOUR
from stepwell.projections.queries import Queries

Version = tuple[str, str]
"""Name of a definition, and its version."""

MOST_MEASURED: Final = 2_000  # instances of a workflow, the newest, whose durations are looked at one by one


class Recent(Struct, kw_only=True):
    """What one version of a definition did in the last hours.

    Attributes:
        attempts: At steps, that ended.
        errors: Those of them that ended with an error.
        durations: Of the newest instances that completed, in seconds, ascending.
    """

    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    milliseconds: int = 0
    attempts: int = 0
    errors: int = 0
    durations: list[float] = []


class UnderWay(Struct, kw_only=True):
    """Attempts at the steps of one version of a definition that are under way.

    Attributes:
        running: In the hands of workers.
        ready: On their way to a worker,
        late: those of them that have been so for longer than taking one in hand takes, or were handed back,
        oldest: and when the oldest of these became ready, in milliseconds since 1970; 0 without any.
        waiting: For people, children, or a time.
    """

    running: int = 0
    ready: int = 0
    late: int = 0
    oldest: int = 0
    waiting: int = 0


async def recent(queries: Queries, since: int) -> dict[Version, Recent]:
    """What each version did from a time on, by whole hours.

    Args:
        since: In milliseconds since 1970.
    """
    found: dict[Version, Recent] = {}
    counted = await queries.all(
        "SELECT workflow, version, measure, sum(count) FROM hours WHERE hour >= ? "
        "GROUP BY workflow, version, measure",
        (since // HOUR,),
    )
    for workflow, version, measure, count in counted:
        setattr(found.setdefault((workflow, version), Recent()), measure, count)
    for number, name in await queries.all("SELECT number, name FROM workflows"):
        if not any(workflow == name and one.completed for (workflow, _), one in found.items()):
            continue
        newest = await queries.all(
            "SELECT version, finished_at - started_at FROM (SELECT version, started_at, finished_at FROM instances "
            "WHERE workflow = ? AND status = 'completed' ORDER BY started_at DESC LIMIT ?) WHERE finished_at >= ?",
            (number, MOST_MEASURED, since),
        )
        for version, took in newest:
            found.setdefault((name, version), Recent()).durations.append(max(0, took) / 1000)
    for one in found.values():
        one.durations.sort()
    return found


async def under_way(queries: Queries, before: int) -> dict[Version, UnderWay]:
    """What is under way, by version.

    Args:
        before: What became ready before this time, in milliseconds since 1970, is late.
    """
    rows = await queries.all(
        "SELECT w.name, i.version, sum(a.status = 'running'), sum(a.status = 'ready'), "
        "sum(late), coalesce(min(CASE WHEN late THEN a.ready_at END), 0), "
        "sum(a.status = 'waiting' AND a.waits_for <> 'worker') FROM "
        "(SELECT *, status = 'ready' AND ready_at < ? OR waits_for = 'worker' AS late FROM attempts "
        "WHERE finished_at = 0) a "
        "JOIN instances i ON i.number = a.instance JOIN workflows w ON w.number = i.workflow GROUP BY 1, 2",
        (before,),
    )
    return {
        (row[0], row[1]): UnderWay(running=row[2], ready=row[3], late=row[4], oldest=row[5], waiting=row[6])
        for row in rows
    }
