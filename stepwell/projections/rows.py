"""What the read models hold of an instance and of each attempt at its steps: pure folds from events to rows.

An instance's row is derived from its state, and its state comes from ``core.evolve``, like everybody's: so a list can
never contradict what the engine knows. An attempt's row is folded from the events of its run.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell.core.fold.state import InstanceState, StepState
from stepwell.schemas.records.events import (
    ErrorInfo,
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

LONGEST_TEXT: Final = 2_000  # characters of an error's message in a row; all of it is in the history


class InstanceRow(Struct, frozen=True, gc=False):
    """An instance in a list. Times are milliseconds since 1970; None for what has not happened.

    Attributes:
        status: ``pending`` (no engine has decided its start yet), ``running``, ``paused``, ``completed``, ``failed``
            or ``cancelled``.
        definition: Hash of the definition that it is pinned to; empty while it is pending.
        updated_at: When its newest event happened; when it was asked for, while it is pending.
        sequence: How many events it has had.
        active: Steps under way.
        failed_step: The step that failed it.
        error: What failed it, as ``Type: message``.
        reason: Why it is paused or was cancelled.
        incident: Code of the problem that a person must look at.
        parent: The instance that waits for its end.
    """

    instance_id: str
    workflow: str
    version: str
    status: str
    definition: str = ""
    priority: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    updated_at: int = 0
    sequence: int = 0
    active: int = 0
    failed_step: str = ""
    error: str = ""
    reason: str = ""
    incident: str = ""
    parent: str = ""

    @property
    def finished(self) -> bool:
        """Whether it has come to an end."""
        return self.finished_at is not None


def instance_row(state: InstanceState, at: int) -> InstanceRow:
    """The row of an instance.

    Args:
        state: The instance after a transition.
        at: The transition's time.
    """
    return InstanceRow(
        state.id,
        state.workflow,
        state.version,
        state.status.value,
        state.definition,
        state.priority,
        state.started_at or None,
        None if state.live else state.finished_at or None,
        at,
        state.sequence,
        state.active,
        state.failed_step,
        "" if state.error is None else error_text(state.error),
        state.pause_reason[:LONGEST_TEXT],
        state.incident,
        "" if state.parent is None else state.parent.instance_id,
    )


def error_text(error: ErrorInfo) -> str:
    """An error in one line."""
    return f"{error.type}: {error.message}"[:LONGEST_TEXT] if error.message else error.type


class AttemptRow(Struct, frozen=True, gc=False):
    """One attempt at a step, or a step that was skipped. Times are milliseconds since 1970; None if not so.

    Attributes:
        sequence: Of the event that began it; an instance has no two with the same.
        run: Its number within the instance; 0 for a step that was skipped without running.
        attempt: Counts from 1 and starts anew after a rollback or a resume.
        purpose: ``run``, ``compensate`` or ``handle``.
        status: ``ready``, ``running``, ``waiting``, ``succeeded``, ``failed``, ``retried`` (failed, and another
            attempt follows), ``skipped``, ``cancelled`` or ``compensated``.
        waits_for: What a waiting one waits for: ``retry`` (for its time to come), ``time``, ``worker``, ``approval``
            or ``child``.
        worker: Who ran it, as far as workers say.
        started_at: When a worker took it in hand, as far as is known.
        took: Milliseconds that its handler ran, as its worker has measured.
        cpu: Milliseconds of CPU of that; 0 where nobody measured it.
        due: When its timer is due; of one that was retried, when the next attempt begins.
        error: ``Type: message``, or why it was skipped.
        output_at: Sequence of the event that holds its output, or all of its error.
        deliveries: How often it was handed out to workers that did not give it back, as far as they have reported:
            more than 1 where workers have died with it.
    """

    sequence: int
    step_id: str
    run: int
    attempt: int
    max_attempts: int
    purpose: str
    step_type: str
    handler: str
    queue: str
    status: str
    waits_for: str = ""
    worker: str = ""
    ready_at: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    took: int = 0
    cpu: int = 0
    due: int | None = None
    error: str = ""
    traceback: str = ""
    output_at: int = 0
    deliveries: int = 1

    @property
    def duration(self) -> int:
        """Milliseconds that its handler ran, or where nobody has measured that, from ready to its end."""
        return self.took or max(0, (self.finished_at or 0) - (self.started_at or self.ready_at))


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
    standing = state.status is WorkflowStatus.PAUSED and state.paused_at > 0
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
            due=None if standing and step.gate is not None else state.timers.get(step_id),
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
