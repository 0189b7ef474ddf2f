"""Events of steps that a worker runs, or that the engine decides at once; see ``events``.

What ends an attempt says who made it (``worker``), how long its handler ran (``took``, milliseconds) and how much
CPU that used (``cpu``, milliseconds; only of functions that run in threads). Empty and 0 where nobody has told.

``joins`` names the dependents of a settled step that still wait for others: each counts one arrival more. So
a fan-in costs the same for each of its inputs, and folding needs no definition.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from stepwell.schemas.records.error_info import ErrorInfo

__all__ = [
    "StepCancelled",
    "StepEvent",
    "StepFailed",
    "StepHeartbeat",
    "StepReady",
    "StepRetryScheduled",
    "StepReturned",
    "StepSkipped",
    "StepStarted",
    "StepSucceeded",
    "StepWaiting",
    "StepsDeferred",
]


class _Event(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    pass


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


StepEvent = (
    StepReady
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
)
