"""How events change the rows of attempts: a pure fold, of which each step says what rows are new or other ones."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from stepwell.core.fold.state import InstanceState, StepState, stands_still_since
from stepwell.projections.rows import LONGEST_TEXT, AttemptRow, error_text
from stepwell.schemas.records.events import (
    Event,
    IncidentRaised,
    RollbackStarted,
    StepCancelled,
    StepCompensated,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    StepReturned,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
    TimersMoved,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowEnding,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowResumed,
)
from stepwell.schemas.records.statuses import UNDER_WAY, AttemptStatus, WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalRequired, ChildRequested

Attempts = dict[int, AttemptRow]
"""The attempts of an instance that are under way, by run."""

_Ended = StepSucceeded | StepFailed | StepRetryScheduled | StepCancelled | StepCompensated
_PATIENT: Final = ("approval", "child")  # what a pause has time stand still for
_STANDS_STILL: Final = (WorkflowPaused, IncidentRaised)
_GIVES_UP: Final = (
    WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowEnding, WorkflowResumed, RollbackStarted,
)  # fmt: skip


def follow_attempts(
    attempts: Attempts, event: Event, sequence: int, at: int, after: InstanceState
) -> list[AttemptRow]:
    """The rows that an event changes; ``attempts`` is brought up to date.

    Args:
        attempts: Those under way before the event. Changed.
        event: The event,
        sequence: its sequence, and
        at: its time in milliseconds.
        after: The instance after the event.
    """
    kind = type(event)
    if kind is StepReady:
        row = _ready(event, _waiting_for_it(attempts, event, after), sequence, at)  # type: ignore[arg-type]
    elif kind in _ENDS:
        rows = _ended(attempts, event, sequence, at)  # type: ignore[arg-type]
        if kind is StepRetryScheduled and rows:
            rows.append(_next_attempt(rows[0], sequence, at))
            attempts[rows[0].run] = rows[-1]
        return rows
    elif kind is TimersMoved:
        return _moved(attempts, after)
    elif kind in _STANDS_STILL:
        return _standing(attempts)
    elif kind in _GIVES_UP:
        moved = _moved(attempts, after) if kind is WorkflowResumed else []
        return [*_cancelled(attempts, after, at), *moved]
    elif kind is StepSkipped:
        return [*_cancelled(attempts, after, at), _skipped(event, sequence, at)]  # type: ignore[arg-type]
    elif kind in _WAITS:
        row = _waiting(attempts, event, sequence, at)  # type: ignore[arg-type]
    elif kind is StepStarted and event.run in attempts:  # type: ignore[union-attr]
        known = attempts[event.run]  # type: ignore[union-attr]
        row = replace(
            known,
            status=_RUNNING,
            worker=event.worker,  # type: ignore[union-attr]
            started_at=at,
            due=event.due,  # type: ignore[union-attr]
            deliveries=event.deliveries,  # type: ignore[union-attr]
        )
    elif kind is StepReturned and event.run in attempts:  # type: ignore[union-attr]
        known = attempts[event.run]  # type: ignore[union-attr]
        row = replace(known, status=_WAITING, waits_for="worker", due=event.due, error=event.reason)  # type: ignore[union-attr]
    else:
        return []
    attempts[row.run] = row
    return [row]


def _standing(attempts: Attempts) -> list[AttemptRow]:
    """Waits for people and for children, for which time stands still from now on: they are due at no time."""
    rows = [replace(row, due=None) for row in attempts.values() if row.waits_for in _PATIENT and row.due]
    attempts.update((row.run, row) for row in rows)
    return rows


def _moved(attempts: Attempts, after: InstanceState) -> list[AttemptRow]:
    """Those whose timers are due at another time: somebody has moved them, or time stood still during a pause."""
    paused = after.status is WorkflowStatus.PAUSED
    rows = [
        replace(row, due=after.timers[row.step_id])
        for row in attempts.values()
        if after.timers.get(row.step_id, row.due) != row.due and not (paused and row.waits_for in _PATIENT)
    ]
    attempts.update((row.run, row) for row in rows)
    return rows


def _waiting_for_it(attempts: Attempts, event: StepReady, after: InstanceState) -> AttemptRow | None:
    """The row that has waited for this run: of a further attempt, or of one that a worker has handed back."""
    if event.run in attempts:
        return attempts.pop(event.run)
    step = after.steps.get(event.step_id) if event.purpose != "compensate" else None
    if event.purpose == "compensate" and after.rollback is not None:
        step = after.rollback.current
    if event.attempt == 1 and (step is None or not step.returned_at):
        return None  # almost always: do not look through all that is under way
    for row in attempts.values():
        if row.step_id == event.step_id and row.waits_for in ("retry", "worker"):
            return attempts.pop(row.run)
    return None


def _ready(event: StepReady, known: AttemptRow | None, sequence: int, at: int) -> AttemptRow:
    return AttemptRow(
        sequence if known is None else known.sequence,
        event.step_id,
        event.run,
        event.attempt,
        event.max_attempts,
        event.purpose,
        event.step_type,
        event.handler,
        event.queue,
        _READY,
        # Routed again: it has been ready since the first time. A further attempt is ready once it is due.
        ready_at=at if known is None or known.waits_for == "retry" else known.ready_at,
    )


def _waiting(
    attempts: Attempts, event: StepWaiting | ApprovalRequired | ChildRequested, sequence: int, at: int
) -> AttemptRow:
    word, step_type = _WAITS[type(event)]
    known = attempts.get(event.run)
    return AttemptRow(
        sequence if known is None else known.sequence,
        event.step_id,
        event.run,
        1,
        1,
        "run",
        step_type,
        "",
        "",
        _WAITING,
        waits_for=word,
        ready_at=at if known is None else known.ready_at,  # a further level of an approval
        due=event.due,
    )


def attempts_of(state: InstanceState) -> Attempts:
    """The attempts under way of an instance whose history is not known from its beginning.

    The events that began them are not known either: their sequences are negative, and differ all the same.
    """
    steps = [(step_id, step) for step_id, step in sorted(state.steps.items()) if step.status in UNDER_WAY]
    current = state.rollback.current if state.rollback is not None else None
    if current is not None and current.ready is not None and current.status in UNDER_WAY:
        steps.append((current.ready.step_id, current))
    return {
        step.run: AttemptRow(
            -step.run,
            step_id,
            step.run,
            step.attempt + (step.waits_for == "retry"),
            step.ready.max_attempts if step.ready else 1,
            step.ready.purpose if step.ready else "run",
            step.ready.step_type if step.ready else step.waits_for,
            step.ready.handler if step.ready else "",
            step.ready.queue if step.ready else "",
            step.status.value,
            waits_for=step.waits_for,
            worker=step.worker,
            ready_at=step.since,
            due=None if stands_still_since(state, step_id) else state.timers.get(step_id),
            deliveries=step.deliveries,
        )
        for step_id, step in steps
    }


def _ended(attempts: Attempts, event: _Ended, sequence: int, at: int) -> list[AttemptRow]:
    known = attempts.pop(event.run, None)
    if known is None:  # settled without a run of its own: an input step, or a failure before it was ready
        if isinstance(event, (StepCancelled, StepCompensated)):
            return []
        known = AttemptRow(
            sequence, event.step_id, event.run, event.attempt, event.attempt, "run", "", "", "", "", ready_at=at
        )
    error = getattr(event, "error", None)
    took = getattr(event, "took", 0)
    return [
        replace(
            known,
            status=_ENDS[type(event)],
            waits_for="",
            worker=getattr(event, "worker", "") or known.worker,
            started_at=known.started_at or (at - took if took else None),
            finished_at=at,
            took=took,
            cpu=getattr(event, "cpu", 0),
            due=getattr(event, "due", None),
            error="" if error is None else error_text(error),
            traceback="" if error is None else error.traceback,
            output_at=sequence,
        )
    ]


def _next_attempt(failed: AttemptRow, sequence: int, at: int) -> AttemptRow:
    """The attempt that follows one that failed, from when it was decided; its run gets a number once it is due."""
    return AttemptRow(
        sequence,
        failed.step_id,
        failed.run,
        failed.attempt + 1,
        failed.max_attempts,
        failed.purpose,
        failed.step_type,
        failed.handler,
        failed.queue,
        _WAITING,
        waits_for="retry",
        ready_at=at,
        due=failed.due,
    )


def _skipped(event: StepSkipped, sequence: int, at: int) -> AttemptRow:
    return AttemptRow(
        sequence, event.step_id, 0, 0, 0, "run", "", "", "", _SKIPPED,
        ready_at=at, finished_at=at, error=event.reason[:LONGEST_TEXT], output_at=sequence,
    )  # fmt: skip


def _cancelled(attempts: Attempts, after: InstanceState, at: int) -> list[AttemptRow]:
    """Whatever is under way no more, without an event of its own."""
    ended = [row for run, row in attempts.items() if not _is_under_way(after, row.step_id, run)]
    for row in ended:
        del attempts[row.run]
    return [replace(row, status=_CANCELLED, waits_for="", finished_at=at, due=None) for row in ended]


def _is_under_way(state: InstanceState, step_id: str, run: int) -> bool:
    rollback = state.rollback
    current = rollback.current if rollback is not None else None
    found: tuple[StepState | None, ...] = (state.steps.get(step_id), current)
    return any(step is not None and step.run == run and step.status in UNDER_WAY for step in found)


# As texts, and looked up once: rows are stored as they are, and there is one for nearly every event.
_READY: Final = AttemptStatus.READY.value
_RUNNING: Final = AttemptStatus.RUNNING.value
_WAITING: Final = AttemptStatus.WAITING.value
_SKIPPED: Final = AttemptStatus.SKIPPED.value
_CANCELLED: Final = AttemptStatus.CANCELLED.value
_ENDS: Final[dict[type[Event], str]] = {
    StepSucceeded: AttemptStatus.SUCCEEDED.value,
    StepFailed: AttemptStatus.FAILED.value,
    StepRetryScheduled: AttemptStatus.RETRIED.value,
    StepCancelled: AttemptStatus.CANCELLED.value,
    StepCompensated: AttemptStatus.COMPENSATED.value,
}
_WAITS: Final[dict[type[Event], tuple[str, str]]] = {
    StepWaiting: ("time", "wait"),
    ApprovalRequired: ("approval", "approval_gate"),
    ChildRequested: ("child", "workflow_trigger"),
}
