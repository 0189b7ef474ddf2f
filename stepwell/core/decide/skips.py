"""What follows a step that is skipped: which of its dependents run all the same, and which are skipped along.

A step is skipped by its condition, by a person, along with one that it depends on (``when_skipped: skip``), or by
its own failure where ``on_failure`` is ``skip``. A failure that an error handler has dealt with skips nothing.
"""

from __future__ import annotations

from stepwell.core.fold.state import InstanceState
from stepwell.core.plan.compile import Plan, PlanStep
from stepwell.schemas.definitions.model import Step
from stepwell.schemas.records.statuses import StepStatus


def skipped_before(state: InstanceState, plan: Plan, step: Step) -> str:
    """The first of the steps that a step depends on that was skipped; empty if none was."""
    for step_id in step.depends_on:
        found = state.steps.get(step_id)
        if found is None or not found.settled:
            continue
        failed = found.status is StepStatus.FAILED and step_id not in plan.definition.error_handlers
        if failed or found.status is StepStatus.SKIPPED:
            return step_id
    return ""


def runs_after_skips(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Of each step that may be skipped, the steps that depend on it and run all the same; in written order."""
    found: dict[str, tuple[str, ...]] = {}
    may_be: set[str] = set()
    for batch in plan.batches:
        may_be.update(step_id for step_id in batch if _may_be_skipped(plan, plan.steps[step_id], may_be))
    for step_id, plan_step in plan.steps.items():
        run = tuple(other for other in plan_step.dependents if not plan.steps[other].skips_along)
        if step_id in may_be and run:
            found[step_id] = run
    return found


def _may_be_skipped(plan: Plan, plan_step: PlanStep, before: set[str]) -> bool:
    step = plan_step.step
    fails = step.on_failure == "skip" and step.id not in plan.definition.error_handlers
    along = plan_step.skips_along and not before.isdisjoint(step.depends_on)
    return plan_step.condition is not None or fails or along
