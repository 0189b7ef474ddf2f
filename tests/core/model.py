"""Random definitions, and an engine with its workers in memory: what the laws are checked on.

Everything is driven by a ``random.Random``: the same seed plays the same scene, in any process. Under Hypothesis the
definition's randomness is Hypothesis' own, so that what fails is shrunk.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hypothesis import HealthCheck, settings

from stepwell.core.decide.decide import decide
from stepwell.core.decide.decision import BUDGET, Circumstances, Decision
from stepwell.core.decide.effects import effects
from stepwell.core.decide.starting import can_continue
from stepwell.core.fold.evolve import evolve
from stepwell.core.fold.finished import Finished
from stepwell.core.fold.state import InstanceState, decode_instance, encode_instance
from stepwell.core.plan.compile import Plan
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import Compensation, Definition, ErrorHandler, Retry, Step
from stepwell.schemas.records.codec import decode_transition, encode
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    ChildEnded,
    CompleteStep,
    ContinueWorkflow,
    FailStep,
    FireTimer,
    HeartbeatStep,
    HoldWorkflow,
    PauseWorkflow,
    QuarantineInstance,
    RejectStep,
    ReleaseWorkflow,
    ReportStarted,
    RescheduleTimers,
    ResumeWorkflow,
    ReturnStep,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.records.events import (
    EVENTS_VERSION,
    ErrorInfo,
    Event,
    TimersMoved,
    Transition,
    WorkflowReopened,
    WorkflowResumed,
)
from stepwell.schemas.records.step_waits import Parent
from stepwell.schemas.records.work import CancelRuns, WorkItem
from tests.core.invariants import is_at_rest

Random = random.Random
WORDS = ("Boom", "ValidationError", "ConnectionError", "StepTimeout")


def examples(count: int) -> settings:
    """How many examples a property is tried on; STEPWELL_EXAMPLES raises it for a longer search."""
    return settings(
        max_examples=int(os.environ.get("STEPWELL_EXAMPLES", "0")) or count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


# --- definitions ----------------------------------------------------------------------------------------------


def definition(rnd: Random, *, most_steps: int = 25, confluent: bool = False) -> Definition:
    """A random valid definition.

    Args:
        confluent: Only what makes the outcome independent of the order of what happens: no failure that ends or
            stops the instance while others are under way, no value of the context that two steps write.
    """
    count = 1 + rnd.randrange(most_steps)
    steps: list[Step] = []
    for number in range(count):
        earlier = [step.id for step in steps]
        wanted = min(len(earlier), rnd.randrange(4))
        depends_on = tuple(rnd.sample(earlier[-8:], min(wanted, len(earlier[-8:])))) if wanted else ()
        steps.append(_step(rnd, f"s{number}", depends_on, confluent=confluent))
    handlers: dict[str, ErrorHandler] = {}
    for step in list(steps):
        if rnd.randrange(8) == 7:
            name = f"on-{step.id}"
            then = "continue" if confluent else rnd.choice(("fail", "continue", "rollback"))
            handlers[step.id] = ErrorHandler(name, then)
            steps.append(_handler(rnd, name, step.id, confluent=confluent))
    if rnd.randrange(2):  # the written order is not always the order of the graph
        rnd.shuffle(steps)
    output = rnd.choice((None, None, None, {"all": "{{ step_outputs }}"}, {"context": "{{ context }}"}))
    if output is None and not confluent and rnd.randrange(30) == 29:
        output = "{{ input.nothing }}"
    return Definition(
        name="random",
        steps=tuple(steps),
        version="1",
        default_timeout_seconds=rnd.choice((None, None, None, 3600.0)) if not confluent else None,
        max_parallel_steps=rnd.choice((None, None, 1, 2, 3)),
        error_handlers=handlers,
        output=output,
        when_skipped=rnd.choice(("run", "run", "skip")),
    )


def _step(rnd: Random, step_id: str, depends_on: tuple[str, ...], *, confluent: bool) -> Step:
    kinds = [*("python",) * 6, "wait", "condition_check", "input", "output"]
    if not confluent:  # their outputs name a time, or a run: that hangs on the order
        kinds += ["approval_gate", "workflow_trigger"]
    kind = rnd.choice(kinds)
    fields: dict[str, Any] = {}
    if kind == "python":
        fields["handler"] = "work"
        fields["timeout_seconds"] = rnd.choice((None, None, 2.0))
        if rnd.randrange(3) == 2:
            fields["retry"] = Retry(max_attempts=1 + rnd.randrange(3), jitter=rnd.choice((0.0, 0.5)))
        if rnd.randrange(3) == 2:
            fields["compensate"] = _compensation(rnd)
    elif kind == "wait":
        fields["config"] = {"seconds": rnd.choice((0, 1, 60))}
    elif kind == "condition_check":
        fields["config"] = {"condition": "input.n > 1"}
    elif kind == "approval_gate":
        fields["config"] = _gate(rnd)
    elif kind == "workflow_trigger":
        fields["config"] = {"workflow": "other", "on_failure": rnd.choice(("fail", "continue"))}
        fields["config"]["wait"] = rnd.randrange(4) > 0
        fields["timeout_seconds"] = rnd.choice((None, 30.0))
    if rnd.randrange(4) == 3:
        conditions = ["true", "false", "input.n > 1", "'k' in input"]
        conditions += [f"{dep}.status == 'succeeded'" for dep in depends_on]
        conditions += [f"step_outputs.{dep}.v == 1" for dep in depends_on]  # fails where it has no v
        conditions += ["input.nothing"]
        fields["condition"] = rnd.choice(conditions)
    if depends_on and rnd.randrange(4) == 3:
        fields["input_mapping"] = {"given": f"step_outputs.{depends_on[0]}", "n": "{{ input.n + 1 }}"}
    if rnd.randrange(4) == 3:
        fields["checkpoint"] = rnd.choice((True, f"after {step_id}", "shared", "latest", "2"))
    policies = ("skip",) if confluent else ("fail", "skip", "skip", "pause", "rollback")
    fields["on_failure"] = rnd.choice(policies)
    fields["mode"] = rnd.choice(("parallel", "parallel", "parallel", "sequential"))
    if depends_on and rnd.randrange(4) == 3:
        fields["when_skipped"] = rnd.choice(("run", "skip", "skip"))
    return Step(step_id, type=kind, depends_on=depends_on, **fields)


def _gate(rnd: Random) -> dict[str, Any]:
    gate: dict[str, Any] = {
        "approvers": rnd.choice(([], ["ann"], ["ann", "bob"], ["ann", "bob"])),
        "title": "n is {{ input.n }}",
    }
    gate["required"] = 1 + rnd.randrange(max(1, len(gate["approvers"])))
    gate["on_reject"] = rnd.choice(("fail", "continue"))
    if rnd.randrange(2):
        gate["timeout_seconds"] = 20
        gate["on_timeout"] = rnd.choice(("approve", "reject", "fail", "escalate", "escalate"))
        if gate["on_timeout"] == "escalate":
            gate["escalate_to"] = [["ann", "cy"], ["cy", "bob"]]
    return gate


def _compensation(rnd: Random) -> Compensation:
    return Compensation(
        "undo",
        input=rnd.choice((None, {"was": "{{ output }}"}, {"n": "{{ input.n }}"}, "{{ output.v }}")),
        retry=Retry(max_attempts=rnd.choice((1, 3))),
        timeout_seconds=rnd.choice((None, 2.0)),
    )


def _handler(rnd: Random, name: str, failed: str, *, confluent: bool) -> Step:
    kind = rnd.choice(("python", "python", "wait", "input"))
    fields: dict[str, Any] = {"handler": "mend"} if kind == "python" else {}
    if kind == "wait":
        fields["config"] = {"seconds": 1}
    if not confluent:
        fields["condition"] = rnd.choice((None, None, "error.type == 'Boom'"))
        fields["compensate"] = rnd.choice((None, Compensation("undo"))) if kind == "python" else None
    fields["depends_on"] = rnd.choice(((), (failed,)))
    fields["input"] = rnd.choice((None, {"why": "{{ error.message }}", "who": "{{ failed_step }}"}))
    fields["mode"] = rnd.choice(("parallel", "sequential"))
    return Step(name, type=kind, **fields)


# --- what handlers make of their work ---------------------------------------------------------------------------

Fate = Callable[[WorkItem], "dict[str, Any] | ErrorInfo | None"]
"""The outcome of a run: fields of CompleteStep, an error, or None where no worker has the handler."""


def fixed_fate(seed: int) -> Fate:
    """An outcome that hangs on the step and the attempt alone, not on when it runs; error handlers succeed."""

    def fate(item: WorkItem) -> dict[str, Any] | ErrorInfo:
        if item.step.purpose == "handle":
            return good_fate(item)
        return _outcome(random.Random(f"{seed} {item.step.step_id} {item.step.attempt} {item.step.purpose}"), item)

    return fate


def moody_fate(rnd: Random) -> Fate:
    """Another outcome each time; sometimes no worker has the handler."""

    def fate(item: WorkItem) -> dict[str, Any] | ErrorInfo | None:
        return None if rnd.randrange(40) == 0 else _outcome(rnd, item)

    return fate


def good_fate(_item: WorkItem) -> dict[str, Any]:
    """Success."""
    return {"output": {"v": 1}}


def _outcome(rnd: Random, item: WorkItem) -> dict[str, Any] | ErrorInfo:
    if rnd.random() < (0.1 if item.step.purpose == "compensate" else 0.25):
        return ErrorInfo(rnd.choice(WORDS), message="it went wrong", retryable=rnd.choice((None, None, True, False)))
    output = rnd.choice(({"v": 1}, {"v": 2, "b": [1, {"z": 1, "a": None}], "a": "é"}, 7, None, [1, 2.5], "text"))
    key = f"by {item.step.step_id}"
    return {"output": output, "context": {key: rnd.randrange(9)} if rnd.random() < 0.3 else {}}


# --- the engine and its workers ---------------------------------------------------------------------------------


class Known:
    """The registered definitions: one."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lookups = 0
        self.active = True

    def by_hash(self, definition: str) -> Plan | None:
        """As ``Plans`` asks."""
        self.lookups += 1
        return self.plan if definition == self.plan.hash else None

    def why_missing(self, definition: str) -> str:
        """As ``Plans`` asks."""
        return f"no definition with the hash {definition} is registered"

    def resolve(self, workflow: str, version: str | None) -> Plan | None:
        """As ``Plans`` asks."""
        named = self.plan.definition
        return self.plan if workflow == named.name and version in (None, named.version) else None

    def is_active(self, workflow: str, version: str | None) -> bool:
        """As ``Plans`` asks."""
        return self.active and self.resolve(workflow, version) is not None

    def names(self) -> Iterable[str]:
        """As ``Plans`` asks."""
        return [self.plan.definition.name]


Observer = Callable[[InstanceState | None, Event, InstanceState], None]


class Engine:
    """Decides the commands of one instance, folds what it decided from bytes, and plays its workers.

    Attributes:
        now: Milliseconds; moves only when told to.
        state: The instance while it is live; then it is ``archived``.
        transitions: All so far, each as it would be read back from the log.
        in_hand: Work that was sent out and that no outcome was delivered for.
        said: Every command of a worker so far.
        watch: Called with every event, and the states before and after it.
        forgetful: Decide on a state that has been through a snapshot.
    """

    def __init__(
        self,
        definition: Definition,
        fate: Fate = good_fate,
        *,
        budget: int = BUDGET,
        instance_id: str = "i",
        watch: Observer | None = None,
        forgetful: bool = False,
    ) -> None:
        self.plan = compile_plan(definition)
        self.plans = Known(self.plan)
        self.fate = fate
        self.budget = budget
        self.id = instance_id
        self.watch = watch
        self.forgetful = forgetful
        self.agreeable = False  # what people and other workflows say in the end
        self.now = 1_000_000
        self.state: InstanceState | None = None
        self.archived: InstanceState | None = None
        self.finished: Finished | None = None
        self.oversized: dict[str, int] = {}
        self.transitions: list[Transition] = []
        self.answers: list[Event] = []  # to commands for an instance that is not live: no part of its history
        self.in_hand: list[WorkItem] = []
        self.said: list[Any] = []
        self.told: list[Any] = []  # what other instances were told
        self.decided = 0
        self.armed: list[tuple[int, str]] = []  # as the owner of a partition keeps them: each fires once

    # what is known

    @property
    def latest(self) -> InstanceState:
        """The instance, live or not."""
        state = self.state or self.archived
        assert state is not None
        return state

    @property
    def events(self) -> list[Event]:
        """All events so far; event s stands at s - 1."""
        return [event for transition in self.transitions for event in transition.events]

    @property
    def encoded(self) -> list[bytes]:
        """All transitions as bytes."""
        return [encode(transition) for transition in self.transitions]

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one type."""
        return [event for event in self.events if type(event) is kind]

    def names(self) -> list[str]:
        """Every event in short: its tag, and its step."""
        return [f"{tag_of(event)} {getattr(event, 'step_id', '')}".strip() for event in self.events]

    # deciding

    def circumstances(self, command: Any) -> Circumstances:
        """As the owner of a partition would give them."""
        reopens = isinstance(command, (ResumeWorkflow, RollbackWorkflow))
        archived = self.archived if self.state is None and reopens else None
        finished = self.finished if self.state is None else None
        return Circumstances(self.now, self.plans, finished, archived, self.budget, self.oversized)

    def send(self, command: Any) -> Decision:
        """Decide a command, and check what holds of every decision."""
        self.decided += 1
        state = self.state
        if self.forgetful and state is not None:
            state = decode_instance(encode_instance(state))
        decision = decide(state, command, self.circumstances(command))
        tags = [tag_of(event) for event in decision.events]
        assert bool(tags) != bool(decision.note), (command, tags, decision.note)
        if {"command.rejected", "command.noted"} & {*tags}:
            assert len(tags) == 1, (command, tags)
        if not tags:
            assert decision.state is state
        elif decision.state is None:
            assert tags[0] in ("command.rejected", "command.noted")
            self.answers += decision.events
        else:
            self._record(decision)
        return decision

    def _record(self, decision: Decision) -> None:
        assert decision.state is not None
        sequence = decision.state.sequence - len(decision.events) + 1
        made = Transition(EVENTS_VERSION, self.now, self.id, sequence, tuple(decision.events))
        transition = decode_transition(encode(made), "a test")
        before = state = self.state
        assert sequence == (self.latest.sequence if self.transitions else 0) + 1
        for event in transition.events:
            earlier, state = state, evolve(state, event, transition.at, self.id)
            if self.watch:
                self.watch(earlier, event, state)
        assert state is not None
        assert encode_instance(state) == encode_instance(decision.state)
        self.transitions.append(transition)
        self.state = state if state.live else None
        self.archived = None if state.live else state
        self._arm(transition, state)
        if not state.live:
            self.finished = Finished(state.status, state.sequence, 0, state.commands[0] if state.commands else "")
        for effect in effects(before, transition, state):
            if isinstance(effect, WorkItem):
                self.in_hand.append(effect)
            elif not isinstance(effect, CancelRuns):
                self.told.append(effect)
            else:
                self.in_hand = [item for item in self.in_hand if not effect.first <= item.step.run <= effect.last]

    def start(self, data: Any = None, **fields: Any) -> Decision:
        """Start the instance."""
        named = self.plan.definition
        fields.setdefault("command_id", "start")
        data = {"n": 2, "k": [1]} if data is None else data
        return self.send(StartWorkflow(self.id, workflow=named.name, version=named.version, input=data, **fields))

    # workers, in order of their being asked

    def item(self, step_id: str) -> WorkItem:
        """The newest work that was sent out for a step."""
        return [item for item in self.in_hand if item.step.step_id == step_id][-1]

    def _say(self, item: WorkItem, command: Any) -> Decision:
        if item in self.in_hand:
            self.in_hand.remove(item)
        self.said.append(command)
        return self.send(command)

    def complete(self, step_id: str, output: Any = None, **context: Any) -> Decision:
        """A step's handler succeeds."""
        item = self.item(step_id)
        return self._say(item, CompleteStep(self.id, step_id, item.step.run, output, context))

    def fail(self, step_id: str, kind: str = "Boom", message: str = "it went wrong", **fields: Any) -> Decision:
        """A step's handler fails."""
        item = self.item(step_id)
        return self._say(item, FailStep(self.id, step_id, item.step.run, ErrorInfo(kind, message, **fields)))

    def give_back(self, step_id: str) -> Decision:
        """A worker lacks a step's handler."""
        item = self.item(step_id)
        return self._say(item, ReturnStep(self.id, step_id, item.step.run, "no such handler"))

    def report(self, step_id: str, worker: str = "w") -> Decision:
        """A worker has a step in hand for longer than a moment."""
        return self.send(ReportStarted(self.id, step_id, self.item(step_id).step.run, worker))

    def deliver(self, item: WorkItem) -> Decision:
        """The outcome of a run, as fate has it."""
        outcome, step = self.fate(item), item.step
        command: Any
        if outcome is None:
            command = ReturnStep(self.id, step.step_id, step.run, "no such handler")
        elif isinstance(outcome, ErrorInfo):
            command = FailStep(self.id, step.step_id, step.run, outcome)
        else:
            command = CompleteStep(self.id, step.step_id, step.run, **outcome)
        return self._say(item, command)

    # people, and other workflows

    def waits(self) -> list[str]:
        """The steps that wait for people or for other workflows."""
        steps = self.state.steps if self.state is not None else {}
        return sorted(step_id for step_id, step in steps.items() if step.gate is not None or step.child is not None)

    def word(self, step_id: str, command_id: str, *, well: bool = True) -> Any:
        """What ends the wait of a step, or brings it nearer to its end: a vote, or the end of its child."""
        assert self.state is not None
        step = self.state.steps[step_id]
        if step.child is not None:
            status: Any = "completed" if well else "failed"
            error = None if well else ErrorInfo("Boom", "in the child")
            return ChildEnded(
                self.id, step_id=step_id, run=step.run, child_id=step.child.child_id, status=status,
                output={"v": 1} if well else None, error=error,
            )  # fmt: skip
        assert step.gate is not None
        voted = {vote.by for vote in step.votes}
        by = next(name for name in (*step.gate.approvers, "ann", "bob", "cy") if name not in voted)
        return (ApproveStep if well else RejectStep)(self.id, step_id, by, "so be it", command_id)

    # time

    def fire(self, timer: str) -> Decision:
        """A timer is due."""
        return self.send(FireTimer(self.id, timer))

    def _arm(self, transition: Transition, state: InstanceState) -> None:
        for event in transition.events:
            if isinstance(event, (WorkflowResumed, WorkflowReopened, TimersMoved)):
                self.armed += [(due, timer) for timer, due in state.timers.items()]
            elif tag_of(event) in SETS_TIMER and event.due is not None:  # type: ignore[union-attr]
                self.armed.append((event.due, getattr(event, "step_id", "")))  # type: ignore[union-attr]
        self.armed = sorted({*self.armed})

    def wait(self, seconds: float) -> None:
        """Time passes; every timer that becomes due fires, if it still holds."""
        end = self.now + round(seconds * 1000)
        while self.armed and self.armed[0][0] <= end:
            due, timer = self.armed.pop(0)
            self.now = max(self.now, due)
            if self.state is not None and self.state.timers.get(timer) == due:
                self.fire(timer)
        self.now = end

    def next_due(self) -> int | None:
        """When the next timer of a step is due."""
        timers = self.state.timers if self.state else {}
        return next((due for due, timer in self.armed if timer and timers.get(timer) == due), None)

    # the rest

    def go_on(self) -> bool:
        """Release more of what was deferred, if the owner would."""
        if self.state is None or not can_continue(self.state, self.plan):
            assert self.state is None or is_at_rest(self.plan, self.state), "a place is free, and nothing begins"
            return False
        self.send(ContinueWorkflow(self.id))
        return True

    def drain(self, rnd: Random | None = None, *, most: int = 5_000) -> None:
        """Play on until nothing is under way: outcomes in order, or in a random one."""
        for _ in range(most):
            if self.state is None:
                return
            if self.go_on():
                continue
            if self.in_hand:
                self.deliver(self.in_hand[rnd.randrange(len(self.in_hand)) if rnd else 0])
                continue
            waits = self.waits()
            if waits:
                step_id = rnd.choice(waits) if rnd else waits[0]
                well = self.agreeable or len(step_id) % 2 == 0
                self.send(self.word(step_id, f"vote {self.decided}", well=well))
                continue
            due = self.next_due()
            if due is None:
                return
            self.wait(max(0, due - self.now) / 1000)
        raise AssertionError("it never comes to rest")

    def run(self, data: Any = None) -> InstanceState:
        """Start, and play on until nothing is under way."""
        self.start(data)
        self.drain()
        return self.latest


SETS_TIMER = (
    "workflow.started", "step.started", "step.waiting", "step.retry_scheduled", "step.returned", "approval.required",
    "child.requested",
)  # fmt: skip


def tag_of(event: Event) -> str:
    """An event's type, as it is written."""
    return str(event.__struct_config__.tag)


# --- chaos ------------------------------------------------------------------------------------------------------


_PARENT = Parent("p", "s", 1)


def play(  # noqa: PLR0912 - a table of odds; what a seed draws must stay as it is
    engine: Engine, rnd: Random, *, commands: int = 60, quarantine: bool = True
) -> Iterator[Any]:
    """Send random commands, the likely ones and the silly ones; gives each one after it was decided."""
    engine.start(parent=rnd.choice((None, _PARENT)))
    number = 0
    for _ in range(commands):
        number += 1
        dice = rnd.randrange(100)
        command: Any = None
        if engine.go_on():
            continue
        if dice < 60 and engine.in_hand:
            item = rnd.choice(engine.in_hand)
            engine.deliver(item)
            command = engine.said[-1]
            if rnd.randrange(5) == 0:
                engine.in_hand.append(item)  # its queue will hand it out again
        elif dice < 68 and engine.in_hand:
            step = rnd.choice(engine.in_hand).step
            command = rnd.choice((
                ReportStarted(engine.id, step.step_id, step.run, rnd.choice("vw")),
                HeartbeatStep(engine.id, step.step_id, step.run, rnd.randrange(3)),
            ))  # fmt: skip
        elif dice < 74 and engine.waits():
            command = engine.word(rnd.choice(engine.waits()), f"v{number}", well=rnd.randrange(3) > 0)
        elif dice < 75:
            engine.wait(rnd.choice((0.1, 5, 70)))
            continue
        elif dice < 81 and engine.state is not None:
            due = engine.next_due()
            if due is not None:
                engine.wait(max(0, due - engine.now) / 1000)
                continue
        elif dice < 86 and engine.said:
            command = rnd.choice(engine.said)
        elif dice < 97:
            command = client_command(engine, rnd, f"c{number}")
        elif dice < 98 and quarantine:
            command = QuarantineInstance(engine.id, ErrorInfo("KeyError", "a bug"))
        else:
            command = nonsense(engine, rnd)
        if command is None:
            continue
        if not (engine.said and command is engine.said[-1] and dice < 60):
            engine.send(command)
        yield command


def client_command(engine: Engine, rnd: Random, command_id: str) -> Any:
    """What a client might ask."""
    latest = engine.latest
    targets: list[int | str | None] = [
        None,
        "latest",
        "start",
        "shared",
        "2",
        1 + rnd.randrange(latest.sequence),
        *sorted(latest.steps),
    ]
    return rnd.choice((
        lambda: PauseWorkflow(engine.id, "lunch", command_id),
        lambda: ResumeWorkflow(engine.id, rnd.choice(("retry", "skip")), command_id),
        lambda: ResumeWorkflow(engine.id, rnd.choice(("retry", "skip")), command_id),
        lambda: HoldWorkflow(engine.id, parent=_PARENT, command_id=command_id),
        lambda: ReleaseWorkflow(engine.id, parent=_PARENT, command_id=f"{engine.id}:release:{command_id}"),
        lambda: RescheduleTimers(
            engine.id, rnd.choice(("", *sorted(latest.timers))), rnd.choice((None, None, 0, 30.0)), command_id
        ),
        lambda: RollbackWorkflow(engine.id, rnd.choice(targets), rnd.random() < 0.3, command_id),
        lambda: CancelWorkflow(engine.id, "enough", command_id) if rnd.randrange(3) == 0 else None,
        lambda: StartWorkflow(engine.id, workflow="random", command_id=rnd.choice(("start", command_id))),
    ))()  # fmt: skip


def nonsense(engine: Engine, rnd: Random) -> Any:
    """What nobody should send."""
    i = engine.id
    step_id = rnd.choice(("", "no such step", "s0", "s1", "on-s0", "x" * 3_000, "\x00", "²"))
    run = rnd.choice((-1, 0, 1, 2, engine.latest.runs, 2**31, 10**30))
    output = rnd.choice((None, [], {"": {}}, 1e308, -(2**70), "\u0000\U0001f600", True))
    error = rnd.choice(
        (ErrorInfo(""), ErrorInfo("Boom", kinds=("A", "B"), traceback="t"), ErrorInfo("x", "y" * 5_000))
    )
    odd: tuple[int | str, ...] = (
        "",
        "latst",
        "0",
        "-1",
        "²",
        "٣",
        "9" * 5_000,
        "start ",
        -5,
        0,
        10**30,
        step_id,
        "1",
    )
    return rnd.choice((
        CompleteStep(i, step_id, run, output, {"": output}),
        ApproveStep(i, step_id, rnd.choice(("", "ann", "\x00"))),
        RejectStep(i, step_id, rnd.choice(("", "ann", "eve")), "z" * 5_000),
        ChildEnded(i, step_id=step_id, run=run, child_id=step_id, status="failed", error=error),
        FailStep(i, step_id, run, error),
        ReportStarted(i, step_id, run, "\x00"),
        HeartbeatStep(i, step_id, run, output),
        ReturnStep(i, step_id, run, "z" * 5_000),
        FireTimer(i, rnd.choice(("", step_id))),
        ContinueWorkflow(i),
        RollbackWorkflow(i, rnd.choice(odd)),
        RescheduleTimers(i, step_id, rnd.choice((None, 0, 1e308, 1e-9))),
        HoldWorkflow(i, parent=Parent(step_id, step_id, run)),
        ReleaseWorkflow(i, parent=Parent(step_id, step_id, run)),
        StartWorkflow(i, workflow=rnd.choice(("", "randm", "random")), version=rnd.choice((None, "0")), input=output),
    ))  # fmt: skip
