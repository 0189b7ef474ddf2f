"""Timers that somebody moves: back from where a wrong clock has put them, or to another time."""

from __future__ import annotations

import pytest

from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import PauseWorkflow, RescheduleTimers, ResumeWorkflow
from stepwell.schemas.records.events import TimersMoved
from tests.core.build import in_hand, started, statuses, step
from tests.core.invariants import Watch
from tests.core.model import Engine
from tests.core.test_held_children import trigger


def gate(step_id, **config):
    return step(step_id, type="approval_gate", config=config)


YEARS = 10 * 365 * 24 * 3600


def reschedule(engine, step_id="", delay=None):
    return engine.send(RescheduleTimers(engine.id, step_id, delay, f"move {engine.decided}"))


def put_off(*steps, before=lambda _engine: None, **fields):
    """An instance whose timers were set by a machine that was ten years ahead."""
    made = started(*steps, **fields)
    engine = Engine(made.plan.definition)
    engine.watch = Watch(engine.plan)
    engine.now += YEARS * 1000
    engine.start()
    before(engine)
    engine.now -= YEARS * 1000 - 5_000
    return engine


def left(engine):
    """Seconds until each timer is due."""
    return {timer: (due - engine.now) / 1000 for timer, due in sorted(engine.latest.timers.items())}


RETRY = Retry(3, initial_delay_seconds=8, jitter=0)

CASES = {
    "a retry": (step("a", retry=RETRY), lambda engine: engine.fail("a"), {"a": 8}),
    "a retry after what the other side asked for": (
        step("a", retry=RETRY), lambda engine: engine.fail("a", retry_after=3600.0), {"a": 3600},
    ),
    "a wait": (step("a", type="wait", config={"seconds": 60}), lambda _: None, {"a": 60}),
    "a gate": (gate("a", timeout_seconds=600), lambda _: None, {"a": 600}),
    "a child": (trigger("a", timeout=30.0), lambda _: None, {"a": 30}),
    "a worker": (step("a", timeout_seconds=20), lambda engine: engine.report("a"), {"a": 25}),
    "a step that no worker has taken": (step("a"), lambda engine: engine.give_back("a"), {"a": 15}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_due_absurdly_late_is_due_as_if_its_wait_began_now(case):
    made, before, expected = CASES[case]
    engine = put_off(made, before=before)
    assert left(engine)["a"] > YEARS - 10
    reschedule(engine)
    assert left(engine) == expected
    if engine.latest.steps["a"].gate or engine.latest.steps["a"].child:
        asked = engine.latest.steps["a"].gate or engine.latest.steps["a"].child
        assert asked.due == engine.latest.timers["a"]


def test_the_workflows_limit_and_a_compensation_are_mended_too():
    undo = Compensation("undo", retry=RETRY)
    engine = put_off(step("a"), default_timeout_seconds=90)
    reschedule(engine)
    assert left(engine) == {"": 90}

    def undoing(engine):
        engine.complete("a")
        engine.fail("b")
        engine.fail("a")

    engine = put_off(step("a", compensate=undo), step("b", "a", on_failure="rollback"), before=undoing)
    reschedule(engine)
    assert left(engine) == {"a": 8}
    engine.wait(8)
    assert in_hand(engine) == ["a"]


def test_it_goes_on_from_there():
    engine = put_off(step("a", retry=RETRY), before=lambda engine: engine.fail("a"))
    reschedule(engine)
    engine.wait(8)
    assert in_hand(engine) == ["a"]


def test_what_is_due_in_time_is_not_touched():
    engine = started(step("a", type="wait", config={"seconds": 60}), gate("g", timeout_seconds=600))
    engine.wait(20)
    decision = reschedule(engine)
    assert decision.events[0].message == "no timer of it is due later than if its wait began now"
    assert left(engine) == {"a": 40, "g": 580}
    assert engine.of(TimersMoved) == []


@pytest.mark.parametrize("delay", [0, 5, 1_000])
def test_one_timer_is_moved_to_where_somebody_wants_it(delay):
    engine = started(step("a", type="wait", config={"seconds": 60}), step("b", type="wait", config={"seconds": 60}))
    reschedule(engine, "a", delay)
    assert left(engine) == {"a": delay, "b": 60}
    engine.wait(delay)
    assert statuses(engine)["a"] == "succeeded"


@pytest.mark.parametrize(
    ("step_id", "delay", "code", "says"),
    [
        ("aa", None, "no_timer", 'step "aa" has no timer, did you mean "a"?'),
        ("c", 3, "no_timer", 'step "c" has no timer; these have one: a'),
        ("", 3, "invalid_command", "delay_seconds: name the step whose timer is meant"),
        ("a", 1e300, "invalid_command", "delay_seconds: is more than ten years"),
        ("a", float("nan"), "invalid_command", "delay_seconds: is more than ten years"),
    ],
)
def test_what_cannot_be_moved_is_refused(step_id, delay, code, says):
    engine = started(step("a", type="wait", config={"seconds": 60}), step("c"))
    (event,) = reschedule(engine, step_id, delay).events
    assert event.code == code
    assert says in event.message
    assert left(engine) == {"a": 60}


def test_what_is_paused_stays_so():
    engine = put_off(gate("a", timeout_seconds=600))
    engine.send(PauseWorkflow(engine.id, "", "pause"))
    reschedule(engine)
    assert (engine.latest.status, left(engine)) == ("paused", {"a": 600})
    engine.wait(1_000)
    engine.send(ResumeWorkflow(engine.id, "retry", "resume"))
    assert left(engine) == {"a": 600}


@pytest.mark.parametrize("made", [gate("a", timeout_seconds=600), trigger("a", timeout=600.0)])
@pytest.mark.parametrize(("delay", "expected"), [(None, 600), (100, 100), (0, 0)])
def test_what_time_stands_still_for_is_due_after_the_delay_once_it_goes_on(made, delay, expected):
    engine = put_off(made)
    engine.send(PauseWorkflow(engine.id, "", "pause"))
    engine.wait(1_000)
    reschedule(engine, "a", delay)
    engine.wait(500)
    engine.send(ResumeWorkflow(engine.id, "retry", "resume"))
    assert left(engine) == {"a": expected}


def test_what_was_paused_by_a_machine_years_ahead_does_not_decide_itself_at_once():
    made = started(gate("a", timeout_seconds=600, on_timeout="approve"))
    engine = Engine(made.plan.definition)
    engine.now += YEARS * 1000
    engine.start()
    engine.send(PauseWorkflow(engine.id, "", "pause"))
    engine.now -= YEARS * 1000 - 5_000
    reschedule(engine)
    engine.send(ResumeWorkflow(engine.id, "retry", "resume"))
    assert left(engine) == {"a": 600}


def test_of_an_instance_that_has_ended_nothing_is_moved():
    engine = started(step("a"))
    engine.complete("a")
    (event,) = reschedule(engine).events
    assert (event.code, event.message) == ("already_finished", "it has finished: completed")
