"""Error handlers that were started end before the workflow does, whatever ends it."""

from __future__ import annotations

import pytest

from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    PauseWorkflow,
    QuarantineInstance,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import (
    ErrorInfo,
    RollbackStarted,
    WorkflowCancelled,
    WorkflowEnding,
    WorkflowFailed,
)
from tests.core.build import in_hand, started, statuses, step, workflow
from tests.core.invariants import Watch
from tests.core.model import Engine


def two(first="fail", second="fail", *more, **fields):
    """Two steps that fail, each with an error handler; what is undone, and another one."""
    made = workflow(
        step("a"), step("b"), step("mend-a"), step("mend-b"), *more,
        on_error={"a": ("mend-a", first), "b": ("mend-b", second)}, **fields,
    )  # fmt: skip
    engine = Engine(made)
    engine.watch = Watch(engine.plan)
    engine.start()
    return engine


def both_fail(engine):
    engine.fail("a", "First")
    engine.fail("b", "Second")
    assert {"mend-a", "mend-b"} <= {*in_hand(engine)}


@pytest.mark.parametrize("order", [("mend-a", "mend-b"), ("mend-b", "mend-a")])
@pytest.mark.parametrize("ends", ["succeed", "fail"])
def test_both_handlers_end_before_the_workflow_fails(order, ends):
    engine = two()
    both_fail(engine)
    engine.complete(order[0])
    assert engine.latest.status == "running"
    (engine.complete if ends == "succeed" else engine.fail)(order[1])
    assert engine.latest.status == "failed"
    assert engine.latest.failed_step == order[0].removeprefix("mend-"), "whose handler ended first"
    assert statuses(engine)[order[1]] == ("succeeded" if ends == "succeed" else "failed")


def test_everything_else_is_given_up_at_once_and_nothing_starts():
    engine = two("fail", "continue", step("other"), step("next", "other"), step("after", "b"))
    both_fail(engine)
    engine.complete("mend-a")
    assert statuses(engine)["other"] == "cancelled"
    assert in_hand(engine) == ["mend-b"], "its worker was told to stop"
    engine.complete("mend-b")
    assert "after" not in statuses(engine)
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "First")


@pytest.mark.parametrize("thens", [("fail", "rollback"), ("rollback", "fail"), ("rollback", "rollback")])
def test_a_rollback_waits_for_the_other_handler_and_comes_before_a_failure(thens):
    engine = two(*thens, step("done", compensate=Compensation("undo", retry=Retry(1))))
    engine.complete("done")
    both_fail(engine)
    engine.complete("mend-a")
    assert engine.of(RollbackStarted) == []
    engine.complete("mend-b")
    assert in_hand(engine) == ["done"]
    engine.complete("done")
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "First")


@pytest.mark.parametrize("policy", ["fail", "rollback"])
def test_a_failure_without_a_handler_waits_for_those_that_were_started(policy):
    engine = two("continue", "fail", step("other", on_failure=policy))
    engine.fail("a")
    engine.fail("other", "Other")
    assert in_hand(engine) == ["mend-a"]
    assert engine.latest.status == "running"
    engine.complete("mend-a")
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "Other")


def test_a_handler_that_waits_for_its_place_is_run_before_the_end():
    engine = two("fail", "fail", max_parallel_steps=2)
    engine.fail("a", "First")
    engine.fail("b")
    engine = two("fail", "fail", max_parallel_steps=1)
    engine.fail("a", "First")
    assert in_hand(engine) == ["b"]
    engine.fail("b", "Second")
    assert in_hand(engine) == ["mend-a"]
    engine.complete("mend-a")
    assert in_hand(engine) == ["mend-b"]
    engine.complete("mend-b")
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "First")


def test_a_handlers_retries_and_waits_come_before_the_end():
    engine = started(
        step("a"), step("b"), step("slow", type="wait", config={"seconds": 30}), step("mend", retry=Retry(2)),
        on_error={"a": ("slow", "fail"), "b": ("mend", "fail")},
    )  # fmt: skip
    engine.fail("a", "First")
    engine.fail("b", "Second")
    engine.fail("mend")
    engine.wait(10)
    engine.complete("mend")
    assert engine.latest.status == "running"
    engine.wait(20)
    assert engine.latest.status == "failed"
    assert statuses(engine)["slow"] == "succeeded"


def test_a_cancellation_waits_for_handlers_and_is_answered_at_once():
    engine = two("continue", "fail", step("other"))
    engine.fail("a")
    decision = engine.send(CancelWorkflow(engine.id, "enough", "c1"))
    assert [type(event) for event in decision.events] == [WorkflowEnding]
    assert in_hand(engine) == ["mend-a"]
    assert engine.send(CancelWorkflow(engine.id, "enough", "c1")).note
    engine.complete("mend-a")
    assert (engine.latest.status, engine.latest.pause_reason) == ("cancelled", "enough")
    assert engine.of(WorkflowCancelled)[0].command_id == ""


def test_who_cancels_twice_does_not_wait():
    engine = two()
    engine.fail("a")
    engine.send(CancelWorkflow(engine.id, "enough", "c1"))
    engine.send(CancelWorkflow(engine.id, "now", "c2"))
    assert engine.latest.status == "cancelled"
    assert statuses(engine)["mend-a"] == "cancelled"
    assert in_hand(engine) == []


@pytest.mark.parametrize("first", ["fail", "rollback"])
def test_a_cancellation_wins_over_an_end_that_is_noted(first):
    engine = two(first)
    both_fail(engine)
    engine.complete("mend-a")
    engine.send(CancelWorkflow(engine.id, "enough", "c1"))
    engine.complete("mend-b")
    assert engine.latest.status == "cancelled"


def test_without_handlers_under_way_a_cancellation_is_one_at_once():
    engine = two()
    engine.send(CancelWorkflow(engine.id, "enough", "c1"))
    assert engine.latest.status == "cancelled"
    assert engine.of(WorkflowEnding) == []


def test_the_workflows_limit_waits_for_handlers():
    engine = two("continue", "fail", step("other"), default_timeout_seconds=60)
    engine.fail("a")
    engine.wait(60)
    assert in_hand(engine) == ["mend-a"]
    engine.wait(1_000)
    engine.complete("mend-a")
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "WorkflowTimeout")
    assert len(engine.of(WorkflowFailed)) == 1


def test_a_pause_meanwhile_keeps_nothing_from_ending_and_a_resume_runs_nothing_anew():
    engine = two()
    both_fail(engine)
    engine.complete("mend-a")
    engine.send(PauseWorkflow(engine.id, "", "p"))
    engine.send(ResumeWorkflow(engine.id, "retry", "r"))
    assert in_hand(engine) == ["mend-b"]
    engine.complete("mend-b")
    assert engine.latest.status == "failed"


def undone():
    """A step that can be undone, and one in hand that the workflow is rolled back for."""
    engine = started(
        step("paid", compensate=Compensation("refund")),
        step("ship", "paid", on_failure="rollback"),
        step("other", "paid", on_failure="pause"),
    )
    engine.complete("paid")
    return engine


def test_a_failure_of_a_paused_workflow_begins_its_rollback_when_that_is_resumed():
    engine = undone()
    engine.send(PauseWorkflow(engine.id, "a freeze", "p"))
    engine.fail("ship")
    assert (engine.latest.status, in_hand(engine)) == ("paused", [])
    assert not engine.of(RollbackStarted)
    engine.send(ResumeWorkflow(engine.id, "retry", "r"))
    assert (in_hand(engine), engine.item("paid").step.purpose) == (["paid"], "compensate")
    engine.complete("paid")
    assert (engine.latest.status, engine.latest.failed_step) == ("failed", "ship")


def test_an_incident_keeps_a_rollback_waiting_as_a_pause_does():
    engine = undone()
    engine.fail("other", "Odd")
    assert (engine.latest.status, engine.latest.incident) == ("paused", "step_failed")
    engine.fail("ship")
    assert (engine.latest.status, engine.latest.incident, in_hand(engine)) == ("paused", "step_failed", [])
    engine.send(ResumeWorkflow(engine.id, "retry", "r"))
    assert in_hand(engine) == ["paid"]
    engine.complete("paid")
    assert (engine.latest.status, engine.latest.failed_step) == ("failed", "ship")


def test_the_rollback_after_an_error_handler_waits_for_the_end_of_a_pause():
    engine = two("rollback", "fail", step("paid", compensate=Compensation("refund")))
    engine.complete("paid")
    engine.fail("a", "First")
    engine.send(PauseWorkflow(engine.id, "", "p"))
    engine.complete("mend-a")
    assert (engine.latest.status, in_hand(engine)) == ("paused", [])
    engine.send(ResumeWorkflow(engine.id, "retry", "r"))
    assert in_hand(engine) == ["paid"]


def test_a_cancellation_meanwhile_undoes_nothing():
    engine = undone()
    engine.send(PauseWorkflow(engine.id, "", "p"))
    engine.fail("ship")
    engine.send(CancelWorkflow(engine.id, "enough", "c"))
    assert (engine.latest.status, in_hand(engine)) == ("cancelled", [])


def test_a_persons_rollback_is_no_end_and_waits_for_nobody():
    engine = two()
    both_fail(engine)
    engine.complete("mend-a")
    engine.send(RollbackWorkflow(engine.id, "start", command_id="back"))
    assert in_hand(engine) == ["a", "b"]
    assert engine.latest.ending is None


def test_after_such_an_end_a_resume_goes_on_at_all_that_failed():
    engine = two("fail", "fail", step("other"))
    both_fail(engine)
    engine.complete("mend-a")
    engine.complete("mend-b")
    engine.send(ResumeWorkflow(engine.id, "retry", "r"))
    assert sorted(in_hand(engine)) == ["a", "b", "other"]


@pytest.mark.parametrize("word", ["a child's end", "a person's"])
def test_no_failure_ends_a_quarantine_so_what_was_under_way_is_run_anew(word):
    """What people and other workflows say is heard meanwhile; a failure by it must not take the incident's place."""
    waits = (
        step("waits", type="workflow_trigger", on_failure="pause", config={"workflow": "other"})
        if word == "a child's end"
        else step("waits", type="approval_gate", on_failure="pause")
    )
    engine = started(waits, step("work"))
    engine.send(QuarantineInstance(engine.id, ErrorInfo("KeyError", "a bug")))
    lost = engine.item("work").step.run
    engine.send(engine.word("waits", "no", well=False))
    assert (statuses(engine)["waits"], engine.latest.incident) == ("failed", "quarantined")
    engine.send(ResumeWorkflow(engine.id, "retry", "r"))
    assert statuses(engine) == {"waits": "waiting", "work": "ready"}
    assert engine.item("work").step.run > lost
