"""Events: facts, one workflow transition each; appended once, never changed.

A command leads to a list of events, written as one record (``Transition``). The names in ``type`` are what users
subscribe to. An event's shape may grow by fields with defaults; any other change is a new ``EVENTS_VERSION`` with
an upcaster (``stepwell.schemas.records.upcast``).
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from stepwell.schemas.records.error_info import *  # noqa: F403 - importable from here, too, as are the events of steps
from stepwell.schemas.records.error_info import ErrorInfo
from stepwell.schemas.records.step_events import *  # noqa: F403
from stepwell.schemas.records.step_events import StepEvent
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested, Parent

EVENTS_VERSION = 4


class _Event(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    pass


# --- the workflow -------------------------------------------------------------------------------------------


class WorkflowStarted(_Event, frozen=True, omit_defaults=True, tag="workflow.started", kw_only=True):
    """An instance exists from here on, pinned to one definition by its hash.

    Attributes:
        definition: The hash, in 64 hexadecimal digits; the first 16 of them where an earlier Stepwell started it.
        due: When the whole instance times out, in milliseconds since 1970; None never.
        parent: The step of another instance that waits for this one's end.
        life: The time of the start, in milliseconds since 1970, where its partition had forgotten ids by then, and
            another instance may have had this one; else 0. See ``Transition.life``.
    """

    workflow: str
    version: str
    definition: str
    input: Any = {}
    priority: int = 0
    due: int | None = None
    command_id: str = ""
    parent: Parent | None = None
    life: int = 0


class WorkflowPaused(_Event, frozen=True, omit_defaults=True, tag="workflow.paused"):
    """No step starts until the instance is resumed.

    Attributes:
        held: Whether it stands still because its parent does, and goes on with it.
    """

    reason: str = ""
    command_id: str = ""
    held: bool = False


class WorkflowResumed(_Event, frozen=True, omit_defaults=True, tag="workflow.resumed"):
    """The instance goes on.

    Attributes:
        reset: Steps that were failed or cancelled and run anew.
        skipped: Failed steps that the instance goes on without.
        dues: Timers for which time stood still, and when they are due now: those of gates and children by their
            steps' ids, the instance's own under the empty id.
    """

    reset: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    command_id: str = ""
    dues: dict[str, int] = {}


class TimersMoved(_Event, frozen=True, omit_defaults=True, tag="timers.moved"):
    """Somebody has moved timers.

    Attributes:
        dues: When each is due now, in milliseconds since 1970: those of steps by their ids, the instance's own under
            the empty id.
    """

    dues: dict[str, int]
    command_id: str = ""


class WorkflowReopened(_Event, frozen=True, omit_defaults=True, tag="workflow.reopened"):
    """A finished instance is live again. It had left memory, so the event brings its state along.

    Attributes:
        state: The encoded instance (``stepwell.core.fold.state``), as it was when it finished.
    """

    state: dict[str, Any]


class WorkflowCompleted(_Event, frozen=True, omit_defaults=True, tag="workflow.completed"):
    """The end: every step is settled."""

    output: Any = None


class WorkflowFailed(_Event, frozen=True, omit_defaults=True, tag="workflow.failed"):
    """The end: a step failed, or the instance timed out."""

    error: ErrorInfo
    step_id: str = ""


class WorkflowCancelled(_Event, frozen=True, omit_defaults=True, tag="workflow.cancelled"):
    """The end: somebody asked for it."""

    reason: str = ""
    command_id: str = ""


class WorkflowEnding(_Event, frozen=True, omit_defaults=True, tag="workflow.ending"):
    """The instance ends, or its rollback begins, later: once its error handlers have ended, or once it is resumed.

    Until then nothing else starts; what was under way besides is given up.

    Attributes:
        how: What comes then: it has ``failed`` or is ``cancelled``, or a ``rollback`` begins, after which it fails.
        error: Of a failure; ``step_id`` is the step that it was.
        reason: Of a cancellation.
        keeps: The error handlers that are under way or wait for their turn.
    """

    how: Literal["failed", "rollback", "cancelled"]
    error: ErrorInfo | None = None
    step_id: str = ""
    reason: str = ""
    command_id: str = ""
    keeps: tuple[str, ...] = ()


class IncidentRaised(_Event, frozen=True, omit_defaults=True, tag="incident.raised"):
    """A problem that needs a person; the instance is paused.

    Attributes:
        code: A stable word for programs, such as ``step_failed``, ``no_handler`` or ``quarantined``.
    """

    code: str
    message: str
    step_id: str = ""


class CommandRejected(_Event, frozen=True, omit_defaults=True, tag="command.rejected"):
    """A command that could not be followed, and why. Changes nothing.

    Attributes:
        parent: Of a start that was rejected: the step that asked for it.
    """

    command: str
    code: str
    message: str
    command_id: str = ""
    parent: Parent | None = None


class CommandNoted(_Event, frozen=True, omit_defaults=True, tag="command.noted"):
    """A command that asked for what is so already. Answers its sender, changes nothing else."""

    command: str
    message: str = ""
    command_id: str = ""


# --- rolling back -------------------------------------------------------------------------------------------


class RollbackStarted(_Event, frozen=True, omit_defaults=True, tag="rollback.started"):
    """The instance undoes what was done after event ``to``.

    Attributes:
        compensate: Steps to undo, in the order of undoing (the reverse of how they settled).
        then: ``run`` on from there, ``pause`` there, or ``fail`` with ``error``.
    """

    to: int
    compensate: tuple[str, ...] = ()
    then: Literal["run", "pause", "fail"] = "run"
    error: ErrorInfo | None = None
    step_id: str = ""
    command_id: str = ""


class StepCompensated(_Event, frozen=True, omit_defaults=True, tag="step.compensated"):
    """A step's compensation has run."""

    step_id: str
    run: int
    output: Any = None
    worker: str = ""
    took: int = 0
    cpu: int = 0


class WorkflowRolledBack(_Event, frozen=True, omit_defaults=True, tag="workflow.rolled_back"):
    """Progress is what it was after event ``to``.

    Attributes:
        to: The sequence returned to.
        arrived: Arrivals at the joins that still wait, as of then.
        checkpoints: Names that mean an older point again, because the newest of that name is undone.
        unlimited: Whether the instance has no limit of time from here on.
    """

    to: int
    arrived: dict[str, int] = {}
    checkpoints: dict[str, int] = {}
    unlimited: bool = False


Event = (
    WorkflowStarted
    | WorkflowPaused
    | WorkflowResumed
    | TimersMoved
    | WorkflowReopened
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowCancelled
    | WorkflowEnding
    | IncidentRaised
    | CommandRejected
    | CommandNoted
    | StepEvent
    | ApprovalRequired
    | ApprovalDecided
    | ChildRequested
    | RollbackStarted
    | StepCompensated
    | WorkflowRolledBack
)


class Transition(Struct, frozen=True, gc=False, omit_defaults=True):
    """What one command led to: the value of a record on ``events``, atomic by being one record.

    Attributes:
        version: ``EVENTS_VERSION`` of the writer.
        at: When it was decided, in milliseconds since 1970; never earlier than the one before.
        instance_id: Whose events they are; also the record's key.
        sequence: The sequence of the first event; an instance's events count from 1 without holes.
        life: What tells the instance's events and idempotency keys from those of an earlier one of the same id; 0
            where there can have been none.
    """

    version: int
    at: int
    instance_id: str
    sequence: int
    events: tuple[Event, ...]
    life: int = 0
