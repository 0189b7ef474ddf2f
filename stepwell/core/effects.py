"""What leaves a partition, derived from its accepted events by one function.

There is no second list of effects to keep true: whoever takes a partition over derives the same ones from the same
events and sends again what is not known to be delivered. Each has a deterministic id, so receivers drop repeats.
"""

from __future__ import annotations

from stepwell.core.load import runs_of
from stepwell.core.retry import STEP_TIMEOUT
from stepwell.core.state import UNDER_WAY, InstanceState, StepState
from stepwell.schemas.events import (
    Event,
    RollbackStarted,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    Transition,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowResumed,
)
from stepwell.schemas.work import CancelRuns, WorkItem

Effect = WorkItem | CancelRuns


def effects(before: InstanceState | None, transition: Transition, after: InstanceState | None) -> list[Effect]:
    """What a transition sends out.

    Args:
        before: The instance before it.
        after: The instance after it; what it has settled meanwhile is not sent.

    Returns:
        Work for the queues, and requests to stop runs that handlers may still be at.
    """
    found: list[Effect] = []
    for number, event in enumerate(transition.events, transition.sequence):
        kind = type(event)
        if kind is StepReady:
            if after is not None and is_under_way(after, event):  # type: ignore[arg-type]
                found.append(_work(after, event, number))  # type: ignore[arg-type]
        elif kind in _GIVES_UP and before is not None and (before.active or before.rollback):
            found.append(CancelRuns(transition.instance_id, 1, before.runs, before.started_at))
        elif kind is WorkflowResumed and before is not None:
            given_up = runs_of(before) - runs_of(after)
            began = before.started_at
            found += [CancelRuns(transition.instance_id, run, run, began) for run in sorted(given_up)]
        elif kind in _MAY_TIME_OUT and event.error.type == STEP_TIMEOUT:  # type: ignore[union-attr]
            run = event.run  # type: ignore[union-attr]
            began = before.started_at if before is not None else 0
            found.append(CancelRuns(transition.instance_id, run, run, began))
    return found


_GIVES_UP: frozenset[type[Event]] = frozenset({WorkflowCancelled, WorkflowFailed, RollbackStarted})
_MAY_TIME_OUT: frozenset[type[Event]] = frozenset({StepFailed, StepRetryScheduled})


def is_under_way(state: InstanceState, ready: StepReady) -> bool:
    """Whether this very run still waits for its outcome."""
    step = _current(state, ready)
    return step is not None and step.run == ready.run and step.status in UNDER_WAY and not step.waits_for


def _current(state: InstanceState, ready: StepReady) -> StepState | None:
    if ready.purpose == "compensate":
        return state.rollback.current if state.rollback else None
    return state.steps.get(ready.step_id)


def _work(state: InstanceState, ready: StepReady, sequence: int) -> WorkItem:
    return WorkItem(
        instance_id=state.id,
        workflow=state.workflow,
        version=state.version,
        priority=state.priority,
        began=state.started_at,
        sequence=sequence,
        step=ready,
    )
