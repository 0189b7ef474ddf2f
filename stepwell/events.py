"""The events of workflows, as ``client.subscribe``, ``client.history`` and handlers of the feed give them.

``event.event`` of an ``EventRecord`` is one of these: ``isinstance(record.event, stepwell.events.StepFailed)``.
"""

# Written by `just generate` from the events in stepwell/schemas/records. Change those, not this file.

from stepwell.schemas.records.error_info import (
    ErrorInfo,
)
from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    Event,
    IncidentRaised,
    RollbackStarted,
    StepCompensated,
    TimersMoved,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowEnding,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowRolledBack,
    WorkflowStarted,
)
from stepwell.schemas.records.step_events import (
    StepCancelled,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepRetryScheduled,
    StepReturned,
    StepsDeferred,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from stepwell.schemas.records.step_waits import (
    ApprovalDecided,
    ApprovalRequired,
    ChildRequested,
)

__all__ = [
    "ApprovalDecided",
    "ApprovalRequired",
    "ChildRequested",
    "CommandNoted",
    "CommandRejected",
    "ErrorInfo",
    "Event",
    "IncidentRaised",
    "RollbackStarted",
    "StepCancelled",
    "StepCompensated",
    "StepFailed",
    "StepHeartbeat",
    "StepReady",
    "StepRetryScheduled",
    "StepReturned",
    "StepSkipped",
    "StepStarted",
    "StepSucceeded",
    "StepWaiting",
    "StepsDeferred",
    "TimersMoved",
    "WorkflowCancelled",
    "WorkflowCompleted",
    "WorkflowEnding",
    "WorkflowFailed",
    "WorkflowPaused",
    "WorkflowReopened",
    "WorkflowResumed",
    "WorkflowRolledBack",
    "WorkflowStarted",
]
