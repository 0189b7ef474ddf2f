"""What takes a place under ``max_parallel_steps``: what is under way, but for what only waits."""

import pytest
from msgspec.structs import replace

from stepwell.core.fold.evolve import fold
from stepwell.core.fold.state import encode_instance
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.commands import CancelWorkflow, QuarantineInstance, ResumeWorkflow
from stepwell.schemas.records.events import ErrorInfo
from tests.core.build import in_hand, started, statuses, step


def sequential(step_id, *after, **fields):
    return step(step_id, *after, mode="sequential", **fields)


WAITS = {
    "a gate": {"type": "approval_gate"},
    "a wait": {"type": "wait", "config": {"seconds": 60}},
    "a child": {"type": "workflow_trigger", "config": {"workflow": "other"}},
}
waits = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)


def ends(engine, step_id):
    """What a step waits for comes."""
    waiting = engine.latest.steps[step_id]
    if waiting.waits_for == "time":
        engine.wait(60)
    else:
        engine.send(engine.word(step_id, f"end of {step_id}"))


@waits
def test_what_only_waits_takes_no_place_under_a_limit(wait):
    engine = started(step("first", **wait), step("second", **wait), step("a"), step("b"), max_parallel_steps=1)
    assert in_hand(engine) == ["a"], "both of them wait, and a place is free beside them"
    assert (engine.latest.active, engine.latest.idle, engine.latest.places) == (3, 2, 1)
    engine.complete("a")
    assert in_hand(engine) == ["b"]
    engine.complete("b")
    ends(engine, "first")
    if engine.state is not None:
        assert engine.latest.active == engine.latest.idle == 1
        ends(engine, "second")
    assert engine.latest.status == "completed"
    assert engine.latest.active == engine.latest.idle == 0


@waits
def test_what_comes_after_a_wait_takes_a_place_like_any_other(wait):
    engine = started(step("first", **wait), step("after", "first"), step("a"), step("b"), max_parallel_steps=1)
    ends(engine, "first")
    assert in_hand(engine) == ["a"], "the place is taken"
    engine.complete("a")
    assert in_hand(engine) == ["after"], "the first one written that may begin"


@waits
def test_a_step_that_waits_begins_once_a_place_is_free_and_gives_it_up_at_once(wait):
    engine = started(step("a"), step("first", **wait), step("second", **wait), step("b"), max_parallel_steps=1)
    assert statuses(engine) == {"a": "ready"}
    engine.complete("a")
    assert statuses(engine) == {"a": "succeeded", "first": "waiting", "second": "waiting", "b": "ready"}


@waits
def test_a_sequential_step_that_waits_keeps_its_turn_but_no_place(wait):
    engine = started(sequential("s", **wait), sequential("t"), step("p"), max_parallel_steps=1)
    assert in_hand(engine) == ["p"]
    engine.complete("p")
    assert in_hand(engine) == [], "t has its turn after s"
    ends(engine, "s")
    assert in_hand(engine) == ["t"]


def test_a_step_that_waits_for_its_next_attempt_keeps_its_place():
    engine = started(step("a", retry=Retry(max_attempts=2)), step("b"), max_parallel_steps=1)
    engine.fail("a")
    assert statuses(engine) == {"a": "waiting"}
    assert engine.latest.places == 1


def test_a_gate_that_is_escalated_takes_no_place_at_its_next_level_either():
    config = {"timeout_seconds": 5, "approvers": ["ann"], "escalate_to": [["eve"], ["kim"]]}
    engine = started(step("gate", type="approval_gate", config=config), step("a"), step("b"), max_parallel_steps=1)
    engine.wait(11)
    assert engine.latest.steps["gate"].gate.level == 3
    assert engine.latest.idle == engine.latest.places == 1
    engine.complete("a")
    engine.complete("b")
    ends(engine, "gate")
    assert engine.latest.status == "completed"


def test_a_gate_that_an_older_program_escalates_takes_a_place_again():
    """It knows no other way; the counts go along."""
    config = {"timeout_seconds": 5, "approvers": ["ann"], "escalate_to": [["eve"]]}
    engine = started(step("gate", type="approval_gate", config=config), step("a"), max_parallel_steps=2)
    engine.wait(6)
    *earlier, escalated = engine.transitions
    (asked,) = escalated.events
    state = fold([*earlier, replace(escalated, events=(replace(asked, idle=False),))])
    assert (state.active, state.idle, state.steps["gate"].idle) == (2, 0, False)


@waits
def test_what_waits_is_given_up_with_the_rest(wait):
    engine = started(step("first", **wait), step("a"), max_parallel_steps=1)
    engine.send(CancelWorkflow("i", "enough", "c"))
    assert (engine.latest.active, engine.latest.idle) == (0, 0)
    told = [type(one).__name__ for one in engine.told]
    assert told.count("CancelWorkflow") == (wait["type"] == "workflow_trigger"), "its child is told"


@waits
def test_a_place_is_counted_right_after_all_was_run_anew(wait):
    engine = started(step("first", **wait), step("a"), step("b"), max_parallel_steps=1)
    engine.send(QuarantineInstance("i", ErrorInfo("KeyError", "a bug")))
    engine.send(ResumeWorkflow("i", "retry", "c"))
    assert statuses(engine) == {"first": "waiting", "a": "ready"}
    assert (engine.latest.active, engine.latest.idle) == (2, 1)


def test_a_child_that_nobody_waits_for_gives_its_place_up():
    config = {"workflow": "other", "wait": False}
    engine = started(step("tell", type="workflow_trigger", config=config), step("a"), max_parallel_steps=1)
    assert in_hand(engine) == ["a"]
    assert (engine.latest.active, engine.latest.idle) == (1, 0)


@waits
def test_what_older_programs_let_wait_takes_a_place_until_it_ends(wait):
    """A history means what it meant: its events do not say that a waiting step takes no place."""
    engine = started(step("first", **wait), step("a"), max_parallel_steps=1)
    older = [
        replace(one, events=tuple(
            replace(event, idle=False) if hasattr(event, "idle") else event
            for event in one.events if getattr(event, "step_id", "") != "a"
        ))
        for one in engine.transitions
    ]  # fmt: skip
    state = fold(older)
    assert (state.active, state.idle, state.places) == (1, 0, 1)
    assert b'"idle":true' not in encode_instance(state)
