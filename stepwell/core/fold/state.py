"""What events add up to.

An instance's state is a frozen struct whose maps are persistent (HAMT): an update costs about a microsecond
however many steps there are, and every earlier version stays valid. The engine leans on that: it decides on a
*speculative* state and releases effects from an earlier, *confirmed* one.

The states of a workflow and of a step are named in ``schemas.records.statuses``. What leads from one to the other is
drawn here and nowhere else; ``evolve`` follows these tables::

    workflow   started ──▶ running ◀──resumed/paused──▶ paused (a person, or an incident)
                             │  ▲                          │
                             │  └──── reopened ◀───────────┼── completed | failed | cancelled
                             └──────── finished ───────────┘

    step       pending ──ready──▶ ready ──started──▶ running ──┬─▶ succeeded
                  │                 ▲                          ├─▶ failed
                  │                 └──due── waiting ◀─retry───┤
                  ├──deferred (no place yet, or paused)        └─▶ cancelled
                  └──condition false──▶ skipped

A step that nothing has happened to is not in the map at all: that is ``pending``.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from immutables import Map
from msgspec import Struct

from stepwell.core.fold.heap import EMPTY, Heap
from stepwell.schemas.records.events import ErrorInfo, StepReady, WorkflowEnding
from stepwell.schemas.records.statuses import LIVE, StepStatus, WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested, Parent
from stepwell.schemas.records.upcast import lift_instance

QUARANTINED: Final = "quarantined"  # the incident of what cannot be decided about; its outcomes are refused
# Incidents whose error is in the step's own event, just before.
TOLD_BY_STEPS: Final = frozenset({"step_failed", "compensation_failed"})
WORKFLOW_TIMER: Final = ""  # the key of the timer of the whole instance; a step's timer has the step's id

REMEMBERED_COMMANDS: Final = 32  # ids of commands that an instance has followed: enough for any sender's retries


class StepState(Struct, frozen=True, gc=False, omit_defaults=True):
    """One step of one instance.

    Attributes:
        run: The run under way, or the last one.
        settled: Sequence of the event from which on its dependents count it as settled; 0 while they do not.
        ready: What was routed to workers, while a run is under way.
        waits_for: What a ``waiting`` step waits for: its next attempt, a time, a worker with its handler, people, or
            a child workflow.
        worker: Who has reported to have it in hand.
        deliveries: How often this run was handed out, as far as workers have reported.
        returned_at: When a worker first handed this run back, in milliseconds; 0 if none did.
        since: When it became ready, in milliseconds.
        until: When it was settled, failed or was cancelled, in milliseconds.
        gate: What people are to decide, while it waits for them,
        votes: and what they have said at this level.
        child: The workflow that it waits for.
        idle: Whether this run takes no place under ``max_parallel_steps``, because it only waits.
    """

    status: StepStatus
    run: int = 0
    attempt: int = 1
    settled: int = 0
    output: Any = None
    error: ErrorInfo | None = None
    ready: StepReady | None = None
    waits_for: Literal["", "retry", "time", "worker", "approval", "child"] = ""
    sequential: bool = False
    worker: str = ""
    returned_at: int = 0
    since: int = 0
    until: int = 0
    progress: Any = None
    gate: ApprovalRequired | None = None
    votes: tuple[ApprovalDecided, ...] = ()
    child: ChildRequested | None = None
    deliveries: int = 1
    idle: bool = False


class Rollback(Struct, frozen=True, gc=False, omit_defaults=True):
    """A rollback under way.

    Attributes:
        to: The sequence that it returns to.
        remaining: Steps still to undo, the next one first.
        current: The compensation under way.
    """

    to: int
    remaining: tuple[str, ...] = ()
    then: Literal["run", "pause", "fail"] = "run"
    error: ErrorInfo | None = None
    step_id: str = ""
    current: StepState | None = None


class ContextValue(Struct, frozen=True, gc=False, array_like=True):
    """A value of the shared context and the event that set it; kept so that a rollback can return to it."""

    sequence: int
    value: Any


class InstanceState(Struct, frozen=True, gc=False):
    """One instance.

    Attributes:
        definition: Hash of the definition that it is pinned to, as its start says it.
        sequence: Sequence of its newest event.
        arrived: For each join that still waits: how many of its inputs are settled.
        deferred: Steps whose dependencies are settled but which may not start yet.
        deferred_sequential: The same for steps that run one at a time.
        active: Runs under way, those that only wait included.
        active_sequential: Those of steps that run one at a time.
        runs: How many runs were given a number.
        context: Every value that each key has had, the current one last.
        checkpoints: Named points and their sequences.
        timers: When each timer is due, in milliseconds since 1970.
        failures: Steps that failed and that nothing has dealt with yet.
        incident: Code of the problem that a person must look at.
        abandoned: Ranges of sequences (first, last) that rollbacks have undone.
        commands: Ids of the commands followed last.
        parent: The step of another instance that is told of the end.
        paused_at: Since when it has been paused, in milliseconds; 0 while it is not, or where nobody knows.
        incident_at: The same of the incident.
        ending: How it ends once its error handlers have.
        life: See ``schemas.events.Transition``.
        held: Whether it is paused because its parent is, and for no other reason.
        idle: Those of the runs under way that take no place under ``max_parallel_steps``.
    """

    id: str
    workflow: str
    version: str
    definition: str
    status: WorkflowStatus = WorkflowStatus.RUNNING
    input: Any = None
    priority: int = 0
    sequence: int = 0
    started_at: int = 0
    finished_at: int = 0
    output: Any = None
    error: ErrorInfo | None = None
    failed_step: str = ""
    steps: Map[str, StepState] = Map()
    arrived: Map[str, int] = Map()
    deferred: Heap = EMPTY
    deferred_sequential: Heap = EMPTY
    active: int = 0
    active_sequential: int = 0
    runs: int = 0
    context: Map[str, tuple[ContextValue, ...]] = Map()
    checkpoints: Map[str, int] = Map()
    timers: Map[str, int] = Map()
    failures: tuple[str, ...] = ()
    pause_reason: str = ""
    incident: str = ""
    rollback: Rollback | None = None
    abandoned: tuple[tuple[int, int], ...] = ()
    commands: tuple[str, ...] = ()
    parent: Parent | None = None
    paused_at: int = 0
    incident_at: int = 0
    ending: WorkflowEnding | None = None
    life: int = 0
    idle: int = 0
    held: bool = False

    @property
    def live(self) -> bool:
        """Whether it can still change without being reopened."""
        return self.status in LIVE

    @property
    def places(self) -> int:
        """The runs that count against ``max_parallel_steps``: those under way, but for what only waits."""
        return self.active - self.idle


def stands_still_since(state: InstanceState, timer: str) -> int:
    """Since when time has stood still for a timer.

    That is what a pause does to those of gates and children, and an incident to the workflow's own.

    Returns:
        Milliseconds since 1970; 0 where time goes on for it, or where nobody knows.
    """
    if state.status is not WorkflowStatus.PAUSED:
        return 0
    if timer == WORKFLOW_TIMER:
        return state.incident_at if state.rollback is None else 0
    step = state.steps.get(timer)
    waits = step is not None and (step.gate is not None or step.child is not None)
    return state.paused_at if waits else 0


def progress(state: InstanceState) -> dict[str, Any]:
    """What has been achieved, without the traces of how: what a rollback must restore (law 6)."""
    return {
        "steps": {
            step_id: {"status": str(step.status), "output": step.output}
            for step_id, step in sorted(state.steps.items())
            if step.settled
        },
        "context": {key: values[-1].value for key, values in sorted(state.context.items()) if values},
    }


# --- encoding -----------------------------------------------------------------------------------------------


def _to_plain(value: Any) -> Any:
    if isinstance(value, Map):
        return dict(sorted(value.items()))  # a map's own order depends on the process's hash seed (law 1)
    if isinstance(value, Heap):
        return list(value)
    raise NotImplementedError  # what msgspec asks of a hook that does not know a type


def _from_plain(kind: Any, value: Any) -> Any:
    if kind is Heap:
        return Heap((place, step_id) for place, step_id in value)
    if get_origin(kind) is Map:
        _, of = get_args(kind)
        return Map(msgspec.convert(value, dict[str, of], dec_hook=_from_plain))  # type: ignore[valid-type]
    raise NotImplementedError  # as above


_encoder = msgspec.json.Encoder(enc_hook=_to_plain)
_decoder = msgspec.json.Decoder(InstanceState, dec_hook=_from_plain)


def encode_instance(state: InstanceState) -> bytes:
    """The state as JSON; equal states give equal bytes."""
    return _encoder.encode(state)


def decode_instance(data: bytes) -> InstanceState:
    """Read what ``encode_instance`` wrote.

    Raises:
        msgspec.ValidationError: It is no encoded instance.
    """
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as problem:
        return _from_older(msgspec.json.decode(data), problem)


def instance_to_plain(state: InstanceState) -> dict[str, Any]:
    """The state as JSON-able data, for an event that carries it."""
    plain: dict[str, Any] = msgspec.json.decode(encode_instance(state))
    return plain


def instance_from_plain(plain: dict[str, Any]) -> InstanceState:
    """Read what ``instance_to_plain`` gave.

    Raises:
        msgspec.ValidationError: It is no encoded instance.
    """
    try:
        return msgspec.convert(plain, InstanceState, dec_hook=_from_plain)
    except msgspec.ValidationError as problem:
        return _from_older(plain, problem)


def _from_older(plain: Any, problem: msgspec.ValidationError) -> InstanceState:
    """Read an instance that an older Stepwell encoded, where it has another shape than today's."""
    try:
        return msgspec.convert(lift_instance(plain), InstanceState, dec_hook=_from_plain)
    except (AttributeError, KeyError, TypeError, msgspec.ValidationError):
        raise problem from None
