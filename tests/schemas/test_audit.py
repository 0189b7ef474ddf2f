"""Who asked for what: the names that commands may carry, and how they are read from what answers them."""

import pytest

from stepwell.errors import SenderError
from stepwell.schemas.records.activation import ACTIVATION, KIND, VersionActivation, encode_activation
from stepwell.schemas.records.audit import AuditEntry, audit_definition, audit_transition
from stepwell.schemas.records.commands import ApproveStep, CancelWorkflow, CompleteStep, FireTimer
from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    ErrorInfo,
    IncidentRaised,
    StepSkipped,
    Transition,
    WorkflowCancelled,
    WorkflowPaused,
    WorkflowStarted,
)
from stepwell.schemas.records.sender import answering, forwarded, sender
from stepwell.schemas.records.step_waits import ApprovalDecided

CANCEL = CancelWorkflow("order-1", "enough", "c-1")
NAMED = {"by": "ann", "via": "cli build-7"}


def audited(*events, headers=None, command=CANCEL):
    headers = {"kind": "transition", "epoch": "0", **answering(NAMED if headers is None else headers, command)}
    return audit_transition(headers, Transition(2, 1_760, "order-1", 3, events), partition=2, offset=17)


def test_what_answers_a_command_says_who_asked_for_what_and_from_where():
    assert audited(WorkflowCancelled("enough", "c-1")) == AuditEntry(
        at=1_760,
        partition=2,
        offset=17,
        instance_id="order-1",
        by="ann",
        via="cli build-7",
        command="CancelWorkflow",
        command_id="c-1",
        outcome="followed",
        message="enough",
    )


@pytest.mark.parametrize(
    ("events", "outcome", "message"),
    [
        ([CommandRejected("CancelWorkflow", "finished", "it has finished")], "rejected", "it has finished"),
        ([CommandNoted("CancelWorkflow", "it is cancelled")], "noted", "it is cancelled"),
        ([IncidentRaised("quarantined", "a bug"), CommandRejected("X", "quarantined", "a bug")], "rejected", "a bug"),
        ([WorkflowPaused("lunch")], "followed", "lunch"),
        ([ApprovalDecided("gate", 2, approved=True, by="ann", comment="cheap")], "followed", "cheap"),
        ([WorkflowStarted(workflow="w", version="1", definition="d"), StepSkipped("a", "false")], "followed", ""),
    ],
)
def test_the_answer_tells_how_it_ended_and_why(events, outcome, message):
    entry = audited(*events)
    assert (entry.outcome, entry.message) == (outcome, message)


@pytest.mark.parametrize("headers", [{}, {"by": ""}, {"by": " \n "}, {"command": "X", "trace": "1"}])
def test_where_nobody_is_named_nothing_is_carried_and_there_is_no_entry(headers):
    assert dict(answering(headers, CANCEL)) == {}
    assert audited(WorkflowCancelled("enough"), headers=headers) is None


def test_one_of_the_two_is_enough():
    assert dict(answering({"via": "cron"}, CompleteStep("i", "a", 1))) == {"via": "cron", "command": "CompleteStep"}
    assert dict(answering({"by": "ann"}, CANCEL)) == {"by": "ann", "command": "CancelWorkflow", "command_id": "c-1"}


def test_who_approves_without_a_header_is_known_from_the_command_and_a_header_counts_more():
    approval = ApproveStep("i", "gate", by="bob", command_id="c-2")
    assert answering({}, approval)["by"] == "bob"
    assert answering({"by": "ann"}, approval)["by"] == "ann"
    assert dict(answering({}, FireTimer("i", "a"))) == {}


def test_what_strangers_write_is_cut_and_nothing_hides_in_it():
    cancel = CancelWorkflow("i", command_id="c\r\n" * 5_000)
    found = answering({"by": "eve\x1b[31m\u202e\n\tmallory", "via": "v" * 100_000}, cancel)
    assert found["by"] == r"eve\x1b[31m\u202e mallory"
    assert found["via"] == "v" * 200
    assert len(found["command_id"]) == 200
    assert not set("\r\n") & set(found["command_id"])
    assert set(answering({"epoch": "7", "index": "1", "by": "x"}, cancel)) == {"by", "command", "command_id"}


def test_a_forwarded_copy_keeps_the_sender_and_nothing_else():
    assert forwarded({"by": "ann", "via": "a\nb", "forwarded-from": "x", "trace": "1"}) == {"by": "ann", "via": "a b"}


@pytest.mark.parametrize("text", ["a\nb", "tab\tbed", "bell\x07", "\u202eann", "\udc80", "x" * 201, "a\x85b"])
@pytest.mark.parametrize("where", ["by", "via"])
def test_a_sender_that_is_no_name_is_refused_and_told_which_word_it_was(where, text):
    with pytest.raises(SenderError) as refused:
        sender(**{where: text})
    assert refused.value.place == where
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["ann", "Jürgen Groß", "कर्\u200dता", "山田 太郎", "svc:order@host/7", "x" * 200])
def test_names_of_all_scripts_are_kept_as_they_are(name):
    assert sender(f" {name} ", "cli h").headers == {"by": name, "via": "cli h"}


def test_definitions_are_audited_from_their_own_records():
    where = {"at": 5, "partition": 0, "offset": 9}
    registered = audit_definition("order@7", b"{}", {**NAMED, "encoding": "deflate"}, **where)
    assert registered == AuditEntry(
        **where, by="ann", via="cli build-7", command="RegisterDefinition", definition="order@7"
    )
    for active, command in ((True, "ActivateVersion"), (False, "DeactivateVersion")):
        value = encode_activation(VersionActivation("order", "7", active, "too slow"))
        entry = audit_definition("order@7", value, {KIND: ACTIVATION, **NAMED}, **where)
        assert (entry.command, entry.definition, entry.message) == (command, "order@7", "too slow")
    assert audit_definition("order@7", b"{}", {}, **where) is None
    assert audit_definition("order@7", b"no json", {KIND: ACTIVATION, **NAMED}, **where) is None


def test_an_error_in_an_event_is_no_reason_of_a_command():
    entry = audited(IncidentRaised("step_failed", f"{ErrorInfo('Boom').type}"))
    assert entry.message == ""
