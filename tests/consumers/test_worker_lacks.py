"""Steps whose handler a worker lacks, and where it looks for handlers at all."""

import asyncio
import sys

import pytest

from stepwell.consumers.worker.worker import Worker
from stepwell.errors import HandlerError
from stepwell.schemas.records.events import (
    StepReturned,
)
from tests.patience import HANG
from tests.workbench import (
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


async def test_a_step_that_a_worker_lacks_is_handed_back_until_one_comes_that_has_it(log, monkeypatch):
    monkeypatch.setattr("stepwell.core.decide.outcomes.REROUTE_MS", 20)
    async with stage(log, handlers_of(other=work), one_step()) as client:
        run = await client.start("w", {"n": 1})
        view = await client.wait(run.id, lambda s: s.steps["a"].waits_for == "worker", timeout=HANG)
        assert view.steps["a"].note == "no worker has its handler"
        async with running(Worker(log, handlers_of(work=work)).run()):
            view = await run.result(timeout=HANG)
    assert (view.output, view.steps["a"].attempts) == ({"a": {"n": 2}}, 1)
    returned = events_of(await whole_history(log), StepReturned)
    assert "is not registered" in returned[0][1].reason


async def test_a_step_that_nobody_takes_becomes_an_incident_and_goes_on_once_somebody_can(log, monkeypatch):
    monkeypatch.setattr("stepwell.core.decide.outcomes.REROUTE_MS", 5)
    monkeypatch.setattr("stepwell.core.decide.outcomes.NO_HANDLER_LIMIT_MS", 50)
    async with stage(log, handlers_of(other=work), one_step()) as client:
        run = await client.start("w")
        view = await client.wait(run.id, lambda state: state.incident == "no_handler", timeout=HANG)
        assert (view.status, '"work"' in view.reason) == ("paused", True)
        async with running(Worker(log, handlers_of(work=work)).run()):
            await client.resume(run.id)
            assert (await run.result(timeout=HANG)).status == "completed"


async def test_a_step_is_left_to_the_busy_worker_that_has_its_handler(log):
    """An idle worker that lacks it neither bounces it nor calls a person."""
    release = asyncio.Event()

    async def slow(data):
        await release.wait()

    wide = workflow(*({"id": f"s{number}", "handler": "work"} for number in range(5)))
    able = Worker(log, handlers_of(work=slow), concurrency=1)
    async with stage(log, handlers_of(other=work), wide) as client, running(able.run()):
        run = await client.start("w")
        await client.wait(run.id, lambda state: len(state.steps) == 5, timeout=HANG)
        release.set()
        assert (await run.result(timeout=HANG)).status == "completed"
    assert not events_of(await whole_history(log), StepReturned)


async def test_what_was_left_to_a_worker_that_has_died_is_handed_back(log, monkeypatch):
    monkeypatch.setattr("stepwell.consumers.worker.peers.LEAVE_FOR", 0.05)
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
                run.id, lambda state: all(step.waits_for == "worker" for step in state.steps.values()), timeout=HANG
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
            assert (await run.result(timeout=HANG)).status == "completed"
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
        await client.wait(run.id, lambda state: state.steps["a"].waits_for == "worker", timeout=HANG)
        assert (await outcome(client)).status == "completed"
