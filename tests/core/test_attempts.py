"""Who made an attempt and what it took stands in the event that ends it, and nothing is decided by it."""

import pytest

from stepwell.core.decide.outcomes import TIMEOUT_GRACE_MS
from stepwell.core.fold.state import encode_instance
from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.codec import decode_command
from stepwell.schemas.records.commands import CompleteStep, FailStep, RollbackWorkflow
from stepwell.schemas.records.events import (
    ErrorInfo,
    StepCompensated,
    StepFailed,
    StepRetryScheduled,
    StepSucceeded,
)
from tests.core.build import started, step

TOLD = {"worker": "w-1", "took": 1_250, "cpu": 730}
BOOM = ErrorInfo("Boom")


def told(event):
    return {"worker": event.worker, "took": event.took, "cpu": event.cpu}


def run_of(engine, step_id):
    return engine.item(step_id).step.run


def complete(engine, step_id, **more):
    return engine.send(CompleteStep(engine.id, step_id, run_of(engine, step_id), 1, **more))


def fail(engine, step_id, **more):
    return engine.send(FailStep(engine.id, step_id, run_of(engine, step_id), BOOM, **more))


def test_a_success_names_its_worker_and_what_it_took():
    engine = started(step("a"))
    complete(engine, "a", **TOLD)
    assert told(engine.of(StepSucceeded)[0]) == TOLD


@pytest.mark.parametrize("on_failure", ["fail", "skip", "pause", "rollback"])
def test_each_failed_attempt_names_its_worker_whatever_follows(on_failure):
    engine = started(step("a", on_failure=on_failure, retry=Retry(max_attempts=2, initial_delay_seconds=1)))
    fail(engine, "a", **TOLD)
    engine.wait(1)
    fail(engine, "a", worker="w-2", took=3)
    assert told(engine.of(StepRetryScheduled)[0]) == TOLD
    failed = engine.of(StepFailed)[0]
    assert told(failed) == {"worker": "w-2", "took": 3, "cpu": 0}
    assert failed.action == on_failure


def test_a_failed_step_with_an_error_handler_and_the_handler_itself_are_told_of():
    engine = started(step("a"), step("mend"), on_error={"a": ("mend", "continue")})
    fail(engine, "a", **TOLD)
    complete(engine, "mend", worker="w-2", took=5)
    assert told(engine.of(StepFailed)[0]) == TOLD
    assert engine.of(StepFailed)[0].action == "handle"
    assert told(engine.of(StepSucceeded)[0]) == {"worker": "w-2", "took": 5, "cpu": 0}


def test_a_compensation_is_told_of_like_a_step():
    undo = Compensation("undo", retry=Retry(max_attempts=2, initial_delay_seconds=1))
    engine = started(step("a", compensate=undo), step("b", "a"))
    complete(engine, "a")
    engine.send(RollbackWorkflow(engine.id, "start"))
    fail(engine, "a", **TOLD)
    engine.wait(1)
    complete(engine, "a", worker="w-3", took=9)
    assert told(engine.of(StepRetryScheduled)[0]) == TOLD
    assert told(engine.of(StepCompensated)[0]) == {"worker": "w-3", "took": 9, "cpu": 0}


def test_an_attempt_given_up_by_the_engine_carries_the_worker_that_had_begun_it():
    engine = started(step("a", timeout_seconds=10, retry=Retry(max_attempts=2, initial_delay_seconds=1)))
    engine.report("a", "w-1")
    engine.wait(10 + TIMEOUT_GRACE_MS / 1000)
    assert told(engine.of(StepRetryScheduled)[0]) == {"worker": "w-1", "took": 0, "cpu": 0}


def test_a_worker_that_does_not_say_who_it_is_is_known_from_its_earlier_word():
    engine = started(step("a"))
    engine.report("a", "w-1")
    complete(engine, "a", took=700)
    assert told(engine.of(StepSucceeded)[0]) == {"worker": "w-1", "took": 700, "cpu": 0}


def test_a_strangers_endless_name_is_cut():
    engine = started(step("a"))
    complete(engine, "a", worker="w" * 100_000)
    assert engine.of(StepSucceeded)[0].worker == "w" * 200


def test_the_state_does_not_depend_on_who_did_it():
    states = set()
    for more in ({}, TOLD, {"worker": "w-2", "took": 1}):
        engine = started(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=1)), step("b", "a"))
        fail(engine, "a", **more)
        engine.wait(1)
        complete(engine, "a", **more)
        complete(engine, "b", **more)
        states.add(encode_instance(engine.latest))
    assert len(states) == 1


@pytest.mark.parametrize("took", ["-1", "9007199254740993", "1.5", '"1"'])
def test_a_time_that_is_no_number_of_milliseconds_is_refused(took):
    value = f'{{"type":"CompleteStep","instance_id":"i","step_id":"a","run":1,"took":{took}}}'
    with pytest.raises(ValueError, match=r"\$\.took"):
        decode_command(value.encode())
