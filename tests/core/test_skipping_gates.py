"""A gate opens by the word of its people, and by nothing else: who skips what failed does not skip a gate."""

from __future__ import annotations

import pytest

from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import ResumeWorkflow, RollbackWorkflow
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.step_waits import ApprovalRequired, ChildRequested
from tests.core.build import in_hand, started, statuses, step
from tests.core.test_approvals import approve, gate, reject
from tests.core.test_children import ended, trigger

REFUSALS = ("rejected", "not decided in time")


def refuse(engine, how, step_id="gate"):
    if how == "rejected":
        reject(engine, step_id=step_id)
    else:
        engine.wait(60)


def skip(engine):
    return engine.send(ResumeWorkflow(engine.id, "skip", f"skip {engine.decided}"))


@pytest.mark.parametrize("on_failure", ["fail", "pause"])
@pytest.mark.parametrize("how", REFUSALS)
def test_a_gate_that_people_did_not_open_is_never_skipped_and_asks_anew(how, on_failure):
    engine = started(
        step("gate", type="approval_gate", on_failure=on_failure, config={"timeout_seconds": 60}), step("pay", "gate")
    )
    for _ in range(2):
        refuse(engine, how)
        assert engine.latest.status == ("paused" if on_failure == "pause" else "failed")
        skip(engine)
        assert statuses(engine) == {"gate": "waiting"}
    assert len(engine.of(ApprovalRequired)) == 3
    approve(engine)
    assert in_hand(engine) == ["pay"]


@pytest.mark.parametrize("how", REFUSALS)
def test_what_failed_beside_a_gate_is_skipped_all_the_same(how):
    engine = started(
        step("gate", type="approval_gate", on_failure="pause", config={"timeout_seconds": 60}),
        step("work", on_failure="pause"),
        step("after", "work"),
        step("pay", "gate"),
    )
    engine.fail("work")
    refuse(engine, how)
    skip(engine)
    assert statuses(engine) == {"gate": "waiting", "work": "skipped", "after": "ready"}


def test_a_gate_without_anybody_to_ask_is_not_skipped_either():
    """Its approvers are told by a template that yields nobody."""
    engine = started(gate(approvers="{{ input.k[1:] }}"), step("pay", "gate"))
    assert engine.latest.error.type == "ExpressionError"
    skip(engine)
    assert in_hand(engine) == []
    assert engine.latest.status == "failed"


@pytest.mark.parametrize("kinds", [("ApprovalRejected",), ("ApprovalTimeout", "TimeoutError")])
@pytest.mark.parametrize("deep", [False, True])
def test_a_step_whose_child_failed_at_a_gate_is_not_skipped_however_deep_the_gate_is(kinds, deep):
    engine = started(trigger(), step("pay", "sub"))
    error = ErrorInfo(*kinds[:1], "rejected by ann", kinds[1:])
    if deep:
        error = ErrorInfo("ChildWorkflowFailed", "i.sub.1.sub.1 failed", kinds)
    ended(engine, "failed", error=error)
    skip(engine)
    assert statuses(engine) == {"sub": "waiting"}
    assert len(engine.of(ChildRequested)) == 2, "a child that asks anew"


def test_a_step_whose_child_failed_otherwise_is_skipped():
    engine = started(trigger(), step("pay", "sub"))
    ended(engine, "failed", error=ErrorInfo("Boom"))
    skip(engine)
    assert statuses(engine) == {"sub": "skipped", "pay": "ready"}


@pytest.mark.parametrize("then", ["fail", "continue"])
def test_a_failure_whose_handler_is_a_gate_is_not_skipped_past_it(then):
    engine = started(
        step("charge"), step("pay", "charge"), step("ask", type="approval_gate"), on_error={"charge": ("ask", then)}
    )
    engine.fail("charge")
    reject(engine, step_id="ask")
    assert engine.latest.status == "failed"
    skip(engine)
    assert in_hand(engine) == ["charge"], "it runs anew, and asks again if it fails"


@pytest.mark.parametrize("undone", [False, True])
def test_a_gate_that_rolled_the_workflow_back_asks_anew_after_it(undone):
    """Also where a person goes on without a compensation that failed."""
    engine = started(
        step("book", compensate=Compensation("unbook", retry=Retry(1))),
        step("gate", "book", type="approval_gate", on_failure="rollback"),
        step("pay", "gate"),
    )
    engine.complete("book")
    reject(engine)
    if undone:
        engine.complete("book")
    else:
        engine.fail("book")
        assert engine.latest.incident == "compensation_failed"
        skip(engine)
    assert engine.latest.status == "failed"
    skip(engine)
    engine.complete("book")
    assert statuses(engine) == {"book": "succeeded", "gate": "waiting"}


def test_a_rollback_behind_a_rejection_asks_anew():
    engine = started(step("a"), step("gate", type="approval_gate"), step("pay", "gate"))
    reject(engine)
    engine.send(RollbackWorkflow(engine.id, engine.latest.sequence))
    assert statuses(engine)["gate"] == "waiting"
