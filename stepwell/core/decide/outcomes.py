"""Deciding what workers report, and what the clock brings: outcomes, heartbeats, timers."""

from __future__ import annotations

import math
from typing import Any, Final

from msgspec.structs import replace

from stepwell.core.decide.answers import reject
from stepwell.core.decide.decision import Decision
from stepwell.core.decide.ending import end_failed
from stepwell.core.decide.people import time_is_over
from stepwell.core.decide.retry import STEP_TIMEOUT, WORKFLOW_TIMEOUT, evaluation_failed, within
from stepwell.core.decide.rollback import fail_compensation, next_compensation
from stepwell.core.decide.scope import NOTHING, Scope, failure_scope, step_input
from stepwell.core.decide.settling import fail_attempt, fail_step, succeed
from stepwell.core.decide.starting import settle_up
from stepwell.core.fold.attempts import LONGEST_WORKER, Effort
from stepwell.core.fold.state import QUARANTINED, WORKFLOW_TIMER, InstanceState, StepState
from stepwell.errors import ExpressionError
from stepwell.schemas.records.commands import (
    CompleteStep,
    ContinueWorkflow,
    FailStep,
    FireTimer,
    HeartbeatStep,
    QuarantineInstance,
    ReportStarted,
    ReturnStep,
)
from stepwell.schemas.records.events import (
    ErrorInfo,
    IncidentRaised,
    StepCompensated,
    StepHeartbeat,
    StepReturned,
    StepStarted,
)
from stepwell.schemas.records.statuses import UNDER_WAY, StepStatus, WorkflowStatus

NO_HANDLER: Final = "no_handler"

# The worker gives an attempt up at its timeout; the engine, this much later, in case the worker has died.
TIMEOUT_GRACE_MS: Final = 5_000
# A step that no worker has a handler for is routed again after a moment, and shown to a person after a minute:
# long enough for a worker to be deployed, short enough not to look like a hang.
REROUTE_MS: Final = 1_000  # and then after as long again as it has waited so far,
SELDOM_MS: Final = 15_000  # up to this: each time is a few records
NO_HANDLER_LIMIT_MS: Final = 60_000

_MOST_TOLD: Final = 1_000  # characters of a text that is cut so that its event fits a record


def _find(decision: Decision, command: Any) -> StepState | None:
    """The run that a worker speaks of, if it is under way; else answer, or keep quiet about a repeat."""
    state = decision.state
    if state is None:
        decision.note = "the instance is not live: a late word from a worker"
        return None
    if state.incident == QUARANTINED:
        reject(decision, command, QUARANTINED, "the instance is quarantined; resume it to run the step anew")
        return None
    rollback = state.rollback
    step = state.steps.get(command.step_id) if rollback is None else rollback.current
    if rollback is not None and (step is None or step.ready is None or step.ready.step_id != command.step_id):
        step = None
    if step is not None and step.run == command.run:
        if step.status in UNDER_WAY and step.waits_for == "":
            return step
        decision.note = "a repeat: this run was settled before"
        return None
    if command.run > state.runs:
        reject(decision, command, "unknown_run", f'step "{command.step_id}" has had no run {command.run}')
    else:
        decision.note = "a late word of a run that was given up"
    return None


def _effort(command: CompleteStep | FailStep, step: StepState) -> Effort:
    """What its worker tells of an attempt; who it was, perhaps as it has told before."""
    return Effort((command.worker or step.worker)[:LONGEST_WORKER], command.took, command.cpu)


def complete(decision: Decision, command: CompleteStep) -> None:
    """A handler has succeeded."""
    step = _find(decision, command)
    if step is None:
        return
    plan_step = decision.plan().steps[command.step_id]
    compensates = decision.instance().rollback is not None
    effort = _effort(command, step)
    if command.step_id in decision.circumstances.oversized:
        error = decision.too_large(command.step_id, "its output")
        (fail_compensation if compensates else fail_attempt)(decision, plan_step, step, error, effort)
    elif compensates:
        decision.emit(StepCompensated(command.step_id, command.run, command.output, *effort))
        next_compensation(decision)
    else:
        succeed(decision, plan_step, command.run, step.attempt, command.output, command.context, effort)
    settle_up(decision)


def fail(decision: Decision, command: FailStep) -> None:
    """A handler has failed."""
    step = _find(decision, command)
    if step is None:
        return
    error = command.error
    if command.step_id in decision.circumstances.oversized:
        error = replace(error, message=error.message[:_MOST_TOLD], traceback="")
    _attempt_failed(decision, command.step_id, step, error, _effort(command, step))


def _attempt_failed(decision: Decision, step_id: str, step: StepState, error: ErrorInfo, effort: Effort) -> None:
    plan_step = decision.plan().steps[step_id]
    if decision.instance().rollback is not None:
        fail_compensation(decision, plan_step, step, error, effort)
    else:
        fail_attempt(decision, plan_step, step, error, effort)
    settle_up(decision)


def report_started(decision: Decision, command: ReportStarted) -> None:
    """A worker has had a step in hand for longer than a moment, or has taken one that was lost with another."""
    step = _find(decision, command)
    if step is None:
        return
    lost = command.deliveries > step.deliveries  # by one of the same name, too, which was started anew
    if step.status is StepStatus.RUNNING and step.worker == command.worker and not lost:
        decision.note = "a repeat: this worker has it in hand already"
    else:
        timeout = step.ready.timeout_seconds if step.ready else None
        due = None if timeout is None else decision.now + math.ceil(timeout * 1000) + TIMEOUT_GRACE_MS
        deliveries = max(step.deliveries, command.deliveries)
        decision.emit(
            StepStarted(command.step_id, command.run, worker=command.worker, due=due, deliveries=deliveries)
        )


def heartbeat(decision: Decision, command: HeartbeatStep) -> None:
    """A long step lives."""
    if _find(decision, command) is not None:
        fits = command.step_id not in decision.circumstances.oversized
        decision.emit(StepHeartbeat(command.step_id, command.run, progress=command.progress if fits else None))


def hand_back(decision: Decision, command: ReturnStep) -> None:
    """A worker lacks the handler: route the step again, and call a person when nobody takes it."""
    step = _find(decision, command)
    if step is None:
        return
    waited = decision.now - step.returned_at if step.returned_at else 0
    due = decision.now + min(max(REROUTE_MS, waited), SELDOM_MS)
    decision.emit(StepReturned(command.step_id, command.run, due, command.reason[:_MOST_TOLD]))
    if step.returned_at and decision.now - step.returned_at >= NO_HANDLER_LIMIT_MS:
        handler = step.ready.handler if step.ready else ""
        message = (
            f'no worker has taken step "{command.step_id}": none has the handler "{handler}"; '
            f"start one that has, then resume"
        )
        decision.emit(IncidentRaised(NO_HANDLER, message, step_id=command.step_id))


def fire(decision: Decision, command: FireTimer) -> None:
    """A timer is due."""
    state = decision.state
    due = None if state is None else state.timers.get(command.timer)
    if state is None or due is None or due > decision.now:
        decision.note = "the timer was moved or is gone"
        return
    if command.timer == WORKFLOW_TIMER:
        _limit_reached(decision, state)
    else:
        _step_due(decision, state, command.timer)


def _limit_reached(decision: Decision, state: InstanceState) -> None:
    if state.rollback is not None:
        decision.note = "the workflow's limit of time ends where a rollback begins"
    elif state.incident:
        decision.note = "time stands still for the workflow's limit until somebody has looked at the incident"
    elif state.ending is not None:
        decision.note = "it ends already"
    else:
        seconds = (decision.now - state.started_at) / 1000
        error = ErrorInfo(type=WORKFLOW_TIMEOUT, message=f"not done after {seconds:.1f} s", retryable=False)
        end_failed(decision, error)
        settle_up(decision)


def _step_due(decision: Decision, state: InstanceState, step_id: str) -> None:
    step = state.rollback.current if state.rollback is not None else state.steps[step_id]
    if step is None or step.status not in UNDER_WAY:
        decision.note = "nothing waits for this timer"
    elif state.incident == QUARANTINED:
        decision.note = "it is quarantined; resume it to run its steps anew"
    elif step.waits_for == "time":
        _waited(decision, step_id, step)
    elif step.waits_for in ("approval", "child") and state.status is WorkflowStatus.PAUSED:
        decision.note = "time stands still for approvals and children while it is paused"
    elif step.waits_for in ("approval", "child"):
        time_is_over(decision, step_id, step)
    elif not step.waits_for:
        timeout = step.ready.timeout_seconds if step.ready else None
        message = f"no word from its worker within {timeout} s and a grace of {TIMEOUT_GRACE_MS // 1000} s"
        error = ErrorInfo(type=STEP_TIMEOUT, message=message, kinds=("TimeoutError",))
        _attempt_failed(decision, step_id, step, error, Effort(step.worker[:LONGEST_WORKER]))
    elif state.status is WorkflowStatus.PAUSED:
        decision.note = "it is paused; the timer fires again once it is resumed"
    else:
        decision.again(step, step.attempt + (step.waits_for == "retry"))


def _waited(decision: Decision, step_id: str, step: StepState) -> None:
    plan = decision.plan()
    plan_step = plan.steps[step_id]
    if step_id in decision.circumstances.oversized:
        fail_step(decision, plan_step, step.run, step.attempt, decision.too_large(step_id, "its input"))
        settle_up(decision)
        return
    extra = failure_scope(decision.instance(), plan_step.handles) if plan_step.handles else NOTHING
    evaluation = decision.evaluation(Scope(decision.instance(), plan, extra))
    try:  # what a wait lets through is what it would have been given
        output = step_input(decision.instance(), plan_step, extra, evaluation)
    except ExpressionError as error:
        fail_step(decision, plan_step, step.run, step.attempt, evaluation_failed(within(error, "input")))
    else:
        succeed(decision, plan_step, step.run, step.attempt, output)
    settle_up(decision)


def continue_(decision: Decision, _command: ContinueWorkflow) -> None:
    """Start more of what was deferred."""
    if decision.state is not None:
        settle_up(decision)
    if not decision.events:
        decision.note = "there is nothing to go on with"


def quarantine(decision: Decision, command: QuarantineInstance) -> None:
    """Set an instance aside that cannot be decided about."""
    message = command.reason or f"a bug in Stepwell: {command.error.type}: {command.error.message}"
    if decision.state is not None:
        decision.emit(IncidentRaised(QUARANTINED, message))
    if decision.state is None or command.command_id:
        reject(decision, command, QUARANTINED, message, name=command.command)
