"""From accepted transitions to rows: pure, so that one by one, in batches, or anew, the same comes out (law 7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec import Struct

from stepwell.core.fold.evolve import evolve
from stepwell.core.fold.state import TOLD_BY_STEPS, InstanceState
from stepwell.projections.attempts import Attempts, attempts_of, follow_attempts
from stepwell.projections.counting import Counts, counts_of, move, step_counts_of
from stepwell.projections.fields import fields_of
from stepwell.projections.input_hash import input_hash
from stepwell.projections.rows import LONGEST_TEXT, AttemptRow, InstanceRow, instance_row
from stepwell.schemas.records.audit import AuditEntry
from stepwell.schemas.records.events import (
    ErrorInfo,
    Event,
    IncidentRaised,
    StepFailed,
    StepRetryScheduled,
    Transition,
    WorkflowFailed,
    WorkflowReopened,
    WorkflowStarted,
)


class Tracked(Struct, gc=False):
    """An instance in the projector's hands: what its events add up to so far.

    Attributes:
        number: Its number in the read models.
        state: None before its first event.
        row: Its row as it was written last; None before the first.
        attempts: Those under way.
    """

    number: int
    state: InstanceState | None = None
    row: InstanceRow | None = None
    attempts: Attempts = {}


class HistoryRow(NamedTuple):
    """A transition of an instance, as the log holds it."""

    place: int
    number: int
    sequence: int
    value: bytes


class ErrorRow(NamedTuple):
    """An error that happened to an instance: of a step's attempt, or of the workflow itself (no step)."""

    number: int
    at: int
    step_id: str
    run: int
    kind: str
    message: str


class Changes:
    """What a batch of transitions changes, to be written at once.

    Attributes:
        instances: The newest rows, by number.
        fresh: The numbers of those that are new.
        attempts: The newest rows, by number and sequence.
        history: Transitions.
        fields: Fields that instances can be found by, as number, name and value: whether they hold, or hold no more.
        errors: What went wrong.
        counts: What moves in the statistics.
        inputs: Hashes of inputs, by number.
        audit: Who asked for what.
        bases: States that histories go on from, and their times, by number.
    """

    def __init__(self) -> None:
        self.instances: dict[int, InstanceRow] = {}
        self.fresh: set[int] = set()
        self.attempts: dict[tuple[int, int], AttemptRow] = {}
        self.history: list[HistoryRow] = []
        self.fields: dict[tuple[int, str, str], bool] = {}
        self.errors: list[ErrorRow] = []
        self.counts: Counts = {}
        self.inputs: dict[int, bytes] = {}
        self.audit: list[AuditEntry] = []
        self.bases: dict[int, tuple[int, InstanceState]] = {}


def project(changes: Changes, tracked: Tracked, transition: Transition, place: int, value: bytes) -> None:
    """Take one more accepted transition of an instance into the changes; ``tracked`` is brought up to date.

    Args:
        place: Where the log holds it, as one number.
        value: The transition as the log holds it.

    Raises:
        LookupError: Its events cannot follow; the history is not whole.
    """
    number, before = tracked.number, tracked.state
    state, at = before, transition.at
    changes.history.append(HistoryRow(place, number, transition.sequence, value))
    ended: list[AttemptRow] = []
    for sequence, event in enumerate(transition.events, transition.sequence):
        state = evolve(state, event, at, transition.instance_id)
        for attempt in follow_attempts(tracked.attempts, event, sequence, at, state):
            changes.attempts[number, attempt.sequence] = attempt
            if attempt.finished_at:
                ended.append(attempt)
        error = _error_of(event)
        if error is not None:
            changes.errors.append(_error_row(number, at, event, error))
        elif type(event) is WorkflowStarted:
            _index_input(changes, number, event.input)
    if state is None:  # nothing but answers for one that is not there
        return
    row = instance_row(state, at)
    if tracked.row is None:
        changes.fresh.add(number)
        if number not in changes.inputs:  # reopened by an event that brings it along: the beginning is not known here
            _index_input(changes, number, state.input)
    move(changes.counts, {} if tracked.row is None else counts_of(tracked.row), counts_of(row))
    for attempt in ended:
        move(changes.counts, {}, step_counts_of(row, attempt))
    if state.output is not None or (before is not None and before.output is not None):
        _move_output(changes, number, before, state)
    changes.instances[number] = tracked.row = row
    tracked.state = state


def take_over(changes: Changes, tracked: Tracked, state: InstanceState, at: int) -> None:
    """Take an instance into the changes whose history begins in the middle, as it is there.

    Args:
        at: Time of the state, in milliseconds.
    """
    number = tracked.number
    tracked.state, tracked.row, tracked.attempts = state, instance_row(state, at), attempts_of(state)
    changes.bases[number] = (at, state)
    changes.fresh.add(number)
    changes.instances[number] = tracked.row
    move(changes.counts, {}, counts_of(tracked.row))
    for attempt in tracked.attempts.values():
        changes.attempts[number, attempt.sequence] = attempt
    _index_input(changes, number, state.input)


def _index_input(changes: Changes, number: int, payload: Any) -> None:
    changes.inputs[number] = input_hash(payload)
    for name, scalar in fields_of(payload, "input").items():
        changes.fields[number, name, scalar] = True


def _move_output(changes: Changes, number: int, before: InstanceState | None, after: InstanceState) -> None:
    old = {} if before is None else fields_of(before.output, "output")
    new = fields_of(after.output, "output") if after.output is not None else {}
    for name, scalar in old.items():
        changes.fields[number, name, scalar] = False
    for name, scalar in new.items():
        changes.fields[number, name, scalar] = True


def _error_of(event: Event) -> ErrorInfo | None:
    if isinstance(event, (StepFailed, StepRetryScheduled)):
        return event.error
    if isinstance(event, WorkflowFailed):
        return None if event.step_id else event.error  # a step's was told when the step failed
    if isinstance(event, IncidentRaised) and event.code not in TOLD_BY_STEPS:
        return ErrorInfo(type=event.code, message=event.message)
    return None


def _error_row(number: int, at: int, event: Any, error: ErrorInfo) -> ErrorRow:
    run = getattr(event, "run", 0)
    return ErrorRow(number, at, event.step_id, run, error.type, error.message[:LONGEST_TEXT])


def refold(tracked: Tracked, transitions: Iterable[Transition]) -> Tracked:
    """Bring an instance up to date by what is written already: changes nothing but ``tracked``."""
    for transition in transitions:
        if not transition.sequence:
            continue
        for sequence, event in enumerate(transition.events, transition.sequence):
            tracked.state = evolve(tracked.state, event, transition.at, transition.instance_id)
            follow_attempts(tracked.attempts, event, sequence, transition.at, tracked.state)
        tracked.row = instance_row(tracked.state, transition.at) if tracked.state is not None else None
    return tracked


def begins_anew(transition: Transition) -> bool:
    """Whether a transition is the first of an instance, so that nothing before it needs to be known."""
    return transition.sequence == 1 and isinstance(transition.events[0], WorkflowStarted)


def reopens(transition: Transition) -> bool:
    """Whether a transition brings the instance's state along."""
    return isinstance(transition.events[0], WorkflowReopened)


def attempts_in(transitions: Iterable[Transition]) -> list[AttemptRow]:
    """Every attempt at every step of one instance, in the order in which they began, folded from its history.

    The same rows as the read models hold, for who reads the log itself.
    """
    tracked, rows = Tracked(0), dict[int, AttemptRow]()
    for transition in transitions:
        if not transition.sequence:
            continue
        if begins_anew(transition):
            tracked, rows = Tracked(0), {}
        for sequence, event in enumerate(transition.events, transition.sequence):
            tracked.state = evolve(tracked.state, event, transition.at, transition.instance_id)
            for row in follow_attempts(tracked.attempts, event, sequence, transition.at, tracked.state):
                rows[row.sequence] = row
    return [rows[sequence] for sequence in sorted(rows)]
