"""Steps that start other workflows, and wait for them or not."""

from __future__ import annotations

import pytest

from stepwell.core.decide.gates import end_id_of
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
from tests.core.build import in_hand, started, statuses, step, workflow
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
    assert engine.told[-1] == CancelWorkflow(
        "i.sub.1", "i no longer waits for it", "i.sub.1:end", Parent("i", "sub", 1)
    )
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


# --- a parent that waits no longer, while an error handler is at a failure that is to be undone -------------------


def handled(then="rollback", *, other=None):
    undo = Compensation("undo")
    made = workflow(
        step("book", compensate=undo), step("pay", "book"), step("beside"), step("tell"),
        *(() if other is None else (step("second", "book"), step("tell-second"))),
        on_error={"pay": ("tell", then), **({} if other is None else {"second": ("tell-second", other)})},
    )  # fmt: skip
    engine = Engine(made)
    engine.start(parent=PARENT)
    engine.complete("book")
    engine.fail("pay")
    assert "tell" in in_hand(engine)
    return engine


def let_go(engine):
    return engine.send(CancelWorkflow(engine.id, "p no longer waits for it", end_id_of(engine.id)))


def test_what_a_failure_would_undo_after_its_handler_is_undone_though_the_parent_waits_no_longer():
    engine = handled()
    let_go(engine)
    assert statuses(engine)["beside"] == "cancelled", "everything else is given up at once"
    assert let_go(engine).note, "a repeat"
    engine.complete("tell")
    assert in_hand(engine) == ["book"]
    engine.complete("book")
    assert (engine.latest.status, engine.latest.failed_step) == ("failed", "pay")


def test_a_handler_that_fails_undoes_nothing_then_either():
    engine = handled()
    let_go(engine)
    engine.fail("tell")
    assert (engine.latest.status, in_hand(engine)) == ("failed", [])


@pytest.mark.parametrize("then", ["fail", "continue"])
def test_where_nothing_is_to_be_undone_the_parents_word_cancels_it_after_its_handlers(then):
    engine = handled(then)
    let_go(engine)
    engine.complete("tell")
    assert (engine.latest.status, in_hand(engine)) == ("cancelled", [])


@pytest.mark.parametrize("order", [("tell", "tell-second"), ("tell-second", "tell")])
def test_one_handler_of_several_is_enough_to_undo(order):
    engine = handled("rollback", other="continue")
    engine.fail("second")
    let_go(engine)
    for handler in order:
        engine.complete(handler)
    assert in_hand(engine) == ["book"]


def test_a_persons_word_is_stronger_and_the_parents_is_no_second_one():
    engine = handled()
    let_go(engine)
    engine.send(CancelWorkflow(engine.id, "enough", "ann"))
    assert let_go(engine).note
    assert "tell" in in_hand(engine), "its handler is not cut short"
    engine.complete("tell")
    assert (engine.latest.status, in_hand(engine)) == ("cancelled", [])


# --- a child that was refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_failure", ["fail", "continue"])
def test_a_child_whose_start_was_refused_is_cancelled_in_case_a_repeat_of_its_start_is_not(on_failure):
    engine = started(trigger(on_failure="fail") if on_failure == "fail" else _going_on(), step("beside"))
    ended(engine, "rejected", error=ErrorInfo("unknown_workflow", "no workflow other"))
    assert engine.told[-1] == CancelWorkflow(
        "i.sub.1", "i no longer waits for it", "i.sub.1:end", Parent("i", "sub", 1)
    )


def _going_on():
    return step("sub", type="workflow_trigger", config={"workflow": "other", "on_failure": "continue"})


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_child_that_has_ended_itself_is_told_nothing_more(status):
    for made in (trigger(), _going_on()):
        engine = started(made, step("beside"))
        met = ErrorInfo("ChildWorkflowFailed", "its own was refused", kinds=("ChildNotStarted", "unknown_workflow"))
        ended(engine, status, error=None if status == "completed" else met)
        assert [type(one).__name__ for one in engine.told] == ["StartWorkflow"]


def test_the_error_of_a_refused_child_can_be_told_from_others():
    engine = started(trigger(), step("beside"))
    ended(engine, "rejected", error=ErrorInfo("unknown_workflow", "no workflow other"))
    assert engine.latest.steps["sub"].error.kinds == ("ChildNotStarted", "unknown_workflow")
