"""How all is going: health, alerts, and an overview of what is under way. HTTP and the terminal both ask here.

The formula of the score is in ``stepwell.projections.health_score``, what raises an alert in
``stepwell.projections.alerts``; this module brings together what they are told: the statistics, the last 24 hours,
what is under way, and who is live.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from stepwell.consumers.reading.events import newest_stamp
from stepwell.consumers.reading.live_members import LiveMembers
from stepwell.errors import StepwellError
from stepwell.log.port import COMMANDS, EVENTS, STARTS, Log
from stepwell.projections.alerts import Alert, alerts
from stepwell.projections.health_score import Health, Level, Observation, health
from stepwell.projections.models import Lag
from stepwell.projections.queries import ErrorEntry, Work
from stepwell.projections.recent import Recent, UnderWay, Version, recent, under_way
from stepwell.projections.statistics import WorkflowStatistics
from stepwell.schemas.records.statuses import StepStatus, WorkflowStatus

if TYPE_CHECKING:
    from stepwell.client.client import Client

WINDOW_HOURS: Final = 24
USUAL_FROM: Final = 20  # completed instances from which on their median says what is usual
TAKEN_MS: Final = 2_000  # milliseconds in which a live worker takes a step and says so
BEHIND_SECONDS, FAR_BEHIND_SECONDS = 60.0, 600.0  # the read models', as a warning and as critical
_ORDER: Final[Mapping[Level, int]] = {"critical": 0, "warning": 1, "healthy": 2}


class Part(Struct, frozen=True, kw_only=True):
    """A part of the machinery.

    Attributes:
        name: ``log``, ``engines``, ``workers`` or ``read_models``.
        words: What was seen.
        code: Of the alert that this is; empty while all is well.
        remedy: What to do.
    """

    name: str
    level: Level
    words: str
    code: str = ""
    remedy: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """How all is going.

    Attributes:
        at: When it was looked at, in milliseconds since 1970.
        level: The worst of all.
        parts: Log, engines, workers and read models, each on its own.
        workflows: Every version that has run within 24 hours or is live, the lowest score first.
    """

    at: int
    level: Level
    parts: list[Part]
    workflows: list[Health]


class Overview(Struct, frozen=True, kw_only=True):
    """What is going on.

    Attributes:
        statuses: How many instances are ``running``, ``paused``, ``completed``, ``failed`` and ``cancelled``,
        pending: and how many wait for an engine to decide their start.
        workflows: The statistics of every version.
        steps: How many attempts at steps are ``running``, ``ready`` and ``waiting``.
        work: Those that have been under way for the longest.
        errors: The last ones.
    """

    at: int
    statuses: dict[str, int]
    pending: int
    workflows: list[WorkflowStatistics]
    steps: dict[str, int]
    work: list[Work]
    errors: list[ErrorEntry]
    health: Report
    alerts: list[Alert]
    lag: Lag | None


class Seen(Struct, frozen=True, kw_only=True):
    """All that health and alerts are made of, seen at one moment."""

    at: int
    parts: list[Part]
    observations: list[Observation]
    statistics: list[WorkflowStatistics]
    under_way: dict[Version, UnderWay]
    lag: Lag | None


async def health_of(client: Client, *, fresh: bool = False) -> Report:
    """How all is going: each part of the machinery, and each workflow with a score from 0 to 100.

    It does not raise where a part is in trouble: that part is critical, and says why.

    Args:
        fresh: Wait until the read models have followed all that is in the log now.
    """
    return report_of(await look(client, fresh=fresh))


async def alerts_of(client: Client, *, fresh: bool = False) -> list[Alert]:
    """What somebody should look at, the critical first; as ``health_of``."""
    return alerts_in(await look(client, fresh=fresh))


async def overview_of(client: Client, *, most: int = 10, fresh: bool = False) -> Overview:
    """What is going on, for a screen.

    Args:
        most: Rows of work, and of errors, at most.
        fresh: As in ``health_of``.

    Raises:
        ReadModelsError, LogError: It cannot be found out.
    """
    seen = await look(client, fresh=fresh)
    names = [status.value for status in WorkflowStatus]
    kinds = [status.value for status in (StepStatus.RUNNING, StepStatus.READY, StepStatus.WAITING)]
    return Overview(
        at=seen.at,
        statuses={name: sum(getattr(one, name) for one in seen.statistics) for name in names},
        pending=await client.views.waiting(fresh=False),
        workflows=seen.statistics,
        steps={kind: sum(getattr(one, kind) for one in seen.under_way.values()) for kind in kinds},
        work=await client.views.work(limit=most, fresh=False),
        errors=await client.views.errors(limit=most, fresh=False),
        health=report_of(seen),
        alerts=alerts_in(seen),
        lag=seen.lag,
    )


def report_of(seen: Seen) -> Report:
    """The health in what was seen."""
    scores = sorted(map(health, seen.observations), key=lambda one: (one.score, one.workflow, one.version))
    levels = [*(part.level for part in seen.parts), *(one.level for one in scores)]
    worst = min(levels, key=lambda level: _ORDER[level])
    return Report(at=seen.at, level=worst, parts=seen.parts, workflows=scores)


def alerts_in(seen: Seen) -> list[Alert]:
    """The alerts in what was seen, the critical first."""
    found = alerts(seen.observations)
    known = {alert.code for alert in found}
    for part in seen.parts:
        if part.level != "healthy" and part.code not in known:
            found.append(Alert(part.code, part.level, "", "", part.words, part.remedy))
    return sorted(found, key=lambda alert: _ORDER[alert.level])  # stable: else in the order of `alerts`


async def look(client: Client, *, fresh: bool = False) -> Seen:
    """Look at everything once; arguments as in ``health_of``."""
    now = client.clock()
    try:
        log, members = await _log(client.log), await client.live_members()
    except StepwellError as error:
        return Seen(at=now, parts=[_log_trouble(error)], observations=[], statistics=[], under_way={}, lag=None)
    statistics: list[WorkflowStatistics] = []
    lately: dict[Version, Recent] = {}
    busy: dict[Version, UnderWay] = {}
    lag: Lag | None = None
    try:
        async with client.views.asking(fresh=fresh) as queries:
            statistics = await queries.statistics()
            lately = await recent(queries, now - WINDOW_HOURS * 3_600_000)
            busy = await under_way(queries, now - TAKEN_MS)
        lag = await client.views.lag()
        views = _read_models(lag)
    except StepwellError as error:
        views = _views_trouble(error)
    live = sum(one.running + one.paused for one in statistics)
    return Seen(
        at=now,
        parts=[log, _engines(members, live + await _undecided(client.log)), _workers(members, busy), views],
        observations=_observations(statistics, lately, busy, members, now),
        statistics=statistics,
        under_way=busy,
        lag=lag,
    )


# --- workflows ----------------------------------------------------------------------------------------------


def _observations(
    statistics: Sequence[WorkflowStatistics],
    lately: Mapping[Version, Recent],
    busy: Mapping[Version, UnderWay],
    members: LiveMembers,
    now: int,
) -> list[Observation]:
    slots = sum(worker.concurrency for worker in members.workers)
    used = sum(one.running for one in busy.values())
    found = []
    for one in statistics:
        version = (one.workflow, one.version)
        if version not in lately and not one.running and not one.paused:
            continue
        last, now_busy = lately.get(version, Recent()), busy.get(version, UnderWay())
        usual = one.duration.p50 if one.duration.count >= USUAL_FROM else None
        found.append(
            Observation(
                workflow=one.workflow,
                version=one.version,
                completed=last.completed,
                failed=last.failed,
                cancelled=last.cancelled,
                running=one.running,
                paused=one.paused,
                mean_seconds=_neat(last.milliseconds / last.completed / 1000) if last.completed else 0.0,
                p50_seconds=_share(last.durations, 0.5),
                p95_seconds=_share(last.durations, 0.95),
                expected_seconds=_neat(usual or 0.0),
                step_runs=last.attempts,
                step_errors=last.errors,
                incidents=one.incidents,
                slots_used=used,
                slots=slots,
                waiting=now_busy.late,
                oldest_ready_seconds=max(0, now - now_busy.oldest) / 1000 if now_busy.oldest else 0.0,
            )
        )
    return found


def _share(durations: Sequence[float], share: float) -> float:
    """A percentile of durations in ascending order; 0 of none."""
    return _neat(durations[max(0, math.ceil(share * len(durations)) - 1)]) if durations else 0.0


def _neat(seconds: float) -> float:
    """A duration to three digits: more are noise, and stand in sentences for people."""
    return float(f"{seconds:.3g}")


# --- the machinery ------------------------------------------------------------------------------------------


async def _log(log: Log) -> Part:
    began = asyncio.get_running_loop().time()
    records = sum([await log.end(EVENTS, partition) for partition in range(log.partitions)])
    took = (asyncio.get_running_loop().time() - began) * 1000
    words = f"{log.partitions} partitions with {records:,} records of events; answers in {took:.1f} ms"
    return Part(name="log", level="healthy", words=words)


def _log_trouble(error: StepwellError) -> Part:
    return Part(
        name="log", level="critical", words=f"cannot be used: {error.sentence}", code="no_log",
        remedy=error.remedy or "Nothing runs without the log: mend this first.",
    )  # fmt: skip


async def _undecided(log: Log) -> int:
    """How many requests may wait for an engine: those that came after the last that is known to be decided."""
    left = 0
    for partition in range(log.partitions):
        stamp = await newest_stamp(log, partition, await log.end(EVENTS, partition))
        source, started = (stamp.source, stamp.started) if stamp is not None else (-1, -1)
        left += max(0, await log.end(STARTS, partition) - started - 1)
        left += max(0, await log.end(COMMANDS, partition) - source - 1)
    return left


def _engines(members: LiveMembers, waiting: int) -> Part:
    if not members.engines:
        if not waiting:
            return Part(name="engines", level="healthy", words="none is live, and nothing waits for one")
        return Part(
            name="engines",
            level="critical",
            words="none is live, and instances or requests wait for one",
            code="no_engine",
            remedy="Start one: `stepwell engine`.",
        )
    live = "1 is live" if len(members.engines) == 1 else f"{len(members.engines)} are live"
    if members.unowned:
        named = ", ".join(map(str, members.unowned))
        return Part(
            name="engines",
            level="warning",
            words=f"{live}, and nobody has taken over these partitions yet: {named}",
            code="no_owner",
            remedy="That takes seconds. If it stays so, see `stepwell workers` and what the engines tell.",
        )
    return Part(name="engines", level="healthy", words=f"{live}, all {members.partitions} partitions have an owner")


def _workers(members: LiveMembers, busy: Mapping[Version, UnderWay]) -> Part:
    late = sum(one.late for one in busy.values())
    used = sum(one.running for one in busy.values())
    if not members.workers:
        if not late and not used:
            return Part(name="workers", level="healthy", words="none is live, and no step waits for one")
        # Whoever has a step in hand and is not live has died: somebody must run that step again.
        found = [f"steps wait for one: {late:,}"] if late else []
        found += [f"steps are in the hands of workers that are gone: {used:,}"] if used else []
        return Part(
            name="workers",
            level="critical",
            words=f"none is live, and {', and '.join(found)}",
            code="no_worker",
            remedy="Start one: `stepwell worker --handlers MODULE`.",
        )
    slots = sum(worker.concurrency for worker in members.workers)
    live = "1 is live" if len(members.workers) == 1 else f"{len(members.workers)} are live"
    words = f"{live}; steps in their hands: {used:,} of {slots:,}"
    return Part(name="workers", level="healthy", words=words + (f"; waiting for one: {late:,}" if late else ""))


def _read_models(lag: Lag) -> Part:
    if lag.problem:
        return Part(
            name="read_models",
            level="critical",
            words=f"are not kept up to date: {' '.join(lag.problem.split())}",
            code="read_models_stopped",
            remedy="Mend what it says; nothing is lost, the log has everything.",
        )
    level: Level = "healthy"
    if lag.seconds >= BEHIND_SECONDS:
        level = "critical" if lag.seconds >= FAR_BEHIND_SECONDS else "warning"
    words = f"generation {lag.generation}, " + (
        f"{lag.records:,} records behind, {lag.seconds:.0f} s" if lag.records else "up to date"
    )
    if level == "healthy":
        return Part(name="read_models", level=level, words=words)
    return Part(
        name="read_models",
        level=level,
        words=words,
        code="read_models_behind",
        remedy="They catch up by themselves where the machine keeps up; `stepwell projections status` shows it.",
    )


def _views_trouble(error: StepwellError) -> Part:
    return Part(
        name="read_models", level="critical", words=f"cannot be asked: {error.sentence}", code="read_models_stopped",
        remedy=error.remedy or "`stepwell projections rebuild` makes them anew from the log.",
    )  # fmt: skip
