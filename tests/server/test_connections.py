"""What a connection may take of the server, tried with real sockets; deadlines by a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys

import httpx
import pytest

from stepwell.server.access import Access
from stepwell.server.app import create_app
from stepwell.server.http.connections import Connections, Limits
from stepwell.server.http.listening import listen, serving
from tests.patience import HANG
from tests.workbench import line_about

LIMITS = Limits(connections=12, per_address=8)
GET = b"GET /redoc HTTP/1.1\r\nHost: localhost\r\n"


class Served:
    """A server, and the clock by which it closes what is overdue."""

    def __init__(self, address, connections):
        self.address = address
        self.url = f"http://{address[0]}:{address[1]}"
        self.connections = connections
        self.now = 0.0

    async def connect(self, local=None):
        where = None if local is None else (local, 0)
        return await asyncio.open_connection(*self.address, local_addr=where)

    def later(self, seconds):
        self.now += seconds
        self.connections.look()

    async def answers(self, local="127.0.0.1"):
        transport = httpx.AsyncHTTPTransport(local_address=local)
        async with httpx.AsyncClient(base_url=self.url, transport=transport, timeout=HANG) as http:
            return (await http.get("/redoc")).status_code


@pytest.fixture
async def server(client):
    """A server with few places. Its own look at the connections is once a second, by the same clock."""
    listening = listen("127.0.0.1", 0)
    made = []
    connections = Connections(LIMITS, clock=lambda: made[0].now if made else 0.0)
    made.append(Served(listening.getsockname()[:2], connections))
    async with serving(create_app(client, access=Access()), listening, connections):
        while True:
            with contextlib.suppress(httpx.TransportError):
                assert await made[0].answers() == 200
                break
        yield made[0]


async def rest(reader):
    return await asyncio.wait_for(reader.read(), HANG)


def refused(raw, status):
    head, _, body = raw.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, raw
    assert json.loads(body)["status"] == status
    assert b"connection: close" in head


async def reached(server, count):
    """Wait until the server has so many connections."""
    async with asyncio.timeout(HANG):
        while len(server.connections._open) != count:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"a" * LIMITS.head_bytes,
        GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1_000) for n in range(90)) + b"\r\n",
        b"GET /" + b"a" * LIMITS.head_bytes,
        GET + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n",
    ],
    ids=["an endless header", "too many bytes", "an endless line", "too many headers"],
)
async def test_a_head_beyond_its_limit_is_not_read_to_its_end(server, head):
    reader, writer = await server.connect()
    writer.write(head)
    refused(await rest(reader), 431)
    writer.close()
    assert await server.answers() == 200


async def test_a_head_may_have_what_is_below_the_limits(server):
    reader, writer = await server.connect()
    writer.write(GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 500) for n in range(98)) + b"Connection: close\r\n\r\n")
    assert (await rest(reader)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_head_that_does_not_come_is_not_waited_for(server):
    reader, writer = await server.connect()
    writer.write(GET)
    silent, writer_2 = await server.connect()
    await reached(server, 2)
    await asyncio.sleep(0.05)  # where the bytes have not come yet, the answer is only shorter
    server.later(LIMITS.head_seconds - 1)
    assert not reader.at_eof()
    server.later(2)
    raw = await rest(reader)
    assert not raw or b"408" in raw
    assert await rest(silent) == b""
    for one in (writer, writer_2):
        one.close()


async def test_the_rest_of_a_body_is_waited_for_as_long_as_it_comes(server):
    reader, writer = await server.connect()
    writer.write(b"POST /v1/definitions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n")
    await reached(server, 1)
    (connection,) = server.connections._open
    sent = 0
    for _ in range(20):  # 16 KiB a second
        writer.write(b" " * 160 * 1024)
        sent += 160 * 1024
        async with asyncio.timeout(HANG):
            while connection._body < sent:
                await asyncio.sleep(0)
        server.later(9.9)
    assert not reader.at_eof()
    server.later(LIMITS.body_seconds + 20)
    refused(await rest(reader), 408)
    writer.close()


async def test_what_comes_of_a_body_after_the_answer_is_not_read_for_ever(server):
    """However fast it comes: nobody will read it."""
    reader, writer = await server.connect()
    writer.write(b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n")
    assert b" 404 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HANG)
    (connection,) = server.connections._open
    writer.write(b" " * 3_200_000)  # which buys more than three minutes of those who wait for an answer
    async with asyncio.timeout(HANG):
        while connection._body < 3_200_000:
            await asyncio.sleep(0)
    server.later(LIMITS.body_seconds - 1)
    await reached(server, 1)
    server.later(2)
    await reached(server, 0)
    writer.close()


async def test_framing_does_not_stand_in_for_a_body(server):
    """An endless extension of a chunk, or an endless trailer, is no content."""
    for more in (b"1;a=" + b"b" * 300_000, b"0\r\nX: " + b"b" * 300_000):
        reader, writer = await server.connect()
        writer.write(b"POST /v1/definitions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + more)
        with contextlib.suppress(ConnectionResetError):  # there was more on its way than anybody reads
            assert b" 400 " in (await rest(reader)).partition(b"\r\n")[0]
        writer.close()
        await reached(server, 0)


async def test_nobody_alone_takes_every_place(server):
    held = [await server.connect("127.0.0.2") for _ in range(LIMITS.per_address)]
    await reached(server, LIMITS.per_address)
    reader, writer = await server.connect("127.0.0.2")
    refused(await rest(reader), 503)
    writer.close()
    assert await server.answers("127.0.0.1") == 200
    held[0][1].close()
    await reached(server, LIMITS.per_address - 1)
    assert await server.answers("127.0.0.2") == 200
    for _, one in held:
        one.close()


async def test_there_are_no_more_connections_than_places(server):
    held = [await server.connect(f"127.0.0.{n % 3 + 2}") for n in range(LIMITS.connections)]
    await reached(server, LIMITS.connections)
    reader, writer = await server.connect("127.0.0.9")
    refused(await rest(reader), 503)
    for _, one in [(reader, writer), *held]:
        one.close()
    await reached(server, 0)
    assert await server.answers() == 200


async def test_whoever_does_not_take_an_answer_is_let_go(server):
    _, writer = await server.connect()
    get = b"GET /assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    writer.transport.pause_reading()
    await reached(server, 1)
    (connection,) = server.connections._open
    async with asyncio.timeout(HANG):
        while connection._blocked is None:
            writer.write(get)
            await asyncio.sleep(0.01)
    server.later(LIMITS.answer_seconds + 1)
    await reached(server, 0)
    writer.transport.abort()


async def test_requests_one_after_the_other_have_each_their_own_time(server):
    reader, writer = await server.connect()
    for _ in range(5):
        writer.write(GET + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"</html>\n"), HANG)
        server.later(LIMITS.head_seconds - 1)
    writer.close()


async def test_of_few_files_some_are_kept_for_the_log(tmp_path):
    """Half-sent heads take every place that one address may have; the log and others go on."""

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stepwell", "serve", "--port", "0", "--json", cwd=tmp_path, preexec_fn=few,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    held = []
    try:
        told = await line_about(process, "listening")
        url = httpx.URL(told["url"])
        for _ in range(300):
            held.append(await asyncio.open_connection(url.host, url.port, local_addr=("127.0.0.2", 0)))
            held[-1][1].write(GET)
        async with httpx.AsyncClient(base_url=told["url"], timeout=HANG) as http:
            definition = "name: w\nsteps:\n  - {id: a, type: output}\n"
            made = await http.post(
                "/v1/definitions", content=definition, headers={"Content-Type": "application/yaml"}
            )
            assert made.status_code < 300, made.text
            done = await http.post("/v1/instances?wait=60", json={"workflow": "w"})
            assert done.json()["instance"]["status"] == "completed"
            assert (await http.get("/v1/instances?fresh=true")).json()["total"] == 1
            assert (await http.get("/v1/health")).status_code == 200
    finally:
        for _, writer in held:
            writer.close()
        process.kill()
        await process.communicate()
