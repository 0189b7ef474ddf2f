"""The worker: how many, in which order and for how long; and what becomes of handlers that misbehave."""

import asyncio
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

import msgspec
import pytest

from stepwell.consumers import worker as worker_module
from stepwell.consumers.context import StepContext
from stepwell.consumers.engine import Engine
from stepwell.consumers.worker import Worker
from stepwell.errors import HandlerError
from stepwell.log.port import NewRecord
from stepwell.schemas.codec import encode
from stepwell.schemas.events import (
    CommandRejected,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepReturned,
    StepStarted,
    StepSucceeded,
)
from stepwell.schemas.work import WorkItem
from tests.workbench import (
    client_on,
    events_of,
    handlers_of,
    running,
    stage,
    steps,
    stop,
    until,
    whole_history,
    workflow,
)


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


@pytest.fixture
def briskly(monkeypatch):
    """Report long steps sooner than one would in earnest."""
    monkeypatch.setattr(worker_module, "REPORT_AFTER", 0.05)
    monkeypatch.setattr(worker_module, "HEARTBEAT_EVERY", 0.05)
    monkeypatch.setattr(worker_module, "SWEEP_EVERY", 0.01)


async def outcome(client, data=None, *, name="w", timeout=10):
    """Run one instance to its end."""
    run = await client.start(name, {} if data is None else data)
    return await run.result(timeout=timeout)


def one_step(**more):
    return workflow({"id": "a", "handler": "work", **more})


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
                await run.result(timeout=10)
    assert order == [100, 50, 50, 1, 0]


async def test_functions_run_in_threads_side_by_side(log):
    together = threading.Barrier(4, timeout=10)

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
    async with stage(log, handlers_of(work=slow), one_step(timeout_seconds=0.05, retry=retry)) as client:
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
        view = await client.wait(run.id, lambda state: "b" in state.steps, timeout=10)
        assert view.steps["a"].error.type == "StepTimeout"
        await until(lambda: told == ["a"])
        with pytest.raises(TimeoutError):
            await run.result(timeout=0.1)
        release.set()
        assert (await run.result(timeout=10)).status == "completed"


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
        assert (await run.result(timeout=5)).status == "cancelled"
    assert not events_of(await whole_history(log), StepFailed)


async def test_a_run_cancelled_before_its_task_began_keeps_no_place(log):
    """Cancelled and taken in the same turn of the loop."""
    async with stage(log, None, one_step()) as client:
        worker = Worker(log, handlers_of(work=work), concurrency=1)
        begin = worker._begin

        def begin_and_cancel(delivery):
            begin(delivery)
            for run in worker._runs.values():
                run.cancelled = True
                if run.begun:
                    run.task.cancel()
            worker._begin = begin

        worker._begin = begin_and_cancel
        async with running(worker.run()):
            run = await client.start("w", id="one")
            await until(lambda: worker._begin == begin and not worker._runs)
            assert worker._busy == 0
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
                return percent
            await asyncio.sleep(0.01)

    definition = workflow(
        {"id": "short", "handler": "work"}, {"id": "long", "handler": "long", "depends_on": ["short"]}
    )
    async with stage(log, handlers_of(work=work, long=long), definition) as client:
        run = await client.start("w")
        view = await client.wait(run.id, lambda s: "long" in s.steps and s.steps["long"].progress, timeout=10)
        assert view.steps["long"].status == "running"
        assert view.steps["long"].progress["percent"] >= 0
        seen.set()
        await run.result(timeout=10)
    history = await whole_history(log)
    assert {event.step_id for _, event in events_of(history, StepStarted)} == {"long"}
    assert events_of(history, StepStarted)[0][1].worker
    beats = [event.progress["percent"] for _, event in events_of(history, StepHeartbeat)]
    assert beats == sorted(set(beats))


@pytest.mark.usefixtures("briskly")
@pytest.mark.parametrize("progress", [object(), "x" * 2_000_000, "caf\udce9"])
async def test_progress_that_cannot_be_shown_harms_nobody(log, progress):
    async def long(data, ctx):
        ctx.heartbeat(progress)
        await until(lambda: worker._runs and next(iter(worker._runs.values())).heard)
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
            view = await run.result(timeout=10)
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
        assert (await run.result(timeout=5)).output == {"a": "done"}


# --- what handlers give and take ------------------------------------------------------------------------------


class Payment(msgspec.Struct):
    amount: int
    to: str = "nobody"


@dataclass
class Receipt:
    paid: int
    tags: list[str]


async def test_handlers_may_take_and_give_typed_values(log):
    async def pay(payment: Payment, ctx: StepContext) -> Receipt:
        assert isinstance(payment, Payment)
        ctx.set("to", payment.to)
        return Receipt(payment.amount, [ctx.step_id])

    def book(receipt: Receipt):
        assert isinstance(receipt, Receipt)
        return {receipt.paid, receipt.paid + 1}

    def nothing():
        return None

    definition = workflow(
        {"id": "a", "handler": "pay"},
        {"id": "b", "handler": "book", "depends_on": ["a"], "input": "{{ step_outputs.a }}"},
        {"id": "c", "handler": "nothing", "depends_on": ["b"]},
    )
    async with stage(log, handlers_of(pay=pay, book=book, nothing=nothing), definition) as client:
        view = await outcome(client, {"amount": 7, "to": "me"})
    assert view.status == "completed", view.error
    assert view.steps["a"].output == {"paid": 7, "tags": ["a"]}
    assert sorted(view.steps["b"].output) == [7, 8]
    assert view.context == {"to": "me"}


async def test_an_input_of_the_wrong_type_is_not_tried_again(log):
    async def pay(payment: Payment):
        raise AssertionError("never called")

    retry = {"max_attempts": 5, "initial_delay_seconds": 0}
    async with stage(log, handlers_of(work=pay), one_step(retry=retry)) as client:
        view = await outcome(client, {"amount": "much"})
    assert (view.status, view.error.type) == ("failed", "ValidationError")
    assert "amount" in view.error.message
    assert view.steps["a"].attempts == 1


class Callable:
    def __init__(self, answer):
        self._answer = answer

    async def __call__(self, data: dict, ctx: StepContext):
        return [self._answer, ctx.step_id]


async def test_partials_and_callable_objects_are_handlers_too(log):
    def add(data, ctx, more=0):
        return data["n"] + more

    definition = workflow({"id": "a", "handler": "partial"}, {"id": "b", "handler": "object"})
    async with stage(log, handlers_of(partial=partial(add, more=4), object=Callable(3)), definition) as client:
        view = await outcome(client, {"n": 1})
    assert view.output == {"a": 5, "b": [3, "b"]}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (lambda: object(), "TypeError"),
        (lambda: "x" * 2_000_000, "PayloadTooLarge"),
        (lambda: nested(600), "PayloadTooLarge"),
        (lambda: nested(5_000), "RecursionError"),
        (lambda: "caf\udce9", "UnicodeEncodeError"),
    ],
    ids=["object", "huge", "deep", "bottomless", "surrogate"],
)
async def test_an_output_that_cannot_be_kept_fails_the_step_and_nothing_is_lost(log, given, error):
    runs = []

    async def bad(data, ctx):
        runs.append(ctx.run)
        return given()

    retry = {"max_attempts": 3, "initial_delay_seconds": 0, "non_retryable": ["RecursionError", "UnicodeEncodeError"]}
    definition = workflow({"id": "a", "handler": "bad", "retry": retry, "on_failure": "skip"}, *steps("b", after="a"))
    async with stage(log, handlers_of(bad=bad, work=work), definition) as client:
        view = await outcome(client)
    assert (view.status, view.steps["b"].status) == ("completed", "succeeded")
    assert view.steps["a"].error.type == error
    assert runs == [1], "trying again would not help"


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


class RudeError(Exception):
    def __str__(self):
        raise ValueError("not even this")


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (SystemExit(3), "3"),
        (asyncio.CancelledError("by itself"), "by itself"),
        (FileNotFoundError(2, "No such file", "caf\udce9"), r"[Errno 2] No such file: 'caf\udce9'"),
        (RudeError(), "(it cannot be shown: ValueError)"),
        (ValueError("x" * 100_000), "x" * 2_000 + "… (100,000 characters)"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whatever_a_handler_raises_is_a_failure_of_its_step(log, raised, shown, threads):
    async def coroutine(data):
        raise raised

    def function(data):
        raise raised

    worker = Worker(log, handlers_of(work=function if threads else coroutine), concurrency=1)
    async with stage(log, None, one_step()) as client, running(worker.run()):
        for _ in range(2):  # its place is free again
            view = await outcome(client)
            assert (view.status, view.error.type) == ("failed", type(raised).__name__)
            assert view.error.message == shown
        assert worker._busy == 0


# --- finding handlers -----------------------------------------------------------------------------------------


async def test_a_step_that_a_worker_lacks_is_handed_back_until_one_comes_that_has_it(log, monkeypatch):
    monkeypatch.setattr("stepwell.core.outcomes.REROUTE_MS", 20)
    async with stage(log, handlers_of(other=work), one_step()) as client:
        run = await client.start("w", {"n": 1})
        view = await client.wait(run.id, lambda s: s.steps["a"].waits_for == "worker", timeout=10)
        assert view.steps["a"].note == "no worker has its handler"
        async with running(Worker(log, handlers_of(work=work)).run()):
            view = await run.result(timeout=10)
    assert (view.output, view.steps["a"].attempts) == ({"a": {"n": 2}}, 1)
    returned = events_of(await whole_history(log), StepReturned)
    assert "is not registered" in returned[0][1].reason


async def test_a_step_that_nobody_takes_becomes_an_incident_and_goes_on_once_somebody_can(log, monkeypatch):
    monkeypatch.setattr("stepwell.core.outcomes.REROUTE_MS", 5)
    monkeypatch.setattr("stepwell.core.outcomes.NO_HANDLER_LIMIT_MS", 50)
    async with stage(log, handlers_of(other=work), one_step()) as client:
        run = await client.start("w")
        view = await client.wait(run.id, lambda state: state.incident == "no_handler", timeout=10)
        assert (view.status, '"work"' in view.reason) == ("paused", True)
        async with running(Worker(log, handlers_of(work=work)).run()):
            await client.resume(run.id)
            assert (await run.result(timeout=10)).status == "completed"


async def test_a_step_is_left_to_the_busy_worker_that_has_its_handler(log):
    """An idle worker that lacks it neither bounces it nor calls a person."""
    release = asyncio.Event()

    async def slow(data):
        await release.wait()

    wide = workflow(*({"id": f"s{number}", "handler": "work"} for number in range(5)))
    async with stage(log, handlers_of(other=work), wide, workflow(*steps("x"), name="v")) as client:
        async with running(Worker(log, handlers_of(work=slow), concurrency=1).run()):
            run = await client.start("w")
            await client.wait(run.id, lambda state: len(state.steps) == 5, timeout=10)
            waiting = asyncio.ensure_future(run.result(timeout=20))
            await asyncio.sleep(0)
            release.set()
            assert (await waiting).status == "completed"
    assert not events_of(await whole_history(log), StepReturned)


async def test_what_was_left_to_a_worker_that_has_died_is_handed_back(log, monkeypatch):
    monkeypatch.setattr("stepwell.consumers.elsewhere.LEAVE_FOR", 0.05)
    entered = asyncio.Event()

    async def forever(data):
        entered.set()
        await asyncio.Event().wait()

    wide = workflow(*({"id": f"s{number}", "handler": "work"} for number in range(3)))
    async with stage(log, None, wide) as client:
        able = asyncio.ensure_future(Worker(log, handlers_of(work=forever), concurrency=1).run())
        await until(lambda: log.members("workers"))
        async with running(Worker(log, handlers_of(other=work)).run()):
            run = await client.start("w")
            await entered.wait()
            await stop(able)
            view = await client.wait(
                run.id, lambda state: all(step.waits_for == "worker" for step in state.steps.values()), timeout=10
            )
    assert [step.note for step in view.steps.values()] == ["no worker has its handler"] * 3


async def test_a_worker_that_hands_nothing_back_leaves_what_it_lacks_in_the_queue(log):
    async with stage(
        log, handlers_of(other=work), one_step(), workflow(*steps("x"), name="v"), hand_back=False
    ) as client:
        run = await client.start("w")
        with pytest.raises(TimeoutError):
            await run.result(timeout=0.2)
        async with running(Worker(log, handlers_of(work=work)).run()):
            assert (await run.result(timeout=10)).status == "completed"
    assert not events_of(await whole_history(log), StepReturned)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Modules that steps may name, and some that they may not."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "steps.py").write_text("def pay(data):\n    return 'paid'\nNUMBER = 3\n")
    (package / "broken.py").write_text("raise RuntimeError('while it is imported')\n")
    (package / "exits.py").write_text("raise SystemExit(1)\n")
    (tmp_path / "shopping.py").write_text("def pay(data):\n    return 'never'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop", "shopping")]:
        del sys.modules[name]


@pytest.mark.usefixtures("modules")
def test_a_dotted_path_is_imported_from_allowed_modules_only():
    handlers = handlers_of(["shop"], work=work)
    assert handlers.find("python", "shop.steps.pay").function({}) == "paid"
    for name, message in {
        "os.system": "outside the modules",
        "shopping.pay": "outside the modules",
        "shop": "is not registered",
        "wrok": 'did you mean "work"',
        "shop.steps.NUMBER": "has no function",
        "shop.steps.pya": 'did you mean "pay"',
        "shop.nothing.pay": "cannot be imported",
        "shop.broken.pay": "RuntimeError: while it is imported",
        "shop.exits.pay": "SystemExit",
        "shop..pay": "cannot be imported",
    }.items():
        with pytest.raises(HandlerError, match=message):
            handlers.find("python", name)
    assert "shopping" not in sys.modules


@pytest.mark.usefixtures("modules")
async def test_a_module_that_breaks_while_it_is_imported_does_not_break_the_worker(log):
    definition = workflow({"id": "a", "handler": "shop.broken.pay"}, name="broken")
    handlers = handlers_of(["shop"], work=work)
    async with stage(log, handlers, definition, one_step()) as client:
        run = await client.start("broken")
        await client.wait(run.id, lambda state: state.steps["a"].waits_for == "worker", timeout=10)
        assert (await outcome(client)).status == "completed"


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
        item = WorkItem(run.id, "w", "1", 2, ready[1])
        record = NewRecord(run.id, encode(item), {"handler": "work"})
        await log.enqueue("default", [record, record])  # while it runs
        release.set()
        await run.result(timeout=10)
        await log.enqueue("default", [record])  # and after it was settled
        await client.start("w", id="next")
        await until(lambda: client.wait("next", lambda state: not state.live, timeout=10))
    assert runs == {1: 2}, "one for each instance"
    assert not events_of(await whole_history(log), CommandRejected)


async def test_another_worker_asks_the_log_before_it_runs_what_was_sent_again(log):
    runs = Counter()

    async def counted(data, ctx):
        runs[ctx.instance_id] += 1

    async with stage(log, None, one_step()) as client:
        async with running(Worker(log, handlers_of(work=counted)).run()):
            run = await client.start("w")
            await run.result(timeout=10)
        (ready,) = events_of(await whole_history(log), StepReady)
        record = NewRecord(run.id, encode(WorkItem(run.id, "w", "1", 2, ready[1])), {"handler": "work", "again": "1"})
        await log.enqueue("default", [record])
        async with running(Worker(log, handlers_of(work=counted), concurrency=1).run()):
            other = await client.start("w")
            await other.result(timeout=10)
    assert runs == {run.id: 1, other.id: 1}


async def test_undecodable_work_is_dropped_and_the_worker_goes_on(log):
    async with stage(log, handlers_of(work=work), one_step()) as client:
        await log.enqueue("default", [NewRecord("x", b"junk", {"handler": "work"})])
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
