"""Steps that start other workflows, and wait for them or not."""

from __future__ import annotations

import pytest

from stepwell.schemas.definitions.model import Compensation
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    ChildEnded,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.step_waits import LONGEST_ID, ChildRequested, Parent
from tests.core.build import started, statuses, step
from tests.core.model import Engine

pytestmark = pytest.mark.rows("O2", "R17")


def trigger(step_id="sub", *after, timeout=None, on_failure="fail", **config):
    config.setdefault("workflow", "other")
    return step(
        step_id, *after, type="workflow_trigger", timeout_seconds=timeout, on_failure=on_failure, config=config
    )


def ended(engine, status="completed", *, output=None, error=None, step_id="sub", run=None):
    child = engine.of(ChildRequested)[-1]
    return engine.send(
        ChildEnded(
            engine.id, step_id=step_id, run=run or child.run, child_id=child.child_id, status=status, output=output,
            error=error,
        )
    )  # fmt: skip


def test_a_child_is_started_once_under_an_id_that_anybody_can_tell():
    engine = started(trigger(input={"of": "{{ input.n }}"}, version="3"))
    (start,) = engine.told
    assert start == StartWorkflow(
        "i.sub.1", workflow="other", version="3", input={"of": 2}, command_id="i.sub.1:start",
        parent=Parent("i", "sub", 1),
    )  # fmt: skip
    assert statuses(engine) == {"sub": "waiting"}


def test_its_output_is_the_steps():
    engine = started(trigger(), step("end", "sub", type="output"))
    ended(engine, output={"v": 7})
    assert engine.latest.output == {"sub": {"instance_id": "i.sub.1", "status": "completed", "output": {"v": 7}}}


def test_its_failure_is_the_steps():
    engine = started(trigger())
    ended(engine, "failed", error=ErrorInfo("Boom", "it went wrong", kinds=("Exception",)))
    error = engine.latest.error
    assert (error.type, error.message) == ("ChildWorkflowFailed", "i.sub.1 failed: Boom: it went wrong")
    assert "Boom" in error.kinds


def test_its_failure_may_be_an_output():
    engine = started(trigger(on_failure="skip"), trigger("sub2", "sub"))
    ended(engine, "rejected", error=ErrorInfo("unknown_workflow", "no workflow other"))
    assert engine.latest.steps["sub"].error.message.startswith("i.sub.1 could not be started: unknown_workflow")
    engine = Engine(engine.plan.definition)
    engine = started(step("sub", type="workflow_trigger", config={"workflow": "other", "on_failure": "continue"}))
    ended(engine, "cancelled")
    assert engine.latest.steps["sub"].output == {"instance_id": "i.sub.1", "status": "cancelled", "output": None}


def test_nobody_waits_where_it_says_so():
    engine = started(trigger(wait=False))
    assert engine.latest.status == "completed"
    assert engine.latest.steps["sub"].output == {"instance_id": "i.sub.1"}
    (start,) = engine.told
    assert start.parent is None


def test_word_of_its_end_counts_once_and_only_from_this_very_child():
    engine = started(trigger(), step("work", "sub"))
    assert ended(engine, run=7).note
    ended(engine, output=1)
    assert ended(engine, "failed").note
    assert statuses(engine)["sub"] == "succeeded"


@pytest.mark.parametrize(
    "give_up",
    [
        lambda engine: engine.send(CancelWorkflow(engine.id, "enough", "c")),
        lambda engine: engine.fail("work"),
        lambda engine: engine.send(RollbackWorkflow(engine.id, "start", pause=True, command_id="c")),
        lambda engine: engine.wait(30),
    ],
    ids=["cancelled", "failed", "rolled back", "timed out"],
)
def test_a_parent_that_no_longer_waits_cancels_its_child(give_up):
    engine = started(trigger(timeout=30.0), step("work"))
    give_up(engine)
    assert engine.told[-1] == CancelWorkflow("i.sub.1", "i no longer waits for it", "i.sub.1:end")
    assert ended(engine).note


def test_a_child_that_was_asked_for_in_vain_is_not_started():
    """The same command that asks for it ends the instance."""
    engine = started(trigger(), step("bad", type="input", condition="input.nothing"))
    assert engine.latest.status == "failed"
    assert engine.told == []


def test_a_resumed_parent_starts_another_child():
    engine = started(trigger())
    ended(engine, "failed", error=ErrorInfo("Boom"))
    engine.send(ResumeWorkflow(engine.id, "retry", "resume"))
    assert [one.instance_id for one in engine.told] == ["i.sub.1", "i.sub.2"]


PARENT = Parent("p", "s", 3)


def child(parent=PARENT, **fields):
    engine = Engine(started(step("a")).plan.definition)
    engine.start(parent=parent, **fields)
    return engine


def test_a_child_tells_its_end():
    engine = child()
    assert engine.told == []
    engine.complete("a", {"v": 1})
    assert engine.told == [
        ChildEnded("p", step_id="s", run=3, child_id="i", status="completed", output={"a": {"v": 1}})
    ]


def test_a_child_tells_how_it_failed_without_the_traceback():
    engine = child()
    engine.fail("a", "Boom", "no", traceback="long")
    assert engine.told[-1].error == ErrorInfo("Boom", "no")
    assert engine.told[-1].status == "failed"


def test_a_child_that_cannot_be_started_tells_that():
    engine = Engine(started(step("a")).plan.definition)
    decision = engine.send(StartWorkflow("i", workflow="other", command_id="c", parent=PARENT))
    assert decision.events[0].parent == PARENT


def undone(then_fails):
    """A child whose steps are being undone, because one failed or because somebody asked for it."""
    engine = Engine(
        started(
            step("a", compensate=Compensation("undo")),
            step("b", "a", on_failure="rollback" if then_fails else "fail"),
        ).plan.definition
    )
    engine.start(parent=PARENT)
    engine.complete("a")
    if then_fails:
        engine.fail("b", "Boom", "no")
    else:
        engine.send(RollbackWorkflow("i", to="start"))
    return engine


def test_a_parent_that_no_longer_waits_does_not_cut_short_what_is_undone():
    engine = undone(then_fails=True)
    decision = engine.send(CancelWorkflow("i", "p no longer waits for it", command_id="i:end"))
    assert decision.events[0].message == "it is being undone, and ends after that"
    engine.complete("a")
    assert engine.told[-1].status == "failed"
    assert engine.told[-1].error.type == "Boom"


def test_who_cancels_what_is_undone_ends_it():
    engine = undone(then_fails=True)
    engine.send(CancelWorkflow("i", command_id="c"))
    assert engine.told[-1].status == "cancelled"


def test_a_parent_that_no_longer_waits_ends_what_would_begin_anew():
    engine = undone(then_fails=False)
    engine.send(CancelWorkflow("i", "p no longer waits for it", command_id="i:end"))
    assert engine.told[-1].status == "cancelled"


def test_an_instance_of_somebody_else_is_no_child():
    engine = child(parent=None)
    decision = engine.send(StartWorkflow("i", workflow="w", version="1", command_id="c", parent=PARENT))
    assert decision.events[0].code == "instance_exists"
    engine = child()
    decision = engine.send(StartWorkflow("i", workflow="w", version="1", command_id="c", parent=PARENT))
    assert decision.events[0].message == 'instance "i" exists already'


def test_a_long_id_makes_no_longer_one():
    for length in (150, LONGEST_ID):
        engine = Engine(started(trigger()).plan.definition, instance_id="x" * length)
        engine.start()
        (start,) = engine.told
        assert len(start.instance_id) <= LONGEST_ID
        assert start.instance_id.startswith("x" * 150)
