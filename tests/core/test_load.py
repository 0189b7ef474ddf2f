"""How much workers have to do, counted event by event, is what counting anew gives."""

import random

from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.decide.load import change, runs_of
from stepwell.core.fold.evolve import evolve
from stepwell.schemas.records.commands import CancelWorkflow
from tests.core.build import step, workflow
from tests.core.model import Engine, definition, examples, moody_fate, play

graphs = st.builds(definition, st.randoms(use_true_random=False))


@examples(150)
@given(graphs, st.integers(0, 2**32), st.sampled_from((256, 3)))
def test_the_changes_add_up(graph, seed, budget):
    rnd = random.Random(seed)
    engine = Engine(graph, moody_fate(rnd), budget=budget)
    for _ in play(engine, rnd, commands=80):
        pass
    state, runs = None, 0
    for transition in engine.transitions:
        before = state
        if transition.sequence:
            for event in transition.events:
                state = evolve(state, event, transition.at, engine.id)
        runs += change(before, transition, state)
        assert runs == len(runs_of(state))


def test_a_run_is_counted_from_when_it_is_routed_until_it_is_settled():
    engine = Engine(workflow(step("a"), step("b"), step("c", "a")))
    engine.start()
    assert len(runs_of(engine.state)) == 2
    engine.complete("a")
    assert len(runs_of(engine.state)) == 2
    engine.complete("b")
    assert len(runs_of(engine.state)) == 1
    engine.send(CancelWorkflow("i"))
    assert not runs_of(engine.state)
