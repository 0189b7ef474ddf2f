"""What the counts say: statistics of workflows and of their steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from stepwell.projections.counting import percentiles
from stepwell.schemas.records.statuses import FINISHED, AttemptStatus, WorkflowStatus

SHARES = (0.5, 0.95, 0.99)


class Durations(Struct, frozen=True, kw_only=True):
    """How long something took, in seconds; None of nothing. The percentiles are right within one per cent.

    Attributes:
        count: How many were measured.
    """

    count: int = 0
    average: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class StepStatistics(Struct, frozen=True, kw_only=True):
    """The attempts at one step of a definition's version.

    Attributes:
        attempts: How many have ended with a success or an error.
        failed: Attempts after which no other followed.
        retried: Attempts that failed and were followed by another.
        failure_rate: Share of the attempts that ended with an error, 0 to 1; None without any.
        cpu_seconds: CPU that its handlers used, as far as it was measured.
    """

    step_id: str
    attempts: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    skipped: int = 0
    cancelled: int = 0
    compensated: int = 0
    failure_rate: float | None = None
    cpu_seconds: float = 0.0
    duration: Durations = Durations()


class WorkflowStatistics(Struct, frozen=True, kw_only=True):
    """The instances of one version of a definition.

    Attributes:
        success_rate: Per cent of the finished ones that completed; None while none has finished.
        incidents: Live ones that a person must look at.
        avg_duration_seconds: Of the completed ones, from start to end.
        archived: Finished ones that were cleaned away; they count in all other figures.
    """

    workflow: str
    version: str
    total: int = 0
    running: int = 0
    paused: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    archived: int = 0
    incidents: int = 0
    success_rate: float | None = None
    avg_duration_seconds: float | None = None
    duration: Durations = Durations()
    steps: list[StepStatistics] = []


class WorkerStatistics(Struct, frozen=True, kw_only=True):
    """What a worker has done, live or not.

    Attributes:
        worker: Its name.
        runs: Attempts that it has brought to an end.
        failures: Those of them that ended with an error.
        busy_seconds: How long its handlers ran, as far as it was measured; several at once count each.
    """

    worker: str
    runs: int = 0
    failures: int = 0
    busy_seconds: float = 0.0


class Hour(Struct, frozen=True, kw_only=True):
    """What happened in an hour.

    Attributes:
        hour: Its beginning, in milliseconds since 1970.
        milliseconds: What the instances took that completed in it, together.
        attempts: Attempts at steps that ended in it,
        errors: and those of them that ended with an error.
    """

    hour: int
    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    milliseconds: int = 0
    attempts: int = 0
    errors: int = 0


_Slots = Mapping[str, Mapping[int, int]]  # by measure and slot


def durations(slots: _Slots) -> Durations:
    """How long what was counted took."""
    buckets = slots.get("duration", {})
    count = sum(buckets.values())
    if not count:
        return Durations()
    average = slots.get("milliseconds", {}).get(0, 0) / count / 1000
    p50, p95, p99 = (None if value is None else value / 1000 for value in percentiles(buckets.items(), SHARES))
    return Durations(count=count, average=average, p50=p50, p95=p95, p99=p99)


def statistics_of(counts: Iterable[tuple[str, str, str, str, dict[int, int]]]) -> list[WorkflowStatistics]:
    """The statistics of every version that was counted, by name and version.

    Args:
        counts: Workflow, version, step (empty for the instances themselves), measure, and the counts by slot.
    """
    versions: dict[tuple[str, str], dict[str, dict[str, dict[int, int]]]] = {}
    for workflow, version, step_id, measure, slots in counts:
        versions.setdefault((workflow, version), {}).setdefault(step_id, {})[measure] = slots
    return [_workflow(workflow, version, steps) for (workflow, version), steps in sorted(versions.items())]


def _workflow(workflow: str, version: str, steps: Mapping[str, _Slots]) -> WorkflowStatistics:
    own = steps.get("", {})
    gone = {status: _count(own, f"archived:{status}") for status in FINISHED}
    now = {status: _count(own, f"status:{status}") for status in WorkflowStatus}
    ended = {status: now[status] + gone[status] for status in FINISHED}
    finished = sum(ended.values())
    took = durations(own)
    return WorkflowStatistics(
        workflow=workflow,
        version=version,
        total=_count(own, "total") + sum(gone.values()),
        running=now[WorkflowStatus.RUNNING],
        paused=now[WorkflowStatus.PAUSED],
        completed=ended[WorkflowStatus.COMPLETED],
        failed=ended[WorkflowStatus.FAILED],
        cancelled=ended[WorkflowStatus.CANCELLED],
        archived=sum(gone.values()),
        incidents=_count(own, "incidents"),
        success_rate=round(100 * ended[WorkflowStatus.COMPLETED] / finished, 1) if finished else None,
        avg_duration_seconds=took.average,
        duration=took,
        steps=[_step(step_id, slots) for step_id, slots in sorted(steps.items()) if step_id],
    )


def _step(step_id: str, slots: _Slots) -> StepStatistics:
    succeeded = _count(slots, AttemptStatus.SUCCEEDED)
    failed, retried = _count(slots, AttemptStatus.FAILED), _count(slots, AttemptStatus.RETRIED)
    attempts = succeeded + failed + retried
    return StepStatistics(
        step_id=step_id,
        attempts=attempts,
        succeeded=succeeded,
        failed=failed,
        retried=retried,
        skipped=_count(slots, AttemptStatus.SKIPPED),
        cancelled=_count(slots, AttemptStatus.CANCELLED),
        compensated=_count(slots, AttemptStatus.COMPENSATED),
        failure_rate=(failed + retried) / attempts if attempts else None,
        cpu_seconds=_count(slots, "cpu") / 1000,
        duration=durations(slots),
    )


def _count(slots: _Slots, measure: str) -> int:
    return slots.get(measure, {}).get(0, 0)
