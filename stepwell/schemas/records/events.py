"""Events: facts, one workflow transition each; appended once, never changed.

A command leads to a list of events, written as one record (``Transition``). The names in ``type`` are what users
subscribe to. An event's shape may grow by fields with defaults; any other change is a new ``EVENTS_VERSION`` with
an upcaster (``stepwell.schemas.records.upcast``).
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested, Parent

EVENTS_VERSION = 4


class ErrorInfo(Struct, frozen=True, gc=False, omit_defaults=True):
    """What went wrong, as data.

    Attributes:
        type: Class name of the error, such as ``ConnectionError``.
        kinds: Names of its base classes, so that a retry policy can name a whole family.
        retryable: What the handler itself says; None leaves it to the policy.
        retry_after: Seconds that the other side asks to be left alone for.
    """

    type: str
    message: str = ""
    kinds: tuple[str, ...] = ()
    traceback: str = ""
    retryable: bool | None = None
    retry_after: float | None = None


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
    """The instance ends once its error handlers have: whatever else was under way is given up, nothing else starts.

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


# --- its steps ----------------------------------------------------------------------------------------------
#
# What ends an attempt says who made it (``worker``), how long its handler ran (``took``, milliseconds) and how much
# CPU that used (``cpu``, milliseconds; only of functions that run in threads). Empty and 0 where nobody has told.
#
# ``joins`` names the dependents of a settled step that still wait for others: each counts one arrival more. So
# a fan-in costs the same for each of its inputs, and folding needs no definition.


class StepReady(_Event, frozen=True, omit_defaults=True, tag="step.ready", kw_only=True):
    """A run of a step is routed to the workers of its queue. Holds all that a worker needs.

    Attributes:
        run: Unique within the instance, so a late outcome of an abandoned run is never taken for this one's.
        attempt: Counts from 1 and starts anew after a rollback or a resume.
        origin: The run of the first attempt, where this is a further one; else 0.
        purpose: ``compensate`` undoes the step; ``handle`` is an error handler's run.
        target: For an error handler, the step that failed.
    """

    step_id: str
    run: int
    step_type: str = "python"
    handler: str = ""
    queue: str = "default"
    attempt: int = 1
    max_attempts: int = 1
    input: Any = None
    config: dict[str, Any] = {}
    timeout_seconds: float | None = None
    origin: int = 0
    purpose: Literal["run", "compensate", "handle"] = "run"
    target: str = ""
    sequential: bool = False


class StepStarted(_Event, frozen=True, omit_defaults=True, tag="step.started"):
    """A worker has had the step in hand for longer than a moment, or has taken one that was lost with another.

    Attributes:
        due: When the engine gives the attempt up even if its worker says nothing; None never.
        deliveries: How often the run was handed out, this time included, to workers that did not give it back.
    """

    step_id: str
    run: int
    worker: str = ""
    due: int | None = None
    deliveries: int = 1


class StepHeartbeat(_Event, frozen=True, omit_defaults=True, tag="step.heartbeat"):
    """A long step lives; ``progress`` is its handler's."""

    step_id: str
    run: int
    progress: Any = None


class StepWaiting(_Event, frozen=True, omit_defaults=True, tag="step.waiting"):
    """A step waits for a time and occupies no worker.

    Attributes:
        idle: Whether it takes no place under ``max_parallel_steps``; what older programs wrote takes one.
    """

    step_id: str
    run: int
    due: int
    sequential: bool = False
    idle: bool = False


class StepSucceeded(_Event, frozen=True, omit_defaults=True, tag="step.succeeded"):
    """A step has an output and is settled.

    Attributes:
        settles: For an error handler after which the workflow continues: the step whose failure is dealt with,
            which counts as settled from here on.
    """

    step_id: str
    run: int
    output: Any = None
    context: dict[str, Any] = {}
    joins: tuple[str, ...] = ()
    checkpoint: str = ""
    attempt: int = 1
    settles: str = ""
    worker: str = ""
    took: int = 0
    cpu: int = 0


class StepRetryScheduled(_Event, frozen=True, omit_defaults=True, tag="step.retry_scheduled"):
    """An attempt failed and another follows at ``due`` (milliseconds since 1970)."""

    step_id: str
    run: int
    error: ErrorInfo
    due: int
    attempt: int = 1
    worker: str = ""
    took: int = 0
    cpu: int = 0


class StepReturned(_Event, frozen=True, omit_defaults=True, tag="step.returned"):
    """A worker handed the step back for want of its handler; it is routed again at ``due``."""

    step_id: str
    run: int
    due: int
    reason: str = ""


class StepFailed(_Event, frozen=True, omit_defaults=True, tag="step.failed"):
    """No attempt is left.

    Attributes:
        action: What follows by the definition: ``fail``, ``skip``, ``pause``, ``rollback`` or ``handle``.
    """

    step_id: str
    run: int
    error: ErrorInfo
    action: Literal["fail", "skip", "pause", "rollback", "handle"] = "fail"
    joins: tuple[str, ...] = ()
    attempt: int = 1
    worker: str = ""
    took: int = 0
    cpu: int = 0


class StepSkipped(_Event, frozen=True, omit_defaults=True, tag="step.skipped"):
    """A step does not run and counts as settled, with no output."""

    step_id: str
    reason: str = ""
    joins: tuple[str, ...] = ()


class StepCancelled(_Event, frozen=True, omit_defaults=True, tag="step.cancelled"):
    """A run was given up; if a handler runs it, its worker is told."""

    step_id: str
    run: int


class StepsDeferred(_Event, frozen=True, omit_defaults=True, tag="steps.deferred"):
    """Steps whose dependencies are settled but which may not start yet.

    Attributes:
        steps: Each as (its place in the definition, its id): the order in which they start.
        sequential: The same for steps that run one at a time.
    """

    steps: tuple[tuple[int, str], ...] = ()
    sequential: tuple[tuple[int, str], ...] = ()


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
    | StepReady
    | StepStarted
    | StepHeartbeat
    | StepWaiting
    | StepSucceeded
    | StepRetryScheduled
    | StepReturned
    | StepFailed
    | StepSkipped
    | StepCancelled
    | StepsDeferred
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


class PartitionSnapshotted(Struct, frozen=True, gc=False, omit_defaults=True):
    """Points to a snapshot of a partition; the value of a record on ``events``, fenced like every transition.

    Attributes:
        covers: The snapshot holds everything up to this offset; -1 for nothing.
        epoch: The acceptance rule's epoch after that offset.
        index: Its index after that offset.
        first: Offset of the snapshot's first chunk on ``snapshots``.
        chunks: How many there are.
        size: Bytes in all.
        refused: Offsets of all transitions up to ``covers`` that do not count. They are few, and whoever knows
            them can read the history of one instance without reading the whole partition.
        owner: Who took it, for people: its claim may be cleaned away while it goes on.
    """

    version: int
    at: int
    covers: int
    epoch: int
    index: int
    first: int
    chunks: int
    size: int
    refused: tuple[int, ...] = ()
    owner: str = ""


class Deciding(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an owner is about to decide, so that whoever takes over knows what it died over.

    Attributes:
        count: How many commands. Where it is one, the next three say which:
        instance_id: whose it is,
        command: its type,
        place: and where it stands, such as ``starts@17``, or the timer's name.
        commands: Those below this offset of ``commands`` have had their turn, or are among them;
        starts: the same of ``starts``;
        due: and all timers up to this time, in milliseconds. 0 where there are no timers among them.
        deaths: How many processes have died over it before.
    """

    count: int
    instance_id: str = ""
    command: str = ""
    place: str = ""
    commands: int = 0
    starts: int = 0
    due: int = 0
    deaths: int = 0


class PartitionOwned(Struct, frozen=True, gc=False, omit_defaults=True):
    """Claims a partition; the record's own offset is the new epoch.

    Attributes:
        owner: Who claims, for people.
        process: Whose life this is: no other process has the same, and none after a restart.
        deciding: What is decided next, where that may be what the owner before has died over.
    """

    version: int
    at: int
    owner: str
    process: str = ""
    deciding: Deciding | None = None
