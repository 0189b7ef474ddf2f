"""Deciding: what a command leads to.

``decide`` is a pure function: the same state, command and circumstances give the same events, in any process. It
never refuses to answer: a command leads to events, or to one rejection that says why, or (where it was followed
before) to nothing at all, so that delivering it twice changes nothing.

One function for each command, in the table at the end: ``requests`` holds those for what clients ask, ``pausing``
those for standing still and going on, ``timers`` those for moving timers, ``people`` those for approvals and child
workflows, ``outcomes`` those for what workers report and what the clock brings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepwell.core.decide import outcomes, pausing, people, requests, timers
from stepwell.core.decide.decision import Circumstances, Decision
from stepwell.core.fold.state import InstanceState
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    ChildEnded,
    Command,
    CompleteStep,
    ContinueWorkflow,
    FailStep,
    FireTimer,
    HeartbeatStep,
    HoldWorkflow,
    InternalCommand,
    PauseWorkflow,
    QuarantineInstance,
    RejectStep,
    ReleaseWorkflow,
    ReportStarted,
    RescheduleTimers,
    ResumeWorkflow,
    ReturnStep,
    RollbackWorkflow,
    StartWorkflow,
)


def decide(state: InstanceState | None, command: Command | InternalCommand, circumstances: Circumstances) -> Decision:
    """What a command leads to.

    Args:
        state: The instance; None where it is not in memory.
        circumstances: The time, the definitions, and what is known of an instance that is not in memory.

    Returns:
        The events and the state after them.

    Raises:
        DefinitionMissingError: The instance's definition is not registered, or cannot be told. Anything else that
            escapes is a bug; the engine quarantines the instance.
    """
    decision = Decision(state, command.instance_id, circumstances)
    command_id = getattr(command, "command_id", "")
    known = state or circumstances.archived
    if command_id and known is not None and command_id in known.commands:
        decision.note = "this command was followed before"
        return decision
    _DECIDE[type(command)](decision, command)
    return decision


_DECIDE: dict[type, Callable[[Decision, Any], None]] = {
    StartWorkflow: requests.start,
    CancelWorkflow: requests.cancel,
    PauseWorkflow: pausing.pause,
    ResumeWorkflow: pausing.resume,
    HoldWorkflow: pausing.hold,
    ReleaseWorkflow: pausing.release,
    RollbackWorkflow: requests.rollback,
    RescheduleTimers: timers.reschedule,
    CompleteStep: outcomes.complete,
    FailStep: outcomes.fail,
    ReportStarted: outcomes.report_started,
    HeartbeatStep: outcomes.heartbeat,
    ReturnStep: outcomes.hand_back,
    ApproveStep: people.approve,
    RejectStep: people.refuse,
    ChildEnded: people.child_ended,
    FireTimer: outcomes.fire,
    ContinueWorkflow: outcomes.continue_,
    QuarantineInstance: outcomes.quarantine,
}
