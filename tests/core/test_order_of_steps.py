"""Which steps run together: sequential steps, limits, wide graphs in small records."""

import pytest

from stepwell.core.decide.starting import can_continue
from stepwell.schemas.records.commands import PauseWorkflow, ResumeWorkflow
from stepwell.schemas.records.events import StepReady, StepsDeferred
from tests.core.build import in_hand, started, statuses, step, workflow
from tests.core.invariants import Watch
from tests.core.model import Engine


def sequential(step_id, *after, **fields):
    return step(step_id, *after, mode="sequential", **fields)


def test_what_is_free_starts_at_once_in_written_order():
    assert in_hand(started(step("c"), step("a"), step("b"))) == ["c", "a", "b"]


def test_a_join_starts_once_with_its_last_input_in_whatever_order_they_come():
    inputs = [step(f"i{n}") for n in range(5)]
    engine = started(*inputs, step("join", *[one.id for one in inputs]))
    for n in (3, 0, 4, 1):
        engine.complete(f"i{n}")
        assert "join" not in in_hand(engine)
    engine.complete("i2")
    assert in_hand(engine) == ["join"]
    assert sum(event.step_id == "join" for event in engine.of(StepReady)) == 1


def test_sequential_steps_run_one_at_a_time_in_written_order():
    engine = started(sequential("b"), step("p"), sequential("a"), sequential("c", "b"), sequential("d"))
    order = []
    while engine.state:
        order.append(in_hand(engine))
        engine.complete(in_hand(engine)[0])
    assert order == [["b", "p"], ["p", "a"], ["a"], ["c"], ["d"]]


def test_a_sequential_step_that_becomes_free_later_goes_before_those_written_after_it():
    engine = started(sequential("x"), sequential("early", "p"), step("p"), sequential("late"))
    engine.complete("p")  # frees early, while x runs
    engine.complete("x")
    assert in_hand(engine) == ["early"]


def test_parallel_steps_do_not_wait_for_sequential_ones():
    engine = started(sequential("s"), sequential("t"), *[step(f"p{n}") for n in range(3)])
    assert in_hand(engine) == ["s", "p0", "p1", "p2"]


def test_a_sequential_step_that_waits_keeps_its_turn():
    engine = started(sequential("nap", type="wait", config={"seconds": 5}), sequential("b"))
    assert in_hand(engine) == []
    engine.wait(5)
    assert in_hand(engine) == ["b"]


def test_never_more_than_max_parallel_steps_are_under_way():
    engine = started(*[step(f"s{n}") for n in range(5)], max_parallel_steps=2)
    seen = [in_hand(engine)]
    while engine.state:
        engine.complete(in_hand(engine)[0])
        seen.append(in_hand(engine))
    assert seen == [["s0", "s1"], ["s1", "s2"], ["s2", "s3"], ["s3", "s4"], ["s4"], []]


def test_a_limit_prefers_what_was_written_first_whenever_it_became_free():
    engine = started(step("a"), step("b", "a"), step("c"), step("d"), max_parallel_steps=1)
    engine.complete("a")
    assert in_hand(engine) == ["b"]


def test_under_a_limit_a_sequential_step_does_not_hold_up_the_parallel_ones():
    engine = started(sequential("s"), sequential("t"), step("p"), step("q"), max_parallel_steps=2)
    assert in_hand(engine) == ["s", "p"]
    engine.complete("p")
    assert in_hand(engine) == ["s", "q"]
    engine.complete("s")
    assert in_hand(engine) == ["q", "t"]


def test_a_pause_starts_no_further_step_and_what_runs_may_finish():
    engine = started(step("a"), step("b", "a"))
    engine.send(PauseWorkflow("i", "lunch"))
    assert engine.latest.pause_reason == "lunch"
    engine.complete("a", 1)
    assert statuses(engine) == {"a": "succeeded"}
    assert in_hand(engine) == []
    engine.send(ResumeWorkflow("i"))
    assert in_hand(engine) == ["b"]


# --- wide graphs in small records ---


@pytest.mark.parametrize("budget", [1, 2, 7])
def test_a_wide_fan_out_is_released_in_parts(budget):
    engine = Engine(workflow(step("a"), *[step(f"s{n:02}", "a") for n in range(20)]), budget=budget)
    engine.watch = Watch(engine.plan)
    engine.start()
    engine.drain()
    assert engine.latest.status == "completed"
    assert max(len(one.events) for one in engine.transitions) <= budget + 2  # the outcome, and what is put off
    ready = [event.step_id for event in engine.of(StepReady)]
    assert ready == sorted(ready)
    assert sum(len(event.steps) for event in engine.of(StepsDeferred)) <= 21


def test_a_long_chain_of_steps_that_need_no_worker_is_released_in_parts():
    chain = [step("s0", type="input")] + [step(f"s{n}", f"s{n - 1}", type="input") for n in range(1, 50)]
    engine = started(*chain, budget=10)
    while engine.go_on():
        assert len(engine.transitions[-1].events) <= 11
    assert engine.latest.status == "completed"


def test_nothing_goes_on_by_itself_where_nothing_may():
    engine = started(step("a"), step("b"), max_parallel_steps=1)
    assert not can_continue(engine.state, engine.plan)
    assert not engine.go_on()
    engine.send(PauseWorkflow("i"))
    engine.complete("a")
    assert not can_continue(engine.state, engine.plan)
