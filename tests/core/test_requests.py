"""What clients ask: start, cancel, pause, resume; once, twice, too early and too late."""

import pytest

from stepwell.core.fold.state import encode_instance
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    CompleteStep,
    PauseWorkflow,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    StepReady,
    WorkflowReopened,
    WorkflowResumed,
)
from tests.core.build import in_hand, started, statuses, step, workflow
from tests.core.model import Engine


def answer(decision):
    """The code or the message of the one answer that a command got."""
    (event,) = decision.events
    return event.code if isinstance(event, CommandRejected) else event.message


# --- start ---


def test_a_start_pins_the_definition_by_its_hash():
    engine = started(step("a"), version="7")
    state = engine.latest
    assert (state.workflow, state.version, state.definition) == ("w", "7", engine.plan.hash)
    assert state.input == {"n": 2, "k": [1]}


def test_an_unknown_workflow_is_rejected_with_a_suggestion():
    engine = Engine(workflow(step("a")))
    answered = engine.send(StartWorkflow("i", workflow="ww")).events[0]
    assert (answered.code, answered.message) == (
        "unknown_workflow", 'no workflow "ww" is registered, did you mean "w"?',
    )  # fmt: skip
    answered = engine.send(StartWorkflow("i", workflow="w", version="9")).events[0]
    assert answered.message.startswith('no workflow "w" version 9 is registered')


def test_the_same_start_twice_changes_nothing():
    engine = started(step("a"))
    before = encode_instance(engine.state)
    assert engine.start().note == "this command was followed before"
    assert encode_instance(engine.state) == before
    engine.complete("a")
    assert engine.start().note == "this command was followed before"


def test_another_start_of_the_same_instance_is_answered_with_the_one_that_exists():
    engine = started(step("a"))
    assert answer(engine.start(command_id="other")) == 'instance "i" exists already'
    engine.complete("a")
    assert answer(engine.start(command_id="other")) == 'instance "i" exists already'
    assert len(engine.of(StepReady)) == 1


def test_an_empty_id_is_no_id():
    engine = started(step("a"))
    assert answer(engine.start(command_id="")) == 'instance "i" exists already'


# --- cancel ---


def test_a_cancelled_instance_ends_and_its_runs_are_given_up():
    engine = started(step("a"), step("b", "a"), step("nap", type="wait", config={"seconds": 9}))
    late = engine.in_hand[0]
    engine.send(CancelWorkflow("i", "enough", "c1"))
    state = engine.latest
    assert (state.status, state.pause_reason) == ("cancelled", "enough")
    assert statuses(engine) == {"a": "cancelled", "nap": "cancelled"}
    assert in_hand(engine) == []
    assert engine.deliver(late).note
    assert answer(engine.send(CancelWorkflow("i"))) == "it is cancelled already"


def test_a_cancelled_instance_goes_on_where_it_was_when_it_is_resumed():
    engine = started(step("a"), step("b"), step("c", "a", "b"))
    engine.complete("a", 1)
    engine.send(CancelWorkflow("i"))
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["b"]
    engine.complete("b")
    engine.complete("c", 3)
    assert engine.latest.output == {"c": 3}


@pytest.mark.parametrize(
    "command", [PauseWorkflow("i"), ResumeWorkflow("i"), CancelWorkflow("i"), RollbackWorkflow("i")]
)
def test_an_instance_that_is_not_there_is_unknown(command):
    engine = Engine(workflow(step("a")))
    assert answer(engine.send(command)) == "unknown_instance"


@pytest.mark.parametrize("command", [PauseWorkflow("i"), CancelWorkflow("i"), ResumeWorkflow("i")])
def test_a_completed_instance_takes_no_such_command(command):
    engine = started(step("a"))
    engine.complete("a")
    assert answer(engine.send(command)) == "already_finished"


# --- pause and resume ---


def test_pausing_twice_and_resuming_twice_is_noted():
    engine = started(step("a"))
    assert answer(engine.send(ResumeWorkflow("i"))) == "it is running already"
    engine.send(PauseWorkflow("i"))
    assert answer(engine.send(PauseWorkflow("i"))) == "it is paused already"
    assert len(engine.of(CommandNoted)) == 2


def test_a_resume_leaves_alone_what_runs():
    engine = started(step("a"), step("nap", type="wait", config={"seconds": 5}))
    engine.report("a")
    engine.send(PauseWorkflow("i"))
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["a"]  # its worker was not told to stop
    assert engine.of(WorkflowResumed) == [WorkflowResumed()]
    engine.complete("a")
    engine.wait(5)
    assert engine.latest.status == "completed"


def test_a_wait_that_ends_during_a_pause_is_over_when_it_is_resumed():
    engine = started(step("nap", type="wait", config={"seconds": 5}), step("b", "nap"))
    engine.send(PauseWorkflow("i"))
    engine.wait(50)
    assert statuses(engine) == {"nap": "succeeded"}
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["b"]


def test_a_paused_instance_stays_paused_even_with_nothing_left_to_do():
    engine = started(step("a"))
    engine.send(PauseWorkflow("i"))
    engine.complete("a", 1)
    assert engine.latest.status == "paused"
    engine.send(ResumeWorkflow("i"))
    assert engine.latest.status == "completed"


def test_a_failed_instance_resumes_at_the_step_that_failed():
    engine = started(step("a"), step("b", "a"), step("c", "b"))
    engine.complete("a", 1)
    engine.fail("b")
    engine.send(ResumeWorkflow("i", command_id="r"))
    assert isinstance(engine.transitions[-1].events[0], WorkflowReopened)
    assert in_hand(engine) == ["b"]
    assert (engine.latest.status, engine.latest.error, engine.latest.failed_step) == ("running", None, "")
    engine.complete("b", 2)
    engine.complete("c", 3)
    assert engine.latest.output == {"c": 3}
    assert len(engine.of(StepReady)) == 4


def test_a_failed_instance_resumes_without_the_step_that_failed():
    engine = started(step("a"), step("b", "a"), step("x"), step("join", "b", "x"))
    engine.complete("a")
    engine.complete("x")
    engine.fail("b")
    engine.send(ResumeWorkflow("i", "skip"))
    assert statuses(engine) == {"a": "succeeded", "b": "skipped", "x": "succeeded", "join": "ready"}
    assert engine.latest.steps["b"].error.type == "Boom"


def test_what_was_given_up_with_a_failure_runs_anew():
    engine = started(step("a"), step("b"), step("c", "b"))
    engine.fail("a")
    late = CompleteStep("i", "b", 2, "from before")
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["a", "b"]
    assert engine.send(late).note == "a late word of a run that was given up"
    engine.complete("b", "anew")
    assert engine.item("c").step.input["b"] == "anew"


def test_a_resume_delivered_twice_reopens_once():
    engine = started(step("a"))
    engine.fail("a")
    engine.send(ResumeWorkflow("i", command_id="r"))
    engine.fail("a")
    assert engine.send(ResumeWorkflow("i", command_id="r")).note == "this command was followed before"
    assert engine.latest.status == "failed"


def test_a_resume_of_an_instance_whose_history_was_cleaned_away_says_so():
    engine = started(step("a"))
    engine.fail("a")
    engine.archived, archived = None, engine.archived
    decision = engine.send(ResumeWorkflow("i"))
    assert answer(decision) == "archived"
    engine.archived = archived


def test_resuming_twice_after_two_failures():
    engine = started(step("a"))
    for attempt in range(3):
        engine.fail("a")
        engine.send(ResumeWorkflow("i", command_id=f"r{attempt}"))
    engine.complete("a", "at last")
    assert engine.latest.output == {"a": "at last"}


def test_only_so_many_ids_are_remembered():
    engine = started(step("a"))
    for number in range(40):
        engine.send(PauseWorkflow("i", command_id=f"p{number}"))
    assert len(engine.latest.commands) == 32
    assert engine.latest.commands[-1] == "p39"
