"""The worker in Node: a real ``node`` against a real server, killed, stopped, cancelled and left alone."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from stepwell.language import compile_plan, load_definition
from stepwell.schemas.records.events import StepStarted
from stepwell.server.access import Access
from stepwell.server.app import create_app
from stepwell.server.http.listening import listen, serving, url_of
from stepwell.server.tokens import Role, TokenFile, make_token
from tests.patience import HANG
from tests.server.conftest import served
from tests.workbench import events_of, stage, whole_history

pytestmark = [
    pytest.mark.rows("B8"),
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on PATH"),
]

FOLDER = Path(__file__).resolve().parents[2] / "examples/node_worker"
DEFINITION = load_definition(FOLDER / "workflow.yaml")
TEXT = "one two\n\nthree four four\n\nfive"
SUMMARY = "3 paragraphs, 6 words, 1 doubled"


@pytest.fixture
async def client(log):
    """A client of a log with an engine; all work is for Node."""
    async with stage(log, None, DEFINITION) as client:
        yield client


@contextlib.asynccontextmanager
async def node(url, *, lease=60, **env):
    """A worker in Node, which has said that it is at work."""
    settings = {"STEPWELL_URL": str(url), "STEPWELL_LEASE": str(lease), **env}
    process = await asyncio.create_subprocess_exec(
        "node",
        FOLDER / "worker.mjs",
        env={"PATH": os.environ["PATH"]} | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert b"works on node" in await process.stdout.readline()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def proofreading(client, run):
    """Wait until a step is seen in a worker's hands."""
    return await client.wait(run.id, lambda state: "proofread" in state.steps and state.steps["proofread"].worker)


async def test_a_workflow_whose_steps_all_run_in_node(client):
    async with served(client) as http, node(http.base_url):
        run = await client.start("proof", {"text": TEXT, "seconds": 0})
        view = await run.result(timeout=HANG)
        assert (view.output["summary"], view.output["doubled"]) == (SUMMARY, ["four four"])
        assert view.context == {"digest": view.output["digest"]}
        (worker,) = (await client.live_members()).workers
        assert (worker.queues, set(worker.handlers)) == (["node"], set(compile_plan(DEFINITION).handlers))
        failed = await client.start("proof", {"text": " "})
        view = await client.wait(failed.id, lambda state: not state.live, timeout=HANG)
        assert (view.error.type, view.error.message) == ("NoTextError", "there is no text in the input")
        assert "handlers.mjs" in view.steps["split"].error.traceback
        assert view.steps["split"].attempts == 1


async def test_a_worker_killed_in_the_middle_is_replaced_by_another(client, log):
    async with served(client) as http:
        run = await client.start("proof", {"text": TEXT, "seconds": 2})
        async with node(http.base_url, lease=1) as first:
            await proofreading(client, run)
            first.kill()
            await first.wait()
        async with node(http.base_url, lease=1) as second:
            assert (await run.result(timeout=HANG)).output["summary"] == SUMMARY
    started = [event for _, event in events_of(await whole_history(log), StepStarted) if event.step_id == "proofread"]
    assert [event.worker.rpartition(":")[2] for event in started] == [str(first.pid), str(second.pid)]
    assert len({event.run for event in started}) == 1  # the death of a worker costs no attempt


async def test_a_worker_that_is_stopped_hands_its_steps_over_at_once(client):
    async with served(client) as http, node(http.base_url, lease=3000) as first:
        run = await client.start("proof", {"text": TEXT, "seconds": 1.5})
        await proofreading(client, run)
        first.send_signal(signal.SIGTERM)
        async with asyncio.timeout(HANG):
            assert await first.wait() == 0
        async with node(http.base_url, lease=3000):
            assert (await run.result(timeout=HANG)).output["summary"] == SUMMARY


async def test_a_cancelled_step_stops_in_the_worker_and_its_hand_is_free_again(client):
    async with served(client) as http, node(http.base_url, lease=1, WORKER_CONCURRENCY="1"):
        run = await client.start("proof", {"text": TEXT, "seconds": 3000})
        await proofreading(client, run)
        await run.cancel()
        other = await client.start("proof", {"text": TEXT, "seconds": 0})
        assert (await other.result(timeout=HANG)).output["summary"] == SUMMARY


async def test_a_worker_waits_for_a_server_that_is_away_and_shows_its_token(client, tmp_path):
    tokens = tmp_path / "tokens"
    token = make_token(tokens, "node", Role.WORKER)
    with listen("127.0.0.1", 0) as free:
        url, port = url_of(free), free.getsockname()[1]
    async with node(url, STEPWELL_TOKEN=token) as worker:
        assert re.search(rb"no steps: .*ECONNREFUSED", await worker.stderr.readline())
        app = create_app(client, access=Access(TokenFile(tokens)))
        async with serving(app, listen("127.0.0.1", port)):
            run = await client.start("proof", {"text": TEXT, "seconds": 0})
            assert (await run.result(timeout=HANG)).output["summary"] == SUMMARY
