"""The timers of a partition: whatever an event says of timers arms one."""

from __future__ import annotations

import random
from typing import get_args

import pytest

from stepwell.consumers.engine.due import DueTimers
from stepwell.schemas.records.events import Event
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


def test_the_events_that_set_timers_are_those_that_say_when_they_are_due():
    names = {kind.__struct_config__.tag for kind in get_args(Event) if {"due", "dues"} & {*kind.__struct_fields__}}
    assert names == {
        "workflow.started", "workflow.resumed", "timers.moved", "step.started", "step.waiting", "step.returned",
        "step.retry_scheduled", "approval.required", "child.requested",
    }  # fmt: skip
