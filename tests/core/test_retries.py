"""Retries by policy and kind of error, and timeouts of steps and workflows."""

import pytest

from stepwell.core.decide.outcomes import TIMEOUT_GRACE_MS
from stepwell.core.decide.retry import NEVER_BY_DEFAULT, delay_seconds, is_retryable
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.commands import PauseWorkflow, ResumeWorkflow
from stepwell.schemas.records.events import ErrorInfo, StepReady, StepRetryScheduled, StepSucceeded
from tests.core.build import in_hand, started, statuses, step, workflow
from tests.core.model import Engine


def waits(retry: Retry) -> list[float]:
    return [delay_seconds(retry, attempt, "seed") for attempt in range(1, retry.max_attempts)]


def test_waits_double_from_two_seconds_and_are_capped():
    """What the residency engine does with multiplier 2: waits of 2, 4, 8, … seconds."""
    retry = Retry(max_attempts=6, initial_delay_seconds=2, multiplier=2, max_delay_seconds=10)
    assert waits(retry) == [2, 4, 8, 10, 10]


def test_a_wait_beyond_all_numbers_is_capped_too():
    retry = Retry(max_attempts=1_000_000, multiplier=1000.0, max_delay_seconds=60)
    assert delay_seconds(retry, 999_999, "seed") == 60


def test_no_delay_means_none():
    assert waits(Retry(max_attempts=3, initial_delay_seconds=0)) == [0, 0]


@pytest.mark.parametrize("attempt", [1, 2, 1_025, 999_999])
def test_no_delay_means_none_at_any_attempt(attempt):
    assert delay_seconds(Retry(max_attempts=1_000_000, initial_delay_seconds=0, multiplier=1000.0), attempt, "s") == 0


def test_a_longest_wait_that_is_not_written_is_never_below_what_is():
    assert waits(Retry(max_attempts=4, initial_delay_seconds=900)) == [900, 900, 900]
    assert waits(Retry(max_attempts=4, initial_delay_seconds=200)) == [200, 300, 300]
    assert delay_seconds(Retry(max_attempts=9), 1, "s", 3600.0) == 3600
    assert delay_seconds(Retry(initial_delay_seconds=900, multiplier=1000.0), 999_999, "s") == 900


def test_jitter_shortens_a_wait_by_the_same_draw_for_the_same_run():
    retry = Retry(max_attempts=2, initial_delay_seconds=10, jitter=0.5)
    draws = {delay_seconds(retry, 1, f"i:a:{run}") for run in range(50)}
    assert len(draws) > 40
    assert all(5 <= draw <= 10 for draw in draws)
    assert delay_seconds(retry, 1, "i:a:1") == delay_seconds(retry, 1, "i:a:1")


def test_no_attempt_comes_sooner_than_the_other_side_has_asked_for():
    retry = Retry(max_attempts=9, initial_delay_seconds=2, max_delay_seconds=60)
    assert [delay_seconds(retry, attempt, "seed", 10.0) for attempt in (1, 2, 3, 4)] == [10, 10, 10, 16]
    assert delay_seconds(retry, 1, "seed", 3600.0) == 60  # the definition has the last word
    engine = started(step("a", retry=retry))
    engine.fail("a", "Busy", retry_after=30.0)
    assert engine.next_due() == engine.now + 30_000


@pytest.mark.parametrize("kind", sorted(NEVER_BY_DEFAULT))
def test_what_the_next_attempt_would_meet_again_is_not_retried(kind):
    assert not is_retryable(Retry(), ErrorInfo(kind))
    assert is_retryable(Retry(retryable=(kind,)), ErrorInfo(kind))


@pytest.mark.parametrize(
    ("retry", "error", "expected"),
    [
        (Retry(), ErrorInfo("ConnectionError"), True),
        (Retry(), ErrorInfo("Unheard"), True),
        (Retry(), ErrorInfo("StepTimeout", kinds=("TimeoutError",)), True),
        (Retry(retry_on_timeout=False), ErrorInfo("StepTimeout"), False),
        (Retry(retry_on_timeout=False, retryable=("StepTimeout",)), ErrorInfo("StepTimeout"), False),
        (Retry(non_retryable=("OSError",)), ErrorInfo("ConnectionError", kinds=("OSError",)), False),
        (Retry(non_retryable=("OSError",), retryable=("OSError",)), ErrorInfo("OSError"), False),
        (Retry(retryable=("ValueError",)), ErrorInfo("ValidationError", kinds=("ValueError",)), True),
        (Retry(), ErrorInfo("MyError", kinds=("TypeError",)), False),
        (Retry(), ErrorInfo("ConnectionError", retryable=False), False),
        (Retry(), ErrorInfo("ValidationError", retryable=True), True),
        (Retry(non_retryable=("Busy",)), ErrorInfo("Busy", retryable=True), False),
        (Retry(retryable=("Busy",)), ErrorInfo("Busy", retryable=False), True),
    ],
)
def test_the_definition_is_asked_first_then_the_handler_then_the_kind(retry, error, expected):
    assert is_retryable(retry, error) is expected


def test_a_failed_attempt_is_followed_by_another_after_its_wait():
    engine = started(step("a", retry=Retry(max_attempts=3, initial_delay_seconds=2)))
    first = engine.item("a").step
    engine.fail("a", "ConnectionError")
    assert statuses(engine) == {"a": "waiting"}
    engine.wait(1.999)
    assert in_hand(engine) == []
    engine.wait(0.001)
    second = engine.item("a").step
    assert (first.run, first.attempt, second.attempt) == (1, 1, 2)
    assert second.run > first.run
    assert second.input == first.input
    engine.fail("a", "ConnectionError")
    engine.wait(4)
    engine.complete("a", "done")
    assert [event.due - 1_000_000 for event in engine.of(StepRetryScheduled)] == [2_000, 6_000]
    assert engine.of(StepSucceeded)[0].attempt == 3
    assert engine.latest.output == {"a": "done"}


def test_the_last_attempt_counts():
    engine = started(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=0)))
    engine.fail("a")
    engine.wait(0)
    engine.fail("a", "Other", "the second one")
    assert engine.latest.status == "failed"
    assert engine.latest.error == ErrorInfo("Other", "the second one")
    assert engine.latest.steps["a"].attempt == 2


def test_attempts_of_one_run_share_their_idempotency_key():
    engine = started(step("a", retry=Retry(max_attempts=3, initial_delay_seconds=0)))
    keys = []
    for _ in range(3):
        keys.append(engine.item("a").idempotency_key)
        engine.fail("a")
        engine.wait(0)
    assert keys == ["i:a:1"] * 3


def test_no_further_attempt_starts_while_the_instance_is_paused():
    engine = started(step("a", retry=Retry(max_attempts=2)))
    engine.fail("a")
    engine.send(PauseWorkflow("i"))
    engine.wait(100)
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow("i"))
    engine.wait(0)
    assert engine.item("a").step.attempt == 2


# --- timeouts ---


def test_a_silent_worker_is_given_up_after_the_timeout_and_a_grace():
    engine = started(step("a", timeout_seconds=3, retry=Retry(max_attempts=2)))
    engine.report("a")
    late = engine.in_hand[0]
    engine.wait(3 + TIMEOUT_GRACE_MS / 1000 - 0.001)
    assert statuses(engine) == {"a": "running"}
    engine.wait(0.001)
    assert statuses(engine) == {"a": "waiting"}
    assert engine.latest.steps["a"].error.type == "StepTimeout"
    assert in_hand(engine) == []  # its worker, if it lives, is told to stop
    engine.wait(1)
    assert engine.item("a").step.attempt == 2
    engine.deliver(late)  # too late
    assert statuses(engine) == {"a": "ready"}


def test_a_step_that_no_worker_has_reported_has_no_timer():
    """Its queue hands it out again; a step in a long queue has not timed out."""
    engine = started(step("a", timeout_seconds=3))
    engine.wait(1_000)
    assert statuses(engine) == {"a": "ready"}


def test_a_timeout_is_not_retried_where_the_policy_says_so():
    engine = started(step("a", timeout_seconds=1, retry=Retry(max_attempts=9, retry_on_timeout=False)))
    engine.report("a")
    engine.wait(10)
    assert engine.latest.status == "failed"
    assert engine.latest.error.type == "StepTimeout"
    assert engine.latest.error.message == "no word from its worker within 1.0 s and a grace of 5 s"


def test_a_second_worker_of_the_same_run_gets_the_whole_time_and_a_repeat_gets_none():
    engine = started(step("a", timeout_seconds=3))
    engine.report("a", "v")
    engine.wait(5)
    assert engine.report("a", "v").note
    engine.report("a", "w")  # v has died, the queue handed the step to w
    engine.wait(5)
    assert statuses(engine) == {"a": "running"}
    engine.wait(3)
    assert engine.latest.status == "failed"


def test_an_instance_times_out_as_a_whole():
    engine = started(step("a", type="wait", config={"seconds": 1000}), step("b"), default_timeout_seconds=60)
    engine.wait(59.9)
    assert engine.latest.status == "running"
    engine.wait(0.1)
    state = engine.latest
    assert (state.status, state.error.type, state.error.message, state.failed_step) == (
        "failed", "WorkflowTimeout", "not done after 60.0 s", "",
    )  # fmt: skip
    assert statuses(engine) == {"a": "cancelled", "b": "cancelled"}
    assert in_hand(engine) == []
    assert not state.timers


def test_a_start_may_set_the_instances_timeout():
    engine = Engine(workflow(step("a"), default_timeout_seconds=60))
    engine.start(timeout_seconds=5)
    engine.wait(5)
    assert engine.latest.status == "failed"


@pytest.mark.parametrize("seconds", [1e308, 1e12])
def test_a_timeout_beyond_all_time_is_rejected(seconds):
    engine = Engine(workflow(step("a")))
    engine.start(timeout_seconds=seconds)
    assert engine.answers[0].code == "invalid_timeout"


def test_a_resumed_instance_is_not_timed_out_again():
    engine = started(step("a"), step("b", "a"), default_timeout_seconds=60)
    engine.wait(60)
    engine.send(ResumeWorkflow("i"))
    engine.wait(1_000)
    engine.complete("a")
    engine.complete("b")
    assert engine.latest.status == "completed"
    assert len(engine.of(StepReady)) == 3
