"""``stepwell serve`` and ``stepwell token``, as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from stepwell.log.port import REFUSALS
from stepwell.log.urls import open_log
from stepwell.schemas.records.refusals import decode_refusal
from tests.patience import HANG
from tests.workbench import line_about

DEFINITION = "name: order\nversion: 1\nsteps:\n  - {id: a, handler: shop.pack}\n"
SHOP = textwrap.dedent(
    """
    import pathlib, time
    import stepwell

    @stepwell.handler("shop.pack")
    def pack(data):
        if data.get("slow"):
            pathlib.Path("packing").touch()
            while not pathlib.Path("packed").exists():
                time.sleep(0.01)
        return {"packed": data.get("item")}
    """
)


async def stepwell(directory, *arguments, **more):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stepwell", *map(str, arguments), cwd=directory,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **more,
    )  # fmt: skip


async def said(directory, *arguments):
    """Run a verb to its end: exit status, stdout, stderr."""
    process = await stepwell(directory, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), HANG)
    return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def server(directory, *arguments):
    """A server on a free port, an HTTP client of it, and the line in which it says where it listens."""
    process = await stepwell(directory, "serve", "--port", 0, "--json", *arguments)
    try:
        told = await line_about(process, "listening")
        async with httpx.AsyncClient(base_url=told["url"], timeout=HANG) as http:
            yield process, http, told
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def shop(tmp_path):
    """A directory with definitions and handlers."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "order.yaml").write_text(DEFINITION)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.mark.rows("D5", "O15")
async def test_one_command_serves_runs_and_registers_what_the_directory_holds(shop):
    async with server(shop, "--handlers", "shop") as (_, http, told):
        assert told["parts"] == "http, engine, worker"
        assert told["url"].startswith("http://127.0.0.1:")
        answer = await http.post("/v1/instances?wait=25", json={"workflow": "order", "input": {"item": "tea"}})
        assert answer.json()["instance"]["output"] == {"a": {"packed": "tea"}}
        assert (await http.get("/v1/health")).json()["status"] == "up"
        assert "assets/swagger-ui-bundle.js" in (await http.get("/docs")).text


async def test_sigterm_answers_what_is_under_way_lets_steps_finish_and_ends_with_0(shop):
    async with server(shop, "--handlers", "shop") as (process, http, _):
        started = await http.post("/v1/instances", json={"workflow": "order", "input": {"slow": True}, "id": "one"})
        assert started.status_code == 201
        async with asyncio.timeout(HANG):
            while not (shop / "packing").exists():
                await asyncio.sleep(0.01)
        asking = asyncio.ensure_future(http.get("/v1/instances/one/result?wait=0.5"))
        await asyncio.sleep(0.1)  # so that it is under way
        process.send_signal(signal.SIGTERM)
        assert (await asking).json()["finished"] is False
        (shop / "packed").touch()
        out, _ = await asyncio.wait_for(process.communicate(), HANG)
        assert process.returncode == 0
        assert json.loads(out.splitlines()[-1])["event"] == "stopped"
    async with server(shop, "--handlers", "shop") as (_, http, _):
        result = (await http.get("/v1/instances/one/result?wait=25")).json()
        assert result["status"] == "completed"
        history = (await http.get("/v1/instances/one/history")).json()["events"]
        assert [event["type"] for event in history].count("step.ready") == 1  # the step was not run anew


async def test_what_was_refused_just_before_the_end_is_noted(tmp_path):
    foreign = {"Origin": "https://example.org"}
    async with server(tmp_path, "--http-only") as (process, http, _):
        for path in ("/v1/instances", "/v1/audit", "/v1/lag"):  # the first is written at once
            assert (await http.get(path, headers=foreign)).status_code == 403
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), HANG)
    log = await open_log(f"file:{tmp_path}/.stepwell/log.db")
    noted = [decode_refusal(record.value).command for record in await log.read(REFUSALS, 0, 0)]
    await log.close()
    assert noted == ["GET /v1/instances", "GET /v1/audit", "GET /v1/lag"]


async def test_engine_and_worker_may_have_a_process_of_their_own(shop):
    async with server(shop, "--handlers", "shop", "--apart") as (process, http, told):
        assert told["parts"] == "http; engine, worker"
        started = {"workflow": "order", "input": {"item": "tea"}}
        answer = await http.post("/v1/instances?wait=25", json=started)
        assert answer.json()["instance"]["output"] == {"a": {"packed": "tea"}}
        (child,) = children(process.pid)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), HANG)
        assert process.returncode == 0
        assert not alive(child)


async def test_a_server_whose_engine_has_ended_says_so_and_ends(shop):
    async with server(shop, "--handlers", "shop", "--apart") as (process, _, _):
        os.kill(children(process.pid)[0], signal.SIGKILL)
        _, err = await asyncio.wait_for(process.communicate(), HANG)
        assert process.returncode == 2
        assert "engine and worker has ended" in err.decode()


async def test_engine_and_worker_end_with_a_server_that_was_killed(shop):
    async with server(shop, "--handlers", "shop", "--apart") as (process, http, _):
        await http.post("/v1/instances?wait=25", json={"workflow": "order"})  # so that both are at work
        (child,) = children(process.pid)
        process.kill()
        async with asyncio.timeout(HANG):
            while alive(child):
                await asyncio.sleep(0.02)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    """Whether a process runs; one that has ended and whom nobody has asked for its status does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_http_only_brings_no_engine(shop):
    async with server(shop, "--http-only") as (_, http, told):
        assert told["parts"] == "http"
        health = (await http.get("/v1/health")).json()
        assert health["parts"]["engines"]["words"] == "none is live, and nothing waits for one"
        # What lies in the directory is registered by whatever is started there: there is nothing else to do for it.
        assert [one["name"] for one in (await http.get("/v1/definitions")).json()["definitions"]] == ["order"]


async def test_it_is_not_reached_from_elsewhere_without_tokens(tmp_path):
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.invalid"):
        status, out, err = await said(tmp_path, "serve", "--host", host)
        assert (status, out) == (2, "")
        assert "without access tokens everybody may do everything" in err
        assert "stepwell token NAME" in err
    assert not (tmp_path / ".stepwell").exists()


async def test_with_tokens_it_listens_anywhere_and_asks_for_them(tmp_path):
    status, out, err = await said(tmp_path, "token", "ops", "--role", "operator")
    assert status == 0
    token = out.strip()
    assert token.startswith("stepwell_")
    assert "shown once" in err
    file = tmp_path / ".stepwell" / "tokens"
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with server(tmp_path, "--host", "0.0.0.0") as (_, http, told):
        assert told["access"] == "tokens"
        here = told["url"].replace("0.0.0.0", "127.0.0.1")
        assert (await http.get(f"{here}/v1/definitions")).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        assert (await http.get(f"{here}/v1/definitions", headers=headers)).status_code == 200
        assert (await http.post(f"{here}/v1/instances/x/approve", headers=headers)).status_code == 403


async def test_what_is_wrong_is_told_in_one_message(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = await said(tmp_path, "serve", "--port", taken.getsockname()[1])
    assert status == 2
    assert "another program listens there already" in err
    (tmp_path / "empty").write_text("# nobody yet\n")
    for arguments, words in (
        (("serve", "--tokens", "nothing"), "cannot be read"),
        (("serve", "--tokens", "empty"), "holds no token"),
        (("serve", "--http-only", "--handlers", "shop"), "--http-only leaves out"),
        (("serve", "--workflows", "nothing"), "there is no such directory"),
        (("serve", "--port", "70000"), "65535"),
        (("token", "ops", "--role", "boss"), "there is no role 'boss'"),
        (("token", "two words", "--role", "admin"), "a name is a word"),
        (("token", "ops"), "--role"),
    ):
        status, out, err = await said(tmp_path, *arguments)
        assert status == 2, arguments
        assert words in err, arguments
        assert "Traceback" not in err
        assert out == ""


async def test_without_the_extra_it_says_what_to_install(tmp_path):
    program = "import sys; sys.modules['litestar'] = None; from stepwell.cli.main import entry; sys.argv[1:] = ['serve']; entry()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, err = await asyncio.wait_for(process.communicate(), HANG)
    assert process.returncode == 2
    assert "pip install 'stepwell[server]'" in err.decode()
