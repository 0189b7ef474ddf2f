"""The timers of a partition: whatever an event says of timers arms one."""

from __future__ import annotations

import random
from typing import get_args

import immutables
import pytest

from stepwell.consumers.engine.due import DueTimer, DueTimers
from stepwell.core.fold.state import InstanceState
from stepwell.schemas.records.events import EVENTS_VERSION, Event, Transition
from tests.core import model


@pytest.mark.parametrize("seed", range(80))
def test_every_timer_of_a_live_instance_is_armed_by_the_transition_that_sets_it(seed):
    """As a take-over arms them, from the state: otherwise one would fire only after the next take-over."""
    rnd = random.Random(seed)
    engine = model.Engine(model.definition(rnd), model.moody_fate(rnd))
    timers, seen = DueTimers(), 0
    for _ in model.play(engine, rnd):
        for transition in engine.transitions[seen:]:
            timers.note(transition, engine.latest)
        seen = len(engine.transitions)
        held = {one.timer: one.due for one in timers._heap if one.due == engine.latest.timers.get(one.timer)}
        assert held == dict(engine.latest.timers), seed


def _instance(**fields):
    return InstanceState("i", "w", "1", "hash", **fields)


@pytest.mark.parametrize("kind", [kind for kind in get_args(Event) if "due" in kind.__struct_fields__])
def test_every_event_that_says_when_something_is_due_arms_a_timer(kind):
    needed = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    event = kind(**dict.fromkeys(kind.__struct_fields__[:needed], "x") | {"due": 5})
    timers = DueTimers()
    timers.note(Transition(EVENTS_VERSION, 1, "i", 1, (event,), ""), _instance())
    assert timers._heap == [DueTimer(5, "i", getattr(event, "step_id", ""))]


@pytest.mark.parametrize("kind", [kind for kind in get_args(Event) if "dues" in kind.__struct_fields__])
def test_every_event_that_says_when_several_things_are_due_arms_all_that_there_are(kind):
    needed = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    event = kind(**dict.fromkeys(kind.__struct_fields__[:needed], "x") | {"dues": {"a": 5}})
    timers = DueTimers()
    after = _instance(timers=immutables.Map({"a": 5, "b": 7}))
    timers.note(Transition(EVENTS_VERSION, 1, "i", 1, (event,), ""), after)
    assert sorted(timers._heap) == [DueTimer(5, "i", "a"), DueTimer(7, "i", "b")]
