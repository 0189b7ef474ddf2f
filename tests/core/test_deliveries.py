"""How often a run was handed out is told in its history; what is lost too often is a failed attempt like any other."""

import pytest

from stepwell.consumers.worker.failures import worker_lost
from stepwell.core.fold.state import decode_instance, encode_instance
from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.codec import decode_command
from stepwell.schemas.records.commands import FailStep, ReportStarted
from stepwell.schemas.records.events import IncidentRaised, StepFailed, StepRetryScheduled, StepStarted
from tests.core.build import started, step


def report(engine, step_id="a", deliveries=1, worker="w"):
    run = engine.item(step_id).step.run
    return engine.send(ReportStarted(engine.id, step_id, run, worker=worker, deliveries=deliveries))


def lose(engine, step_id="a"):
    return engine.send(FailStep(engine.id, step_id, engine.item(step_id).step.run, worker_lost(5)))


def test_a_run_that_is_handed_out_again_says_so_even_to_a_worker_of_the_same_name():
    engine = started(step("a"))
    for deliveries in (1, 2, 2, 3, 1):
        report(engine, deliveries=deliveries)
    assert [event.deliveries for event in engine.of(StepStarted)] == [1, 2, 3]
    assert engine.state.steps["a"].deliveries == 3
    report(engine, worker="other")  # which cannot know better
    assert engine.state.steps["a"].deliveries == 3
    assert decode_instance(encode_instance(engine.state)) == engine.state


def test_a_further_attempt_is_counted_from_the_beginning():
    engine = started(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=1)))
    report(engine, deliveries=5)
    lose(engine)
    assert engine.of(StepRetryScheduled)[0].error.type == "WorkerLost"
    engine.wait(1)
    assert engine.state.steps["a"].deliveries == 1


@pytest.mark.parametrize("on_failure", ["fail", "skip", "pause", "rollback"])
def test_the_last_attempt_that_is_lost_is_followed_by_what_the_step_says(on_failure):
    engine = started(step("a", on_failure=on_failure))
    report(engine, deliveries=5, worker="w-1")
    lose(engine)
    (failed,) = engine.of(StepFailed)
    assert (failed.action, failed.error.type, failed.worker) == (on_failure, "WorkerLost", "w-1")


@pytest.mark.parametrize(("retry", "again"), [
    ({}, True), ({"non_retryable": ["WorkerLost"]}, False), ({"retryable": ["WorkerLost"]}, True),
])  # fmt: skip
def test_a_lost_attempt_is_retried_unless_the_definition_says_otherwise(retry, again):
    engine = started(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=1, **retry)))
    lose(engine)
    assert bool(engine.of(StepRetryScheduled)) == again


def test_a_compensation_that_is_lost_is_a_failed_attempt_to_undo():
    engine = started(
        step("a", compensate=Compensation(handler="undo", retry=Retry(max_attempts=1))),
        step("b", "a", on_failure="rollback"),
    )
    engine.complete("a")
    engine.fail("b")
    run = engine.state.rollback.current.run
    engine.send(ReportStarted(engine.id, "a", run, worker="w", deliveries=4))
    assert engine.state.rollback.current.deliveries == 4
    engine.send(FailStep(engine.id, "a", run, worker_lost(5)))
    assert engine.of(IncidentRaised)[0].code == "compensation_failed"


@pytest.mark.parametrize("number", ["0", "-1", "1e9", "12345678901234567890", '"2"'])
def test_a_count_that_is_none_is_no_command(number):
    text = f'{{"type":"ReportStarted","instance_id":"i","step_id":"a","run":1,"deliveries":{number}}}'
    with pytest.raises(ValueError):
        decode_command(text.encode())
