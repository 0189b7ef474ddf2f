"""The query half over HTTP: which instances there are, what they do and did, how well, and who asked for it."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from stepwell.client.client import Client
from stepwell.consumers.reading.histories import accepted_of, unknown_instance
from stepwell.diagnosis.overview import alerts_of
from stepwell.process import now_ms
from stepwell.projections.alerts import Alert
from stepwell.projections.folding import attempts_in
from stepwell.projections.queries import AuditRow, ErrorEntry, Work
from stepwell.projections.rows import AttemptRow, InstanceRow
from stepwell.projections.statistics import Hour, WorkflowStatistics
from stepwell.projections.views import Views
from stepwell.schemas.records.statuses import WorkStatus
from stepwell.server.access import Role, requires
from stepwell.server.http.bodies import Name
from stepwell.server.http.filtering import (
    Limit,
    Text,
    Time,
    part_parameter,
    text_parameter,
    time_of,
    time_parameter,
)
from stepwell.server.http.freshness import LAG_HEADER, LaggingResponse, read_views

_HOUR = 3_600_000  # milliseconds


class AttemptList(Struct, frozen=True):
    """Every attempt at every step of an instance, in the order in which they began."""

    instance_id: str
    attempts: list[AttemptRow]


class WorkList(Struct, frozen=True):
    """Attempts under way, those that have been so for the longest first."""

    work: list[Work]


class Statistics(Struct, frozen=True):
    """Statistics of each version, from counts that are kept as things happen.

    Attributes:
        hours: What happened in each of the last hours; hours in which nothing happened are left out.
    """

    statistics: list[WorkflowStatistics]
    hours: list[Hour]


class ErrorList(Struct, frozen=True):
    """Errors, the newest first."""

    errors: list[ErrorEntry]


class AuditList(Struct, frozen=True):
    """Who asked for what, when and from where, and what became of it; the newest first."""

    audit: list[AuditRow]


class AlertList(Struct, frozen=True):
    """What somebody should look at, the critical first."""

    alerts: list[Alert]


class PartitionLag(Struct, frozen=True):
    """How far one partition was followed.

    Attributes:
        offset: Of the record that is read next.
        end: The log's.
    """

    partition: int
    offset: int
    end: int


class LagView(Struct, frozen=True):
    """How far the read models are behind the log.

    Attributes:
        records: Records that were not followed yet.
        seconds: How long ago the oldest of them was appended.
        generation: One more with every rebuild.
        problem: Why nothing is followed; empty if all is well.
    """

    records: int
    seconds: float
    generation: int
    problem: str
    partitions: list[PartitionLag]


class CacheQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """A workflow and its input, of which a result may be there already.

    Attributes:
        input: Equal whatever the order of its keys.
        version: Of the definition; any without one.
        max_age_seconds: How long ago the result may have been computed.
    """

    workflow: Name
    input: Any = {}
    version: Name | None = None
    max_age_seconds: Annotated[float, Meta(ge=0, le=1e12)] | None = None


class CacheAnswer(Struct, frozen=True):
    """The newest instance that has completed with an equal input.

    Attributes:
        cached: Null if there is none; then it has to be started.
        output: What it gave.
    """

    cached: InstanceRow | None
    output: Any = None


@get(
    "/v1/instances/{instance_id:str}/attempts", guards=[requires(Role.VIEWER)], operation_id="listAttempts",
    tags=["instances"],
)  # fmt: skip
async def list_attempts(
    client: NamedDependency[Client], views: NamedDependency[Views], instance_id: FromPath[str]
) -> AttemptList:
    """Every attempt at every step of an instance: errors and tracebacks, workers, times, CPU."""
    found = await views.attempts(instance_id, fresh=False)
    if not found and await views.instance(instance_id, fresh=False) is None:
        history = await accepted_of(client.log, instance_id)  # so new that no read model has it
        if not history:
            raise unknown_instance(instance_id)
        found = attempts_in(accepted.transition for accepted in history)
    return AttemptList(instance_id, found)


@get("/v1/work", guards=[requires(Role.VIEWER)], operation_id="listWork", tags=["work"])
async def list_work(
    views: NamedDependency[Views],
    status: Annotated[list[WorkStatus] | None, QueryParameter(description="Any of these.")] = None,
    queue: Annotated[Text, text_parameter("Only of this queue.")] = None,
    limit: Limit = 50,
) -> WorkList:
    """What is under way in all instances: ready, in the hands of workers, or waiting for people, children, times."""
    return WorkList(await views.work(status=status or (), queue=queue or "", limit=limit, fresh=False))


Steps = Annotated[bool, QueryParameter(description="Those of the steps as well.")]
Hours = Annotated[
    int | None, QueryParameter(ge=1, le=8_784, description="How many hours to show one by one, this one included.")
]


@get("/v1/statistics", guards=[requires(Role.VIEWER)], operation_id="getStatistics")
async def statistics(views: NamedDependency[Views], steps: Steps = False, hours: Hours = None) -> Statistics:
    """How many instances of each workflow there are by status, success rates and durations."""
    found = await views.statistics(steps=steps, fresh=False)
    return Statistics(found, await _hours(views, hours))


@get("/v1/statistics/{workflow:str}", guards=[requires(Role.VIEWER)], operation_id="getWorkflowStatistics")
async def workflow_statistics(
    client: NamedDependency[Client],
    views: NamedDependency[Views],
    workflow: FromPath[str],
    version: Annotated[Text, text_parameter("Only of this version.")] = None,
    steps: Steps = False,
    hours: Hours = None,
) -> Statistics:
    """The same of one workflow, version by version."""
    found = await views.statistics(workflow, version, steps=steps, fresh=False)
    if not found:
        await client.registry.catch_up()
        if client.registry.resolve(workflow, version) is None and not await client.definitions(workflow=workflow):
            raise client.registry.unknown(workflow, version)
    return Statistics(found, await _hours(views, hours, workflow))


async def _hours(views: Views, hours: int | None, workflow: str | None = None) -> list[Hour]:
    if hours is None:
        return []
    this_hour = now_ms() // _HOUR * _HOUR
    return await views.hours(this_hour - (hours - 1) * _HOUR, workflow, fresh=False)


@get("/v1/errors", guards=[requires(Role.VIEWER)], operation_id="listErrors")
async def list_errors(
    views: NamedDependency[Views],
    instance_id: Annotated[Text, text_parameter("Only of this instance.")] = None,
    text: Annotated[Text, part_parameter("A text in them.")] = None,
    limit: Limit = 50,
) -> ErrorList:
    """The last errors of steps and workflows."""
    return ErrorList(await views.errors(instance_id, text=text or "", limit=limit, fresh=False))


@get("/v1/audit", guards=[requires(Role.ADMIN)], operation_id="listAudit")
async def list_audit(
    views: NamedDependency[Views],
    by: Annotated[Text, text_parameter("Only what they asked for.")] = None,
    instance_id: Annotated[Text, text_parameter("Only about this instance.")] = None,
    since: Annotated[Time, time_parameter("From this time on.")] = None,
    before: Annotated[Time, time_parameter("Earlier than this.")] = None,
    limit: Limit = 50,
) -> AuditList:
    """Who asked for what, when, from where, and what became of it."""
    found = await views.audit(
        by=by or "",
        instance_id=instance_id or "",
        since=time_of(since, "since"),
        before=time_of(before, "before"),
        limit=limit,
        fresh=False,
    )
    return AuditList(found)


@get("/v1/lag", guards=[requires(Role.VIEWER)], operation_id="getLag")
async def lag(views: NamedDependency[Views]) -> LagView:
    """How far the read models are behind the log."""
    found = await views.lag()
    partitions = [PartitionLag(number, *places) for number, places in sorted(found.partitions.items())]
    return LagView(found.records, found.seconds, found.generation, found.problem, partitions)


@get("/v1/alerts", guards=[requires(Role.VIEWER)], operation_id="listAlerts")
async def list_alerts(
    client: NamedDependency[Client],
    views: NamedDependency[Views],  # noqa: ARG001 - waits until it is as fresh as it shall be
) -> AlertList:
    """What somebody should look at, and what to do: docs/health.md has the codes."""
    return AlertList(await alerts_of(client))


@post("/v1/cached", guards=[requires(Role.VIEWER)], operation_id="getCached", status_code=200)
async def cached(
    client: NamedDependency[Client], views: NamedDependency[Views], data: JSONBody[CacheQuestion]
) -> CacheAnswer:
    """The result for an equal input, where it has been computed before."""
    found = await views.cached(
        data.workflow, data.input, version=data.version, max_age_seconds=data.max_age_seconds, fresh=False
    )
    return CacheAnswer(found, None if found is None else (await client.get(found.instance_id)).output)


router: Router = Router(
    "/",
    route_handlers=[
        list_attempts, list_work, statistics, workflow_statistics, list_errors, list_audit, lag,
        list_alerts, cached,
    ],
    dependencies={"views": Provide(read_views)},
    response_class=LaggingResponse,
    response_headers=[LAG_HEADER],
    tags=["queries"],
)  # fmt: skip
