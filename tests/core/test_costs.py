"""What an instance costs grows with its steps and its edges, and with nothing else."""

from collections import deque

import pytest

from stepwell.core.decide.decide import decide
from stepwell.core.decide.decision import Circumstances
from stepwell.core.decide.starting import can_continue
from stepwell.core.fold.evolve import fold
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import CompleteStep, ContinueWorkflow, StartWorkflow
from stepwell.schemas.records.events import EVENTS_VERSION, StepReady, StepsDeferred, Transition
from tests.core.build import step, workflow
from tests.core.model import Known
from tests.cost import lines

SMALL, LARGE = 100, 1_000


def chain(size: int) -> Definition:
    steps = [step("s0", input={})]
    steps += [step(f"s{n}", f"s{n - 1}", input={}) for n in range(1, size)]
    return workflow(*steps)


def fan(size: int) -> Definition:
    leaves = [step(f"s{n}", "root", input={}) for n in range(size)]
    return workflow(step("root"), *leaves, step("join", *[leaf.id for leaf in leaves], input={}), output={})


def one_by_one(size: int) -> Definition:
    return workflow(*[step(f"s{n}", mode="sequential", input={}) for n in range(size)], output={})


def few_at_once(size: int) -> Definition:
    return workflow(*[step(f"s{n}", input={}) for n in range(size)], output={}, max_parallel_steps=4)


class Counted(dict):
    """A mapping that counts how often it is asked."""

    asked = 0

    def __getitem__(self, key):
        self.asked += 1
        return super().__getitem__(key)


class Bill:
    """What it took to run one instance from start to end."""

    def __init__(self, definition: Definition) -> None:
        plan = compile_plan(definition)
        known = Known(plan)
        plan.steps = Counted(plan.steps)
        self.transitions: list[Transition] = []
        self.commands = 0
        state, work = None, deque([StartWorkflow("i", workflow="w")])
        while work:
            decision = decide(state, work.popleft(), Circumstances(0, known))
            self.commands += 1
            state = decision.state
            sequence = state.sequence - len(decision.events) + 1
            self.transitions.append(Transition(EVENTS_VERSION, 0, "i", sequence, tuple(decision.events)))
            ready = [event for event in decision.events if type(event) is StepReady]
            work += [CompleteStep("i", event.step_id, event.run) for event in ready]
            if state.live and can_continue(state, plan):
                work.appendleft(ContinueWorkflow("i"))
        self.state = state
        self.lookups = plan.steps.asked
        self.definitions = known.lookups
        self.bytes = sum(len(encode(transition)) for transition in self.transitions)
        self.largest = max(len(transition.events) for transition in self.transitions)

    @property
    def events(self) -> int:
        return sum(len(transition.events) for transition in self.transitions)


SHAPES = pytest.mark.parametrize("shape", [chain, fan, one_by_one, few_at_once])


@SHAPES
def test_events_bytes_and_lookups_grow_with_the_steps(shape):
    small, large = Bill(shape(SMALL)), Bill(shape(LARGE))
    assert large.state.status == "completed"
    for figure in ("events", "bytes", "lookups", "commands"):  # ids are longer, and only the large one is put off
        assert getattr(large, figure) <= 14 * getattr(small, figure), figure
    assert large.definitions <= large.commands  # asked for once a command


def test_a_chain_costs_two_events_a_step():
    assert Bill(chain(LARGE)).events == 2 + 2 * LARGE


def test_a_fan_costs_two_events_a_step_however_many_it_joins():
    bill = Bill(fan(LARGE))
    deferred = [e for one in bill.transitions for e in one.events if type(e) is StepsDeferred]
    assert bill.events == 2 + 2 * (LARGE + 2) + len(deferred)
    assert len(deferred) == 1
    assert bill.largest <= 256 + 2


def test_sequential_steps_are_put_off_once():
    bill = Bill(one_by_one(LARGE))
    deferred = [e for one in bill.transitions for e in one.events if type(e) is StepsDeferred]
    assert sum(len(event.sequential) for event in deferred) == LARGE - 1
    assert bill.events == 2 + 2 * LARGE + len(deferred)


def ratio(action, small, large) -> float:
    """How many times the lines of Python that the small one runs the large one does."""
    return lines(lambda: action(large)) / lines(lambda: action(small))


@SHAPES
def test_ten_times_the_steps_run_at_most_twelve_times_the_code(shape):
    assert ratio(Bill, shape(SMALL), shape(LARGE)) < 12


@SHAPES
def test_folding_ten_times_the_history_runs_at_most_twelve_times_the_code(shape):
    assert ratio(fold, Bill(shape(SMALL)).transitions, Bill(shape(LARGE)).transitions) < 12


@SHAPES
def test_compiling_ten_times_the_steps_runs_at_most_twelve_times_the_code(shape):
    assert ratio(compile_plan, shape(SMALL), shape(LARGE)) < 12


def test_an_update_of_one_step_costs_the_same_in_a_large_instance():
    """Persistent maps: no event copies what it does not change."""
    bill = Bill(few_at_once(LARGE))
    halfway = fold(bill.transitions[: len(bill.transitions) // 2])
    after = fold(bill.transitions[len(bill.transitions) // 2 :][:1], halfway)
    untouched = [key for key in halfway.steps if after.steps.get(key) is halfway.steps[key]]
    assert len(untouched) >= len(halfway.steps) - 2
