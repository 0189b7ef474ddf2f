"""Commands: requests to an instance. Each can be rejected, and a rejection is recorded.

On the wire a command is a JSON object whose ``type`` is the class name; its Kafka key is the instance id, so that
any client in any language can publish one. ``command_id`` is what a sender knows it by: a command whose id was
already followed changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.step_waits import LONGEST_ID, Parent

InstanceId = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
Priority = Annotated[int, Meta(ge=0, le=100)]
Deliveries = Annotated[int, Meta(ge=1, le=1_000_000)]  # far more than any limit
Milliseconds = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # no more than every JSON reader keeps exactly


COMMANDS_VERSION: Final = 1
"""Written as ``schema``. A command of a newer version is not guessed at: it goes to the dead letters, and is told."""


class _Versioned(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    schema: int = COMMANDS_VERSION


class _Command(_Versioned, frozen=True, omit_defaults=True, tag_field="type"):
    instance_id: InstanceId


class StartWorkflow(_Command, frozen=True, omit_defaults=True, tag="StartWorkflow", kw_only=True):
    """Start an instance.

    Attributes:
        version: A version of the definition, which must be active; without one, the active one registered last.
        priority: 0 to 100; higher runs first under load.
        timeout_seconds: In place of the definition's ``default_timeout_seconds``.
        parent: The step of another instance that is told of the end. Sent by engines.
    """

    workflow: str
    version: str | None = None
    input: Any = {}
    priority: Priority = 0
    timeout_seconds: Annotated[float, Meta(ge=0)] | None = None
    command_id: str = ""
    parent: Parent | None = None


class CancelWorkflow(_Command, frozen=True, omit_defaults=True, tag="CancelWorkflow"):
    """End an instance; handlers that run are told.

    Attributes:
        parent: The step that waits for it no longer. Sent by engines; no other instance than its child is meant.
    """

    reason: str = ""
    command_id: str = ""
    parent: Parent | None = None


class PauseWorkflow(_Command, frozen=True, omit_defaults=True, tag="PauseWorkflow"):
    """Start no further step until resumed; what runs may finish."""

    reason: str = ""
    command_id: str = ""


class ResumeWorkflow(_Command, frozen=True, omit_defaults=True, tag="ResumeWorkflow"):
    """Go on with a paused instance, or at the step that failed with a failed or cancelled one.

    Attributes:
        failed_steps: ``retry`` runs the steps that failed anew; ``skip`` goes on without them.
    """

    failed_steps: Literal["retry", "skip"] = "retry"
    command_id: str = ""


class HoldWorkflow(_Command, frozen=True, omit_defaults=True, tag="HoldWorkflow", kw_only=True):
    """The parent is paused: start no further step until it goes on. Sent by engines.

    Attributes:
        parent: The step that waits for this instance.
    """

    parent: Parent
    command_id: str = ""


class ReleaseWorkflow(_Command, frozen=True, omit_defaults=True, tag="ReleaseWorkflow", kw_only=True):
    """The parent goes on, and with it what stands still for its sake alone. Sent by engines.

    Attributes:
        parent: The step that waits for this instance.
    """

    parent: Parent
    command_id: str = ""


class RescheduleTimers(_Command, frozen=True, omit_defaults=True, tag="RescheduleTimers"):
    """Move timers: what is due absurdly late, because a clock was wrong, or one timer that somebody wants earlier.

    Attributes:
        step_id: Whose timer; empty for all of the instance.
        delay_seconds: From when it is decided until the timer is due. None moves each only if it is due later than if
            its wait began now, and then to there: what a wrong clock has put off for years is mended, nothing else
            changes.
    """

    step_id: str = ""
    delay_seconds: Annotated[float, Meta(ge=0)] | None = None
    command_id: str = ""


class RollbackWorkflow(_Command, frozen=True, omit_defaults=True, tag="RollbackWorkflow"):
    """Return to an earlier point, undoing what has a compensation in reverse order, and run on from there.

    Attributes:
        to: A number is an event's sequence. A text is the name of a checkpoint or the id of a settled step (the point
            right after it); where nothing has that name, ``start``, ``latest`` or an event's number. Without one,
            the step that was settled last.
        pause: Stay paused there instead of running on.
    """

    to: int | str | None = None
    pause: bool = False
    command_id: str = ""


class ApproveStep(_Command, frozen=True, omit_defaults=True, tag="ApproveStep"):
    """Somebody approves what a step waits for.

    Attributes:
        step_id: The step; empty where only one waits.
        by: Who approves.
    """

    step_id: str = ""
    by: str = ""
    comment: str = ""
    command_id: str = ""


class RejectStep(_Command, frozen=True, omit_defaults=True, tag="RejectStep"):
    """Somebody rejects what a step waits for.

    Attributes:
        step_id: The step; empty where only one waits.
        by: Who rejects.
    """

    step_id: str = ""
    by: str = ""
    comment: str = ""
    command_id: str = ""


class ChildEnded(_Command, frozen=True, omit_defaults=True, tag="ChildEnded", kw_only=True):
    """A workflow that a step waits for has come to its end, or could not be started. Sent by engines.

    Attributes:
        status: ``completed``, ``failed``, ``cancelled`` or ``rejected``.
    """

    step_id: str
    run: int
    child_id: str
    status: Literal["completed", "failed", "cancelled", "rejected"]
    output: Any = None
    error: ErrorInfo | None = None


class CompleteStep(_Command, frozen=True, omit_defaults=True, tag="CompleteStep"):
    """A handler has succeeded.

    Attributes:
        run: Which run of the step it was.
        context: Updates of the shared context; the last writer in event order wins.
        worker: Who ran it, for people.
        took: Milliseconds that the handler ran.
        cpu: Milliseconds of CPU that it used, where that is known.
    """

    step_id: str
    run: int
    output: Any = None
    context: dict[str, Any] = {}
    worker: str = ""
    took: Milliseconds = 0
    cpu: Milliseconds = 0


class FailStep(_Command, frozen=True, omit_defaults=True, tag="FailStep"):
    """A handler has failed, or an attempt timed out. ``worker``, ``took`` and ``cpu`` as in ``CompleteStep``."""

    step_id: str
    run: int
    error: ErrorInfo
    worker: str = ""
    took: Milliseconds = 0
    cpu: Milliseconds = 0


class ReportStarted(_Command, frozen=True, omit_defaults=True, tag="ReportStarted"):
    """A worker has had a step in hand for longer than a moment, or has taken one that was lost with another.

    Attributes:
        deliveries: How often it was handed out, this time included, to workers that did not give it back.
    """

    step_id: str
    run: int
    worker: str = ""
    deliveries: Deliveries = 1


class HeartbeatStep(_Command, frozen=True, omit_defaults=True, tag="HeartbeatStep"):
    """A long step lives.

    Attributes:
        progress: Whatever the handler wants to be seen.
    """

    step_id: str
    run: int
    progress: Any = None


class ReturnStep(_Command, frozen=True, omit_defaults=True, tag="ReturnStep"):
    """A worker lacks the step's handler; it is routed again after a moment, at no cost of an attempt."""

    step_id: str
    run: int
    reason: str = ""


class FireTimer(_Command, frozen=True, omit_defaults=True, tag="FireTimer"):
    """A timer of the folded state is due. Made by the partition's owner, never sent by clients.

    Attributes:
        timer: The timer's key in the state.
    """

    timer: str


class ContinueWorkflow(_Command, frozen=True, omit_defaults=True, tag="ContinueWorkflow"):
    """Release more of what was too much for one record. Made by the partition's owner."""


class QuarantineInstance(_Command, frozen=True, omit_defaults=True, tag="QuarantineInstance"):
    """One instance cannot be decided about: set it aside so that its partition goes on.

    Made by the partition's owner.

    Attributes:
        command: Type of the command that was being decided, whose sender is answered,
        command_id: and its id.
        reason: Why, for people.
        parent: Of a start: who waits for the child, and is told that there will be none.
    """

    error: ErrorInfo
    command: str = ""
    command_id: str = ""
    reason: str = ""
    parent: Parent | None = None


Command = (
    StartWorkflow
    | CancelWorkflow
    | PauseWorkflow
    | ResumeWorkflow
    | HoldWorkflow
    | ReleaseWorkflow
    | RescheduleTimers
    | RollbackWorkflow
    | CompleteStep
    | FailStep
    | ReportStarted
    | HeartbeatStep
    | ReturnStep
    | ApproveStep
    | RejectStep
    | ChildEnded
)
"""What clients, workers and the engines of other partitions may send."""

InternalCommand = FireTimer | ContinueWorkflow | QuarantineInstance
"""What only the owner of a partition makes; it never crosses the wire."""
