"""The worker: how many, in which order and for how long; and what becomes of handlers that misbehave."""

import asyncio
import threading
import time
from collections import Counter

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker import heartbeats
from stepwell.consumers.worker.worker import Worker
from stepwell.log.port import CONTROL, DEAD_LETTERS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import (
    CommandRejected,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepStarted,
    StepSucceeded,
)
from stepwell.schemas.records.work import WorkItem
from tests.patience import HANG
from tests.workbench import (
    client_on,
    events_of,
    handlers_of,
    one_step,
    outcome,
    running,
    stage,
    steps,
    stop,
    until,
    whole_history,
    work,
    workflow,
)


@pytest.fixture
def briskly(monkeypatch):
    """Report long steps sooner than one would in earnest."""
    monkeypatch.setattr(heartbeats, "REPORT_AFTER", 0.05)
    monkeypatch.setattr(heartbeats, "HEARTBEAT_EVERY", 0.05)
    monkeypatch.setattr(heartbeats, "SWEEP_EVERY", 0.01)


# --- how many, in which order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [False, True])
async def test_no_more_steps_run_at_once_than_it_was_told(log, threads):
    now, most = 0, 0
    lock = threading.Lock()

    def count(change):
        nonlocal now, most
        with lock:
            now += change
            most = max(most, now)

    async def tracked(data):
        count(1)
        await asyncio.sleep(0.005)
        count(-1)

    def tracked_thread(data):
        count(1)
        time.sleep(0.005)
        count(-1)

    wide = workflow(*({"id": f"s{number}", "handler": "work"} for number in range(40)))
    async with stage(log, handlers_of(work=tracked_thread if threads else tracked), wide, concurrency=4) as client:
        assert (await outcome(client)).status == "completed"
    assert most == 4


async def test_what_is_more_urgent_is_taken_first(log):
    order = []

    async def noted(data, ctx):
        order.append(ctx.priority)

    async with stage(log, None, one_step()) as client:
        runs = [await client.start("w", priority=priority) for priority in (1, 50, 0, 100, 50)]
        async with running(Worker(log, handlers_of(work=noted), concurrency=1).run()):
            for run in runs:
                await run.result(timeout=HANG)
    assert order == [100, 50, 50, 1, 0]


async def test_functions_run_in_threads_side_by_side(log):
    together = threading.Barrier(4, timeout=HANG)

    def meet(data):
        together.wait()
        return threading.current_thread().name

    wide = workflow(*({"id": f"s{number}", "handler": "work"} for number in range(4)))
    async with stage(log, handlers_of(work=meet), wide, concurrency=4) as client:
        view = await outcome(client)
    names = {step.output for step in view.steps.values()}
    assert len(names) == 4
    assert all(name.startswith("stepwell") for name in names)


# --- time limits ----------------------------------------------------------------------------------------------


async def test_a_coroutine_that_takes_too_long_is_cancelled_and_tried_again(log):
    ended = []

    async def slow(data, ctx):
        try:
            if ctx.attempt == 1:
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(ctx.cancelled)
            raise
        return ctx.attempt

    retry = {"max_attempts": 2, "initial_delay_seconds": 0}
    async with stage(log, handlers_of(work=slow), one_step(timeout_seconds=2, retry=retry)) as client:
        view = await outcome(client)
    assert (view.status, view.output) == ("completed", {"a": 2})
    assert len(ended) == 1


async def test_a_function_that_takes_too_long_is_given_up_and_its_thread_keeps_its_place(log):
    release = threading.Event()
    told = []

    def slow(data, ctx):
        while not ctx.cancelled:
            time.sleep(0.002)
        told.append(ctx.step_id)
        release.wait(10)

    definition = workflow(
        {"id": "a", "handler": "slow", "timeout_seconds": 0.05, "on_failure": "skip"},
        {"id": "b", "handler": "work", "depends_on": ["a"]},
    )
    async with stage(log, handlers_of(slow=slow, work=work), definition, concurrency=1) as client:
        run = await client.start("w")
        view = await client.wait(run.id, lambda state: "b" in state.steps, timeout=HANG)
        assert view.steps["a"].error.type == "StepTimeout"
        await until(lambda: told == ["a"])
        with pytest.raises(TimeoutError):
            await run.result(timeout=0.1)
        release.set()
        assert (await run.result(timeout=HANG)).status == "completed"


async def test_a_handlers_own_timeout_error_is_not_the_steps_time_limit(log):
    async def times_out(data):
        raise TimeoutError("the other side")

    async with stage(log, handlers_of(work=times_out), one_step(timeout_seconds=30)) as client:
        view = await outcome(client)
    assert (view.error.type, view.error.message) == ("TimeoutError", "the other side")


# --- cancelling -----------------------------------------------------------------------------------------------


async def test_a_cancelled_workflow_stops_its_coroutines_and_tells_its_threads(log):
    begun, ended = Counter(), Counter()

    async def coroutine(data, ctx):
        begun["coroutine"] += 1
        try:
            await asyncio.sleep(60)
        finally:
            ended["coroutine", ctx.cancelled] += 1

    def function(data, ctx):
        begun["function"] += 1
        while not ctx.cancelled:
            time.sleep(0.002)
        ended["function", ctx.cancelled] += 1

    definition = workflow({"id": "a", "handler": "coroutine"}, {"id": "b", "handler": "function"})
    async with stage(log, handlers_of(coroutine=coroutine, function=function), definition) as client:
        run = await client.start("w")
        await until(lambda: begun["coroutine"] and begun["function"])
        await run.cancel("enough")
        await until(lambda: ended["coroutine", True] and ended["function", True])
        assert (await run.result(timeout=HANG)).status == "cancelled"
    assert not events_of(await whole_history(log), StepFailed)


async def test_steps_that_were_cancelled_while_no_worker_was_there_are_not_run_by_the_next(log):
    runs = Counter()

    async def counted(data, ctx):
        runs[ctx.instance_id] += 1

    async with stage(log, None, one_step()) as client:
        for instance_id in ("one", "two"):
            await client.start("w", id=instance_id)
        await client.cancel("one")
        async with running(Worker(log, handlers_of(work=counted), concurrency=1).run()):
            await client.wait("two", lambda state: not state.live, timeout=HANG)
    assert runs == {"two": 1}


async def test_a_run_cancelled_before_its_task_began_keeps_no_place(log):
    """Cancelled and taken in the same turn of the loop."""
    async with stage(log, None, one_step()) as client:
        worker = Worker(log, handlers_of(work=work), concurrency=1)
        begin = worker._begin

        def begin_and_cancel(delivery):
            begin(delivery)
            for run in worker._runs.values():
                run.cancelled = True
                run.give_up()
            worker._begin = begin

        worker._begin = begin_and_cancel
        async with running(worker.run()):
            run = await client.start("w", id="one")
            await until(lambda: worker._begin == begin and not worker._runs)
            assert worker._intake.busy == 0
            assert (await outcome(client)).status == "completed"
            await run.cancel()


# --- what is seen of a step -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("briskly")
async def test_long_steps_are_seen_with_their_progress_and_short_ones_cost_no_record(log):
    seen = asyncio.Event()

    async def long(data, ctx):
        for percent in range(100):
            ctx.heartbeat({"percent": percent})
            if seen.is_set():
                break
            await asyncio.sleep(0.01)

    definition = workflow(
        {"id": "short", "handler": "work"}, {"id": "long", "handler": "long", "depends_on": ["short"]}
    )
    async with stage(log, handlers_of(work=work, long=long), definition) as client:
        run = await client.start("w")
        view = await client.wait(run.id, lambda s: "long" in s.steps and s.steps["long"].progress, timeout=HANG)
        assert view.steps["long"].status == "running"
        assert view.steps["long"].progress["percent"] >= 0
        seen.set()
        await run.result(timeout=HANG)
    history = await whole_history(log)
    assert {event.step_id for _, event in events_of(history, StepStarted)} == {"long"}
    assert events_of(history, StepStarted)[0][1].worker
    beats = [event.progress["percent"] for _, event in events_of(history, StepHeartbeat)]
    assert beats == sorted(set(beats))


class RudeProgress:
    """What is asked for it runs in the worker's loop."""

    def model_dump(self, mode):
        raise SystemExit(0)


class UnspeakableProgress:
    def model_dump(self, mode):
        class Unspeakable(Exception):  # noqa: N818
            def __str__(self):
                raise ValueError

        raise Unspeakable


@pytest.mark.usefixtures("briskly")
@pytest.mark.parametrize(
    "progress",
    [object(), "x" * 2_000_000, "caf\udce9", 10**5_000, RudeProgress(), UnspeakableProgress()],
    ids=lambda value: type(value).__name__,
)
async def test_progress_that_cannot_be_shown_harms_nobody(log, progress):
    async def long(data, ctx):
        ctx.heartbeat(progress)
        await until(lambda: any(run.heard for run in worker._heartbeats._runs.values()))
        return "done"

    worker = Worker(log, handlers_of(work=long))
    async with stage(log, None, one_step()) as client, running(worker.run()):
        assert (await outcome(client)).output == {"a": "done"}
    assert [event.progress for _, event in events_of(await whole_history(log), StepHeartbeat)] == [None]


# --- leaving --------------------------------------------------------------------------------------------------


async def test_a_worker_that_stops_gives_back_what_it_has_not_done_and_another_runs_it(log):
    begun = Counter()
    second = False

    async def slow(data, ctx):
        begun[ctx.step_id] += 1
        if not second:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise RuntimeError("a handler that hides why it ended") from None
        return second

    wide = workflow(*({"id": f"s{number}", "handler": "work"} for number in range(6)))
    async with stage(log, None, wide) as client:
        first = asyncio.ensure_future(Worker(log, handlers_of(work=slow), concurrency=4).run())
        run = await client.start("w")
        await until(lambda: len(begun) == 4)
        await stop(first)
        second = True
        async with running(Worker(log, handlers_of(work=slow)).run()):
            view = await run.result(timeout=HANG)
    assert view.status == "completed"
    assert begun == {"s0": 2, "s1": 2, "s2": 2, "s3": 2, "s4": 1, "s5": 1}
    history = await whole_history(log)
    assert len(events_of(history, StepReady)) == 6, "the same runs, taken over"
    assert not events_of(history, StepFailed)


async def test_a_worker_with_patience_lets_its_steps_finish(log):
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(data):
        begun.set()
        await release.wait()
        return "done"

    async with stage(log, None, one_step()) as client:
        worker = asyncio.ensure_future(Worker(log, handlers_of(work=slow)).run(grace=10))
        run = await client.start("w")
        await begun.wait()
        worker.cancel()
        asyncio.get_running_loop().call_later(0.05, release.set)
        with pytest.raises(asyncio.CancelledError):
            await worker
        assert (await run.result(timeout=HANG)).output == {"a": "done"}


# --- repeats --------------------------------------------------------------------------------------------------


async def test_a_run_that_is_delivered_again_is_run_once(log):
    runs = Counter()
    release = asyncio.Event()

    async def counted(data, ctx):
        runs[ctx.run] += 1
        await release.wait()

    async with stage(log, handlers_of(work=counted), one_step()) as client:
        run = await client.start("w")
        await until(lambda: runs[1])
        (ready,) = events_of(await whole_history(log), StepReady)
        item = WorkItem(run.id, "w", "1", 2, ready[1], began=(await run.status()).started_at)
        record = NewRecord(run.id, encode(item), {"handler": "work"})
        await log.enqueue("default", [record, record])  # while it runs
        release.set()
        await run.result(timeout=HANG)
        await log.enqueue("default", [record])  # and after it was settled
        await client.start("w", id="next")
        await until(lambda: client.wait("next", lambda state: not state.live, timeout=HANG))
    assert runs == {1: 2}, "one for each instance"
    assert not events_of(await whole_history(log), CommandRejected)


async def test_another_worker_asks_the_log_before_it_runs_what_was_sent_again(log):
    runs = Counter()

    async def counted(data, ctx):
        runs[ctx.instance_id] += 1

    async with stage(log, None, one_step()) as client:
        async with running(Worker(log, handlers_of(work=counted)).run()):
            run = await client.start("w")
            await run.result(timeout=HANG)
        (ready,) = events_of(await whole_history(log), StepReady)
        record = NewRecord(run.id, encode(WorkItem(run.id, "w", "1", 2, ready[1])), {"handler": "work", "again": "1"})
        await log.enqueue("default", [record])
        async with running(Worker(log, handlers_of(work=counted), concurrency=1).run()):
            other = await client.start("w")
            await other.result(timeout=HANG)
    assert runs == {run.id: 1, other.id: 1}


async def test_undecodable_work_is_put_aside_and_the_worker_goes_on(log):
    async with stage(log, handlers_of(work=work), one_step()) as client:
        await log.enqueue("default", [NewRecord("x", b"junk", {"handler": "work"})])
        assert (await outcome(client)).status == "completed"
        await until(lambda: letters(log, 1))
    ((letter,),) = [found for n in range(log.partitions) if (found := await log.read(DEAD_LETTERS, n, 0))]
    assert (letter.key, letter.value, letter.headers["queue"]) == ("x", b"junk", "default")
    assert letter.headers["reason"]


async def letters(log, count):
    return sum([len(await log.read(DEAD_LETTERS, n, 0)) for n in range(log.partitions)]) == count


async def test_an_undecodable_cancellation_is_ignored_before_and_while_the_worker_runs(log):
    await log.append(CONTROL, 0, [NewRecord("", b"junk"), NewRecord("", b"")])
    async with stage(log, handlers_of(work=work), one_step()) as client:
        assert (await outcome(client)).status == "completed"
        await log.append(CONTROL, 0, [NewRecord("", b'{"type":"of a newer version"}')])
        assert (await outcome(client)).status == "completed"


async def test_steps_go_to_the_workers_of_their_queue(log):
    ran = []

    def of(name):
        async def noted(data, ctx):
            ran.append((name, ctx.step_id))

        return handlers_of(work=noted)

    definition = workflow(*steps("a"), *steps("b", after="a", queue="gpu"))
    async with client_on(log) as client:
        await client.register(definition)
        workers = [Worker(log, of("any")).run(), Worker(log, of("gpu"), queues=("gpu",)).run()]
        async with running(Engine(log).run(), *workers):
            assert (await outcome(client)).status == "completed"
    assert ran == [("any", "a"), ("gpu", "b")]
    assert len(events_of(await whole_history(log), StepSucceeded)) == 2
