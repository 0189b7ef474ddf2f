"""One command's decision while it is being made: the events so far, and the state after them.

Deciding folds each event as it goes, so that later choices see it. Steps that have become free are worked through
in written order (``starting``). The cost depends on what a command sets free, never on how many steps there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from stepwell.core.decide.retry import PAYLOAD_TOO_LARGE
from stepwell.core.expressions.meter import MAX_MADE, MAX_WORK
from stepwell.core.expressions.values import Evaluation
from stepwell.core.fold.evolve import evolve
from stepwell.core.fold.finished import Finished
from stepwell.core.fold.state import InstanceState, StepState
from stepwell.core.plan.compile import Plan, PlanStep
from stepwell.schemas.records.events import ErrorInfo, Event

# Events that one command may lead to before the rest is left to a ContinueWorkflow. Some hundreds keep a record
# far below Kafka's 1 MB for ordinary inputs, and amortise the cost of a record.
BUDGET: Final = 256

# What is left to a step that has used so little work that it is not counted: as many as fit are one step's worth.
_HARDLY_ANY_WORK: Final = MAX_WORK - MAX_WORK // BUDGET

START_OF_HISTORY: Final = 1  # the sequence of WorkflowStarted: the earliest point to roll back to


class Plans(Protocol):
    """The registered definitions, compiled."""

    def by_hash(self, definition: str) -> Plan | None:
        """The definition that an instance is pinned to, by its hash or the beginning of it that fits it alone."""

    def why_missing(self, definition: str) -> str:
        """Why ``by_hash`` gives nothing, in words."""

    def resolve(self, workflow: str, version: str | None) -> Plan | None:
        """A definition by name and version, active or not; without a version, the active one registered last."""

    def is_active(self, workflow: str, version: str | None) -> bool:
        """Whether new starts may take this version; without one, whether they may take any."""

    def names(self) -> Iterable[str]:
        """Names of the registered workflows, for suggestions."""


class Circumstances(NamedTuple):
    """What a command is decided on, besides the state.

    Attributes:
        now: Milliseconds since 1970; never less than at the decision before.
        finished: What is remembered of the instance, where it has left memory.
        archived: Its last state, read from its history, where the command can reopen it, or where its id was
            forgotten.
        forgets: Whether ids of finished instances are known no more.
        budget: Events after which the rest is deferred.
        oversized: Steps whose events were found too large for a record ("" for the workflow's own), each with
            its size in bytes.
        room: Bytes that one step may make of its templates, and what it merges; about as many are made in one
            decision before the rest is deferred.
    """

    now: int
    plans: Plans
    finished: Finished | None = None
    archived: InstanceState | None = None
    budget: int = BUDGET
    oversized: Mapping[str, int] = {}
    room: int = MAX_MADE
    forgets: bool = False


class DefinitionMissingError(LookupError):
    """What an instance is pinned to is not registered, cannot be compiled, or cannot be told."""


class Decision:
    """The events that one command leads to, and the state after them.

    Attributes:
        events: In order; none where the command changes nothing (``note`` says why).
        state: After the events.
        most: Events after which the rest is deferred.
    """

    def __init__(self, state: InstanceState | None, instance_id: str, circumstances: Circumstances) -> None:
        self.state = state
        self.events: list[Event] = []
        self.note = ""
        self.instance_id = instance_id
        self.circumstances = circumstances
        self.now: int = circumstances.now
        self._plan: Plan | None = None
        self.freed: list[tuple[int, str]] = []  # steps whose dependencies are settled: a heap, in written order
        self.most: int = circumstances.budget
        self._used = 0.0  # of one step's meter, by all the steps together

    def evaluation(self, scope: Mapping[str, Any]) -> Evaluation:
        """What pays for all that is evaluated for one step."""
        return Evaluation(scope, MAX_WORK, self.circumstances.room)

    def count(self, evaluation: Evaluation) -> None:
        """Count what an evaluation has used. After as much as one step may use, the rest is deferred."""
        room = self.circumstances.room
        if evaluation.left > _HARDLY_ANY_WORK and evaluation.room > room - room // BUDGET:
            return
        self._used += evaluation.used
        if self._used >= 1:
            self.most = 0

    def emit(self, event: Event) -> None:
        """Add an event and fold it."""
        self.events.append(event)
        self.state = evolve(self.state, event, self.now, self.instance_id)

    def instance(self) -> InstanceState:
        """The state, which must exist by now."""
        if self.state is None:
            raise LookupError(f"{self.instance_id}: no such instance")
        return self.state

    def plan(self) -> Plan:
        """The definition that the instance is pinned to."""
        if self._plan is None:
            definition = self.instance().definition
            self._plan = self.circumstances.plans.by_hash(definition)
            if self._plan is None:
                raise DefinitionMissingError(self.circumstances.plans.why_missing(definition))
        return self._plan

    def free(self, step_ids: Iterable[str]) -> None:
        """These steps may start as far as their dependencies go."""
        steps = self.plan().steps
        for step_id in step_ids:
            heapq.heappush(self.freed, (steps[step_id].index, step_id))

    def reach(self, plan_step: PlanStep) -> tuple[str, ...]:
        """A step is about to be settled: free the dependents that waited for it alone; return the others."""
        joins = []
        steps, arrived = self.plan().steps, self.instance().arrived
        for step_id in plan_step.dependents:
            waiting_for = len(steps[step_id].step.depends_on)
            if waiting_for == 1 or arrived.get(step_id, 0) + 1 == waiting_for:
                self.free((step_id,))
            else:
                joins.append(step_id)
        return tuple(joins)

    def again(self, step: StepState, attempt: int) -> None:
        """Route a run anew, with the input that it had."""
        if step.ready is None:
            raise LookupError(f"{self.instance_id}: nothing to run again")
        origin = step.ready.origin or step.ready.run
        self.emit(replace(step.ready, run=self.instance().runs + 1, attempt=attempt, origin=origin))

    def too_large(self, step_id: str, what: str) -> ErrorInfo:
        """The error of a step whose events do not fit a record."""
        size = self.circumstances.oversized[step_id]
        message = f"{what} makes a record of {size:,} bytes, more than the log takes; pass a reference instead"
        return ErrorInfo(type=PAYLOAD_TOO_LARGE, message=message)
