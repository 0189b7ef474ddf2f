"""Workers say who they are, how long a handler ran, and what CPU a function in a thread used."""

import asyncio
import time

import pytest

from stepwell.schemas.records.events import StepFailed, StepRetryScheduled, StepSucceeded
from stepwell.testing import simulate
from tests.workbench import events_of, handlers_of, outcome, stage, steps, whole_history, workflow

NAME = "host-7:42"


async def attempts(log, handlers, *given, **options):
    async with stage(log, handlers, workflow(*given), name=NAME) as client:
        await outcome(client, **options)
        return [
            event for _, event in events_of(await whole_history(log), (StepSucceeded, StepRetryScheduled, StepFailed))
        ]


async def test_a_coroutine_is_timed_from_its_beginning_to_its_end(log):
    async def work(data):
        await asyncio.sleep(0.05)

    began = time.monotonic()
    (event,) = await attempts(log, handlers_of(work=work), *steps("a"))
    assert 50 <= event.took <= (time.monotonic() - began) * 1000
    assert (event.worker, event.cpu) == (NAME, 0)


async def test_a_function_in_a_thread_tells_its_cpu_and_waiting_costs_none(log):
    def work(data, ctx):
        end = time.thread_time() + 0.05
        while ctx.step_id == "a" and time.thread_time() < end:
            pass
        time.sleep(0.05)

    busy, idle = await attempts(log, handlers_of(work=work), *steps("a", "b"))
    assert 50 <= busy.cpu <= busy.took
    assert busy.took >= 99
    assert idle.cpu < 50 <= idle.took
    assert busy.worker == idle.worker == NAME


@pytest.mark.rows("R14")
async def test_attempts_that_fail_and_time_out_are_told_of_too(log):
    async def work(data, ctx):
        if ctx.attempt == 1:
            raise ConnectionError("away")
        await asyncio.Event().wait()

    retry = {"max_attempts": 2, "initial_delay_seconds": 0.01, "retry_on_timeout": False}
    raised, timed_out = await attempts(log, handlers_of(work=work), *steps("a", retry=retry, timeout_seconds=2))
    assert (raised.error.type, raised.worker) == ("ConnectionError", NAME)
    assert (timed_out.error.type, timed_out.worker) == ("StepTimeout", NAME)
    assert raised.took < 2_000 <= timed_out.took


async def test_a_thread_that_outlives_its_timeout_has_an_unknown_cpu(log):
    def work(data, ctx):
        while not ctx.cancelled:
            time.sleep(0.005)

    (event,) = await attempts(log, handlers_of(work=work), *steps("a", timeout_seconds=0.05))
    assert event.took >= 50
    assert event.cpu == 0


async def test_an_output_that_is_no_json_was_work_all_the_same(log):
    async def work(data):
        await asyncio.sleep(0.02)
        return object()

    (event,) = await attempts(log, handlers_of(work=work), *steps("a"))
    assert isinstance(event, StepFailed)
    assert (event.worker, event.took >= 20) == (NAME, True)


def test_virtual_time_is_what_a_simulated_attempt_takes_and_no_two_runs_differ():
    def spin(data):
        return sum(range(300_000))

    async def slow(data):
        await asyncio.sleep(3600)

    async def scenario(world):
        await world.register(workflow({"id": "a", "handler": "spin"}, {"id": "b", "handler": "slow"}))
        await world.run("w", id="x")
        return [
            (record.event.step_id, record.event.worker, record.event.took, record.event.cpu)
            for record in await world.events("x")
            if isinstance(record.event, StepSucceeded)
        ]

    found = simulate(scenario, handlers={"spin": spin, "slow": slow})
    assert found == [("a", "worker-0", 0, 0), ("b", "worker-0", 3_600_000, 0)]
