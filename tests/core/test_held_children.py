"""A paused instance holds the children that it waits for; going on releases them."""

from __future__ import annotations

import pytest

from stepwell.core.decide.gates import end_id_of
from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    ChildEnded,
    HoldWorkflow,
    PauseWorkflow,
    ReleaseWorkflow,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import WorkflowPaused
from stepwell.schemas.records.step_waits import ChildRequested, Parent
from tests.core.build import in_hand, started, statuses, step
from tests.core.invariants import Watch
from tests.core.model import Engine
from tests.core.test_approvals import gate

PARENT = Parent("p", "s", 3)


def trigger(step_id="sub", *after, timeout=None, **config):
    config.setdefault("workflow", "other")
    return step(step_id, *after, type="workflow_trigger", timeout_seconds=timeout, config=config)


def pause(engine):
    return engine.send(PauseWorkflow(engine.id, "lunch", f"pause {engine.decided}"))


def resume(engine):
    return engine.send(ResumeWorkflow(engine.id, "retry", f"resume {engine.decided}"))


def child(*steps, **fields):
    engine = Engine(started(*(steps or (step("a"), step("b", "a"))), **fields).plan.definition)
    engine.watch = Watch(engine.plan)
    engine.start(parent=PARENT)
    return engine


def hold(engine, parent=PARENT):
    return engine.send(HoldWorkflow(engine.id, parent=parent, command_id=f"i:hold:{engine.decided}"))


def release(engine, parent=PARENT):
    return engine.send(ReleaseWorkflow(engine.id, parent=parent, command_id=f"i:release:{engine.decided}"))


# --- the parent ---------------------------------------------------------------------------------------------


def kinds(engine):
    return [(type(one).__name__, one.instance_id) for one in engine.told if not hasattr(one, "workflow")]


def test_a_pause_holds_each_child_that_is_waited_for_and_going_on_releases_it():
    engine = started(trigger("one"), trigger("two"), trigger("gone", wait=False), step("work"))
    pause(engine)
    assert kinds(engine) == [("HoldWorkflow", "i.one.1"), ("HoldWorkflow", "i.two.2")]
    assert engine.told[-1].parent == Parent("i", "two", 2)
    resume(engine)
    assert kinds(engine)[2:] == [("ReleaseWorkflow", "i.one.1"), ("ReleaseWorkflow", "i.two.2")]


def test_words_of_one_parent_have_ids_of_their_own():
    engine = started(trigger())
    for _ in range(3):
        pause(engine)
        resume(engine)
    ids = [one.command_id for one in engine.told[1:]]
    assert len({*ids}) == 6


def test_an_incident_holds_the_children_too():
    engine = started(trigger(), step("work", on_failure="pause"))
    engine.fail("work")
    assert kinds(engine) == [("HoldWorkflow", "i.sub.1")]
    resume(engine)
    assert kinds(engine)[1:] == [("ReleaseWorkflow", "i.sub.1")]


def test_a_child_that_is_held_holds_its_own():
    engine = child(trigger())
    hold(engine)
    release(engine)
    assert kinds(engine) == [("HoldWorkflow", "i.sub.1"), ("ReleaseWorkflow", "i.sub.1")]


def test_a_child_that_begins_as_its_parent_comes_to_stand_still_is_held():
    bad = {"condition": "input.nothing", "on_failure": "pause"}
    engine = started(trigger(), step("bad", **bad))
    assert kinds(engine) == [("HoldWorkflow", "i.sub.1")]
    engine = started(trigger("before"), step("work"), trigger("sub", "work"), step("bad", "work", **bad))
    pause(engine)
    engine.complete("work")
    resume(engine)
    assert engine.latest.incident == "step_failed"
    assert kinds(engine) == [("HoldWorkflow", "i.before.1"), ("HoldWorkflow", "i.sub.3")]
    resume(engine)
    assert engine.latest.incident == "step_failed"
    assert len(kinds(engine)) == 2, "it stands still again by the same transition: they are held as they were"


def test_a_child_whose_end_is_told_to_a_paused_parent_is_released():
    """Somebody has reopened it before it heard that it is held: nobody would release it later."""
    for status in ("completed", "cancelled"):
        engine = started(trigger(), step("work"))
        pause(engine)
        asked = engine.of(ChildRequested)[-1]
        engine.send(ChildEnded("i", step_id="sub", run=asked.run, child_id=asked.child_id, status=status))
        assert kinds(engine) == [("HoldWorkflow", "i.sub.1"), ("ReleaseWorkflow", "i.sub.1")]


def test_a_child_that_has_ended_is_told_nothing():
    engine = started(trigger(), step("work"))
    asked = engine.of(ChildRequested)[-1]
    engine.send(ChildEnded("i", step_id="sub", run=asked.run, child_id=asked.child_id, status="completed"))
    pause(engine)
    resume(engine)
    assert kinds(engine) == []


def test_a_paused_parent_that_is_rolled_back_or_cancelled_lets_its_child_go():
    for ends in (CancelWorkflow("i", "enough", "c"), RollbackWorkflow("i", "start", command_id="c")):
        engine = started(trigger())
        pause(engine)
        engine.send(ends)
        assert [kind for kind, _ in kinds(engine)] == ["HoldWorkflow", "CancelWorkflow"]


def test_time_stands_still_for_the_wait_for_a_child_while_its_parent_is_paused():
    engine = started(trigger(timeout=30.0))
    engine.wait(10)
    pause(engine)
    engine.wait(100_000)
    assert statuses(engine) == {"sub": "waiting"}
    resume(engine)
    assert engine.latest.steps["sub"].child.due == engine.latest.timers["sub"] == engine.now + 20_000
    engine.wait(19.9)
    assert statuses(engine) == {"sub": "waiting"}
    engine.wait(0.1)
    assert statuses(engine) == {"sub": "failed"}


# --- the child ----------------------------------------------------------------------------------------------


def test_a_held_child_starts_no_step_until_it_is_released():
    engine = child()
    hold(engine)
    assert (engine.latest.status, engine.latest.pause_reason) == ("paused", "p is paused")
    engine.complete("a")
    assert in_hand(engine) == []
    release(engine)
    assert in_hand(engine) == ["b"]
    assert engine.latest.pause_reason == ""


def test_the_gate_of_a_held_child_does_not_decide_itself():
    engine = child(gate(timeout_seconds=60, on_timeout="approve"), step("pay", "gate"))
    engine.wait(20)
    hold(engine)
    engine.wait(100_000)
    assert statuses(engine) == {"gate": "waiting"}
    release(engine)
    engine.wait(39.9)
    assert statuses(engine) == {"gate": "waiting"}
    engine.wait(0.1)
    assert statuses(engine)["gate"] == "succeeded"


@pytest.mark.parametrize("person_first", [True, False])
def test_what_a_person_has_paused_no_parent_resumes(person_first):
    engine = child()
    for act in (pause, hold) if person_first else (hold, pause):
        act(engine)
    assert engine.latest.pause_reason == "lunch"
    assert release(engine).note
    assert engine.latest.status == "paused"
    resume(engine)
    assert engine.latest.status == "running"


def test_a_second_pause_does_not_begin_the_time_anew():
    engine = child(gate(timeout_seconds=60))
    hold(engine)
    engine.wait(500)
    pause(engine)
    engine.wait(500)
    resume(engine)
    assert engine.latest.timers["gate"] == engine.now + 60_000


def test_a_person_may_let_a_held_child_go_on():
    engine = child()
    hold(engine)
    resume(engine)
    assert engine.latest.status == "running"
    assert release(engine).note


def test_no_parent_resumes_an_incident():
    engine = child(step("a", on_failure="pause"), step("b"))
    hold(engine)
    engine.fail("a")
    assert release(engine).note
    assert engine.latest.incident == "step_failed"
    assert hold(engine).note


@pytest.mark.parametrize("stranger", [Parent("p", "s", 4), Parent("q", "s", 3)])
def test_only_the_step_that_waits_for_it_holds_and_releases(stranger):
    engine = child()
    assert hold(engine, stranger).note
    hold(engine)
    assert release(engine, stranger).note
    assert engine.latest.held


def test_a_repeat_of_an_earlier_word_does_not_undo_a_later_one():
    """The later one was followed, so its repeat is dropped; an earlier one was not, and would be the last heard."""
    engine = child()
    said = [
        HoldWorkflow("i", parent=PARENT, command_id="i:hold:5"),
        ReleaseWorkflow("i", parent=PARENT, command_id="i:release:7"),
        HoldWorkflow("i", parent=PARENT, command_id="i:hold:10"),
    ]
    engine.send(said[0])
    resume(engine)
    for command in (*said[1:], *said):
        engine.send(command)
    assert (engine.latest.status, engine.latest.held) == ("paused", True)
    engine.send(ReleaseWorkflow("i", parent=PARENT, command_id="i:release:12"))
    assert engine.latest.status == "running"


def test_an_end_is_not_undone_by_a_word_that_comes_late():
    engine = child(step("a"))
    engine.complete("a")
    for say in (hold, release):
        decision = say(engine)
        assert (decision.events, bool(decision.note)) == ([], True)


def test_a_repeat_of_all_that_was_said_changes_nothing():
    """Whoever takes the parent's partition over sends everything again that is not known to have arrived."""
    engine = child()
    said = [
        HoldWorkflow("i", parent=PARENT, command_id="i:hold:5"),
        ReleaseWorkflow("i", parent=PARENT, command_id="i:release:7"),
    ]
    for command in (*said, *said):
        engine.send(command)
    assert (engine.latest.status, len(engine.of(WorkflowPaused))) == ("running", 1)


def test_a_hold_that_was_lost_at_first_is_followed_and_so_is_the_release_behind_it():
    engine = child()
    said = [
        HoldWorkflow("i", parent=PARENT, command_id="i:hold:5"),
        ReleaseWorkflow("i", parent=PARENT, command_id="i:release:7"),
    ]
    for command in (said[1], *said):
        engine.send(command)
    assert engine.latest.status == "running"


def test_what_is_undone_stands_still_as_well():
    undo = Compensation("undo", retry=Retry(1))
    engine = child(
        step("a", compensate=undo), step("b", "a", compensate=undo), step("bad", "b", on_failure="rollback")
    )
    engine.complete("a")
    engine.complete("b")
    engine.fail("bad")
    hold(engine)
    engine.complete("b")
    assert in_hand(engine) == []
    release(engine)
    engine.complete("a")
    assert engine.latest.status == "failed"


def lets_go(engine):
    return engine.send(CancelWorkflow(engine.id, "p no longer waits for it", end_id_of(engine.id), PARENT))


def test_a_held_child_is_undone_to_its_end_once_its_parent_waits_no_longer():
    undo = Compensation("undo", retry=Retry(1))
    engine = child(step("a", compensate=undo), step("b", "a", compensate=undo), step("c", "b", on_failure="rollback"))
    engine.complete("a")
    engine.complete("b")
    engine.fail("c")
    hold(engine)
    engine.complete("b")
    lets_go(engine)
    assert in_hand(engine) == ["a"]
    engine.complete("a")
    assert engine.latest.status == "failed"


@pytest.mark.parametrize("noted", [False, True])
def test_the_error_handler_of_a_held_child_ends_once_its_parent_waits_no_longer(noted):
    undo = Compensation("undo", retry=Retry(1))
    engine = child(
        step("a", compensate=undo), step("bad", "a"), step("worse", "a"), step("mend"),
        on_error={"bad": ("mend", "rollback")},
    )  # fmt: skip
    engine.complete("a")
    hold(engine)
    engine.fail("bad")
    if noted:
        engine.fail("worse")
        assert engine.latest.ending is not None
    assert "mend" not in in_hand(engine)
    lets_go(engine)
    assert in_hand(engine) == ["mend"]
    engine.complete("mend")
    engine.complete("a")
    assert engine.latest.status == "failed"


def test_what_a_person_has_paused_stays_so_though_its_parent_waits_no_longer():
    undo = Compensation("undo", retry=Retry(1))
    engine = child(step("a", compensate=undo), step("b", "a", on_failure="rollback"))
    engine.complete("a")
    pause(engine)
    resume(engine)
    engine.fail("b")
    pause(engine)
    assert lets_go(engine).events[0].message == "it is being undone, and ends after that"
    assert engine.latest.status == "paused"


def test_a_repeat_of_a_hold_does_not_stop_what_was_reopened_after_its_parent_let_it_go():
    engine = child()
    lets_go(engine)
    resume(engine)
    assert hold(engine).note
    assert lets_go(engine).note
    assert engine.latest.status == "running"


@pytest.mark.parametrize("parent", [None, Parent("p", "s", 4), Parent("q", "s", 3)])
def test_a_parent_ends_no_instance_but_its_own_child(parent):
    """Somebody has started an instance under the id that the child would have had, so the child was refused."""
    engine = Engine(started(step("a")).plan.definition)
    engine.start(parent=parent)
    assert lets_go(engine).note
    assert engine.latest.status == "running"
