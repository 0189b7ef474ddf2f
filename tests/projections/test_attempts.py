"""Attempts as people see them: one row for each, also for what is handed back, or waits for its next attempt."""

from __future__ import annotations

import random

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker.worker import Worker
from stepwell.projections.attempts import attempts_of, follow_attempts
from stepwell.projections.filters import FilterError
from tests.core import model
from tests.patience import HANG
from tests.workbench import client_on, handlers_of, running, stage, until, work, workflow


async def test_a_step_that_is_handed_back_again_and_again_is_one_attempt(log):
    step = {"id": "s", "handler": "nobody_has_it"}
    async with running(Engine(log).run(), Worker(log, handlers_of(other=work)).run()), client_on(log) as client:
        await client.register(workflow(step))
        await client.start("w", {}, id="one")

        async def handed_back():
            events = [event.type for event in await client.history("one")]
            return events.count("step.returned") >= 2

        await until(handed_back)
        (attempt,) = await client.views.attempts("one")
        assert (attempt.status in ("waiting", "ready"), attempt.attempt) == (True, 1)
        assert [row.instance_id for row in await client.views.work()] == ["one"]
        await client.cancel("one")
        (attempt,) = await client.views.attempts("one")
        assert attempt.status == "cancelled"


@pytest.mark.rows("R14", "X8")
async def test_what_waits_for_its_next_attempt_is_work_under_way(log):
    def fail(data):
        raise ConnectionError("the bank is closed")

    step = {"id": "s", "handler": "fail", "retry": {"max_attempts": 3, "initial_delay_seconds": 600}}
    async with stage(log, handlers_of(fail=fail), workflow(step)) as client:
        await client.start("w", {}, id="one")

        async def retrying():
            return [row.waits_for for row in await client.views.work()] == ["retry"]

        await until(retrying)
        failed, following = await client.views.attempts("one")
        assert (failed.status, failed.attempt, failed.error) == ("retried", 1, "ConnectionError: the bank is closed")
        assert (following.status, following.attempt) == ("waiting", 2)
        assert following.due == failed.due > failed.finished_at
        (figures,) = await client.statistics("w", steps=True)
        assert (figures.steps[0].retried, figures.steps[0].failed, figures.steps[0].failure_rate) == (1, 0, 1.0)


async def test_errors_come_in_the_order_of_time_over_all_partitions(log):
    def fail(data):
        raise ConnectionError(f"number {data['n']}")

    async with stage(log, handlers_of(fail=fail), workflow({"id": "s", "handler": "fail"})) as client:
        for number in range(6):
            run = await client.start("w", {"n": number}, id=f"r-{number}")
            await run.result(timeout=HANG)
        await client.views.rebuild()
        shown = [error.message for error in await client.views.errors(text="number")]
        assert shown == [f"number {number}" for number in (5, 4, 3, 2, 1, 0)]
        await client.views.models.close()


async def test_equal_inputs_are_equal_however_they_are_written(log):
    async with stage(log, handlers_of(), workflow({"id": "s", "type": "input"})) as client:
        run = await client.start("w", {"a": 1, "b": [2.0, {"c": 2.5}]}, id="one")
        await run.result(timeout=HANG)
        assert (await client.views.cached("w", {"b": [2, {"c": 2.5}], "a": 1.0})).instance_id == "one"
        assert await client.views.cached("w", {"b": [2, {"c": 2.5}], "a": 2}) is None


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ({"workflow": ["w"]}, "workflow"),
        ({"created_after": "yesterday"}, ""),
        ({"priority_min": "5"}, "priority_min"),
        ({"priority_min": 50, "priority_max": 10}, "priority_min"),
    ],
)
async def test_questions_of_a_wrong_kind_are_refused(log, question, place):
    async with client_on(log) as client:
        with pytest.raises(FilterError) as refused:
            await client.instances(**question)
        assert refused.value.place == place


@pytest.mark.parametrize("seed", range(60))
def test_an_attempt_is_due_when_its_timer_is_and_at_no_time_while_that_stands_still(seed):
    rnd = random.Random(seed)
    engine = model.Engine(model.definition(rnd), model.moody_fate(rnd))
    attempts, sequence = {}, 0

    def follow(_before, event, after):
        nonlocal sequence
        sequence += 1
        follow_attempts(attempts, event, sequence, engine.now, after)
        stands_still = ("approval", "child") if after.status == "paused" else ()
        shown = {row.step_id: row.due for row in attempts.values() if row.waits_for and row.due}
        told = {
            row.step_id: after.timers[row.step_id]
            for row in attempts.values()
            if row.waits_for and row.waits_for not in stands_still and row.step_id in after.timers
        }
        assert shown == told, (seed, event)
        read = {row.step_id: row.due for row in attempts_of(after).values() if row.waits_for and row.due}
        assert read == told, (seed, event)  # as from a snapshot

    engine.watch = follow
    for _ in model.play(engine, rnd):
        pass
