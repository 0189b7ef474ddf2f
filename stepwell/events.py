"""The events of workflows, as ``client.subscribe``, ``client.history`` and handlers of the feed give them.

``event.event`` of an ``EventRecord`` is one of these: ``isinstance(record.event, stepwell.events.StepFailed)``.
"""

from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    ErrorInfo,
    Event,
    IncidentRaised,
    RollbackStarted,
    StepCancelled,
    StepCompensated,
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
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested

__all__ = [
    "ApprovalDecided", "ApprovalRequired", "ChildRequested", "CommandNoted", "CommandRejected", "ErrorInfo", "Event",
    "IncidentRaised", "RollbackStarted", "StepCancelled", "StepCompensated", "StepFailed", "StepHeartbeat",
    "StepReady", "StepRetryScheduled", "StepReturned", "StepSkipped", "StepStarted", "StepSucceeded", "StepWaiting",
    "StepsDeferred", "TimersMoved", "WorkflowCancelled", "WorkflowCompleted", "WorkflowEnding", "WorkflowFailed",
    "WorkflowPaused", "WorkflowReopened", "WorkflowResumed", "WorkflowRolledBack", "WorkflowStarted",
]  # fmt: skip
