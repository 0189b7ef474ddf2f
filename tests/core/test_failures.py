"""What follows a failure: the workflow's end, going on without the step, a person, a rollback, an error handler."""

import pytest

from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import PauseWorkflow, ResumeWorkflow
from stepwell.schemas.records.events import ErrorInfo, IncidentRaised, RollbackStarted, StepReady, WorkflowFailed
from tests.core.build import in_hand, started, statuses, step

BOOM = ErrorInfo("Boom", "it went wrong")


# --- on_failure ---


def test_fail_ends_the_workflow_and_gives_up_what_runs():
    engine = started(step("a"), step("b"), step("c", "a"))
    engine.fail("a")
    state = engine.latest
    assert (state.status, state.error, state.failed_step) == ("failed", BOOM, "a")
    assert statuses(engine) == {"a": "failed", "b": "cancelled"}
    assert in_hand(engine) == []


def test_skip_goes_on_without_the_step_and_keeps_its_error():
    engine = started(step("a", on_failure="skip"), step("b", "a", condition="a.error.type == 'Boom'"))
    engine.fail("a")
    assert statuses(engine) == {"a": "failed", "b": "ready"}
    assert engine.latest.steps["a"].error == BOOM
    engine.complete("b", 1)
    assert engine.latest.status == "completed"
    assert engine.latest.output == {"b": 1}


def test_pause_waits_for_a_person():
    engine = started(step("a", on_failure="pause"), step("b"), step("c", "b"))
    engine.fail("a")
    assert engine.latest.status == "paused"
    assert engine.latest.incident == "step_failed"
    assert engine.of(IncidentRaised) == [IncidentRaised("step_failed", 'step "a" failed: Boom: it went wrong', "a")]
    engine.complete("b")
    assert in_hand(engine) == []


@pytest.mark.parametrize(("how", "expected"), [("retry", ["c", "a"]), ("skip", ["c", "d"])])
def test_after_a_pause_the_person_retries_or_skips(how, expected):
    engine = started(step("a", on_failure="pause"), step("b"), step("c", "b"), step("d", "a"))
    engine.fail("a")
    engine.complete("b")
    engine.send(ResumeWorkflow("i", how))
    assert sorted(in_hand(engine)) == sorted(expected)
    engine.drain()
    assert engine.latest.status == "completed"


def test_rollback_undoes_what_was_done_and_fails():
    undo = Compensation("undo")
    engine = started(
        step("a", compensate=undo), step("b", "a", compensate=undo), step("c", "b", on_failure="rollback")
    )
    engine.complete("a", 1)
    engine.complete("b", 2)
    engine.fail("c")
    assert engine.of(RollbackStarted)[0].compensate == ("b", "a")
    assert engine.item("b").step.purpose == "compensate"
    engine.complete("b")
    engine.complete("a")
    state = engine.latest
    assert (state.status, state.error, state.failed_step) == ("failed", BOOM, "c")
    assert statuses(engine) == {}


def test_rollback_with_nothing_to_undo_fails_at_once():
    engine = started(step("a", on_failure="rollback"))
    engine.fail("a")
    assert engine.names()[-4:] == ["step.failed a", "rollback.started a", "workflow.rolled_back", "workflow.failed a"]


def test_only_the_last_attempt_is_a_failure():
    engine = started(step("a", retry=Retry(max_attempts=2), on_failure="pause"))
    engine.fail("a")
    assert engine.latest.status == "running"
    engine.wait(1)
    engine.fail("a")
    assert engine.latest.status == "paused"


# --- error handlers ---


def handled(then, *more, handler=None):
    handler = handler or step("mend")
    return started(step("a"), step("b", "a"), handler, *more, on_error={"a": ("mend", then)})


def test_an_error_handler_runs_only_on_the_failure_of_its_step():
    engine = handled("fail")
    assert in_hand(engine) == ["a"]
    engine.complete("a")
    engine.complete("b")
    assert engine.latest.status == "completed"
    assert statuses(engine) == {"a": "succeeded", "b": "succeeded"}


def test_an_error_handler_gets_the_error():
    engine = handled("fail")
    engine.fail("a")
    (item,) = engine.in_hand
    assert (item.step.purpose, item.step.target) == ("handle", "a")
    assert item.step.input == {
        "n": 2, "k": [1], "failed_step": "a",
        "error": {"type": "Boom", "message": "it went wrong", "kinds": [], "traceback": ""},
    }  # fmt: skip


def test_then_fail_fails_with_the_first_error():
    engine = handled("fail")
    engine.fail("a")
    assert engine.latest.status == "running"
    engine.complete("mend", "mended")
    state = engine.latest
    assert (state.status, state.error, state.failed_step) == ("failed", BOOM, "a")
    assert statuses(engine) == {"a": "failed", "mend": "succeeded"}


def test_then_continue_goes_on_without_the_step():
    engine = handled("continue")
    engine.fail("a")
    assert in_hand(engine) == ["mend"]
    engine.complete("mend", {"x": 1})
    assert in_hand(engine) == ["b"]
    assert engine.item("b").step.input == {"n": 2, "k": [1]}
    engine.complete("b", 1)
    assert engine.latest.status == "completed"
    assert statuses(engine)["a"] == "failed"


def test_then_rollback_undoes_and_fails():
    done = step("done", compensate=Compensation("undo"))
    engine = started(done, step("a", "done"), step("mend"), on_error={"a": ("mend", "rollback")})
    engine.complete("done", 7)
    engine.fail("a")
    engine.complete("mend")
    assert engine.item("done").step.input == 7
    engine.complete("done")
    assert (engine.latest.status, engine.latest.failed_step) == ("failed", "a")


def test_a_handler_that_fails_itself_leaves_the_first_error():
    engine = handled("continue")
    engine.fail("a")
    engine.fail("mend", "Other")
    assert (engine.latest.status, engine.latest.error, engine.latest.failed_step) == ("failed", BOOM, "a")
    assert engine.latest.steps["mend"].error.type == "Other"


def test_a_handler_may_be_retried():
    engine = handled("continue", handler=step("mend", retry=Retry(max_attempts=2)))
    engine.fail("a")
    engine.fail("mend")
    engine.wait(1)
    engine.complete("mend")
    engine.complete("b")
    assert engine.latest.status == "completed"


def test_a_handler_whose_condition_is_false_does_not_handle():
    engine = handled("continue", handler=step("mend", condition="error.type == 'Other'"))
    engine.fail("a")
    assert (engine.latest.status, engine.latest.error, engine.latest.failed_step) == ("failed", BOOM, "a")


@pytest.mark.parametrize(
    "handler",
    [
        step("mend", type="input"),
        step("mend", type="wait", config={"seconds": 1}, input={"why": "{{ error.message }}"}),
        step("mend", type="condition_check", config={"condition": "failed_step == 'a'"}),
    ],
)
@pytest.mark.parametrize("then", ["continue", "fail"])
def test_a_handler_may_be_of_any_type(handler, then):
    engine = handled(then, handler=handler)
    engine.fail("a")
    engine.wait(1)
    assert statuses(engine)["mend"] == "succeeded"
    if then == "continue":
        engine.complete("b")
    assert engine.latest.status == ("completed" if then == "continue" else "failed")


def test_other_steps_go_on_while_a_failure_is_handled():
    engine = handled("continue", step("x"), step("y", "x"))
    engine.fail("a")
    engine.complete("x")
    engine.complete("y")
    assert engine.latest.status == "running"  # it never completes before its failure is dealt with
    engine.complete("mend")
    engine.complete("b")
    assert engine.latest.status == "completed"


def test_two_failures_have_their_own_handlers():
    engine = started(
        step("a"), step("b"), step("mend-a"), step("mend-b"), step("c", "a", "b"),
        on_error={"a": ("mend-a", "continue"), "b": ("mend-b", "continue")},
    )  # fmt: skip
    engine.fail("b")
    engine.fail("a")
    engine.complete("mend-a")
    engine.complete("mend-b")
    assert in_hand(engine) == ["c"]


def test_a_pause_while_a_failure_is_handled_disturbs_nothing():
    engine = handled("continue")
    engine.fail("a")
    engine.send(PauseWorkflow("i"))
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["mend"]
    engine.complete("mend")
    engine.complete("b")
    assert engine.latest.status == "completed"
    assert [event.step_id for event in engine.of(StepReady)] == ["a", "mend", "b"]


def test_a_failure_during_a_pause_is_handled_after_it():
    engine = handled("continue")
    engine.send(PauseWorkflow("i"))
    engine.fail("a")
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["mend"]
    engine.complete("mend")
    assert in_hand(engine) == ["b"]


@pytest.mark.parametrize(("how", "expected"), [("retry", ["a"]), ("skip", ["b"])])
@pytest.mark.parametrize("end", ["handled", "handler failed"])
def test_a_workflow_that_failed_after_its_handler_resumes_at_the_step_that_failed(how, expected, end):
    engine = handled("fail")
    engine.fail("a")
    if end == "handled":
        engine.complete("mend")
    else:
        engine.fail("mend")
    engine.send(ResumeWorkflow("i", how))
    assert in_hand(engine) == expected
    if how == "retry":
        engine.fail("a")  # its handler runs anew, too
        assert in_hand(engine) == ["mend"]
        engine.complete("mend")
        assert len(engine.of(WorkflowFailed)) == 2
