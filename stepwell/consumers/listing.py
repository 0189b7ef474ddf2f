"""Listing instances by reading the log: exact, and as slow as the log is long."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from stepwell.consumers.reading import EventReader
from stepwell.log.port import EVENTS, Log
from stepwell.schemas.events import (
    Event,
    IncidentRaised,
    RollbackStarted,
    Transition,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowResumed,
    WorkflowRolledBack,
    WorkflowStarted,
)


class Summary(Struct, frozen=True, gc=False):
    """An instance in a list. Times are milliseconds since 1970; 0 for what has not happened."""

    instance_id: str
    workflow: str
    version: str
    status: str
    priority: int = 0
    started_at: int = 0
    finished_at: int = 0


_STATUS: dict[type[Event], str] = {
    WorkflowPaused: "paused",
    IncidentRaised: "paused",
    WorkflowResumed: "running",
    RollbackStarted: "running",
    WorkflowCompleted: "completed",
    WorkflowFailed: "failed",
    WorkflowCancelled: "cancelled",
}
_FINAL = frozenset({"completed", "failed", "cancelled"})
# Only records in which one of these stands are decoded: one in many.
_SAYS_STATUS = (b'"type":"workflow.', b'"type":"incident.', b'"type":"rollback.')


async def list_instances(log: Log) -> list[Summary]:
    """Every instance that the log holds, the newest first."""
    found: dict[str, Summary] = {}
    pausing: set[str] = set()  # instances that will stay paused where a rollback ends
    for partition in range(log.partitions):
        reader = EventReader(log, partition)
        end = await log.end(EVENTS, partition)
        while reader.position < end:
            before = reader.position
            for record in await reader.read(end=end):
                if any(word in record.value for word in _SAYS_STATUS):
                    _take(found, pausing, reader.decode(record))
            if reader.position == before:
                break
    return sorted(found.values(), key=lambda summary: (-summary.started_at, summary.instance_id))


def _take(found: dict[str, Summary], pausing: set[str], transition: Transition) -> None:
    instance_id = transition.instance_id
    for event in transition.events:
        known = found.get(instance_id)
        if isinstance(event, WorkflowStarted):
            found[instance_id] = Summary(
                instance_id, event.workflow, event.version, "running", event.priority, transition.at
            )
        elif known is not None and type(event) in _STATUS:
            status = _STATUS[type(event)]
            if isinstance(event, RollbackStarted):
                (pausing.add if event.then == "pause" else pausing.discard)(instance_id)
            ended = transition.at if status in _FINAL else 0
            found[instance_id] = replace(known, status=status, finished_at=ended)
        elif known is not None and isinstance(event, WorkflowRolledBack) and instance_id in pausing:
            found[instance_id] = replace(known, status="paused")
