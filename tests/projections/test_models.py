"""The files of the read models: damaged, deleted, foreign, too new, rebuilt; and several who use them at once."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from stepwell.consumers.registry.definitions import Definitions
from stepwell.log.local.log import LocalLog
from stepwell.log.port import EVENTS
from stepwell.projections import tables
from stepwell.projections.models import ReadModels
from stepwell.projections.store import ReadModelsError, ReadModelsVersionError
from stepwell.projections.views import Views
from tests.files import database
from tests.patience import HANG
from tests.workbench import handlers_of, one_step, stage, until


@pytest.fixture
async def log(tmp_path):
    opened = await LocalLog.open(tmp_path / "log.db")
    yield opened
    await opened.close()


@pytest.fixture
async def client(log):
    async with stage(log, handlers_of(work=lambda data: data), one_step()) as client:
        yield client


@pytest.fixture
def views_of(log):
    """More views of the same log and directory, as other processes would have."""
    opened = []

    def make(directory):
        views = Views(functools.partial(ReadModels, log, directory, Definitions(log)))
        opened.append(views)
        return views

    yield make
    assert not [views for views in opened if views.models._task is not None and not views.models._task.done()]


async def run(client, *names):
    for name in names:
        started = await client.start("w", {"n": 1}, id=name)
        await started.result(timeout=HANG)


async def ids(views, **wanted):
    page, _ = await views.instances(**wanted)
    return {row.instance_id for row in page}


async def test_what_one_has_just_done_is_seen_at_once(client):
    for number in range(20):
        await run(client, f"i{number}")
        page, total = await client.instances(limit=1)
        assert (page[0].instance_id, page[0].status, total) == (f"i{number}", "completed", number + 1)


async def test_one_can_wait_for_a_position_of_the_log(client, log):
    await run(client, "one")
    ends = {partition: await log.end(EVENTS, partition) for partition in range(log.partitions)}
    async with client.views.models.asking(offsets=ends, timeout=HANG):
        pass
    assert (await client.views.instance("one", fresh=False)).status == "completed"
    with pytest.raises(TimeoutError):
        async with client.views.models.asking(offsets={0: ends[0] + 1_000}, timeout=0.2):
            pass


async def test_a_damaged_file_is_made_anew(client):
    await run(client, "one", "two")
    assert await ids(client.views) == {"one", "two"}
    models = client.views.models
    path = models._path(models.newest())
    await models.close()
    with database(path) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    size = path.stat().st_size
    with path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xa5" * (size - 4096))
    await run(client, "three")
    assert await ids(client.views) == {"one", "two", "three"}
    assert models.newest() == 2


async def test_a_file_that_is_damaged_while_it_is_in_use_is_made_anew(client):
    await run(client, "one", "two")
    assert await ids(client.views) == {"one", "two"}
    path = client.views.models._path(1)
    async with client.views.asking(fresh=True) as queries:
        await queries.all("PRAGMA mmap_size = 0")
        await queries.all("PRAGMA cache_size = 0")
    with path.open("r+b") as raw:
        raw.write(b"\xa5" * path.stat().st_size)
    with path.with_name("1.db-wal").open("r+b") as raw:
        raw.write(b"\xa5" * path.with_name("1.db-wal").stat().st_size)

    async def seen():
        try:
            return await ids(client.views) == {"one", "two"} and client.views.models.newest() == 2
        except ReadModelsError:
            return False

    await until(seen)


@pytest.mark.parametrize("content", [b"", b"this is no database, whatever its name says" * 50])
async def test_a_file_that_is_none_of_ours_is_replaced(client, content):
    directory = client.views.models.directory
    directory.mkdir(parents=True)
    (directory / "1.db").write_bytes(content)
    await run(client, "one")
    assert await ids(client.views) == {"one"}


async def test_another_database_is_left_as_it_is(client):
    directory = client.views.models.directory
    directory.mkdir(parents=True)
    other = sqlite3.connect(directory / "1.db")
    other.execute("CREATE TABLE precious(thing)")
    other.commit()
    await run(client, "one")
    assert await ids(client.views) == {"one"}
    assert client.views.models.newest() == 2
    other.close()


async def test_a_deleted_directory_is_made_anew_while_all_goes_on(client):
    await run(client, "one")
    assert await ids(client.views) == {"one"}
    shutil.rmtree(client.views.models.directory)
    await run(client, "two")

    async def seen():
        try:
            return await ids(client.views) == {"one", "two"}
        except ReadModelsError:
            return False

    await until(seen)


async def test_a_file_of_a_newer_version_is_refused_and_kept(client):
    await run(client, "one")
    await ids(client.views)
    models = client.views.models
    await models.close()
    file = sqlite3.connect(models._path(1))
    file.execute("PRAGMA user_version = 99")
    file.commit()
    file.close()
    with pytest.raises(ReadModelsVersionError, match="version 99") as refused:
        await ids(client.views)
    assert "Update Stepwell" in refused.value.remedy
    assert models._path(1).exists()
    assert models.newest() == 1


async def test_the_models_of_a_log_that_was_replaced_are_made_anew(tmp_path):
    directory = tmp_path / "views"
    for name in ("before", "after"):
        for path in tmp_path.glob("log.db*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        log = await LocalLog.open(tmp_path / "log.db")
        async with stage(log, handlers_of(work=lambda data: data), one_step()) as client:
            await run(client, *(f"{name}-{number}" for number in range(3)))
            views = Views(functools.partial(ReadModels, log, directory, client.registry))
            assert await ids(views) == {f"{name}-{number}" for number in range(3)}
            await views.models.close()


async def test_a_rebuild_serves_the_old_until_the_new_is_there(client):
    await run(client, *(f"i{number}" for number in range(5)))
    assert len(await ids(client.views)) == 5
    asked = []

    async def ask():
        while True:
            asked.append(len(await ids(client.views)))
            await asyncio.sleep(0.001)

    asking = asyncio.ensure_future(ask())
    told = []
    assert await client.views.rebuild(lambda followed, wanted: told.append((followed, wanted))) == 2
    models = client.views.models
    await until(lambda: models._projector is not None and models._projector.path.name == "2.db")
    await run(client, "more")
    assert "more" in await ids(client.views)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert set(asked) <= {5, 6}
    assert told[-1][0] == told[-1][1]
    await until(lambda: not (client.views.models.directory / "1.db").exists())


async def test_only_one_rebuild_goes_on_at_a_time(client, views_of):
    await run(client, "one")
    other = views_of(client.views.models.directory)
    first, second = await asyncio.gather(client.views.rebuild(), other.rebuild(), return_exceptions=True)
    kinds = {type(first), type(second)}
    assert int in kinds
    for error in (first, second):
        if not isinstance(error, int):
            assert isinstance(error, ReadModelsError)
            assert "anew already" in str(error)


async def test_others_read_what_one_writes_and_take_over_when_it_stops(client, views_of):
    directory = client.views.models.directory
    await run(client, "one")
    assert await ids(client.views) == {"one"}
    other = views_of(directory)
    await run(client, "two")
    assert await ids(other) == {"one", "two"}
    assert other.models._projector is None
    await client.views.models.close()
    await run(client, "three")
    assert await ids(other) == {"one", "two", "three"}
    assert other.models._projector is not None
    await other.models.close()


WRITER = """
import asyncio, sys
import stepwell

async def main():
    async with stepwell.connect(sys.argv[1], embedded=False) as client:
        print(await client.instances(), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_where_the_writer_is_killed_another_process_goes_on(client, tmp_path):
    await run(client, "one")
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(WRITER), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, script, f"file:{client.log.path}"], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        assert "one" in line
        await run(client, "two")
        assert await ids(client.views) == {"one", "two"}
        assert client.views.models._projector is None, "the other process writes"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    await run(client, "three")
    assert await ids(client.views) == {"one", "two", "three"}
    assert client.views.models._projector is not None


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
async def test_a_directory_that_cannot_be_made_is_told_with_a_remedy(client, tmp_path, views_of):
    (tmp_path / "file").write_text("in the way")
    views = views_of(tmp_path / "file" / "views")
    with pytest.raises(ReadModelsError) as refused:
        await ids(views)
    assert "STEPWELL_VIEWS" in refused.value.remedy
    await views.models.close()


async def test_the_lag_says_how_far_behind_the_models_are(client):
    await run(client, "one")
    await ids(client.views)
    lag = await client.views.lag()
    assert (lag.records, lag.seconds, lag.generation, lag.problem) == (0, 0.0, 1, "")


async def test_a_file_of_an_older_version_is_migrated_where_there_is_a_way(client, monkeypatch):
    await run(client, "one")
    await ids(client.views)
    await client.views.models.close()
    newer = tables.SCHEMA_VERSION + 1
    way = "ALTER TABLE meta ADD COLUMN note TEXT;\nUPDATE meta SET note = 'new';"
    monkeypatch.setattr(tables, "SCHEMA_VERSION", newer)
    monkeypatch.setitem(tables.MIGRATIONS, newer - 1, way)
    assert await ids(client.views) == {"one"}
    async with client.views.asking(fresh=True) as queries:
        assert (await queries.all("PRAGMA user_version"))[0][0] == newer
        assert (await queries.all("SELECT DISTINCT note FROM meta"))[0][0] == "new"
    assert client.views.models.newest() == 1


async def test_a_file_of_an_older_version_is_made_anew_where_there_is_none(client, monkeypatch):
    await run(client, "one")
    await ids(client.views)
    await client.views.models.close()
    monkeypatch.setattr(tables, "SCHEMA_VERSION", tables.SCHEMA_VERSION + 1)
    assert await ids(client.views) == {"one"}
    assert client.views.models.newest() == 2


async def test_a_file_from_before_deliveries_were_counted_is_migrated(client):
    await run(client, "one")
    await ids(client.views)
    path = client.views.models.directory / "1.db"
    await client.views.models.close()
    file = sqlite3.connect(path)
    file.executescript("ALTER TABLE attempts DROP COLUMN deliveries; PRAGMA user_version = 1;")
    file.execute("UPDATE definitions SET hash = substr(hash, 1, 16)")  # as they were written then
    file.commit()
    file.close()
    assert await ids(client.views) == {"one"}
    assert {row.deliveries for row in await client.views.attempts("one")} == {1}
    async with client.views.asking(fresh=True) as queries:
        assert await queries.all("SELECT hash FROM definitions") == [
            (one.hash,) for one in await client.definitions()
        ]
    assert client.views.models.newest() == 1
