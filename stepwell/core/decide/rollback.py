"""Going back: what was settled after a point is undone in reverse order, then progress is what it was there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from stepwell.core.decide.decision import Decision
from stepwell.core.decide.retry import evaluation_failed, is_retryable, wait_ms
from stepwell.core.decide.scope import Extra, Scope
from stepwell.core.fold.attempts import UNKNOWN, Effort
from stepwell.core.fold.state import WORKFLOW_TIMER, InstanceState, StepState
from stepwell.core.plan.compile import Plan, PlanStep
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.events import (
    ErrorInfo,
    IncidentRaised,
    RollbackStarted,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    WorkflowFailed,
    WorkflowRolledBack,
)
from stepwell.schemas.records.statuses import StepStatus, WorkflowStatus


def retried(
    decision: Decision, step_id: str, retry: Retry, step: StepState, error: ErrorInfo, effort: Effort
) -> bool:
    """Schedule another attempt, if there is one left and the error is of a kind that may pass."""
    if step.attempt >= retry.max_attempts or not is_retryable(retry, error):
        return False
    due = decision.now + wait_ms(decision.instance_id, step_id, step, retry, error.retry_after)
    decision.emit(
        StepRetryScheduled(
            step_id,
            step.run,
            error=error,
            due=due,
            attempt=step.attempt,
            worker=effort.worker,
            took=effort.took,
            cpu=effort.cpu,
        )
    )
    return True


def roll_back(
    decision: Decision,
    to: int,
    *,
    then: Literal["run", "pause", "fail"],
    error: ErrorInfo | None = None,
    step_id: str = "",
    command_id: str = "",
) -> None:
    """Undo what was settled after ``to``, the last first; then go on as ``then`` says."""
    state, steps = decision.instance(), decision.plan().steps
    undone = [
        (step.settled, done)
        for done, step in state.steps.items()
        if step.settled > to and step.status is StepStatus.SUCCEEDED and steps[done].step.compensate
    ]
    decision.freed = []
    decision.emit(
        RollbackStarted(
            to,
            compensate=tuple(done for _, done in sorted(undone, reverse=True)),
            then=then,
            error=error,
            step_id=step_id,
            command_id=command_id,
        )
    )
    next_compensation(decision)


def next_compensation(decision: Decision) -> None:
    """Start the next compensation of a rollback, or end the rollback when none is left."""
    state, plan = decision.instance(), decision.plan()
    rollback = state.rollback
    if rollback is None or rollback.current is not None or state.status is not WorkflowStatus.RUNNING:
        return
    if rollback.remaining:
        compensate(decision, plan.steps[rollback.remaining[0]])
        return
    _end(decision)


def _end(decision: Decision) -> None:
    state, plan = decision.instance(), decision.plan()
    rollback = state.rollback
    if rollback is None:
        return
    kept = {step_id for step_id, step in state.steps.items() if 0 < step.settled <= rollback.to}
    arrived, free = {}, []
    for step_id, plan_step in plan.steps.items():
        if step_id in kept or plan_step.handles:
            continue
        settled = sum(other in kept for other in plan_step.step.depends_on)
        if settled == len(plan_step.step.depends_on):
            free.append(step_id)
        elif settled:
            arrived[step_id] = settled
    decision.emit(
        WorkflowRolledBack(
            rollback.to,
            arrived=arrived,
            checkpoints=_known_again(state, plan, kept),
            unlimited=WORKFLOW_TIMER in state.timers,  # the limit was for what is undone now
        )
    )
    if rollback.then == "fail":
        decision.emit(WorkflowFailed(rollback.error or ErrorInfo(type="Error"), step_id=rollback.step_id))
    else:
        decision.free(free)


def _known_again(state: InstanceState, plan: Plan, kept: Iterable[str]) -> dict[str, int]:
    """Names whose newest point is undone while an older one is kept: that one is meant from here on."""
    newest: dict[str, int] = {}
    for step_id in kept:
        step, name = state.steps[step_id], plan.steps[step_id].checkpoint
        if name and step.status is StepStatus.SUCCEEDED:
            newest[name] = max(newest.get(name, 0), step.settled)
    return {name: number for name, number in sorted(newest.items()) if state.checkpoints.get(name) != number}


def compensate(decision: Decision, plan_step: PlanStep) -> None:
    """Route a step's compensation to workers: the next one, or the current one anew."""
    state, step, undo = decision.instance(), plan_step.step, plan_step.step.compensate
    if undo is None:
        raise LookupError(f"{decision.instance_id}: {step.id} has no compensation")
    run = state.runs + 1
    done = state.steps[step.id].output
    extra: Extra = {"output": done}
    error = None
    data, config = done, {}
    try:
        evaluation = decision.evaluation(Scope(state, decision.plan(), extra))
        if plan_step.compensation_input is not None:
            data = plan_step.compensation_input.evaluate_in(evaluation)
        config = plan_step.compensation_config.evaluate_in(evaluation)
    except ExpressionError as problem:
        error = evaluation_failed(problem)
    if step.id in decision.circumstances.oversized:
        error = decision.too_large(step.id, "the input of its compensation")
        data, config = None, {}
    decision.emit(
        StepReady(
            step_id=step.id,
            run=run,
            handler=undo.handler,
            queue=undo.queue or step.queue,
            max_attempts=undo.retry.max_attempts,
            input=data,
            config=config,
            timeout_seconds=undo.timeout_seconds,
            purpose="compensate",
        )
    )
    if error:
        _compensation_failed(decision, step.id, run, 1, error)


def fail_compensation(
    decision: Decision, plan_step: PlanStep, step: StepState, error: ErrorInfo, effort: Effort = UNKNOWN
) -> None:
    """An attempt to undo failed: another follows, or a person must look."""
    undo = plan_step.step.compensate
    retry = undo.retry if undo else Retry()
    if not retried(decision, plan_step.step.id, retry, step, error, effort):
        _compensation_failed(decision, plan_step.step.id, step.run, step.attempt, error, effort)


def _compensation_failed(
    decision: Decision, step_id: str, run: int, attempt: int, error: ErrorInfo, effort: Effort = UNKNOWN
) -> None:
    worker, took, cpu = effort
    decision.emit(
        StepFailed(step_id, run, error=error, action="pause", attempt=attempt, worker=worker, took=took, cpu=cpu)
    )
    message = f'undoing step "{step_id}" failed: {error.type}: {error.message}'
    decision.emit(IncidentRaised("compensation_failed", message, step_id=step_id))
