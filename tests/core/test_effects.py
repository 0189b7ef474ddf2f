"""What leaves a partition: derived from the accepted events alone."""

from stepwell.core.decide.effects import effects, is_under_way
from stepwell.core.fold.evolve import fold
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.commands import CancelWorkflow, PauseWorkflow, QuarantineInstance, ResumeWorkflow
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.work import CancelRuns, WorkItem
from tests.core.build import started, step


def sent(engine, position=-1):
    """What a transition sends, derived from the history as a new owner would."""
    cut = position % len(engine.transitions)
    before, after = fold(engine.transitions[:cut]), fold(engine.transitions[: cut + 1])
    return effects(before, engine.transitions[cut], after)


def test_every_ready_step_goes_to_its_queue_with_all_that_its_worker_needs():
    engine = started(step("a", queue="gpu", config={"x": 1}), step("b"))
    first, second = sent(engine)
    assert isinstance(first, WorkItem)
    assert (first.instance_id, first.workflow, first.version, first.step.queue) == ("i", "w", "1", "gpu")
    assert (first.effect_id, first.idempotency_key) == ("i:2", "i:a:1")
    assert second.effect_id == "i:3"


def test_the_same_history_gives_the_same_effects():
    engine = started(step("a"), step("b", "a"))
    engine.complete("a")
    assert sent(engine) == sent(engine)
    assert sent(engine)[0].effect_id == "i:4"


def test_what_is_settled_in_the_same_transition_is_not_sent():
    engine = started(step("a"), step("b", "a"), max_parallel_steps=1)
    engine.fail("a")
    assert all(isinstance(effect, CancelRuns) for effect in sent(engine))


def test_an_end_tells_the_workers_of_all_runs_so_far():
    engine = started(step("a"), step("b"))
    engine.send(CancelWorkflow("i"))
    assert sent(engine) == [CancelRuns("i", 1, 2, engine.latest.started_at)]


def test_an_end_with_nothing_under_way_tells_nobody():
    engine = started(step("nap", type="wait", config={"seconds": 5}), step("a", "nap"))
    engine.wait(5)
    engine.complete("a")
    assert sent(engine) == []


def test_a_resume_stops_nothing_that_goes_on():
    engine = started(step("a"), step("b"))
    engine.send(PauseWorkflow("i"))
    engine.send(ResumeWorkflow("i"))
    assert sent(engine) == []


def test_a_resume_after_a_quarantine_stops_what_runs_anew():
    engine = started(step("a"), step("nap", type="wait", config={"seconds": 5}))
    engine.send(QuarantineInstance("i", ErrorInfo("KeyError")))
    engine.send(ResumeWorkflow("i"))
    cancel, work = sent(engine)
    assert cancel == CancelRuns("i", 1, 1, engine.latest.started_at)  # the wait has no worker
    assert work.step.step_id == "a"


def test_an_attempt_that_timed_out_is_stopped():
    engine = started(step("a", timeout_seconds=1, retry=Retry(max_attempts=2)), step("b"))
    engine.report("a")
    engine.wait(6)
    assert sent(engine) == [CancelRuns("i", 1, 1, engine.latest.started_at)]


def test_a_run_is_under_way_until_its_outcome():
    engine = started(step("a", retry=Retry(max_attempts=2)))
    ready = engine.item("a").step
    assert is_under_way(engine.state, ready)
    engine.report("a")
    assert is_under_way(engine.state, ready)
    engine.fail("a")
    assert not is_under_way(engine.state, ready)
    engine.wait(1)
    assert not is_under_way(engine.state, ready)
    assert is_under_way(engine.state, engine.item("a").step)


def test_the_runs_of_a_quarantined_instance_are_not_sent_again_they_are_run_anew_once_it_is_resumed():
    engine = started(step("a"))
    (work,) = sent(engine)
    engine.send(QuarantineInstance("i", ErrorInfo("KeyError", "oops")))
    assert not is_under_way(engine.state, work.step)
    engine.send(ResumeWorkflow("i"))
    runs = [effect.step.run for effect in sent(engine) if isinstance(effect, WorkItem)]
    assert runs == [work.step.run + 1]
