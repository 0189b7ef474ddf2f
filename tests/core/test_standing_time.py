"""For what time stands still: for gates while the instance is paused, for the workflow's limit in an incident."""

from __future__ import annotations

import pytest

from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import PauseWorkflow, QuarantineInstance, ResumeWorkflow, RollbackWorkflow
from stepwell.schemas.records.events import ErrorInfo, WorkflowResumed
from tests.core.build import in_hand, started, statuses, step, until_nobody_has_it
from tests.core.test_approvals import approve, gate


def pause(engine):
    engine.send(PauseWorkflow(engine.id, "", f"pause {engine.decided}"))


def resume(engine, how="retry"):
    engine.send(ResumeWorkflow(engine.id, how, f"resume {engine.decided}"))


@pytest.mark.parametrize("on_timeout", ["approve", "reject", "fail", "escalate"])
@pytest.mark.parametrize("paused_by", ["a person", "an incident"])
def test_no_gate_decides_itself_while_the_instance_is_paused(on_timeout, paused_by):
    config = {"timeout_seconds": 60, "on_timeout": on_timeout}
    if on_timeout == "escalate":
        config["escalate_to"] = [["cy"]]
    engine = started(gate(**config), step("other", on_failure="pause"), step("pay", "gate"))
    engine.wait(20)
    if paused_by == "a person":
        pause(engine)
    else:
        engine.fail("other")
    before = engine.latest.steps["gate"]
    engine.wait(100_000)
    assert engine.latest.steps["gate"] == before
    resume(engine)
    engine.wait(39.9)
    assert engine.latest.steps["gate"].gate.level == 1
    assert statuses(engine)["gate"] == "waiting"
    engine.wait(0.1)
    after = {"approve": "succeeded", "reject": "failed", "fail": "failed", "escalate": "waiting"}[on_timeout]
    assert statuses(engine)["gate"] == after
    if on_timeout == "escalate":
        assert engine.latest.steps["gate"].gate.level == 2


def test_several_pauses_add_up_and_each_gate_keeps_what_it_had_left():
    engine = started(
        step("soon", type="approval_gate", config={"timeout_seconds": 30}, on_failure="skip"),
        step("late", type="approval_gate", config={"timeout_seconds": 300}, on_failure="skip"),
        step("never", type="approval_gate"),
    )
    for _ in range(3):
        pause(engine)
        engine.wait(1_000)
        resume(engine)
        engine.wait(9)
    assert statuses(engine) == {"soon": "waiting", "late": "waiting", "never": "waiting"}
    assert engine.of(WorkflowResumed)[-1].dues.keys() == {"soon", "late"}
    assert engine.latest.steps["soon"].gate.due == engine.latest.timers["soon"] == engine.now + 3_000
    engine.wait(3)
    assert statuses(engine) == {"soon": "failed", "late": "waiting", "never": "waiting"}


def test_an_incident_within_a_pause_does_not_begin_it_anew():
    engine = started(gate(timeout_seconds=60), step("other", on_failure="pause"))
    pause(engine)
    engine.wait(500)
    engine.fail("other")
    engine.wait(500)
    resume(engine)
    engine.wait(59.9)
    assert statuses(engine)["gate"] == "waiting"


def test_people_may_decide_while_it_is_paused():
    engine = started(gate(timeout_seconds=60), step("pay", "gate"))
    pause(engine)
    engine.wait(1_000)
    approve(engine)
    assert statuses(engine) == {"gate": "succeeded"}
    resume(engine)
    assert in_hand(engine) == ["pay"]


# --- the workflow's limit -----------------------------------------------------------------------------------


def booked(**fields):
    """Two steps that can be undone, done; a third that rolls back when it fails."""
    undo = Compensation("undo", retry=Retry(1))
    return started(
        step("hotel", compensate=undo), step("flight", "hotel", compensate=undo),
        step("pay", "flight", on_failure="rollback"), default_timeout_seconds=60, **fields,
    )  # fmt: skip


def rolling_back():
    engine = booked()
    engine.complete("hotel")
    engine.complete("flight")
    engine.fail("pay")
    return engine


def test_the_limit_never_cuts_a_rollback_short():
    engine = rolling_back()
    engine.wait(1_000)
    assert engine.latest.status == "running"
    engine.complete("flight")
    engine.wait(1_000)
    engine.complete("hotel")
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "Boom")


def test_the_limit_wipes_no_incident_of_a_rollback():
    engine = rolling_back()
    engine.fail("flight")
    engine.wait(1_000)
    assert engine.latest.incident == "compensation_failed"
    resume(engine)
    engine.wait(1_000)
    engine.complete("flight")
    engine.complete("hotel")
    assert engine.latest.error.type == "Boom"


@pytest.mark.parametrize("point", ["start", "hotel"])
@pytest.mark.parametrize("paused", [False, True])
def test_what_runs_on_after_a_persons_rollback_has_no_limit(point, paused):
    engine = booked()
    engine.complete("hotel")
    engine.complete("flight")
    engine.send(RollbackWorkflow(engine.id, point, pause=paused))
    while engine.latest.rollback:
        engine.deliver(engine.in_hand[0])
    assert not engine.latest.timers
    if paused:
        resume(engine)
    engine.wait(1_000)
    engine.drain()
    assert engine.latest.status == "completed"


@pytest.mark.parametrize("incident", ["step_failed", "no_handler", "quarantined"])
def test_the_limit_does_not_count_while_an_incident_waits_for_somebody(incident):
    engine = started(step("a", on_failure="pause"), step("b", "a"), default_timeout_seconds=600)
    engine.wait(20)
    if incident == "step_failed":
        engine.fail("a")
    elif incident == "no_handler":
        until_nobody_has_it(engine)
    else:
        engine.send(QuarantineInstance(engine.id, ErrorInfo("KeyError")))
    assert engine.latest.incident == incident
    left = engine.latest.timers[""] - engine.latest.incident_at
    engine.wait(10_000)
    assert engine.latest.incident == incident
    resume(engine)
    assert engine.latest.timers[""] - engine.now == left
    engine.wait(left / 1000 - 0.1)
    assert engine.latest.status == "running"
    engine.wait(0.1)
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "WorkflowTimeout")


def test_the_limit_counts_while_a_person_has_paused_it():
    engine = started(step("a"), default_timeout_seconds=60)
    pause(engine)
    engine.wait(60)
    assert (engine.latest.status, engine.latest.error.type) == ("failed", "WorkflowTimeout")
