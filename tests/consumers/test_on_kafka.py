"""Engines, workers and clients on a real Kafka."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stepwell.client.client import Client
from stepwell.client.connect import connect
from stepwell.consumers.engine import snapshotting
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.reading import bookmarks
from stepwell.consumers.worker.worker import Worker
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.port import COMMANDS, EVENTS, SNAPSHOTS, SUBSCRIPTIONS
from tests.kafka_broker import settings_for, url_of
from tests.patience import HANG
from tests.workbench import client_on, handlers_of, running, steps, until, workflow


@pytest.fixture
def settings(kafka_broker):
    return settings_for(kafka_broker)


@pytest.fixture
async def processes(settings):
    """Opens log objects; each stands for a process of its own."""
    logs = []

    async def opened():
        logs.append(await KafkaLog.open(settings))
        return logs[-1]

    yield opened
    for log in logs:
        await log.close()


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


HANDLERS = handlers_of(work=work)
CHAIN = workflow(*steps("a", "b", "c"), output="{{ step_outputs.c.n }}")


async def test_workflows_run_from_a_url(settings):
    url = url_of(settings)
    async with connect(url, handlers=HANDLERS) as client:
        await client.register(CHAIN)
        runs = await asyncio.gather(*(client.start("w", {"n": n}, id=f"run-{n}") for n in range(20)))
        views = await asyncio.gather(*(run.result(timeout=HANG) for run in runs))
        assert [view.output for view in views] == [n + 3 for n in range(20)]
    async with connect(url, embedded=False, create=False) as client:  # and what happened stays
        assert (await client.get("run-7")).output == 10


@pytest.mark.parametrize("how", ["closes", "dies"])
async def test_another_engine_takes_over(processes, how):
    first, second, third = await processes(), await processes(), await processes()
    engines = [
        asyncio.ensure_future(Engine(log, name=str(number)).run()) for number, log in enumerate((first, second))
    ]
    worker = Worker(third, HANDLERS, concurrency=4)
    async with running(worker.run()), client_on(third) as client:
        await client.register(CHAIN)
        await until(lambda: first._memberships and second._memberships)
        await until(lambda: all(len(one._memberships[0]._member.places) == 1 for one in (first, second)))
        runs = [await client.start("w", {"n": n}) for n in range(10)]
        if how == "closes":
            engines[0].cancel()
            await asyncio.gather(engines[0], return_exceptions=True)
        else:
            await first._shut(tidy=False)
        runs += [await client.start("w", {"n": n}) for n in range(10, 20)]
        views = await asyncio.gather(*(run.result(timeout=HANG) for run in runs))
        assert [view.output for view in views] == [n + 3 for n in range(20)]
    for engine in engines:
        engine.cancel()
    await asyncio.gather(*engines, return_exceptions=True)


async def test_a_worker_that_dies_with_steps_in_hand_is_replaced(processes):
    engine_log, doomed, other = await processes(), await processes(), await processes()
    begun = asyncio.Event()

    async def forever(data, ctx):
        begun.set()
        await asyncio.Event().wait()

    stuck = asyncio.ensure_future(Worker(doomed, handlers_of(work=forever), concurrency=4).run())
    async with running(Engine(engine_log).run()), client_on(engine_log) as client:
        await client.register(CHAIN)
        run = await client.start("w", {"n": 1})
        await begun.wait()
        await doomed._shut(tidy=False)
        async with running(Worker(other, HANDLERS).run()):
            assert (await run.result(timeout=HANG)).output == 4
    stuck.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stuck


async def test_a_snapshot_is_taken_and_what_it_supersedes_is_deleted(processes, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 20_000)
    log = await processes()
    async with running(Engine(log).run(), Worker(log, HANDLERS).run()), client_on(log) as client:
        await client.register(CHAIN)

        async def superseded() -> bool:
            await asyncio.gather(*[await run_one(client) for _ in range(10)])
            first = [await log.read(SNAPSHOTS, number, 0, limit=1) for number in range(2)]
            return all(found and found[0].offset > 0 for found in first)

        await until(superseded, timeout=HANG)
        ends = [await log.end(EVENTS, number) for number in range(2)]
    other = await processes()
    commands = [await other.read(COMMANDS, number, 0, limit=1) for number in range(2)]
    assert all(not found or found[0].offset > 0 for found in commands)
    async with running(Engine(other).run(), Worker(other, HANDLERS).run()), client_on(other) as client:
        view = await (await client.start("w", {"n": 5})).result(timeout=HANG)
        assert view.output == 8
    assert [await other.end(EVENTS, number) for number in range(2)] > ends


async def run_one(client):
    run = await client.start("w", {"n": 1})
    return run.result(timeout=HANG)


async def test_a_durable_name_goes_on_in_another_process(processes):
    first, second, engine_log = await processes(), await processes(), await processes()
    async with running(Engine(engine_log).run(), Worker(engine_log, HANDLERS).run()), client_on(engine_log) as client:
        await client.register(CHAIN)
        got = []
        reader = Client(first)
        events = reader.subscribe("workflow.*", name="billing", since="start")
        for number in range(4):
            await (await client.start("w", {"n": number}, id=f"run-{number}")).result(timeout=HANG)
        got += [await anext(events) for _ in range(5)]
        await asyncio.wait_for(events.settle(), HANG)
        await first._shut(tidy=False)  # killed while it works on the fifth
        async with Client(second).subscribe("workflow.*", name="billing") as again:
            got = got[:4] + [await anext(again) for _ in range(4)]
        expected = [(f"run-{number}", kind) for number in range(4) for kind in ("completed", "started")]
        assert sorted((event.instance_id, event.type.partition(".")[2]) for event in got) == expected
        (info,) = await client.subscriptions()
        assert (info.name, info.position.count("-")) == ("billing", 1)
        assert await client.forget_subscription("billing")


async def test_the_topic_of_positions_does_not_grow(processes, monkeypatch):
    monkeypatch.setattr(bookmarks, "_SPARE", 10)
    log = await processes()
    names = bookmarks.Bookmarks(log)
    await names.store("idle", "1-1", 1)
    for at in range(60):
        await names.store("busy", f"{at}-x", at)
    for reader in (names, bookmarks.Bookmarks(await processes())):
        assert [await reader.of(name) for name in ("idle", "busy", "other")] == ["1-1", "59-x", None]
    (first,) = await log.read(SUBSCRIPTIONS, 0, 0, limit=1)
    assert await log.end(SUBSCRIPTIONS, 0) - first.offset < 30


@pytest.mark.rows("L2")
async def test_each_process_may_keep_its_own_read_models_and_finds_out_how_stale_they_are(processes, tmp_path):
    first, second = await processes(), await processes()
    async with running(Engine(first).run(), Worker(first, HANDLERS).run()):
        mine = Client(first, views=tmp_path / "mine")
        theirs = Client(second, views=tmp_path / "theirs")
        await mine.register(CHAIN)
        runs = [await mine.start("w", {"n": n}, id=f"run-{n}") for n in range(6)]
        for run in runs:
            await run.result(timeout=HANG)
        for client in (mine, theirs):
            page, total = await client.instances(status="completed", output={"": 5})
            assert ([row.instance_id for row in page], total) == (["run-2"], 1)
            (figures,) = await client.statistics("w", steps=True)
            assert (figures.completed, [step.succeeded for step in figures.steps]) == (6, [6, 6, 6])
            assert [row.status for row in await client.views.attempts("run-3")] == ["succeeded"] * 3
            lag = await client.views.lag()
            assert (lag.records, lag.seconds) == (0, 0.0)
        await theirs.views.models.close()
        run = await mine.start("w", {"n": 9}, id="later")
        await run.result(timeout=HANG)
        await mine.views.models.close()
        again = Client(second, views=tmp_path / "theirs")
        assert (await again.views.instance("later")).status == "completed"
        await again.views.models.close()
