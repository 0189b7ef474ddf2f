"""What workers say: outcomes late, twice and odd, steps handed back; payloads too large; bugs."""

import pytest

from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    CompleteStep,
    FailStep,
    FireTimer,
    HeartbeatStep,
    QuarantineInstance,
    ReportStarted,
    ResumeWorkflow,
    ReturnStep,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import CommandRejected, ErrorInfo, IncidentRaised, StepReady, StepReturned
from tests.core.build import in_hand, started, statuses, step, until_nobody_has_it


def test_a_late_outcome_of_an_abandoned_attempt_changes_nothing():
    engine = started(step("a", retry=Retry(max_attempts=2)))
    first = engine.item("a").step.run
    engine.fail("a")
    assert engine.send(CompleteStep("i", "a", first, "late")).note == "a repeat: this run was settled before"
    engine.wait(1)
    assert engine.send(CompleteStep("i", "a", first, "late")).note == "a late word of a run that was given up"
    assert statuses(engine) == {"a": "ready"}


def test_a_step_is_settled_once_whatever_else_is_said_of_its_run():
    engine = started(step("a"), step("b"))
    engine.complete("a", 1)
    for word in (CompleteStep("i", "a", 1, 2), FailStep("i", "a", 1, ErrorInfo("Boom")), ReportStarted("i", "a", 1)):
        assert engine.send(word).note == "a repeat: this run was settled before"
    assert engine.latest.steps["a"].output == 1


def test_a_run_that_never_was_is_rejected():
    engine = started(step("a"))
    (event,) = engine.send(CompleteStep("i", "a", 99)).events
    assert (event.code, event.message) == ("unknown_run", 'step "a" has had no run 99')
    (event,) = engine.send(FailStep("i", "x" * 100_000, 99, ErrorInfo("Boom"))).events
    assert len(event.message) < 3_000


def test_a_word_for_an_instance_that_is_not_live_is_let_be():
    engine = started(step("a"))
    engine.send(CancelWorkflow("i"))
    assert engine.send(HeartbeatStep("i", "a", 1)).note == "the instance is not live: a late word from a worker"


def test_a_heartbeat_shows_progress():
    engine = started(step("a"))
    engine.report("a", "w1")
    engine.send(HeartbeatStep("i", "a", 1, {"done": 0.5}))
    state = engine.latest.steps["a"]
    assert (str(state.status), state.worker, state.progress) == ("running", "w1", {"done": 0.5})


# --- no handler ---


def test_a_step_that_was_handed_back_is_routed_again_at_no_cost_of_an_attempt():
    engine = started(step("a", retry=Retry(max_attempts=2)))
    first = engine.item("a").step
    engine.give_back("a")
    assert statuses(engine) == {"a": "waiting"}
    engine.wait(0.999)
    assert in_hand(engine) == []
    engine.wait(0.001)
    again = engine.item("a").step
    assert again.attempt == first.attempt == 1
    assert again.run > first.run
    engine.complete("a")
    assert engine.latest.status == "completed"


def test_a_step_that_nobody_takes_is_routed_again_ever_more_seldom():
    engine, waits = started(step("a")), []
    for _ in range(7):
        engine.give_back("a")
        waits.append((engine.next_due() - engine.now) / 1000)
        engine.wait(waits[-1])
    assert waits == [1, 1, 2, 4, 8, 15, 15]


def test_a_step_that_nobody_takes_for_a_minute_calls_a_person():
    engine = started(step("a", handler="charge"))
    begun = engine.now
    until_nobody_has_it(engine)
    assert 60 <= (engine.now - begun) / 1000 <= 76
    assert len(engine.of(StepReturned)) <= 10, "it is asked for less and less often"
    (incident,) = engine.of(IncidentRaised)
    assert (incident.code, incident.step_id) == ("no_handler", "a")
    assert incident.message == (
        'no worker has taken step "a": none has the handler "charge"; start one that has, then resume'
    )
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["a"]
    engine.give_back("a")  # the minute begins anew
    assert engine.latest.status == "running"


def test_an_error_handler_that_nobody_takes_runs_after_the_resume():
    engine = started(step("a"), step("mend"), step("b", "a"), on_error={"a": ("mend", "continue")})
    engine.fail("a")
    until_nobody_has_it(engine, "mend")
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["mend"]
    engine.complete("mend")
    assert in_hand(engine) == ["b"]


def test_a_step_that_somebody_took_in_between_has_its_minute_anew():
    engine = started(step("a", retry=Retry(max_attempts=9)))
    engine.give_back("a")
    engine.wait(55)
    engine.fail("a")
    engine.wait(10)
    engine.give_back("a")
    assert engine.latest.status == "running"


# --- bugs ---


def quarantined(*steps, **fields):
    engine = started(*steps, **fields)
    engine.send(QuarantineInstance("i", ErrorInfo("KeyError", "'x'")))
    return engine


def test_a_bug_sets_the_instance_aside():
    engine = quarantined(step("a"))
    assert engine.of(IncidentRaised) == [IncidentRaised("quarantined", "a bug in Stepwell: KeyError: 'x'")]
    assert engine.latest.status == "paused"
    (event,) = engine.complete("a").events
    assert isinstance(event, CommandRejected)
    assert event.code == "quarantined"


def test_after_a_quarantine_what_was_under_way_runs_anew():
    engine = quarantined(step("a"), step("nap", type="wait", config={"seconds": 5}), step("b", "a", "nap"))
    before = engine.item("a")
    assert engine.fire("nap").note
    engine.wait(10)
    assert statuses(engine) == {"a": "ready", "nap": "waiting"}  # nothing moves
    engine.send(ResumeWorkflow("i"))
    assert engine.item("a").step.run > before.step.run
    assert before not in engine.in_hand
    engine.complete("a")
    engine.wait(5)
    engine.complete("b")
    assert engine.latest.status == "completed"


def test_after_a_quarantine_an_error_handler_runs_anew():
    engine = started(step("a"), step("mend"), step("b", "a"), on_error={"a": ("mend", "continue")})
    engine.fail("a")
    engine.send(QuarantineInstance("i", ErrorInfo("KeyError")))
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["mend"]
    engine.complete("mend")
    engine.complete("b")
    assert engine.latest.status == "completed"


def test_a_bug_for_an_instance_that_is_not_live_is_told_to_the_sender():
    engine = quarantined(step("a"))
    engine.send(CancelWorkflow("i"))
    (event,) = engine.send(QuarantineInstance("i", ErrorInfo("KeyError"))).events
    assert event.code == "quarantined"
    assert engine.state is None


# --- timers ---


@pytest.mark.parametrize("timer", ["", "a", "no such step"])
def test_a_timer_that_is_not_there_or_not_due_does_nothing(timer):
    engine = started(step("a", type="wait", config={"seconds": 9}), step("b"))
    assert engine.send(FireTimer("i", timer)).note == "the timer was moved or is gone"


def test_a_timer_fires_when_it_is_due_and_not_a_millisecond_earlier():
    engine = started(step("a", type="wait", config={"seconds": 9}))
    engine.now += 8_999
    assert engine.fire("a").note
    engine.now += 1
    assert not engine.fire("a").note
    assert engine.latest.status == "completed"


# --- too large for a record ---


def too_large(engine, *step_ids):
    engine.oversized = dict.fromkeys(step_ids, 2_000_000)
    return engine


def test_an_output_that_is_too_large_fails_its_step():
    engine = too_large(started(step("a", retry=Retry(max_attempts=3)), step("b", "a")), "a")
    engine.complete("a", "x")
    error = engine.latest.error
    assert (engine.latest.failed_step, error.type) == ("a", "PayloadTooLarge")
    assert error.message == (
        "its output makes a record of 2,000,000 bytes, more than the log takes; pass a reference instead"
    )


def test_an_input_that_is_too_large_fails_the_step_that_would_get_it():
    engine = too_large(started(step("a"), step("b", "a", on_failure="skip"), step("c", "a")), "b")
    engine.complete("a", "x")
    assert statuses(engine) == {"a": "succeeded", "b": "failed", "c": "ready"}
    assert engine.latest.steps["b"].error.message.startswith("its input makes a record")


def test_what_a_wait_lets_through_may_be_too_large():
    engine = started(step("nap", type="wait", config={"seconds": 1}))
    too_large(engine, "nap").wait(1)
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "PayloadTooLarge")


def test_an_error_that_is_too_large_is_cut():
    engine = too_large(started(step("a")), "a")
    engine.fail("a", "Boom", "m" * 5_000, traceback="t" * 5_000)
    assert (len(engine.latest.error.message), engine.latest.error.traceback) == (1_000, "")
    assert engine.latest.error.type == "Boom"


def test_progress_that_is_too_large_is_left_out():
    engine = too_large(started(step("a")), "a")
    engine.send(HeartbeatStep("i", "a", 1, "x"))
    assert engine.latest.steps["a"].progress is None


def test_a_reason_is_cut():
    engine = started(step("a"))
    engine.send(ReturnStep("i", "a", 1, "z" * 5_000))
    assert len(engine.transitions[-1].events[0].reason) == 1_000


def test_the_workflows_own_input_output_and_state_may_be_too_large():
    engine = too_large(started(step("a")), "")
    engine.complete("a")
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "PayloadTooLarge")
    (event,) = engine.send(ResumeWorkflow("i")).events
    assert event.code == "payload_too_large"
    other = type(engine)(engine.plan.definition)
    too_large(other, "").start()
    assert other.answers[0].code == "payload_too_large"


@pytest.mark.parametrize("what", ["its output", "the input of its compensation"])
def test_a_compensation_may_be_too_large(what):
    engine = started(step("a", compensate=Compensation("undo")), step("b", "a"))
    engine.complete("a")
    if what == "its output":
        engine.send(RollbackWorkflow("i", "start"))
        too_large(engine, "a").complete("a", "x")
    else:
        too_large(engine, "a").send(RollbackWorkflow("i", "start"))
    assert engine.latest.incident == "compensation_failed"
    assert what in engine.of(IncidentRaised)[0].message
    assert in_hand(engine) == []
    too_large(engine).send(ResumeWorkflow("i"))
    engine.complete("a")
    assert len(engine.of(StepReady)) >= 4
