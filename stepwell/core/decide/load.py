"""How much workers have to do: the runs that were routed to them and are not settled yet."""

from __future__ import annotations

from typing import Final

from stepwell.core.fold.state import InstanceState, StepState
from stepwell.schemas.records.events import (
    Event,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    StepReturned,
    StepStarted,
    StepSucceeded,
    Transition,
    WorkflowStarted,
)
from stepwell.schemas.records.statuses import UNDER_WAY
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested


def runs_of(state: InstanceState | None) -> set[int]:
    """The runs of an instance that workers may be at: not those that wait for a time or a worker."""
    if state is None:
        return set()
    steps = [*state.steps.values()]
    if state.rollback is not None and state.rollback.current is not None:
        steps.append(state.rollback.current)
    return {step.run for step in steps if _is_routed(step)}


def change(before: InstanceState | None, transition: Transition, after: InstanceState | None) -> int:
    """How many more runs workers may be at after a transition: ``len(runs_of(after)) - len(runs_of(before))``.

    Costs what the events cost, but for rare ones that may end any number of runs.
    """
    more = 0
    for event in transition.events:
        kind = type(event)
        if kind is StepReady:
            more += 1
        elif kind in _SETTLES:
            step = before.steps.get(event.step_id) if before is not None else None  # type: ignore[union-attr]
            more -= step is not None and _is_routed(step)
        elif kind not in _NEUTRAL:
            return len(runs_of(after)) - len(runs_of(before))
    if after is None or not after.live or after.rollback is not None:  # what ended, ended all of its runs
        return len(runs_of(after)) - len(runs_of(before))
    return more


def _is_routed(step: StepState) -> bool:
    return step.status in UNDER_WAY and not step.waits_for


_SETTLES: Final[frozenset[type[Event]]] = frozenset({StepSucceeded, StepFailed, StepRetryScheduled, StepReturned})
_NEUTRAL: Final[frozenset[type[Event]]] = frozenset({
    WorkflowStarted, StepStarted, ApprovalRequired, ApprovalDecided, ChildRequested,
})  # fmt: skip
