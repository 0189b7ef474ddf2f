"""What leaves a partition, derived from its accepted events by one function.

There is no second list of effects to keep true: whoever takes a partition over derives the same ones from the same
events and sends again what is not known to be delivered. Each has a deterministic id, so receivers drop repeats.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from stepwell.core.decide.gates import end_id_of, word_id_of
from stepwell.core.decide.load import runs_of
from stepwell.core.decide.retry import CHILD_NOT_STARTED, STEP_TIMEOUT
from stepwell.core.fold.state import QUARANTINED, InstanceState, StepState
from stepwell.schemas.records.commands import CancelWorkflow, ChildEnded, HoldWorkflow, ReleaseWorkflow, StartWorkflow
from stepwell.schemas.records.events import (
    CommandRejected,
    ErrorInfo,
    Event,
    RollbackStarted,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    StepSucceeded,
    Transition,
    WorkflowCancelled,
    WorkflowEnding,
    WorkflowFailed,
    WorkflowResumed,
)
from stepwell.schemas.records.statuses import UNDER_WAY, WorkflowStatus
from stepwell.schemas.records.step_waits import ChildRequested, Parent
from stepwell.schemas.records.work import CancelRuns, WorkItem

Message = StartWorkflow | CancelWorkflow | HoldWorkflow | ReleaseWorkflow | ChildEnded
"""What instances tell each other: a parent starts, holds, releases and cancels a child, a child tells its end."""

Effect = WorkItem | CancelRuns | Message


def effects(before: InstanceState | None, transition: Transition, after: InstanceState | None) -> list[Effect]:
    """What a transition sends out.

    Args:
        before: The instance before it.
        after: The instance after it; what it has settled meanwhile is not sent.

    Returns:
        Work for the queues, requests to stop runs that handlers may still be at, and what other instances are told.
    """
    found: list[Effect] = []
    for number, event in enumerate(transition.events, transition.sequence):
        kind = type(event)
        if kind is StepReady:
            if after is not None and is_under_way(after, event):  # type: ignore[arg-type]
                found.append(_work(after, event, number))  # type: ignore[arg-type]
        elif kind in _GIVES_UP and before is not None and (before.active or before.rollback):
            found.append(CancelRuns(transition.instance_id, 1, before.runs, before.started_at))
        elif kind in (WorkflowResumed, WorkflowEnding) and before is not None:
            cancelled = runs_of(before) - runs_of(after)
            began = before.started_at
            found += [CancelRuns(transition.instance_id, run, run, began) for run in sorted(cancelled)]
        elif kind in _MAY_TIME_OUT and event.error.type == STEP_TIMEOUT:  # type: ignore[union-attr]
            run = event.run  # type: ignore[union-attr]
            began = before.started_at if before is not None else 0
            found.append(CancelRuns(transition.instance_id, run, run, began))
        elif kind is ChildRequested:
            if not event.wait or _waits_for(after, event.step_id, event.run):  # type: ignore[union-attr]
                found.append(_start(transition.instance_id, event))  # type: ignore[arg-type]
        elif kind is CommandRejected and event.parent is not None:  # type: ignore[union-attr]
            error = ErrorInfo(type=event.code, message=event.message)  # type: ignore[union-attr]
            found.append(_ended(event.parent, transition.instance_id, "rejected", error=error))  # type: ignore[union-attr]
    if before is not None and before.active:
        found += _orphans(before, transition, after)
    if after is not None and after.active:
        found += _standing(before, transition, after)
    if after is not None and after.parent is not None and not after.live and (before is None or before.live):
        found.append(_ended(after.parent, after.id, after.status.value, output=after.output, error=after.error))
    return found


def _waits_for(state: InstanceState | None, step_id: str, run: int) -> bool:
    step = state.steps.get(step_id) if state is not None else None
    return step is not None and step.run == run and step.child is not None


def _parent_of(parent_id: str, child: ChildRequested) -> Parent:
    return Parent(parent_id, child.step_id, child.run, child.depth)


def _start(parent_id: str, event: ChildRequested) -> StartWorkflow:
    return StartWorkflow(
        instance_id=event.child_id,
        workflow=event.child_workflow,
        version=event.child_version,
        input=event.input,
        priority=event.priority,
        command_id=f"{event.child_id}:start",
        parent=_parent_of(parent_id, event) if event.wait else None,
    )


def _orphans(before: InstanceState, transition: Transition, after: InstanceState | None) -> list[Effect]:
    """Children that their parent has stopped waiting for, but not because they have ended.

    One whose start was refused is among them: whoever takes the parent's partition over may send its start again, and
    it may be accepted by then. What ends it comes behind that.
    """
    let_go: list[str] = []
    told: dict[int, ChildRequested] = {}  # children that have said themselves that they have ended, by the run
    for event in transition.events:
        kind = type(event)
        if kind is StepSucceeded or kind is StepFailed:
            step = before.steps.get(event.step_id)  # type: ignore[union-attr]
            if step is None or step.child is None:  # almost always
                continue
            if _never_started(event) or _timed_out(event):
                let_go.append(event.step_id)  # type: ignore[union-attr]
            else:
                told[event.run] = step.child  # type: ignore[union-attr]
        elif kind in _GIVES_UP or kind is WorkflowEnding:
            let_go += sorted(before.steps)
        elif isinstance(event, WorkflowResumed):
            let_go += event.reset
    if not let_go and not told:
        return []
    children = [before.steps[step_id].child for step_id in dict.fromkeys(let_go) if step_id in before.steps]
    reason = f"{before.id} no longer waits for it"
    released: list[Effect] = []
    if before.status is WorkflowStatus.PAUSED:  # somebody may have reopened one before it was held
        released = [_word(before.id, child, transition, hold=False) for child in told.values()]
    return released + [
        CancelWorkflow(
            child.child_id,
            reason=reason,
            command_id=end_id_of(child.child_id),
            parent=_parent_of(before.id, child),
        )
        for child in children
        if child is not None and child.run not in told and not _waits_for(after, child.step_id, child.run)
    ]


def _standing(before: InstanceState | None, transition: Transition, after: InstanceState) -> list[Effect]:
    """Where an instance stands still, or goes on: the same for the children that it waits for.

    One that is asked for by the very transition that has it stand still, or stand still again, is told so, too. Each
    word has an id, so that a repeat after a take-over changes nothing; all come in order.
    """
    stood = before is not None and before.status is WorkflowStatus.PAUSED
    stands = after.status is WorkflowStatus.PAUSED
    if stood is stands and not (stands and any(isinstance(event, ChildRequested) for event in transition.events)):
        return []
    found: list[Effect] = []
    for step_id, step in sorted(after.steps.items()):
        if step.child is None or step.status not in UNDER_WAY:
            continue
        is_new = not _waits_for(before, step_id, step.run)
        if (is_new or not stood) if stands else not is_new:
            found.append(_word(after.id, step.child, transition, hold=stands))
    return found


def _word(parent_id: str, child: ChildRequested, transition: Transition, *, hold: bool) -> Effect:
    """What a parent says of standing still, or of going on."""
    said = HoldWorkflow if hold else ReleaseWorkflow
    word_id = word_id_of(child.child_id, transition.sequence, hold=hold)
    return said(child.child_id, parent=_parent_of(parent_id, child), command_id=word_id)


def _never_started(event: Event) -> bool:
    if isinstance(event, StepFailed):
        return CHILD_NOT_STARTED in event.error.kinds
    output = event.output if isinstance(event, StepSucceeded) else None
    return isinstance(output, dict) and output.get("status") == "rejected"


def _timed_out(event: Event) -> bool:
    return isinstance(event, StepFailed) and event.error.type == STEP_TIMEOUT


def _ended(
    parent: Parent, child_id: str, status: Any, *, output: Any = None, error: ErrorInfo | None = None
) -> ChildEnded:
    return ChildEnded(
        parent.instance_id,
        step_id=parent.step_id,
        run=parent.run,
        child_id=child_id,
        status=status,
        output=output if status == WorkflowStatus.COMPLETED else None,
        error=None if error is None else replace(error, traceback=""),
    )


_GIVES_UP: frozenset[type[Event]] = frozenset({WorkflowCancelled, WorkflowFailed, RollbackStarted})
_MAY_TIME_OUT: frozenset[type[Event]] = frozenset({StepFailed, StepRetryScheduled})


def is_under_way(state: InstanceState, ready: StepReady) -> bool:
    """Whether this very run still waits for its outcome. Of a quarantined instance none does: it is run anew."""
    step = _current(state, ready)
    if step is None or state.incident == QUARANTINED:
        return False
    return step.run == ready.run and step.status in UNDER_WAY and not step.waits_for


def _current(state: InstanceState, ready: StepReady) -> StepState | None:
    if ready.purpose == "compensate":
        return state.rollback.current if state.rollback else None
    return state.steps.get(ready.step_id)


def _work(state: InstanceState, ready: StepReady, sequence: int) -> WorkItem:
    return WorkItem(
        instance_id=state.id,
        workflow=state.workflow,
        version=state.version,
        priority=state.priority,
        began=state.started_at,
        life=state.life,
        sequence=sequence,
        step=ready,
    )
