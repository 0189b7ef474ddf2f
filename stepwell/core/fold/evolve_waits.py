"""Folding the events of steps that wait for people or for other workflows."""

from __future__ import annotations

from collections.abc import Mapping

from immutables import Map
from msgspec.structs import replace

from stepwell.core.fold.evolve_steps import Changes, begin, run_of
from stepwell.core.fold.state import InstanceState, StepState
from stepwell.schemas.records.statuses import StepStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested


def approval_required(state: InstanceState, event: ApprovalRequired, at: int) -> Changes:
    """People are asked; at a further level, others."""
    before = state.steps.get(event.step_id)
    since = before.since if event.level > 1 and before is not None else at
    step = StepState(
        StepStatus.WAITING, event.run, waits_for="approval", sequential=event.sequential, since=since, gate=event,
        idle=event.idle,
    )  # fmt: skip
    return _waiting(state, event.step_id, step, event.due)


def approval_decided(state: InstanceState, event: ApprovalDecided, _at: int) -> Changes:
    """One of them has spoken."""
    step = run_of(state, event.step_id, event.run)
    return {"steps": state.steps.set(event.step_id, replace(step, votes=(*step.votes, event)))}


def child_requested(state: InstanceState, event: ChildRequested, at: int) -> Changes:
    """A workflow is started for the step."""
    step = StepState(
        StepStatus.WAITING, event.run, waits_for="child", sequential=event.sequential, since=at, child=event,
        idle=event.idle,
    )  # fmt: skip
    return _waiting(state, event.step_id, step, event.due)


def due_from(
    steps: Map[str, StepState], timers: Map[str, int], dues: Mapping[str, int]
) -> tuple[Map[str, StepState], Map[str, int]]:
    """Timers are due at another time; what a gate or a child was asked with says so, too."""
    for timer, due in dues.items():
        timers = timers.set(timer, due)
        step = steps.get(timer)
        if step is not None and step.gate is not None:
            steps = steps.set(timer, replace(step, gate=replace(step.gate, due=due)))
        elif step is not None and step.child is not None:
            steps = steps.set(timer, replace(step, child=replace(step.child, due=due)))
    return steps, timers


def _waiting(state: InstanceState, step_id: str, step: StepState, due: int | None) -> Changes:
    changes = begin(state, step_id, step)
    return changes if due is None else {**changes, "timers": changes["timers"].set(step_id, due)}
