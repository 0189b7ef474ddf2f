"""W9: workflows started over HTTP, at ``stepwell serve`` with engine and worker in it; and pages of instances.

The client is a process of its own, raw asyncio sockets that write one request and read one answer at a time, so that
it takes as little of the cores as it can; what it took is among the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import stepwell
from benchmarks.common import NOOP, must

CONNECTIONS = 32
_WARM_UP = 2_000


class Caller(asyncio.Protocol):
    """One keep-alive connection: sends a request, and the next one as soon as it is answered.

    Args:
        requests: What to send, shared with the other connections.
        took: Seconds of each answer.
    """

    def __init__(self, requests: list[bytes], took: list[float], expected: bytes) -> None:
        self.requests, self.took, self.expected = requests, took, expected
        self.done = asyncio.get_running_loop().create_future()
        self.transport: Any = None
        self.began, self.buffer = 0.0, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        if not self.requests:
            self.transport.close()
            self.done.set_result(None)
            return
        request = self.requests.pop()
        self.began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not self.buffer.startswith(b"HTTP/1.1 " + self.expected):
            self.done.set_exception(SystemExit(f"wrong answer: {self.buffer[:500]!r}"))
            self.transport.abort()
            return
        self.took.append(time.perf_counter() - self.began)
        self.buffer = b""
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server has hung up"))


async def call(port: int, requests: list[bytes], expected: bytes) -> tuple[float, list[float]]:
    """Send requests over ``CONNECTIONS`` connections; return the seconds of all together, and of each."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    callers = [
        (await loop.create_connection(lambda: Caller(requests, took, expected), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(caller.done for caller in callers))
    return time.perf_counter() - began, sorted(took)


def request(method: str, path: str, body: Any = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def figures(seconds: float, took: list[float]) -> dict[str, float]:
    return {
        "seconds": round(seconds, 2),
        "per_s": round(len(took) / seconds),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
    }


async def client(port: int, starts: int, pages: int) -> dict[str, Any]:
    """What the process of the client does; its figures go to stdout."""
    if starts:
        requests, expected = (
            [request("POST", "/v1/instances", {"workflow": "one", "input": {"n": 1}})] * starts,
            b"201",
        )
    else:
        requests, expected = [request("GET", "/v1/instances?status=completed&limit=50")] * pages, b"200"
    cpu = time.process_time()
    seconds, took = await call(port, requests, expected)
    cpu = time.process_time() - cpu
    return {**figures(seconds, took), "client_cpu": round(cpu / seconds, 2)}


@asynccontextmanager
async def serving(folder: str, *, apart: bool) -> AsyncIterator[tuple[int, int]]:
    """``stepwell serve``; yields its port and its process id."""
    words = [sys.executable, "-m", "stepwell", "serve", "--port", "0", "--log", f"file:{folder}/log.db", "--json"]
    words += ["--handlers", "benchmarks.common", "--concurrency", "200", *(["--apart"] if apart else [])]
    with tempfile.TemporaryFile() as told:
        server = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=told)
        assert server.stdout is not None
        try:
            async for line in server.stdout:
                said = json.loads(line)
                if said.get("event") == "listening":
                    yield int(said["url"].rpartition(":")[2]), server.pid
                    break
        finally:
            server.terminate()
            await server.communicate()


def _cpu_of(pid: int) -> float:
    """Seconds of CPU of a process and its children (Linux only, as the figures are)."""
    total = 0.0
    for one in [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


async def w9(folder: str, starts: int = 10_000, pages: int = 2_000, *, apart: bool = False) -> dict[str, Any]:
    """Starts of a workflow of one step by 32 connections, and then pages of 50 instances."""
    async with serving(folder, apart=apart) as (port, pid):
        definition = {"name": "one", "steps": [{"id": "a", "handler": NOOP}]}
        await call(port, [request("POST", "/v1/definitions", definition)], b"201")
        await _called(port, pid, _WARM_UP, 0)
        started = await _called(port, pid, starts, 0)
        fresh = request("GET", "/v1/instances?limit=1&fresh=true")
        while (await _answer(port, fresh)) != 200:  # made from nothing, the read models need a moment
            pass
        listed = await _called(port, pid, 0, pages)
    async with stepwell.connect(f"file:{folder}/log.db", embedded=False) as client_:
        finished = sum(one.completed for one in await client_.statistics("one"))
    must(finished >= starts, f"{finished} finished")
    return {"connections": CONNECTIONS, "starts": starts, **started, "pages": listed}


async def _called(port: int, pid: int, starts: int, pages: int) -> dict[str, Any]:
    """The figures of a client in a process of its own, and what the server's CPUs did meanwhile."""
    before = _cpu_of(pid)
    words = [sys.executable, "-m", "benchmarks.http", str(port), str(starts), str(pages)]
    caller = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    out, _ = await caller.communicate()
    must(caller.returncode == 0, "the client has failed")
    found: dict[str, Any] = json.loads(out)
    return {**found, "server_cpu_ms_each": round((_cpu_of(pid) - before) / (starts or pages) * 1000, 3)}


async def _answer(port: int, asked: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(client(*map(int, sys.argv[1:])))))
