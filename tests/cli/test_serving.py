"""What a process says that has nothing to do, while its log is away."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from stepwell import supervision
from stepwell.cli import exits, service
from stepwell.cli.verbs.engine import engine as run_engine
from stepwell.errors import LogUnavailableError
from stepwell.log.local.log import LocalLog
from tests.patience import HANG


@pytest.fixture(autouse=True)
def briskly(monkeypatch):
    structlog.reset_defaults()  # what is told goes to this test's stderr
    monkeypatch.setattr(service, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    yield
    structlog.reset_defaults()


@pytest.fixture
def away(monkeypatch):
    """Let the log be away for a while; the list is what each look at it finds, the last one for ever."""
    finds = [False]
    members = LocalLog.members

    async def look(log, group):
        if finds[0] if len(finds) == 1 else finds.pop(0):
            raise LogUnavailableError("could not look at the group", place="kafka://b:1", remedy="Is the broker up?")
        return await members(log, group)

    monkeypatch.setattr(LocalLog, "members", look)
    return finds


async def serve(tmp_path, retry_for):
    url = f"file:{tmp_path / 'log.db'}"
    return await run_engine(
        name="e", max_runs=None, workflows=None, modules=(), retry_for=retry_for, as_json=False, log=url
    )


async def test_an_idle_engine_says_that_the_log_is_away_and_gives_up_in_time(tmp_path, away, capsys):
    away[:] = [False, False, True]
    assert await asyncio.wait_for(serve(tmp_path, 0.2), HANG) == exits.AWAY
    told = capsys.readouterr().err
    assert "log trouble, trying again" in told
    assert "no use of the log" in told
    assert "Is the broker up?" in told


async def test_an_idle_engine_says_that_the_log_is_back_and_goes_on(tmp_path, away, capsys):
    away[:] = [False, False, True, True, False]
    engine = asyncio.ensure_future(serve(tmp_path, 20.0))
    told = ""
    async with asyncio.timeout(HANG):
        while "log back" not in told:
            assert not engine.done()
            await asyncio.sleep(0.05)
            told += capsys.readouterr().err
    assert "log trouble, trying again" in told
    engine.cancel()
    assert await engine == service.STOPPED
