"""Engines and workers outlast trouble with their log that passes, and end with what does not."""

import asyncio
import contextlib
import sqlite3
import time
from collections import Counter

import pytest

from stepwell.client.embedded import LocalRuntime
from stepwell.consumers.engine.engine import Engine
from stepwell.errors import (
    LogCorruptedError,
    LogError,
    LogFullError,
    LogLockedError,
    LogVersionError,
)
from stepwell.log.local.log import LocalLog
from stepwell.log.local.members import Change
from stepwell.log.port import ENGINES, WORKERS
from stepwell.log.urls import open_log
from stepwell.schemas.records.events import StepSucceeded, WorkflowCompleted
from stepwell.supervision import OutOfPatienceError, open_patiently, supervise
from tests.patience import HANG
from tests.workbench import client_on, ends, events_of, handlers_of, steps, until, whole_history, workflow

CHAIN = workflow(*steps("a", "b", "c"))


@contextlib.contextmanager
def locked(path):
    """Another program holds the file's lock for writing."""
    holder = sqlite3.connect(path, isolation_level=None, timeout=10)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


async def forever():
    await asyncio.get_running_loop().create_future()


async def test_what_may_pass_is_tried_again_until_it_has_passed(capsys):
    tries = []

    async def attempt(at_work):
        tries.append(time.monotonic())
        if len(tries) < 4:
            raise LogLockedError("held", place="log.db", remedy="Let go.")
        at_work()

    await supervise("engine", attempt)
    assert tries[-1] - tries[0] >= 0.35, "each pause is twice the one before"
    told = capsys.readouterr().err
    assert told.count("log trouble, trying again") == 1, "one trouble is told once"
    assert "log.db: held (Let go.)" in told
    assert "Traceback" not in told


async def test_what_lasts_too_long_ends_it_and_says_how_long():
    async def attempt(at_work):
        at_work()
        raise LogError("away", place="kafka://broker", remedy="Is the broker up?")

    began = time.monotonic()
    with pytest.raises(OutOfPatienceError, match=r"no use of the log for \d+ s: away") as caught:
        await supervise("worker", attempt, retry_for=0.4)
    assert 0.4 <= time.monotonic() - began < HANG
    assert (caught.value.place, caught.value.remedy) == ("kafka://broker", "Is the broker up?")


@pytest.mark.parametrize(
    "error", [LogFullError("f"), LogCorruptedError("c"), LogVersionError("v"), KeyError("a bug")]
)
async def test_what_a_person_must_mend_and_a_bug_end_it_at_once(error):
    tries = []

    async def attempt(_):
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        await supervise("engine", attempt)
    assert len(tries) == 1


async def test_a_log_that_is_locked_is_opened_once_it_is_free_and_a_wrong_url_is_told_at_once(tmp_path):
    path = tmp_path / "log.db"
    await (await LocalLog.open(path)).close()
    with locked(path):
        opening = asyncio.ensure_future(open_patiently(lambda: LocalLog.open(path, patience=0.05)))
        await asyncio.sleep(0.3)
        assert not opening.done()
    await (await opening).close()
    with pytest.raises(LogError, match="no kind of log"):
        await open_patiently(lambda: open_log("fiel:x"))


async def test_an_embedded_engine_and_worker_outlast_a_lock_and_no_step_is_lost(tmp_path, rng):
    path, runs = tmp_path / "log.db", Counter()
    log = await LocalLog.open(path, durability="normal", patience=0.1)

    async def work(data, ctx):
        await asyncio.sleep(rng.random() * 0.02)
        runs[ctx.instance_id, ctx.step_id] += 1
        return {"n": data.get("n", 0) + 1}

    runtime = LocalRuntime(log, handlers=handlers_of(work=work), concurrency=5)
    await runtime.start()
    async with client_on(log) as client:
        await client.register(CHAIN)
        ids = [f"i{number}" for number in range(60)]
        for instance_id in ids:
            await client.start("w", {"n": 0}, id=instance_id)
        for _ in range(4):
            wanted = min(150, sum(runs.values()) + rng.randrange(1, 25))
            await until(lambda wanted=wanted: sum(runs.values()) >= wanted)
            with locked(path):
                await asyncio.sleep(0.15 + rng.random() * 0.4)  # as long as the other program likes
        views = await ends(client, *ids, timeout=HANG)
    assert {view.output["c"]["n"] for view in views} == {3}
    assert not runtime.failed.done()
    assert len(await log.members(ENGINES)) == len(await log.members(WORKERS)) == 1, "those that have ended have left"
    await runtime.stop()
    history = await whole_history(log)
    assert len(events_of(history, WorkflowCompleted)) == len(ids)
    succeeded = Counter((t.instance_id, e.step_id) for t, e in events_of(history, StepSucceeded))
    assert set(succeeded.values()) == {1}
    await log.close()


async def test_a_full_disk_ends_an_embedded_engine_and_who_waits_is_told(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db", durability="normal")

    async def work(_):
        return {"text": "x" * 500_000}

    runtime = LocalRuntime(log, handlers=handlers_of(work=work))
    await runtime.start()
    async with client_on(log) as client:
        await client.register(CHAIN)
        await until(client.engine_is_live)
        done = log.loop.create_future()
        log.submit(Change(done, lambda tx: tx.execute("PRAGMA max_page_count=50").fetchone()[0]))
        await done
        runtime.failed.add_done_callback(client.lost)
        run = await client.start("w", id="one")
        with pytest.raises(LogFullError):
            await run.result(timeout=HANG)
        assert isinstance(runtime.failed.exception(), LogFullError)
    await runtime.stop()
    await log.close()


async def test_a_member_that_could_not_be_struck_off_is_struck_off_later(tmp_path):
    path = tmp_path / "log.db"
    log = await LocalLog.open(path, patience=0.05)
    gone, stays = await log.join(ENGINES), await log.join(ENGINES)
    with locked(path), pytest.raises(LogLockedError):
        await gone.leave()
    everything = frozenset(range(log.partitions))
    async with asyncio.timeout(HANG):
        while (given := await stays.assignment()) != everything:
            await stays.changed(given)
    assert len(await log.members(ENGINES)) == 1
    await log.close()


async def test_an_engine_gives_up_a_partition_that_had_trouble_for_too_long(tmp_path):
    path = tmp_path / "log.db"
    log = await LocalLog.open(path, patience=0.05)
    with contextlib.ExitStack() as holding:
        # Locked between joining the others and claiming anything.
        engine = Engine(log, retry_for=0.5)
        with pytest.raises(OutOfPatienceError):
            await asyncio.wait_for(engine.run(lambda: holding.enter_context(locked(path))), HANG)

    async def nobody():
        return not await log.members(ENGINES)

    await until(nobody)
    await log.close()


async def test_a_process_on_standby_decides_only_while_nobody_else_does(open_log):
    first, second = await open_log(), await open_log()
    engine = asyncio.ensure_future(Engine(first, name="first").run())
    async with client_on(second) as client:
        await until(client.engine_is_live)
        runtime = LocalRuntime(second, worker=False, standby=True)
        await runtime.start()
        await asyncio.sleep(0.1)
        assert [member.about["name"] for member in await second.members(ENGINES)] == ["first"]
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)
        await until(client.engine_is_live)
        crew = await until(lambda: _settled(client))
        assert [engine.partitions for engine in crew.engines] == [[0, 1, 2, 3]]
        assert crew.engines[0].name != "first"
        with pytest.warns(DeprecationWarning, match="live_members"):
            assert await client.crew() == crew
        await runtime.stop()


async def _settled(client):
    crew = await client.live_members()
    return crew if crew.engines and not crew.unowned else None
