"""Folding: what one event makes of an instance.

``evolve`` needs nothing but the state and the event, so that a history can be folded anywhere: no definition, no
clock, no registry. It never refuses: whether something may happen was decided before it became an event.

Each function below is one row of the table at the end: an event's type, and the fields that it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from immutables import Map
from msgspec.structs import replace

from stepwell.core.fold import evolve_steps as steps
from stepwell.core.fold import evolve_waits as waits
from stepwell.core.fold.evolve_steps import Changes
from stepwell.core.fold.state import REMEMBERED_COMMANDS, WORKFLOW_TIMER, InstanceState, Rollback, instance_from_plain
from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
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
    Transition,
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
from stepwell.schemas.records.statuses import UNDER_WAY, WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested


def evolve(state: InstanceState | None, event: Event, at: int, instance_id: str) -> InstanceState:
    """The state after one more event.

    Args:
        state: The state before; None where there was no instance.
        at: The time of the event's transition, in milliseconds since 1970.
        instance_id: Whose event it is.

    Raises:
        LookupError: The event cannot follow this state: the history is not the instance's, or has a hole.
    """
    if isinstance(event, WorkflowStarted):
        return _started(event, at, instance_id)
    if isinstance(event, WorkflowReopened):
        archived = instance_from_plain(event.state)
        return replace(archived, sequence=archived.sequence + 1)
    if state is None:
        raise LookupError(f"{instance_id}: {type(event).__name__} before the instance was started")
    changes = _EVOLVE[type(event)](state, event, at)
    command_id = getattr(event, "command_id", "")
    if command_id:
        changes["commands"] = (*state.commands[1 - REMEMBERED_COMMANDS :], command_id)
    return replace(state, sequence=state.sequence + 1, **changes)


def fold(
    transitions: Iterable[Transition], state: InstanceState | None = None, *, to: int | None = None
) -> InstanceState | None:
    """The state that an instance's transitions add up to.

    Args:
        transitions: Accepted ones, in order.
        state: Where to go on from.
        to: Stop after the event of this sequence.
    """
    for transition in transitions:
        if not transition.sequence:  # a rejection for an instance that was not there: no part of its history
            continue
        for number, event in enumerate(transition.events, transition.sequence):
            if to is not None and number > to:
                return state
            state = evolve(state, event, transition.at, transition.instance_id)
    return state


# --- the workflow -------------------------------------------------------------------------------------------


def _started(event: WorkflowStarted, at: int, instance_id: str) -> InstanceState:
    return InstanceState(
        id=instance_id,
        workflow=event.workflow,
        version=event.version,
        definition=event.definition,
        input=event.input,
        priority=event.priority,
        sequence=1,
        started_at=at,
        timers=Map() if event.due is None else Map({WORKFLOW_TIMER: event.due}),
        commands=(event.command_id,) if event.command_id else (),
        parent=event.parent,
        life=event.life,
    )


_GOES_ON: Changes = {"pause_reason": "", "incident": "", "paused_at": 0, "incident_at": 0, "held": False}


def _paused(state: InstanceState, event: WorkflowPaused, at: int) -> Changes:
    return {
        "status": WorkflowStatus.PAUSED,
        "pause_reason": event.reason,
        "paused_at": _paused_since(state, at),
        "held": event.held,
    }


def _paused_since(state: InstanceState, at: int) -> int:
    return state.paused_at if state.status is WorkflowStatus.PAUSED else at


def _incident(state: InstanceState, event: IncidentRaised, at: int) -> Changes:
    return {
        "status": WorkflowStatus.PAUSED,
        "pause_reason": event.message,
        "incident": event.code,
        "paused_at": _paused_since(state, at),
        "incident_at": state.incident_at if state.incident else at,
        "held": False,
    }


def _resumed(state: InstanceState, event: WorkflowResumed, _at: int) -> Changes:
    left, timers, active, sequential = state.steps, state.timers, state.active, state.active_sequential
    idle = state.idle
    for step_id in event.reset:
        step = left[step_id]
        if step.status in UNDER_WAY:
            active -= 1
            sequential -= step.sequential
            idle -= step.idle
            timers = steps.without(timers, step_id)
        left = left.delete(step_id)
    dealt_with = {*event.reset, *event.skipped}
    rollback = state.rollback
    if rollback is not None and rollback.current is not None:  # its workers get the whole limit anew
        rollback = replace(rollback, current=replace(rollback.current, returned_at=0))
    left, timers = waits.due_from(left, timers, event.dues)
    return {
        **_GOES_ON,
        "status": WorkflowStatus.RUNNING,
        "error": None,
        "failed_step": "",
        "finished_at": 0,
        "failures": tuple(step_id for step_id in state.failures if step_id not in dealt_with),
        "steps": left,
        "rollback": rollback,
        "timers": timers,
        "active": active,
        "active_sequential": sequential,
        "idle": idle,
    }


def _timers_moved(state: InstanceState, event: TimersMoved, _at: int) -> Changes:
    left, timers = waits.due_from(state.steps, state.timers, event.dues)
    return {"steps": left, "timers": timers}


def _ending(state: InstanceState, event: WorkflowEnding, at: int) -> Changes:
    changes = steps.cancel_runs(state, at, keeps=event.keeps)
    return {**changes, "timers": steps.without(changes["timers"], WORKFLOW_TIMER), "ending": event}


def _ended(state: InstanceState, status: WorkflowStatus, at: int) -> Changes:
    return {
        **steps.cancel_runs(state, at),
        "rollback": steps.cancel_compensation(state, at),
        **_GOES_ON,
        "ending": None,
        "status": status,
        "finished_at": at,
        "timers": Map(),
    }


def _completed(state: InstanceState, event: WorkflowCompleted, at: int) -> Changes:
    return {**_ended(state, WorkflowStatus.COMPLETED, at), "output": event.output}


def _failed(state: InstanceState, event: WorkflowFailed, at: int) -> Changes:
    ended = _ended(state, WorkflowStatus.FAILED, at)
    return {**ended, "error": event.error, "failed_step": event.step_id}


def _cancelled(state: InstanceState, event: WorkflowCancelled, at: int) -> Changes:
    return {**_ended(state, WorkflowStatus.CANCELLED, at), "pause_reason": event.reason}


def _nothing(_state: InstanceState, _event: CommandRejected | CommandNoted, _at: int) -> Changes:
    return {}


# --- rolling back -------------------------------------------------------------------------------------------


def _rollback_started(state: InstanceState, event: RollbackStarted, at: int) -> Changes:
    rollback = Rollback(
        to=event.to,
        remaining=event.compensate,
        then=event.then,
        error=event.error,
        step_id=event.step_id,
    )
    return {
        **steps.cancel_runs(state, at),
        **_GOES_ON,
        "ending": None,
        "status": WorkflowStatus.RUNNING,
        "rollback": rollback,
        "error": None,
        "failed_step": "",
        "finished_at": 0,
        "output": None,
    }


def _compensated(state: InstanceState, event: StepCompensated, _at: int) -> Changes:
    return {
        "rollback": replace(steps.rollback_of(state), current=None),
        "timers": steps.without(state.timers, event.step_id),
    }


def _rolled_back(state: InstanceState, event: WorkflowRolledBack, at: int) -> Changes:
    then = steps.rollback_of(state).then
    context = {
        key: tuple(value for value in values if value.sequence <= event.to) for key, values in state.context.items()
    }
    return {
        "steps": Map({key: step for key, step in state.steps.items() if 0 < step.settled <= event.to}),
        "arrived": Map(event.arrived),
        "context": Map({key: values for key, values in context.items() if values}),
        "checkpoints": Map(
            {key: number for key, number in state.checkpoints.items() if number <= event.to} | event.checkpoints
        ),
        "failures": (),
        "rollback": None,
        "status": WorkflowStatus.PAUSED if then == "pause" else WorkflowStatus.RUNNING,
        "pause_reason": "rolled back" if then == "pause" else "",
        "paused_at": at if then == "pause" else 0,
        "timers": steps.without(state.timers, WORKFLOW_TIMER) if event.unlimited else state.timers,
        "abandoned": (*state.abandoned, (event.to + 1, state.sequence + 1)),
    }


_EVOLVE: dict[type, Callable[[InstanceState, Any, int], Changes]] = {
    WorkflowPaused: _paused,
    WorkflowResumed: _resumed,
    TimersMoved: _timers_moved,
    WorkflowCompleted: _completed,
    WorkflowFailed: _failed,
    WorkflowCancelled: _cancelled,
    WorkflowEnding: _ending,
    IncidentRaised: _incident,
    CommandRejected: _nothing,
    CommandNoted: _nothing,
    StepReady: steps.ready,
    StepStarted: steps.started,
    StepHeartbeat: steps.heartbeat,
    StepWaiting: steps.waiting,
    StepSucceeded: steps.succeeded,
    StepRetryScheduled: steps.retry_scheduled,
    StepReturned: steps.returned,
    StepFailed: steps.failed,
    StepSkipped: steps.skipped,
    StepCancelled: steps.cancelled,
    StepsDeferred: steps.deferred,
    ApprovalRequired: waits.approval_required,
    ApprovalDecided: waits.approval_decided,
    ChildRequested: waits.child_requested,
    RollbackStarted: _rollback_started,
    StepCompensated: _compensated,
    WorkflowRolledBack: _rolled_back,
}
