"""Going back: checkpoints, compensations in reverse order, and what happens when undoing fails."""

import pytest

from stepwell.core.fold.state import progress
from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    CompleteStep,
    PauseWorkflow,
    QuarantineInstance,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import ErrorInfo, IncidentRaised, RollbackStarted, StepReady
from tests.core.build import in_hand, started, statuses, step, until_nobody_has_it

ONCE = Retry(max_attempts=1)


def undone(step_id, *after, **fields):
    return step(step_id, *after, compensate=Compensation("undo", retry=ONCE, **fields))


def three(**fields):
    """a, b and c have succeeded, d is at work."""
    engine = started(undone("a"), undone("b", "a"), step("c", "b"), undone("d", "c"), **fields)
    for step_id in "abc":
        engine.complete(step_id, {"by": step_id})
    return engine


def rejection(decision):
    (event,) = decision.events
    return event.code, event.message


# --- where to ---


@pytest.mark.parametrize(
    ("to", "kept", "undoing"),
    [
        ("start", [], ["b", "a"]),
        ("a", ["a"], ["b"]),
        ("b", ["a", "b"], []),
        ("latest", ["a", "b", "c"], []),
        (1, [], ["b", "a"]),
        (3, ["a"], ["b"]),
        ("3", ["a"], ["b"]),
    ],
)
def test_a_rollback_goes_to_a_sequence_a_step_the_latest_checkpoint_or_the_start(to, kept, undoing):
    engine = three()
    engine.send(RollbackWorkflow("i", to))
    assert list(engine.of(RollbackStarted)[0].compensate) == undoing
    for step_id in undoing:
        assert in_hand(engine) == [step_id]
        engine.complete(step_id)
    assert list(progress(engine.latest)["steps"]) == kept
    following = {0: "a", 1: "b", 2: "c", 3: "d"}[len(kept)]
    assert in_hand(engine) == [following]
    engine.drain()
    assert engine.latest.status == "completed"


def test_a_named_checkpoint_is_reached_when_its_step_has_succeeded():
    engine = started(step("a", checkpoint="paid"), step("b", "a", checkpoint=True), step("c", "b"))
    engine.complete("a")
    engine.complete("b")
    assert dict(engine.latest.checkpoints) == {"paid": 3, "b": 5}
    engine.send(RollbackWorkflow("i", "paid"))
    assert in_hand(engine) == ["b"]
    assert dict(engine.latest.checkpoints) == {"paid": 3}


def test_a_target_that_does_not_exist_is_rejected_with_what_there_is():
    engine = started(step("fetch", checkpoint="paid"), step("b", "fetch"))
    engine.complete("fetch")
    assert rejection(engine.send(RollbackWorkflow("i", "payd"))) == (
        "unknown_checkpoint", 'no checkpoint or settled step is called "payd", did you mean "paid"?',
    )  # fmt: skip
    assert rejection(engine.send(RollbackWorkflow("i", "zzz"))) == (
        "unknown_checkpoint", 'no checkpoint or settled step is called "zzz"; there are fetch, paid, latest, start',
    )  # fmt: skip
    last = engine.latest.sequence
    assert rejection(engine.send(RollbackWorkflow("i", 99))) == (
        "unknown_checkpoint", f"there is no event 99; its events are 1 to {last}",
    )  # fmt: skip
    for odd in ("²", "٣" * 30, "9" * 5_000, "b"):
        assert rejection(engine.send(RollbackWorkflow("i", odd)))[0] == "unknown_checkpoint"


def test_what_a_rollback_has_undone_is_no_target_any_more():
    engine = three()
    engine.send(RollbackWorkflow("i", 5))
    assert rejection(engine.send(RollbackWorkflow("i", 6))) == (
        "unknown_checkpoint", "event 6 was itself undone: a rollback at event 10 returned to event 5",
    )  # fmt: skip
    engine.send(RollbackWorkflow("i", 3))
    assert engine.latest.rollback is not None


def test_a_rollback_returns_the_context_too():
    engine = started(step("a"), step("b", "a"), step("c", "b"))
    engine.complete("a", None, x=1, y=1)
    engine.complete("b", None, x=2, z=2)
    engine.send(RollbackWorkflow("i", "a"))
    assert progress(engine.latest)["context"] == {"x": 1, "y": 1}
    engine.complete("b", None, x=3)
    assert progress(engine.latest)["context"] == {"x": 3, "y": 1}


def test_joins_count_anew_after_a_rollback():
    engine = started(step("a"), step("b"), step("c"), step("join", "a", "b", "c"))
    engine.complete("a")
    engine.complete("b")
    engine.send(RollbackWorkflow("i", "a"))
    assert dict(engine.latest.arrived) == {"join": 1}
    assert in_hand(engine) == ["b", "c"]
    engine.complete("c")
    engine.complete("b")
    assert in_hand(engine) == ["join"]


def test_late_outcomes_of_abandoned_runs_change_nothing():
    engine = three()
    late = engine.item("d")
    engine.send(RollbackWorkflow("i", "b"))
    assert late not in engine.in_hand  # its worker was told to stop
    assert engine.deliver(late).note == "a late word of a run that was given up"
    assert engine.send(CompleteStep("i", "c", 3, "old")).note == "a late word of a run that was given up"
    assert statuses(engine) == {"a": "succeeded", "b": "succeeded", "c": "ready"}


def test_a_rollback_may_stay_paused_there():
    engine = three()
    engine.send(RollbackWorkflow("i", "a", pause=True))
    engine.complete("b")
    assert (engine.latest.status, engine.latest.pause_reason) == ("paused", "rolled back")
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["b"]


def test_a_rollback_to_the_end_may_stay_paused_there_too():
    engine = three()
    engine.drain()
    engine.send(RollbackWorkflow("i", "d", pause=True))
    assert engine.latest.status == "paused"
    engine.send(ResumeWorkflow("i"))
    assert engine.latest.status == "completed"


def test_a_completed_instance_can_be_rolled_back():
    engine = three()
    engine.complete("d", "first")
    assert engine.latest.output == {"d": "first"}
    engine.send(RollbackWorkflow("i", "c", command_id="r"))
    assert engine.latest.output is None
    engine.complete("d")  # undoing
    engine.complete("d", "second")
    assert engine.latest.output == {"d": "second"}
    assert engine.send(RollbackWorkflow("i", "c", command_id="r")).note == "this command was followed before"


def test_a_rejected_rollback_does_not_reopen():
    engine = started(step("a"))
    engine.complete("a")
    before = len(engine.transitions)
    assert rejection(engine.send(RollbackWorkflow("i", "zzz")))[0] == "unknown_checkpoint"
    assert len(engine.transitions) == before
    assert engine.state is None


# --- undoing ---


def test_a_compensation_gets_the_output_of_its_step_or_what_it_asks_for():
    engine = started(
        step("a", compensate=Compensation("undo")),
        step("b", "a", queue="q", compensate=Compensation(
            "refund", input={"id": "{{ output.id }}", "n": "{{ input.n }}"}, config={"url": "x/{{ output.id }}"},
            timeout_seconds=9,
        )),
        step("c", "b"),
    )  # fmt: skip
    engine.complete("a", {"id": 1})
    engine.complete("b", {"id": 2})
    engine.send(RollbackWorkflow("i", "start"))
    asked = engine.item("b").step
    assert (asked.handler, asked.input, asked.config) == ("refund", {"id": 2, "n": 2}, {"url": "x/2"})
    assert (asked.queue, asked.timeout_seconds, asked.max_attempts, asked.purpose) == ("q", 9, 3, "compensate")
    engine.complete("b")
    assert engine.item("a").step.input == {"id": 1}


def test_undoing_is_in_reverse_order_of_settlement_one_at_a_time():
    engine = started(undone("a"), undone("b"), undone("c"), step("d", "a", "b", "c"))
    for step_id in "bca":
        engine.complete(step_id)
    engine.send(RollbackWorkflow("i", "start"))
    order = []
    while engine.latest.rollback:
        (step_id,) = in_hand(engine)
        order.append(step_id)
        engine.complete(step_id)
    assert order == ["a", "c", "b"]


def test_steps_that_did_not_succeed_are_not_undone():
    engine = started(
        step("a", condition="false", compensate=Compensation("undo")),
        step("b", on_failure="skip", compensate=Compensation("undo")),
        step("c", compensate=Compensation("undo")),
    )
    engine.fail("b")
    engine.send(RollbackWorkflow("i", "start"))
    assert engine.of(RollbackStarted)[0].compensate == ()


def test_undoing_is_retried_and_then_a_person_is_called():
    engine = started(step("a", compensate=Compensation("undo")), step("b", "a"))
    engine.complete("a", 1)
    engine.send(RollbackWorkflow("i", "start"))
    for wait in (1, 2, 0):
        assert engine.item("a").step.purpose == "compensate"
        engine.fail("a", "ConnectionError", "no route")
        engine.wait(wait)
    assert engine.latest.status == "paused"
    assert engine.latest.incident == "compensation_failed"
    assert engine.of(IncidentRaised)[0].message == 'undoing step "a" failed: ConnectionError: no route'


@pytest.mark.parametrize("how", ["retry", "skip"])
def test_a_person_retries_or_skips_a_compensation_that_failed(how):
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    engine.fail("b")
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow("i", how))
    if how == "retry":
        assert in_hand(engine) == ["b"]
        engine.complete("b")
    assert engine.item("a").step.purpose == "compensate"
    engine.complete("a")
    assert engine.item("a").step.purpose == "run"


def test_a_compensation_whose_input_cannot_be_made_calls_a_person_and_is_never_sent():
    engine = started(undone("a", input="{{ output.nothing }}"), step("b", "a"))
    engine.complete("a", {})
    engine.send(RollbackWorkflow("i", "start"))
    for _ in range(2):
        assert engine.latest.incident == "compensation_failed"
        assert in_hand(engine) == []
        engine.send(ResumeWorkflow("i", "retry"))
    engine.send(ResumeWorkflow("i", "skip"))
    assert in_hand(engine) == ["a"]


def test_a_rollback_within_a_rollback_is_rejected():
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    assert rejection(engine.send(RollbackWorkflow("i", "start"))) == (
        "rollback_under_way", "it is being rolled back; wait, or cancel it",
    )  # fmt: skip


def test_a_rollback_may_be_paused_and_goes_on_when_resumed():
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    engine.send(PauseWorkflow("i"))
    engine.complete("b")
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow("i"))
    engine.complete("a")
    assert engine.item("a").step.purpose == "run"


def test_a_rollback_cut_short_by_a_cancel_is_resumed_where_it_was():
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    late = engine.item("b")
    engine.send(CancelWorkflow("i"))
    assert (engine.latest.status, in_hand(engine)) == ("cancelled", [])
    assert rejection(engine.send(RollbackWorkflow("i", "start"))) == (
        "rollback_under_way", "it is being rolled back; that was cut short: resume it first",
    )  # fmt: skip
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["b"]
    assert engine.deliver(late).note  # of the compensation that was given up
    engine.complete("b")
    engine.complete("a")
    assert engine.item("a").step.purpose == "run"


def test_a_quarantined_rollback_runs_its_compensation_anew():
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    engine.send(QuarantineInstance("i", ErrorInfo("KeyError")))
    assert engine.complete("b").events[0].code == "quarantined"
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["b"]
    engine.complete("b")
    assert in_hand(engine) == ["a"]


def test_words_about_another_step_do_not_settle_a_compensation():
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    run = engine.item("b").step.run
    for other in ("a", "no such step"):
        assert engine.send(CompleteStep("i", other, run)).note
    assert in_hand(engine) == ["b"]
    assert engine.latest.rollback.current is not None


def test_a_silent_compensation_times_out():
    engine = started(undone("a", timeout_seconds=2), step("b", "a"))
    engine.complete("a")
    engine.send(RollbackWorkflow("i", "start"))
    engine.report("a")
    engine.wait(7)
    assert engine.latest.incident == "compensation_failed"


def test_a_compensation_that_no_worker_takes_calls_a_person():
    engine = three()
    engine.send(RollbackWorkflow("i", "start"))
    until_nobody_has_it(engine, "b")
    assert engine.latest.incident == "no_handler"
    engine.send(ResumeWorkflow("i"))
    engine.wait(0)
    engine.give_back("b")
    assert engine.latest.status == "running"  # the limit counts anew
    engine.wait(1)
    engine.complete("b")
    engine.complete("a")
    assert len([event for event in engine.of(StepReady) if event.purpose == "run"]) == 5
