"""Deciding about standing still and going on: what people ask for, and what a parent tells its children.

Paused, an instance starts no further step. Where its steps wait for other workflows, those stand still with it: the
effects of a pause hold each child (``HoldWorkflow``), those of going on release it (``ReleaseWorkflow``). A child
that somebody has paused for itself, or that an incident has, is not held, so that no parent's going on resumes it.
"""

from __future__ import annotations

from typing import Literal

from stepwell.core.decide.answers import ALREADY_FINISHED, is_too_long, note, reject, reject_not_live
from stepwell.core.decide.decision import Decision
from stepwell.core.decide.gates import end_id_of, word_at
from stepwell.core.decide.outcomes import NO_HANDLER
from stepwell.core.decide.people import was_not_let_through
from stepwell.core.decide.rollback import compensate, next_compensation
from stepwell.core.decide.starting import settle_up
from stepwell.core.fold.state import QUARANTINED, InstanceState, instance_to_plain, stands_still_since
from stepwell.schemas.records.commands import (
    HoldWorkflow,
    PauseWorkflow,
    ReleaseWorkflow,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import StepSkipped, WorkflowPaused, WorkflowReopened, WorkflowResumed
from stepwell.schemas.records.statuses import UNDER_WAY, StepStatus, WorkflowStatus


def pause(decision: Decision, command: PauseWorkflow) -> None:
    """Start no further step. What only its parent holds is paused for itself from here on."""
    if is_too_long(decision, command):
        return
    state = decision.state
    if state is None:
        reject_not_live(decision, command)
    elif state.status is WorkflowStatus.PAUSED and not state.held:
        note(decision, command, "it is paused already")
    else:
        decision.emit(WorkflowPaused(command.reason, command_id=command.command_id))


def hold(decision: Decision, command: HoldWorkflow) -> None:
    """The parent stands still: so does its child, unless something else has it stand still already."""
    state = decision.state
    if state is None or state.parent != command.parent:
        decision.note = "it has ended, or is no child of this step"
    elif _is_outdated(state, command):
        decision.note = "a repeat: what the parent has said later was followed before"
    elif state.status is WorkflowStatus.PAUSED:
        decision.note = "it is paused already"
    else:
        reason = f"{command.parent.instance_id} is paused"
        decision.emit(WorkflowPaused(reason, command_id=command.command_id, held=True))


def release(decision: Decision, command: ReleaseWorkflow) -> None:
    """The parent goes on: so does the child that stands still for nothing else."""
    state = decision.state
    if state is None or state.parent != command.parent or not state.held:
        decision.note = "its parent does not hold it"
    elif _is_outdated(state, command):
        decision.note = "a repeat: what the parent has said later was followed before"
    else:
        go_on(decision, "retry", command.command_id)


def _is_outdated(state: InstanceState, command: HoldWorkflow | ReleaseWorkflow) -> bool:
    """Whether the parent has said something later that was followed: the repeat of that would be dropped."""
    if isinstance(command, HoldWorkflow) and end_id_of(state.id) in state.commands:  # the last that a parent says
        return True
    at = word_at(state.id, command.command_id)
    return 0 <= at < max((word_at(state.id, followed) for followed in state.commands), default=-1)


def resume(decision: Decision, command: ResumeWorkflow) -> None:
    """Go on with a paused instance, or with an ended one at the step that failed.

    Who skips what failed goes on without it; but a gate opens by nothing but its people's word, so it asks anew.
    """
    if not reopened(decision, command):
        return
    if decision.instance().status is WorkflowStatus.RUNNING:
        note(decision, command, "it is running already")
    else:
        go_on(decision, command.failed_steps, command.command_id)


def go_on(decision: Decision, failed_steps: Literal["retry", "skip"], command_id: str) -> None:
    """Resume what is paused, or has been reopened.

    Args:
        failed_steps: What becomes of steps whose failure nothing has dealt with.
        command_id: Of the command that is answered by that.
    """
    state, skip = decision.instance(), failed_steps == "skip"
    if state.rollback is not None:
        _resume_rollback(decision, command_id, skip=skip)
        return
    ended = not state.live
    steps, handlers = decision.plan().steps, decision.plan().definition.error_handlers
    # A failure that an error handler is at is dealt with already, unless the end came first.
    # Where the end is noted, only the error handlers go on.
    failed = [s for s in state.failures if not steps[s].handles and (ended or s not in handlers) and not state.ending]
    skipped = tuple(s for s in failed if skip and not was_not_let_through(state, decision.plan(), s))
    again = [s for s in failed if s not in skipped]
    again += [handlers[s].step for s in failed if s in handlers and handlers[s].step in state.steps]
    if ended:
        again += sorted(step_id for step_id, s in state.steps.items() if s.status is StepStatus.CANCELLED)
    elif state.incident == QUARANTINED:
        again += sorted(step_id for step_id, s in state.steps.items() if s.status in UNDER_WAY)
    elif state.incident == NO_HANDLER:
        again += sorted(step_id for step_id, s in state.steps.items() if s.waits_for == "worker")
    reset = tuple(dict.fromkeys(again))
    dues = _moved(state, decision.now, reset)
    decision.emit(WorkflowResumed(reset=reset, skipped=skipped, command_id=command_id, dues=dues))
    for step_id in skipped:
        joins = decision.reach(steps[step_id])
        decision.emit(StepSkipped(step_id, reason="skipped by a person", joins=joins))
    if ended:
        _free_all_that_may_start(decision)
    else:
        decision.free(reset)
    settle_up(decision)


def _moved(state: InstanceState, now: int, reset: tuple[str, ...]) -> dict[str, int]:
    """When the timers are due for which time stood still."""
    dues = {}
    for timer, due in sorted(state.timers.items()):
        since = stands_still_since(state, timer)
        if since and timer not in reset:
            dues[timer] = due + now - since
    return dues


def _free_all_that_may_start(decision: Decision) -> None:
    """After an end nothing is deferred any more: look at the whole graph for what may start."""
    decision.freed = []
    steps = decision.instance().steps
    settled = {step_id for step_id, step in steps.items() if step.settled}
    for step_id, plan_step in decision.plan().steps.items():
        if step_id not in steps and not plan_step.handles and settled.issuperset(plan_step.step.depends_on):
            decision.free((step_id,))


def _resume_rollback(decision: Decision, command_id: str, *, skip: bool) -> None:
    state = decision.instance()
    current = state.rollback.current if state.rollback is not None else None
    lost = state.incident == QUARANTINED  # its outcome, if it came meanwhile
    decision.emit(WorkflowResumed(command_id=command_id))
    anew = current is not None and (lost or current.status not in UNDER_WAY or current.waits_for == "worker")
    if current is not None and current.ready is not None and anew:
        step_id = current.ready.step_id
        if current.status is StepStatus.FAILED and skip:
            decision.emit(StepSkipped(step_id, reason="skipped by a person"))
        else:
            compensate(decision, decision.plan().steps[step_id])
    next_compensation(decision)
    settle_up(decision)


def reopened(decision: Decision, command: ResumeWorkflow | RollbackWorkflow) -> bool:
    """Bring a finished instance back into memory; reject the command where there is none."""
    archived = decision.circumstances.archived
    if decision.state is not None:
        return True
    if archived is None:
        finished = decision.circumstances.finished
        if finished is None:
            reject_not_live(decision, command)
        else:
            message = f"it has finished ({finished.status}), and its history was cleaned away since"
            reject(decision, command, "archived", message)
        return False
    if "" in decision.circumstances.oversized:
        size = decision.circumstances.oversized[""]
        message = f"its state makes a record of {size:,} bytes, more than the log takes"
        reject(decision, command, "payload_too_large", message)
        return False
    if archived.status is WorkflowStatus.COMPLETED and isinstance(command, ResumeWorkflow):
        reject(decision, command, ALREADY_FINISHED, "it has completed; roll it back to run a part anew")
        return False
    decision.emit(WorkflowReopened(instance_to_plain(archived)))
    return True
