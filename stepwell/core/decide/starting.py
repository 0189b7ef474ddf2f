"""Which steps start now, which wait for their turn, and when the workflow has come to its end."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from stepwell.core.decide.decision import Decision
from stepwell.core.decide.ending import end_failed, end_if_handled
from stepwell.core.decide.gates import open_gate, request_child
from stepwell.core.decide.retry import evaluation_failed, within
from stepwell.core.decide.scope import NOTHING, Scope, failure_scope, step_input, workflow_output
from stepwell.core.decide.settling import fail_step, succeed
from stepwell.core.decide.skips import skipped_before
from stepwell.core.expressions.values import Evaluation
from stepwell.core.fold.state import InstanceState
from stepwell.core.plan.compile import Plan, PlanStep
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.model import LONGEST_SECONDS
from stepwell.schemas.records.events import (
    ErrorInfo,
    StepReady,
    StepsDeferred,
    StepSkipped,
    StepWaiting,
    WorkflowCompleted,
    WorkflowFailed,
)
from stepwell.schemas.records.statuses import WorkflowStatus


def settle_up(decision: Decision) -> None:
    """Start what may start, defer the rest, and end the workflow if nothing is left."""
    while True:
        end_if_handled(decision)  # a handler that was started may have ended at once
        if (chosen := _next(decision)) is None:
            break
        _start(decision, decision.plan().steps[chosen])
    state = decision.instance()
    if not state.live:
        return
    if decision.freed:
        _defer(decision)
    elif _nothing_is_left(state) and len(decision.events) < decision.most:
        _complete(decision)


def _next(decision: Decision) -> str | None:
    """The first step, in written order, that may start now."""
    state = decision.instance()
    if state.status is not WorkflowStatus.RUNNING or state.rollback is not None:
        return None
    if len(decision.events) >= decision.most:
        return None
    limit = decision.plan().definition.max_parallel_steps
    if limit is not None and state.places >= limit:
        return None
    steps = decision.plan().steps
    held: list[tuple[int, str]] = []  # freed, but must wait for the sequential step that runs
    chosen = None
    while decision.freed:
        first = decision.freed[0]
        if not (state.active_sequential and steps[first[1]].sequential):
            chosen = first
            break
        held.append(heapq.heappop(decision.freed))
    from_free = chosen is not None
    lanes = [state.deferred.top]
    if not state.active_sequential:
        lanes.append(state.deferred_sequential.top)
    for top in lanes:
        if top is not None and (chosen is None or top < chosen):
            chosen, from_free = top, False
    if from_free:
        heapq.heappop(decision.freed)
    if held:
        decision.emit(StepsDeferred(sequential=tuple(held)))
    return None if chosen is None else chosen[1]


def _defer(decision: Decision) -> None:
    steps = decision.plan().steps
    free = sorted(decision.freed)
    decision.freed = []
    parallel = tuple(item for item in free if not steps[item[1]].sequential)
    sequential = tuple(item for item in free if steps[item[1]].sequential)
    decision.emit(StepsDeferred(parallel, sequential))


def _start(decision: Decision, plan_step: PlanStep) -> None:
    state, plan, step = decision.instance(), decision.plan(), plan_step.step
    run = state.runs + 1
    if plan_step.skips_along and (skipped := skipped_before(state, plan, step)):
        joins = decision.reach(plan_step)
        decision.emit(StepSkipped(step.id, reason=f"{skipped} was skipped", joins=joins))
        return
    extra = failure_scope(state, plan_step.handles) if plan_step.handles else NOTHING
    evaluation = decision.evaluation(Scope(state, plan, extra))
    part = "condition"
    try:
        if plan_step.condition is not None and not plan_step.condition.evaluate_in(evaluation):
            joins = decision.reach(plan_step)
            decision.emit(StepSkipped(step.id, reason=f"condition is false: {step.condition}", joins=joins))
            if plan_step.handles:  # nobody deals with the failure: it is the workflow's
                cause = state.steps[plan_step.handles].error or ErrorInfo(type="Error")
                end_failed(decision, cause, plan_step.handles)
            return
        if step.id in decision.circumstances.oversized:
            fail_step(decision, plan_step, run, 1, decision.too_large(step.id, "its input"))
            return
        part = "input"
        data = step_input(state, plan_step, extra, evaluation)
        part = "config"
        config = plan_step.config.evaluate_in(evaluation)
        wait = _WAITS.get(plan_step.way)
        if wait is not None:
            wait(decision, plan_step, run, data, config)
            return
        if plan_step.instant:
            output = _instant(plan_step, data, config, evaluation)
            problem = plan_step.accepts.problem(output, evaluation) if plan_step.accepts is not None else ""
            if problem:
                fail_step(decision, plan_step, run, 1, ErrorInfo(type="ValidationError", message=problem))
                return
    except ExpressionError as error:
        fail_step(decision, plan_step, run, 1, evaluation_failed(within(error, part)))
        return
    finally:
        decision.count(evaluation)
    if plan_step.instant:
        succeed(decision, plan_step, run, 1, output)
        return
    decision.emit(
        StepReady(
            step_id=step.id,
            run=run,
            step_type=step.type,
            handler=plan_step.handler(config),
            queue=step.queue,
            max_attempts=step.retry.max_attempts,
            input=data,
            config=config,
            timeout_seconds=step.timeout_seconds,
            purpose="handle" if plan_step.handles else "run",
            target=plan_step.handles,
            sequential=plan_step.sequential,
        )
    )


def _complete(decision: Decision) -> None:
    state, plan = decision.instance(), decision.plan()
    try:
        output = workflow_output(state, plan, decision.evaluation(Scope(state, plan)))
    except ExpressionError as error:
        decision.emit(WorkflowFailed(evaluation_failed(error, "output: ")))
        return
    if "" in decision.circumstances.oversized:
        decision.emit(WorkflowFailed(decision.too_large("", "the workflow's output")))
    else:
        decision.emit(WorkflowCompleted(output))


def can_continue(state: InstanceState, plan: Plan) -> bool:
    """Whether there is more to do than fitted one record: the owner then decides a ContinueWorkflow."""
    if _nothing_is_left(state):
        return True
    if not state.deferred and not state.deferred_sequential:
        return False
    if state.status is not WorkflowStatus.RUNNING or state.rollback is not None:
        return False
    limit = plan.definition.max_parallel_steps
    if limit is not None and state.places >= limit:
        return False
    return bool(state.deferred) or not state.active_sequential


def may_continue(state: InstanceState) -> bool:
    """Whether there may be more to do than fitted one record, as far as can be told without the definition."""
    return not state.active or bool(state.deferred) or bool(state.deferred_sequential)


def _nothing_is_left(state: InstanceState) -> bool:
    """Whether the workflow has come to its end, but for saying so."""
    return state.status is WorkflowStatus.RUNNING and not (
        state.ending
        or state.active
        or state.deferred
        or state.deferred_sequential
        or state.failures
        or state.rollback
    )


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_SECONDS:
        raise ExpressionError(f"config.seconds: {value!r} is no number of seconds from 0 to ten years")
    return float(value)


def _wait(decision: Decision, plan_step: PlanStep, run: int, _data: Any, config: dict[str, Any]) -> None:
    due = decision.now + math.ceil(_seconds(config["seconds"]) * 1000)
    decision.emit(StepWaiting(plan_step.step.id, run, due, sequential=plan_step.sequential, idle=True))


_WAITS: Final[Mapping[str, Callable[[Decision, PlanStep, int, Any, dict[str, Any]], None]]] = {
    "timer": _wait,
    "gate": open_gate,
    "child": request_child,
}
"""Steps that wait for something else than a worker, by their way to an outcome: what they begin with."""


def _instant(plan_step: PlanStep, data: Any, config: dict[str, Any], evaluation: Evaluation) -> Any:
    """The output of a step that needs nothing but the state."""
    if plan_step.check is not None:
        return {"result": bool(plan_step.check.evaluate_in(evaluation))}
    if plan_step.way == "input" and isinstance(data, dict) and isinstance(config.get("data"), dict):
        return {**data, **config["data"]}
    return data
