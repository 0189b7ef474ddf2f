"""Calls of handlers: whatever a handler does with its task, its thread or the program, its attempt ends once."""

import asyncio
import contextvars
import decimal
import functools
import gc
import sys
import threading
import time
import weakref

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker import calling
from stepwell.consumers.worker.worker import Worker
from tests.workbench import client_on, handlers_of, one_step, outcome, running, stage, stop, until, work, workflow

TWICE = {"max_attempts": 2, "initial_delay_seconds": 0}


class TroubleError(Exception):
    pass


async def raises():
    raise TroubleError("in a task")


async def group(data):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(raises())


async def cancels_itself(data):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def raises_cancelled(data):
    raise asyncio.CancelledError("by itself")


async def is_cancelled_by_its_child(data):
    me = asyncio.current_task()

    async def child():
        me.cancel()

    task = asyncio.create_task(child())
    await asyncio.sleep(60)
    await task


async def swallows_its_own_cancellation(data):
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        raise TroubleError("after that") from None


async def takes_its_own_time(data):
    async with asyncio.timeout(0.001):
        await asyncio.sleep(60)


async def group_of_base_errors(data):
    raise BaseExceptionGroup("several", [KeyboardInterrupt(), TroubleError()])


async def generator_that_raises(data):
    async def numbers():
        yield 1
        raise TroubleError("in a generator")

    async for _ in numbers():
        pass


def stop_iteration(data):
    return next(x for x in [])


async def stop_iteration_in_a_coroutine(data):
    return next(x for x in [])


async def stop_async_iteration(data):
    raise StopAsyncIteration


def stop_async_iteration_in_a_thread(data):
    raise StopAsyncIteration


def generator_exit(data):
    raise GeneratorExit


def cancelled_in_a_thread(data):
    raise asyncio.CancelledError


def interrupt(data):
    raise KeyboardInterrupt


async def interrupt_in_a_coroutine(data):
    raise KeyboardInterrupt


def exits(data):
    sys.exit(0)


async def exits_in_a_coroutine(data):
    sys.exit(0)


async def leaves():
    sys.exit(0)


async def exits_in_a_group(data):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leaves())
        tasks.create_task(asyncio.sleep(60))


async def exits_in_a_task_that_it_awaits(data):
    await asyncio.create_task(leaves())


async def exits_in_a_task_that_it_gathers(data):
    await asyncio.gather(leaves(), asyncio.sleep(60))


async def exits_in_a_task_of_a_task(data):
    async def between():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(leaves())

    await asyncio.wait([asyncio.ensure_future(between())])


async def exits_in_a_task_beside_it(data):
    task = asyncio.create_task(leaves())
    await asyncio.sleep(60)
    await task


async def is_interrupted_in_a_task(data):
    async def child():
        raise KeyboardInterrupt

    await asyncio.create_task(child())


RAISED = [
    (group, "ExceptionGroup"),
    (cancels_itself, "CancelledError"),
    (raises_cancelled, "CancelledError"),
    (is_cancelled_by_its_child, "CancelledError"),
    (swallows_its_own_cancellation, "TroubleError"),
    (takes_its_own_time, "TimeoutError"),
    (group_of_base_errors, "BaseExceptionGroup"),
    (generator_that_raises, "TroubleError"),
    (stop_iteration, "StopIteration"),
    (stop_iteration_in_a_coroutine, "RuntimeError"),
    (stop_async_iteration, "StopAsyncIteration"),
    (stop_async_iteration_in_a_thread, "StopAsyncIteration"),
    (generator_exit, "GeneratorExit"),
    (cancelled_in_a_thread, "CancelledError"),
    (interrupt, "KeyboardInterrupt"),
    (interrupt_in_a_coroutine, "KeyboardInterrupt"),
    (exits, "SystemExit"),
    (exits_in_a_coroutine, "SystemExit"),
    (exits_in_a_group, "SystemExit"),
    (exits_in_a_task_that_it_awaits, "SystemExit"),
    (exits_in_a_task_that_it_gathers, "SystemExit"),
    (exits_in_a_task_of_a_task, "SystemExit"),
    (exits_in_a_task_beside_it, "SystemExit"),
    (is_interrupted_in_a_task, "KeyboardInterrupt"),
]


def counted(function, runs):
    @functools.wraps(function)
    def call(data, ctx):
        runs.append(ctx.attempt)
        return function(data)

    @functools.wraps(function)
    async def awaited(data, ctx):
        runs.append(ctx.attempt)
        return await function(data)

    made = awaited if asyncio.iscoroutinefunction(function) else call
    del made.__wrapped__  # it takes a context, too
    return made


@pytest.mark.parametrize(("function", "kind"), RAISED, ids=lambda value: getattr(value, "__name__", ""))
async def test_whatever_a_handler_does_each_attempt_ends_once_and_its_place_is_free(log, function, kind):
    runs = []
    worker = Worker(log, handlers_of(work=counted(function, runs)), concurrency=1)
    async with stage(log, None, one_step(retry=TWICE)) as client, running(worker.run()):
        view = await outcome(client)
        assert (view.status, view.error.type) == ("failed", kind)
        assert runs == [1, 2]
        await until(lambda: worker._intake.busy == 0)


@pytest.mark.parametrize(
    "function", [group, cancels_itself, stop_iteration, exits_in_a_group], ids=lambda f: f.__name__
)
async def test_a_compensation_and_an_error_handler_that_misbehave_are_run_as_often_as_they_may(log, function):
    undone, handled = [], []
    handlers = handlers_of(
        work=work, undo=counted(function, undone), handle=counted(function, handled), bad=lambda data: 1 / 0
    )
    definition = workflow(
        {"id": "a", "handler": "work", "compensate": {"handler": "undo", "retry": TWICE}},
        {"id": "b", "handler": "bad", "depends_on": ["a"], "on_failure": "rollback"},
    )
    async with stage(log, handlers, definition) as client:
        run = await client.start("w")
        view = await until(lambda: held(run))
        assert undone == [1, 2], view
    definition = workflow(
        {"id": "b", "handler": "bad"},
        {"id": "c", "handler": "handle", "retry": TWICE},
        name="v",
        error_handlers={"b": {"step": "c", "then": "fail"}},
    )
    async with stage(log, handlers, definition) as client:
        view = await (await client.start("v")).result(timeout=30)
        assert (view.status, handled) == ("failed", [1, 2])


async def held(run):
    view = await run.status()
    return view if view.status in ("paused", "failed") else None


async def test_a_handler_that_cancels_itself_and_returns_has_returned(log):
    async def returns(data):
        asyncio.current_task().cancel()
        return 7

    async with stage(log, handlers_of(work=returns), one_step()) as client:
        view = await outcome(client)
    assert (view.status, view.output) == ("completed", {"a": 7})


# --- the worker's own flags -------------------------------------------------------------------------------------


async def test_a_worker_that_stops_gives_back_a_step_whose_coroutine_takes_its_cancellation_for_nothing(
    log, monkeypatch
):
    monkeypatch.setattr(calling, "WIND_UP", 0.05)
    began, release = asyncio.Event(), asyncio.Event()

    async def stubborn(data):
        began.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async with client_on(log) as client, running(Engine(log).run()):
        await client.register(one_step())
        working = asyncio.ensure_future(Worker(log, handlers_of(work=stubborn)).run())
        run = await client.start("w")
        await began.wait()
        await stop(working)  # though the coroutine goes on
        async with running(Worker(log, handlers_of(work=work)).run()):
            view = await run.result(timeout=30)
        release.set()
    assert (view.status, view.steps["a"].attempts) == ("completed", 1)


async def test_a_handler_that_is_done_before_its_worker_stops_is_not_run_again(log):
    runs = []

    def noted(data):
        runs.append(1)
        return "done"

    async with client_on(log) as client, running(Engine(log).run()):
        await client.register(one_step())
        worker = Worker(log, handlers_of(work=noted))
        working = asyncio.ensure_future(worker.run())
        run = await client.start("w")
        while not runs:
            await asyncio.sleep(0)
        await stop(working)
        async with running(Worker(log, handlers_of(work=noted)).run()):
            view = await run.result(timeout=30)
    assert view.output == {"a": "done"}


# --- time limits --------------------------------------------------------------------------------------------------


async def test_a_coroutine_that_blocks_the_loop_beyond_its_time_has_timed_out(log):
    async def blocks(data):
        time.sleep(0.3)  # the loop's timers cannot fire meanwhile
        return "late"

    async with stage(log, handlers_of(work=blocks), one_step(timeout_seconds=0.1)) as client:
        view = await outcome(client)
    assert (view.status, view.error.type) == ("failed", "StepTimeout")


async def test_a_coroutine_that_swallows_its_cancellation_and_returns_has_timed_out(log):
    async def swallows(data):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "late"

    worker = Worker(log, handlers_of(work=swallows), concurrency=1)
    async with stage(log, None, one_step(timeout_seconds=0.05)) as client, running(worker.run()):
        view = await outcome(client)
        assert (view.status, view.error.type) == ("failed", "StepTimeout")
        await until(lambda: worker._intake.busy == 0)


async def test_a_coroutine_that_never_ends_is_given_up_and_keeps_its_place_until_it_does(log, monkeypatch):
    monkeypatch.setattr(calling, "WIND_UP", 0.05)
    release = asyncio.Event()
    children = []

    async def forever():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def stubborn(data):
        children.append(asyncio.create_task(forever()))
        await forever()

    worker = Worker(log, handlers_of(stubborn=stubborn, work=work), concurrency=2)
    definition = workflow(
        {"id": "a", "handler": "stubborn", "timeout_seconds": 0.05, "on_failure": "skip"},
        {"id": "b", "handler": "work", "depends_on": ["a"]},
    )
    async with stage(log, None, definition) as client, running(worker.run()):
        view = await outcome(client)
        assert (view.status, view.steps["a"].error.type) == ("completed", "StepTimeout")
        assert worker._intake.busy == 1
        assert not asyncio.all_tasks() & {*children}, "who ends a loop waits for all tasks that it knows of"
        release.set()
        await until(lambda: worker._intake.busy == 0)


async def test_a_function_that_was_done_in_time_is_not_late_because_the_loop_was(log):
    done = threading.Event()

    def quick(data):
        done.set()
        return "in time"

    async def blocks(data):
        done.wait(30)
        time.sleep(0.6)  # longer than the other's limit

    definition = workflow(
        {"id": "a", "handler": "quick", "timeout_seconds": 0.5},
        {"id": "b", "handler": "blocks", "timeout_seconds": 60},
    )
    async with stage(log, handlers_of(quick=quick, blocks=blocks), definition) as client:
        view = await outcome(client)
    assert (view.status, view.output["a"]) == ("completed", "in time")


# --- contexts -----------------------------------------------------------------------------------------------------

tenant = contextvars.ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("threads", [False, True])
async def test_what_a_handler_sets_in_its_context_no_other_run_sees(log, threads):
    def sets(data):
        seen = tenant.get(), decimal.getcontext().prec
        tenant.set("acme")
        decimal.getcontext().prec = 4
        return [*seen, threading.current_thread().name]

    async def sets_in_a_coroutine(data):
        return sets(data)

    handler = sets if threads else sets_in_a_coroutine
    async with stage(log, handlers_of(work=handler), one_step(), concurrency=1) as client:
        first, second = [(await outcome(client)).output["a"] for _ in range(2)]
    assert first[:2] == second[:2] == ["nobody", decimal.DefaultContext.prec]
    assert first[2] == second[2], "in the same thread"


async def test_what_a_task_of_a_handler_sees_is_that_handlers_context(log):
    async def parent(data):
        tenant.set("acme")

        async def child():
            return tenant.get()

        return await asyncio.create_task(child())

    async with stage(log, handlers_of(work=parent), one_step()) as client:
        assert (await outcome(client)).output == {"a": "acme"}


# --- decorators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wraps", [False, True])
async def test_an_async_handler_under_a_plain_decorator_is_awaited(log, wraps):
    def plain(function):
        def call(data):
            tenant.set("acme")
            return function(data)

        return functools.wraps(function)(call) if wraps else call

    @plain
    async def handler(data):
        await asyncio.sleep(0)
        return tenant.get()

    async with stage(log, handlers_of(work=handler), one_step()) as client:
        assert (await outcome(client)).output == {"a": "acme"}


async def test_an_async_handler_under_a_plain_decorator_keeps_its_time_limit(log):
    def handler(data):
        return asyncio.sleep(60)

    async with stage(log, handlers_of(work=handler), one_step(timeout_seconds=0.05)) as client:
        view = await outcome(client)
    assert view.error.type == "StepTimeout"


async def test_a_call_keeps_nothing_alive(log):
    class Big(list):
        pass

    made, left = [], []

    async def handler(data):
        big = Big()
        made.append(weakref.ref(big))
        left.append(asyncio.create_task(asyncio.sleep(60)))  # it outlives the handler, and knows its context
        return big

    async with stage(log, handlers_of(work=handler), one_step()) as client:
        await outcome(client)
        gc.collect()
        assert made[0]() is None
