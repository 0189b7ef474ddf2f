"""What may befall read models in use: others who write, logs that are replaced, files that are none, and the end."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from stepwell.client.client import Client
from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import LogClosedError
from stepwell.log.local.log import LocalLog
from stepwell.log.port import EVENTS
from stepwell.projections.models import ReadModels
from stepwell.projections.projector import Projector
from stepwell.projections.store import ReadModelsDamagedError, Store
from stepwell.projections.views import Views
from tests.patience import HANG
from tests.projections.worlds import Writer, histories
from tests.workbench import client_on, steps, until, workflow


@pytest.fixture
async def log(tmp_path):
    opened = await LocalLog.open(tmp_path / "log.db")
    yield opened
    await opened.close()


def threads():
    return {thread for thread in threading.enumerate() if not thread.daemon}


async def names(views):
    async with views.asking(fresh=True) as queries:
        return {row[0] for row in await queries.all("SELECT workflow FROM definitions")}


async def test_a_file_that_cannot_be_opened_leaves_no_thread_that_keeps_the_program_from_ending(tmp_path):
    before = threads()
    (tmp_path / "1.db").write_bytes(b"none of ours" * 1_000)
    with pytest.raises(ReadModelsDamagedError):
        await Store.open(tmp_path / "1.db")
    await until(lambda: threads() == before)


async def test_a_client_that_is_closed_while_it_is_asked_answers_everybody_and_leaves_nothing(tmp_path):
    before = threads()
    client = Client(await LocalLog.open(tmp_path / "log.db"))
    models = client.views.models
    ends = {**await models.ends(), 0: 5}  # nobody writes so far

    async def ask():
        async with models.asking(offsets=ends):
            pass

    asked = [asyncio.ensure_future(ask()) for _ in range(5)]
    asked += [asyncio.ensure_future(client.instances(fresh=False)) for _ in range(5)]
    await until(models._opened.is_set)
    await client.close()
    done = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), HANG)
    assert all(isinstance(one, LogClosedError) for one in done[:5]), done
    with pytest.raises(LogClosedError):
        await client.instances(fresh=False)
    await until(lambda: threads() <= before)
    assert models._task is None


async def test_who_is_overtaken_while_it_copies_definitions_looks_again(log, tmp_path):
    one, other = await Store.open(tmp_path / "1.db"), await Store.open(tmp_path / "1.db")
    first, second = Projector(log, one), Projector(log, other)
    await first.begin()
    await second.begin()
    async with client_on(log) as client:
        await client.register(workflow(*steps("a")))
        await first.copy_definitions(Definitions(log))
        await second.copy_definitions(Definitions(log))
        await client.register(workflow(*steps("a"), name="v"))
        await second.copy_definitions(Definitions(log))
    assert await one.all("SELECT workflow FROM definitions ORDER BY 1") == [("v",), ("w",)]
    await one.close()
    await other.close()


async def test_who_could_not_write_for_a_while_reads_what_another_writes(log, tmp_path):
    (tmp_path / "in the way").touch()
    directory = tmp_path / "in the way" / "views"
    one, other = (ReadModels(log, directory, Definitions(log)) for _ in range(2))
    await other.start()
    await until(lambda: other._problem)
    (tmp_path / "in the way").unlink()
    await one.start()
    await until(lambda: one._projector)
    await until(other._opened.is_set)
    assert (await other.lag()).problem == ""
    with pytest.raises(TimeoutError):  # and not the problem that there was
        async with other.asking(offsets={0: 1}, timeout=0.1):
            pass
    await one.close()
    await other.close()


async def test_a_log_that_holds_definitions_alone_is_known_again_too(tmp_path):
    client = Client(await LocalLog.open(tmp_path / "log.db"))
    await client.register(workflow(*steps("a"), name="old"))
    assert await names(client.views) == {"old"}
    directory = client.views.models.directory
    await client.close()
    another = Client(await LocalLog.open(tmp_path / "another.db"))
    await another.register(workflow(*steps("a"), name="new"))
    models = ReadModels(another.log, directory, another.registry)
    assert await names(Views(lambda: models)) == {"new"}
    await models.close()
    await another.close()


async def test_an_id_that_is_used_again_within_a_batch_is_weighed_once(log, tmp_path):
    rnd = random.Random(8)
    lives = [histories(rnd, 1)["i0"] for _ in range(5)]
    writer = Writer(log, 0, rnd)
    for life in lives:
        for transition in life:
            await writer.write(transition)
    store = await Store.open(tmp_path / "1.db")
    projector = Projector(log, store)
    await projector.begin()
    await projector.take(0, await log.read(EVENTS, 0, 0))
    at_hand = [tracked.state for tracked in projector._hand.values() if tracked.state is not None]
    assert projector._steps == sum(4 + len(state.steps) for state in at_hand)
    await store.close()


async def test_a_lock_that_is_damaged_is_made_anew(log, tmp_path):
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "writer.lock").write_bytes(b"none of ours" * 1_000)
    models = ReadModels(log, tmp_path / "views", Definitions(log))
    page, total = await asyncio.wait_for(Views(lambda: models).instances(), HANG)
    assert (list(page), total) == ([], 0)
    await models.close()
