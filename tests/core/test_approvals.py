"""Approval gates: who may decide, how many must, what happens when nobody does."""

from __future__ import annotations

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_plan
from stepwell.schemas.records.commands import ApproveStep, CancelWorkflow, PauseWorkflow, RejectStep, ResumeWorkflow
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired
from tests.core.build import in_hand, started, statuses, step, workflow

pytestmark = pytest.mark.rows("O2", "O4", "T3")


def gate(**config):
    return step("gate", type="approval_gate", config=config)


def approve(engine, by="ann", step_id="", comment="", command_id=""):
    return engine.send(ApproveStep(engine.id, step_id, by, comment, command_id or f"{by} approves {engine.decided}"))


def reject(engine, by="ann", step_id="", comment="", command_id=""):
    return engine.send(RejectStep(engine.id, step_id, by, comment, command_id or f"{by} rejects {engine.decided}"))


def code(decision):
    return decision.events[0].code


def test_a_gate_asks_and_lets_through_what_is_approved():
    engine = started(gate(approvers=["ann", "bob"], title="Pay {{ input.n }}"), step("pay", "gate"))
    (asked,) = engine.of(ApprovalRequired)
    assert (asked.approvers, asked.title, asked.input) == (("ann", "bob"), "Pay 2", {"n": 2, "k": [1]})
    assert (statuses(engine), in_hand(engine)) == ({"gate": "waiting"}, [])
    approve(engine, "bob", comment="fine")
    assert engine.latest.steps["gate"].output == {
        "approved": True, "decision": "approved", "by": "bob", "comment": "fine", "at": engine.now, "level": 1,
        "approvals": [{"by": "bob", "comment": "fine"}],
    }  # fmt: skip
    assert in_hand(engine) == ["pay"]


def test_anybody_may_decide_where_nobody_is_named():
    engine = started(gate())
    approve(engine, "whoever")
    assert engine.latest.status == "completed"


def test_others_may_not():
    engine = started(gate(approvers=["ann"]))
    decision = approve(engine, "eve")
    assert code(decision) == "not_an_approver"
    assert decision.events[0].message == '"eve" may not decide "gate"; these may: ann'
    assert code(reject(engine, "")) == "not_an_approver"
    assert statuses(engine) == {"gate": "waiting"}


def test_several_must_approve_and_each_counts_once():
    engine = started(gate(approvers=["ann", "bob", "cy"], required=2))
    approve(engine, "ann")
    assert statuses(engine) == {"gate": "waiting"}
    assert approve(engine, "ann").events[0].message == '"ann" has approved already; 1 more must'
    approve(engine, "cy")
    assert engine.latest.steps["gate"].output["approvals"] == [
        {"by": "ann", "comment": ""},
        {"by": "cy", "comment": ""},
    ]


def test_one_command_sent_twice_is_one_vote():
    engine = started(gate(required=2))
    approve(engine, "ann", command_id="same")
    assert approve(engine, "ann", command_id="same").events == []
    assert statuses(engine) == {"gate": "waiting"}


def test_a_rejection_fails_the_step_and_its_policy_follows():
    engine = started(gate(), step("tell"), on_error={"gate": ("tell", "fail")})
    reject(engine, "ann", comment="too dear")
    error = engine.latest.steps["gate"].error
    assert (error.type, error.message) == ("ApprovalRejected", "rejected by ann: too dear")
    engine.complete("tell")
    assert engine.latest.status == "failed"


def test_a_rejection_may_be_an_output():
    engine = started(gate(on_reject="continue"), step("pay", "gate", condition="gate.output.approved"))
    reject(engine)
    assert statuses(engine) == {"gate": "succeeded", "pay": "skipped"}
    assert engine.latest.steps["gate"].output["decision"] == "rejected"


@pytest.mark.parametrize(
    ("on_timeout", "ends"),
    [
        ("fail", ("failed", "ApprovalTimeout")),
        ("reject", ("failed", "ApprovalRejected")),
        ("approve", ("completed", None)),
    ],
)
def test_when_nobody_decides(on_timeout, ends):
    engine = started(gate(timeout_seconds=3 * 86_400, on_timeout=on_timeout))
    engine.wait(3 * 86_400 - 1)
    assert statuses(engine) == {"gate": "waiting"}
    engine.wait(1)
    error = engine.latest.error
    assert (engine.latest.status, error and error.type) == ends
    if on_timeout != "fail":
        (decided,) = engine.of(ApprovalDecided)
        assert (decided.by, decided.comment) == ("", "nobody has decided within 259200 s")


def test_levels_are_asked_one_after_the_other():
    engine = started(
        gate(approvers=["ann"], timeout_seconds=60, on_timeout="escalate", escalate_to=[["bob"], ["cy", "dot"]])
    )
    engine.wait(60)
    assert code(approve(engine, "ann")) == "not_an_approver"  # her time is over
    engine.wait(60)
    assert [(one.level, one.approvers) for one in engine.of(ApprovalRequired)] == [
        (1, ("ann",)),
        (2, ("bob",)),
        (3, ("cy", "dot")),
    ]
    approve(engine, "dot")
    assert engine.latest.steps["gate"].output["level"] == 3


def test_after_the_last_level_the_step_fails():
    engine = started(gate(timeout_seconds=60, escalate_to=["bob"]))
    engine.wait(120)
    assert engine.latest.error.type == "ApprovalTimeout"


def test_a_word_about_several_gates_names_one():
    engine = started(
        step("one", type="approval_gate"), step("two", type="approval_gate"), step("end", "one", "two", type="output")
    )
    decision = approve(engine)
    assert code(decision) == "ambiguous_step"
    assert decision.events[0].message.endswith("name one: one, two")
    approve(engine, step_id="two")
    approve(engine)  # only one is left
    assert engine.latest.status == "completed"


def test_what_waits_for_no_approval_says_so():
    engine = started(gate(), step("work"))
    assert "it is ready" in approve(engine, step_id="work").events[0].message
    assert approve(engine, step_id="gat").events[0].message == (
        'no step "gat" waits for approval, did you mean "gate"?'
    )
    approve(engine)
    assert "it is succeeded" in approve(engine, step_id="gate").events[0].message
    engine.complete("work")
    assert approve(engine).events[0].code == "already_finished"


def test_a_paused_instance_takes_the_decision_and_goes_on_when_resumed():
    engine = started(gate(), step("pay", "gate"))
    engine.send(PauseWorkflow(engine.id, "", "pause"))
    approve(engine)
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow(engine.id, "retry", "resume"))
    assert in_hand(engine) == ["pay"]


def test_a_cancelled_gate_asks_anew_when_resumed():
    engine = started(gate(timeout_seconds=60))
    engine.send(CancelWorkflow(engine.id, "", "cancel"))
    assert not engine.latest.timers
    assert code(approve(engine)) == "already_finished"
    engine.send(ResumeWorkflow(engine.id, "retry", "resume"))
    assert [one.run for one in engine.of(ApprovalRequired)] == [1, 2]
    approve(engine)
    assert engine.latest.status == "completed"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"approver": ["ann"]}, 'unknown key "approver", did you mean "approvers"?'),
        ({"approvers": 7}, "config.approvers: "),
        ({"approvers": ["ann"], "required": 2}, "config.required: 2 must approve, and 1 may"),
        ({"required": 0}, "config.required: "),
        ({"on_timeout": "fail"}, "config.on_timeout: there is no timeout_seconds"),
        ({"on_timeout": "shrug", "timeout_seconds": 1}, "config.on_timeout: "),
        ({"timeout_seconds": 1, "on_timeout": "escalate"}, 'config.escalate_to: "escalate" needs to know whom'),
        ({"timeout_seconds": 0}, "config.timeout_seconds: "),
        ({"timeout_seconds": 1, "on_timeout": "reject", "escalate_to": ["bob"]}, "config.escalate_to: nobody is"),
    ],
)
def test_wrong_settings_are_told_when_registered(config, problem):
    with pytest.raises(DefinitionError) as caught:
        compile_plan(workflow(gate(**config)))
    assert problem in str(caught.value)


def test_settings_that_a_template_gets_wrong_fail_the_step():
    engine = started(gate(approvers="{{ input.k }}"))
    error = engine.latest.steps["gate"].error
    assert error.type == "ExpressionError"
    assert error.message.startswith("config.approvers[0]: ")


def test_what_is_shown_becomes_text_whatever_a_template_yields():
    engine = started(gate(title="{{ input.n }}", message="{{ input.k }}"))
    (asked,) = engine.of(ApprovalRequired)
    assert (asked.title, asked.message) == ("2", "[1]")


def test_a_gate_has_no_attempts():
    with pytest.raises(DefinitionError, match="has no attempts"):
        compile_plan(workflow(step("gate", type="approval_gate", timeout_seconds=5.0)))


def test_what_is_too_long_to_be_kept_is_refused_and_the_gate_goes_on_waiting():
    engine = started(gate())
    decision = approve(engine, comment="x" * 10_001)
    assert code(decision) == "too_long"
    assert decision.events[0].message == "a comment of 10,001 characters; at most 10,000 are kept"
    assert code(reject(engine, "x" * 201)) == "too_long"
    assert code(engine.send(PauseWorkflow(engine.id, "x" * 10_001, "p"))) == "too_long"
    assert code(engine.send(CancelWorkflow(engine.id, "x" * 10_001, "c"))) == "too_long"
    assert engine.latest.status == "running"
    approve(engine, "x" * 200, comment="x" * 10_000)
    assert engine.latest.status == "completed"


def test_a_template_that_yields_nobody_opens_the_gate_to_nobody():
    engine = started(gate(approvers="{{ input.k[1:] }}"))
    assert engine.latest.error.message.startswith("config.approvers: the template yields nobody")
    assert started(gate(approvers=[])).latest.status == "running"


def test_an_escalation_names_somebody():
    with pytest.raises(DefinitionError, match=r"config.escalate_to\[1\]: names nobody"):
        compile_plan(workflow(gate(approvers=["ann"], timeout_seconds=1, escalate_to=[["bob"], []])))
