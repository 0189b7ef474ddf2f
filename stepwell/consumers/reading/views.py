"""Instances as people and programs see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic

from msgspec import Struct
from msgspec.structs import replace

from stepwell.core.fold.state import InstanceState, StepState, stands_still_since
from stepwell.core.plan.compile import Plan
from stepwell.errors import WorkflowFailedError
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.statuses import FINISHED, UNSUCCESSFUL, StepStatus
from stepwell.schemas.records.step_waits import ApprovalRequired

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # typing has defaults from Python 3.13 on

    Output_co = TypeVar("Output_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    Output_co = TypeVar("Output_co", covariant=True)

_NO_OUTPUT: Final[Any] = None


class StepView(Struct, frozen=True, gc=False):
    """A step of an instance.

    Attributes:
        status: ``pending``, ``ready``, ``running``, ``waiting``, ``succeeded``, ``failed``, ``skipped`` or
            ``cancelled``.
        attempts: How many were made, the one under way included.
        started_at: When its current or last run became ready, in milliseconds since 1970; None if none has.
        finished_at: When that was settled, likewise.
        due: When its timer is due, likewise: the end of its wait, its next attempt. None without one, and while time
            stands still for it.
        remaining_ms: How long a gate will wait for people, or a step for its child, once the instance goes on, in
            milliseconds, while it is paused: time stands still for it (``due`` of ``approval`` is None as long).
            None where that wait has no limit.
        note: What it waits for, in words; empty if it does not.
        approval: What people are asked, while it waits for them.
        child: The id of the workflow that it waits for.
    """

    status: str
    attempts: int = 0
    output: Any = None
    error: ErrorInfo | None = None
    started_at: int | None = None
    finished_at: int | None = None
    due: int | None = None
    remaining_ms: int | None = None
    note: str = ""
    progress: Any = None
    approval: ApprovalRequired | None = None
    child: str = ""


class InstanceView(Struct, Generic[Output_co], frozen=True, gc=False):
    """An instance: what ``run.result()``, ``client.get()`` and ``stepwell status`` give.

    Attributes:
        status: ``pending``, ``running``, ``paused``, ``completed``, ``failed`` or ``cancelled``.
        output: What it has returned, once it has completed; else None.
        steps: Every step of the definition by id, in written order.
        started_at: Milliseconds since 1970; None if the engine has not decided the start yet.
        finished_at: Likewise; None while it is live.
        held_by: The id of the parent that it is paused with, and goes on with; empty where it is paused for itself,
            or is not paused.
        as_of: Where it is shown as it was right after an event, and was live then: when that event happened, and up
            to when durations last. None where it is shown as it is now.
        sequence: How many events it has had.
        reason: Why it is paused or cancelled.
        checkpoints: Names of points to roll back to, with their sequences.
        rolling_back_to: The event that a rollback under way (or cut short by the end) returns to; 0 without one.
    """

    instance_id: str
    workflow: str
    version: str
    status: str
    output: Output_co = _NO_OUTPUT
    error: ErrorInfo | None = None
    steps: dict[str, StepView] = {}
    input: Any = None
    priority: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    sequence: int = 0
    failed_step: str = ""
    reason: str = ""
    incident: str = ""
    checkpoints: dict[str, int] = {}
    context: dict[str, Any] = {}
    rolling_back_to: int = 0
    as_of: int | None = None
    held_by: str = ""

    @property
    def finished(self) -> bool:
        """Whether it has come to an end."""
        return self.status in FINISHED

    def raise_for_status(self) -> InstanceView[Output_co]:
        """Itself, if it completed.

        Raises:
            WorkflowFailedError: It failed or was cancelled.
        """
        if self.status in UNSUCCESSFUL:
            error = self.error or ErrorInfo(type="Cancelled", message=self.reason)
            raise WorkflowFailedError(
                f"{self.status}: {error.type}: {error.message}",
                instance_id=self.instance_id,
                status=self.status,
                error_type=error.type,
                step_id=self.failed_step,
            )
        return self


def view(state: InstanceState, plan: Plan | None, as_of: int = 0) -> InstanceView:
    """An instance's state as it is shown.

    Args:
        plan: Its definition, for the steps that nothing has happened to yet; None if it is not known.
        as_of: When the event happened after which it is shown, in milliseconds since 1970; 0 for now.
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
        started_at=state.started_at or None,
        finished_at=state.finished_at or None,
        sequence=state.sequence,
        failed_step=state.failed_step,
        reason=state.pause_reason,
        incident=state.incident,
        checkpoints=dict(sorted(state.checkpoints.items(), key=lambda item: item[1])),
        context={key: values[-1].value for key, values in sorted(state.context.items()) if values},
        rolling_back_to=state.rollback.to if state.rollback is not None else 0,
        as_of=(as_of or None) if state.live else None,
        held_by=state.parent.instance_id if state.held and state.parent is not None else "",
    )


def _step(state: InstanceState, plan: Plan | None, step_id: str) -> StepView:
    step = state.steps.get(step_id)
    if step is None:
        never = not state.live and plan is not None and plan.steps[step_id].handles
        return StepView(str(StepStatus.SKIPPED if never else StepStatus.PENDING))
    rollback = state.rollback
    undoing = rollback is not None and rollback.current is not None and rollback.current.ready is not None
    if rollback is not None and undoing and rollback.current.ready.step_id == step_id:  # type: ignore[union-attr]
        return _view(rollback.current, state.timers.get(step_id), "being undone")  # type: ignore[arg-type]
    due = state.timers.get(step_id)
    shown = _view(step, due, _note(step))
    since = stands_still_since(state, step_id)
    if due is None or not since:
        return shown
    approval = None if step.gate is None else replace(step.gate, due=None)
    return replace(shown, due=None, remaining_ms=max(0, due - since), approval=approval)


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


def _view(step: StepState, due: int | None, note: str) -> StepView:
    attempts = 0 if step.status is StepStatus.SKIPPED and not step.run else step.attempt
    return StepView(
        status=str(step.status),
        attempts=attempts,
        output=step.output,
        error=step.error,
        started_at=step.since or None,
        finished_at=step.until or None,
        due=due,
        note=note,
        progress=step.progress,
        approval=step.gate,
        child=step.child.child_id if step.child is not None else "",
    )
