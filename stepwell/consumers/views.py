"""Instances as people and programs see them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from stepwell.core.plan import Plan
from stepwell.core.state import InstanceState, StepState, StepStatus
from stepwell.errors import WorkflowFailedError
from stepwell.schemas.events import ErrorInfo
from stepwell.schemas.waiting import ApprovalRequired


class StepView(Struct, frozen=True, gc=False):
    """A step of an instance.

    Attributes:
        status: ``pending``, ``ready``, ``running``, ``waiting``, ``succeeded``, ``failed``, ``skipped`` or
            ``cancelled``.
        attempts: How many were made, the one under way included.
        started_at: When it became ready, in milliseconds since 1970; 0 if it has not.
        finished_at: When it was settled, likewise.
        due: When its timer is due, likewise: the end of its wait, its next attempt.
        note: What it waits for, in words; empty if it does not.
        approval: What people are asked, while it waits for them.
        child: The id of the workflow that it waits for.
    """

    status: str
    attempts: int = 0
    output: Any = None
    error: ErrorInfo | None = None
    started_at: int = 0
    finished_at: int = 0
    due: int = 0
    note: str = ""
    progress: Any = None
    approval: ApprovalRequired | None = None
    child: str = ""


class InstanceView(Struct, frozen=True, gc=False):
    """An instance: what ``run.result()``, ``client.get()`` and ``stepwell status`` give.

    Attributes:
        status: ``pending``, ``running``, ``paused``, ``completed``, ``failed`` or ``cancelled``.
        steps: Every step of the definition by id, in written order.
        started_at: Milliseconds since 1970; 0 if the engine has not decided the start yet.
        sequence: How many events it has had.
        reason: Why it is paused or cancelled.
        checkpoints: Names of points to roll back to, with their sequences.
        rolling_back_to: The event that a rollback under way (or cut short by the end) returns to; 0 without one.
    """

    instance_id: str
    workflow: str
    version: str
    status: str
    output: Any = None
    error: ErrorInfo | None = None
    steps: dict[str, StepView] = {}
    input: Any = None
    priority: int = 0
    started_at: int = 0
    finished_at: int = 0
    sequence: int = 0
    failed_step: str = ""
    reason: str = ""
    incident: str = ""
    checkpoints: dict[str, int] = {}
    context: dict[str, Any] = {}
    rolling_back_to: int = 0

    @property
    def finished(self) -> bool:
        """Whether it has come to an end."""
        return self.status in ("completed", "failed", "cancelled")

    def raise_for_status(self) -> InstanceView:
        """Itself, if it completed.

        Raises:
            WorkflowFailedError: It failed or was cancelled.
        """
        if self.status in ("failed", "cancelled"):
            error = self.error or ErrorInfo(type="Cancelled", message=self.reason)
            raise WorkflowFailedError(
                f"{self.status}: {error.type}: {error.message}",
                instance_id=self.instance_id,
                status=self.status,
                error_type=error.type,
                step_id=self.failed_step,
            )
        return self


def view(state: InstanceState, plan: Plan | None) -> InstanceView:
    """An instance's state as it is shown.

    Args:
        plan: Its definition, for the steps that nothing has happened to yet; None if it is not known.
    """
    ids = list(plan.steps) if plan is not None else sorted(state.steps)
    return InstanceView(
        instance_id=state.id,
        workflow=state.workflow,
        version=state.version,
        status=str(state.status),
        output=state.output,
        error=state.error,
        steps={step_id: _step(state, plan, step_id) for step_id in ids},
        input=state.input,
        priority=state.priority,
        started_at=state.started_at,
        finished_at=state.finished_at,
        sequence=state.sequence,
        failed_step=state.failed_step,
        reason=state.pause_reason,
        incident=state.incident,
        checkpoints=dict(sorted(state.checkpoints.items(), key=lambda item: item[1])),
        context={key: values[-1].value for key, values in sorted(state.context.items()) if values},
        rolling_back_to=state.rollback.to if state.rollback is not None else 0,
    )


def _step(state: InstanceState, plan: Plan | None, step_id: str) -> StepView:
    step = state.steps.get(step_id)
    if step is None:
        never = not state.live and plan is not None and plan.steps[step_id].handles
        return StepView(str(StepStatus.SKIPPED if never else StepStatus.PENDING))
    rollback = state.rollback
    undoing = rollback is not None and rollback.current is not None and rollback.current.ready is not None
    if rollback is not None and undoing and rollback.current.ready.step_id == step_id:  # type: ignore[union-attr]
        return _view(rollback.current, state.timers.get(step_id, 0), "being undone")  # type: ignore[arg-type]
    return _view(step, state.timers.get(step_id, 0), _note(step))


def _note(step: StepState) -> str:
    """What a step waits for, in words."""
    if step.gate is not None:
        approvers = " or ".join(step.gate.approvers) or "anybody"
        left = step.gate.required - len(step.votes)
        several = f" ({left} more of {step.gate.required})" if step.gate.required > 1 else ""
        return f"waits for approval by {approvers}{several}"
    if step.child is not None:
        return f"waits for {step.child.child_id}"
    return _NOTES.get(step.waits_for, "")


_NOTES = {"retry": "waits for its next attempt", "time": "sleeps", "worker": "no worker has its handler"}


def _view(step: StepState, due: int, note: str) -> StepView:
    attempts = 0 if step.status is StepStatus.SKIPPED and not step.run else step.attempt
    return StepView(
        status=str(step.status),
        attempts=attempts,
        output=step.output,
        error=step.error,
        started_at=step.since,
        finished_at=step.until,
        due=due,
        note=note,
        progress=step.progress,
        approval=step.gate,
        child=step.child.child_id if step.child is not None else "",
    )
