"""When a step succeeds or fails: what the definition says comes next."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from stepwell.core.decide.decision import Decision
from stepwell.core.decide.ending import end_failed
from stepwell.core.decide.rollback import retried
from stepwell.core.fold.attempts import UNKNOWN, Effort
from stepwell.core.fold.state import QUARANTINED, StepState
from stepwell.core.plan.compile import PlanStep
from stepwell.schemas.records.events import ErrorInfo, IncidentRaised, StepFailed, StepSucceeded


def succeed(
    decision: Decision,
    plan_step: PlanStep,
    run: int,
    attempt: int,
    output: Any,
    context: dict[str, Any] | None = None,
    effort: Effort = UNKNOWN,
) -> None:
    """A step has its output; what the definition says comes next for an error handler."""
    state = decision.instance()
    step = plan_step.step
    handled = plan_step.handles
    then = decision.plan().definition.error_handlers[handled].then if handled else ""
    reached = decision.plan().steps[handled] if handled else plan_step
    joins = decision.reach(reached) if not handled or then == "continue" else ()
    decision.emit(
        StepSucceeded(
            step.id,
            run,
            output=output,
            context=context or {},
            joins=joins,
            checkpoint=plan_step.checkpoint,
            attempt=attempt,
            settles=handled if then == "continue" else "",
            worker=effort.worker,
            took=effort.took,
            cpu=effort.cpu,
        )
    )
    if handled and then != "continue":
        error = state.steps[handled].error or ErrorInfo(type="Error")
        end_failed(decision, error, handled, undone=then == "rollback")


def fail_attempt(
    decision: Decision, plan_step: PlanStep, step: StepState, error: ErrorInfo, effort: Effort = UNKNOWN
) -> None:
    """An attempt failed: another follows, or the step has failed."""
    if not retried(decision, plan_step.step.id, plan_step.step.retry, step, error, effort):
        fail_step(decision, plan_step, step.run, step.attempt, error, effort)


def fail_step(
    decision: Decision, plan_step: PlanStep, run: int, attempt: int, error: ErrorInfo, effort: Effort = UNKNOWN
) -> None:
    """No attempt is left: what the definition says for this case."""
    step_id = plan_step.step.id
    handler = decision.plan().definition.error_handlers.get(step_id)
    on_failure = plan_step.step.on_failure
    failed = StepFailed(
        step_id, run, error=error, attempt=attempt, worker=effort.worker, took=effort.took, cpu=effort.cpu
    )
    if plan_step.handles:  # the handler of a failure has failed: the failure itself is what counts
        cause = decision.instance().steps[plan_step.handles].error or error
        decision.emit(failed)
        end_failed(decision, cause, plan_step.handles)
    elif handler:
        decision.emit(replace(failed, action="handle"))
        decision.free((handler.step,))
    elif on_failure == "skip":
        decision.emit(replace(failed, action="skip", joins=decision.reach(plan_step)))
    elif on_failure == "pause":
        decision.emit(replace(failed, action="pause"))
        if decision.instance().incident == QUARANTINED:  # that goes on: what was under way is still to be run anew
            return
        message = f'step "{step_id}" failed: {error.type}: {error.message}'
        decision.emit(IncidentRaised("step_failed", message, step_id=step_id))
    elif on_failure == "rollback":
        decision.emit(replace(failed, action="rollback"))
        end_failed(decision, error, step_id, undone=True)
    else:
        decision.emit(failed)
        end_failed(decision, error, step_id)
