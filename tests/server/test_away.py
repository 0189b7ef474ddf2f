"""A server whose log is away when it starts answers at once, with the reason, until the log is there."""

from __future__ import annotations

import asyncio
import socket
import sys

import httpx

from stepwell.server.http.away import Away
from stepwell.server.http.listening import listen, url_of
from tests.patience import HANG
from tests.workbench import line_about


async def test_requests_are_told_why_and_the_socket_is_handed_on():
    with listen("127.0.0.1", 0) as listening:
        away = Away(listening)
        away.tell("could not reach the broker")
        async with httpx.AsyncClient(base_url=url_of(listening), timeout=HANG) as http:
            for method, path in (("GET", "/v1/health"), ("POST", "/v1/instances"), ("GET", "/")):
                answer = await http.request(method, path, headers={"X": "a" * 1_000})
                assert answer.status_code == 503
                assert answer.headers["content-type"] == "application/problem+json"
                assert int(answer.headers["retry-after"]) > 0
                assert answer.json()["detail"] == "could not reach the broker"
        silent, writer = await asyncio.open_connection(*listening.getsockname())
        await away.close()
        assert await asyncio.wait_for(_rest(silent), HANG) == b""
        writer.close()
        served = await asyncio.start_server(lambda _, writer: writer.close(), sock=listening.dup())
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        assert await asyncio.wait_for(_rest(reader), HANG) == b""
        writer.close()
        served.close()
        await away.close()  # once more does nothing


async def _rest(reader):
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_serve_binds_at_once_while_the_broker_is_away(tmp_path):
    with socket.socket() as nobody:  # bound, and not listening: every connection is refused
        nobody.bind(("127.0.0.1", 0))
        broker = f"kafka://127.0.0.1:{nobody.getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stepwell", "serve", "--port", "0", "--json", "--log", broker, cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            told = await line_about(process, "503")
            assert told["log"] == broker
            assert told["gives_up_after"] == "300 s"
            async with httpx.AsyncClient(base_url=told["url"], timeout=HANG) as http:
                answer = await http.get("/v1/health")
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:stepwell:problem:log_unavailable"
            assert answer.json()["detail"]
        finally:
            process.terminate()
            await asyncio.wait_for(process.communicate(), HANG)
        assert process.returncode == 0
