"""Deciding about timers that somebody moves.

A timer is a delay that began at some moment. Where the clock of the machine that decided was years ahead, the moment
was, too, and so is the timer. How long the delay was is known all the same: by what the timer is for, or because the
moment is in the state.
"""

from __future__ import annotations

import math

from stepwell.core.decide.answers import note, reject, reject_not_live
from stepwell.core.decide.decision import Decision
from stepwell.core.decide.outcomes import SELDOM_MS, TIMEOUT_GRACE_MS
from stepwell.core.decide.retry import wait_ms
from stepwell.core.fold.state import WORKFLOW_TIMER, InstanceState, StepState, stands_still_since
from stepwell.schemas.definitions.model import LONGEST_SECONDS, Retry
from stepwell.schemas.records.commands import RescheduleTimers
from stepwell.schemas.records.events import TimersMoved
from stepwell.suggest import suggest


def reschedule(decision: Decision, command: RescheduleTimers) -> None:
    """Move one timer to where somebody wants it, or back what is due later than if its wait began now."""
    state, step_id, delay = decision.state, command.step_id, command.delay_seconds
    if state is None:
        reject_not_live(decision, command)
        return
    timers = sorted(timer for timer in state.timers if timer != WORKFLOW_TIMER)
    if step_id and step_id not in timers:
        known = f"; these have one: {', '.join(timers)}" if timers else "; no step of it has one"
        message = f'step "{step_id}" has no timer{suggest(step_id, timers) or known}'
        reject(decision, command, "no_timer", message)
    elif delay is None:
        _mend(decision, command, state)
    elif not step_id:
        reject(decision, command, "invalid_command", "delay_seconds: name the step whose timer is meant")
    elif not delay <= LONGEST_SECONDS:
        reject(decision, command, "invalid_command", "delay_seconds: is more than ten years")
    else:
        _move(decision, command, {step_id: _begins(decision, state, step_id) + math.ceil(delay * 1000)})


def _mend(decision: Decision, command: RescheduleTimers, state: InstanceState) -> None:
    dues = {}
    for timer, due in sorted(state.timers.items()):
        if command.step_id in ("", timer):
            dues[timer] = min(due, _begins(decision, state, timer) + _delay(decision, state, timer))
    _move(decision, command, {timer: due for timer, due in dues.items() if due != state.timers[timer]})


def _move(decision: Decision, command: RescheduleTimers, dues: dict[str, int]) -> None:
    if dues:
        decision.emit(TimersMoved(dues, command_id=command.command_id))
    else:
        note(decision, command, "no timer of it is due later than if its wait began now")


def _begins(decision: Decision, state: InstanceState, timer: str) -> int:
    """From when a delay counts that begins now: where time stands still, what is left is counted from there on."""
    return stands_still_since(state, timer) or decision.now


def _delay(decision: Decision, state: InstanceState, timer: str) -> int:
    """How long a timer was meant to run when it was set, in milliseconds."""
    due = state.timers[timer]
    if timer == WORKFLOW_TIMER:
        return due - state.started_at
    step = state.rollback.current if state.rollback is not None else state.steps.get(timer)
    if step is None:
        return 0
    if step.waits_for == "worker":
        return SELDOM_MS
    if step.waits_for == "retry":
        return _until_retry(decision, step, timer)
    asked = step.gate or step.child
    seconds = asked.timeout_seconds if asked is not None else step.ready.timeout_seconds if step.ready else None
    if seconds is None:  # a wait for a time: it began as the step did
        return due - step.since
    return math.ceil(seconds * 1000) + (TIMEOUT_GRACE_MS if asked is None else 0)


def _until_retry(decision: Decision, step: StepState, step_id: str) -> int:
    plan_step = decision.plan().steps[step_id].step
    retry = plan_step.retry
    if decision.instance().rollback is not None:
        retry = plan_step.compensate.retry if plan_step.compensate else Retry()
    asked = step.error.retry_after if step.error is not None else None
    return wait_ms(decision.instance_id, step_id, step, retry, asked)
