"""Server-sent events: a real server, and clients that leave, come back, and read slowly."""

import asyncio
import json
import socket
import time

import httpx
import pytest

from stepwell.consumers.reading import subscriptions
from stepwell.core.fold.acceptance import TRANSITION, Stamp, stamp_headers
from stepwell.log.port import EVENTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import EVENTS_VERSION, StepHeartbeat, Transition
from stepwell.server.access import Access, Role
from stepwell.server.app import create_app
from stepwell.server.http import listening
from stepwell.server.http.listening import listen, serving, url_of
from stepwell.server.routes import stream
from stepwell.server.tokens import TokenFile, make_token
from tests.client.subscribing import Scribe
from tests.patience import HANG
from tests.server.conftest import answers, problem, served
from tests.workbench import client_on, ends, handlers_of, stage, steps, until, work, workflow

CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")


class Source:
    """Reads a stream as a browser does: lines to messages, and the id to come back with."""

    def __init__(self, http, path="/v1/events", **options):
        self.context = http.stream("GET", path, **options)
        self.last_id = ""
        self.comments = 0
        self.retry = None

    async def __aenter__(self):
        self.response = await self.context.__aenter__()
        assert self.response.status_code == 200, await self.response.aread()
        assert self.response.headers["content-type"].startswith("text/event-stream")
        self.lines = self.response.aiter_lines()
        return self

    async def __aexit__(self, *error):
        await self.lines.aclose()
        await self.context.__aexit__(*error)

    async def begun(self):
        """Wait for the first id: it is known then where the stream begins."""
        while not self.last_id:
            await self.line()

    async def line(self):
        line = await anext(self.lines)
        name, _, value = line.partition(": ")
        if name == "id":
            self.last_id = value
        elif name == "retry":
            self.retry = int(value)
        elif line.startswith(":"):
            self.comments += 1
        return name, value

    async def take(self, count):
        """The next messages: (type, data)."""
        found = []
        async with asyncio.timeout(HANG):
            while len(found) < count:
                kind = data = None
                while True:
                    name, value = await self.line()
                    if not name:
                        break
                    if name == "event":
                        kind = value
                    elif name == "data":
                        data = json.loads(value)
                if data is not None:
                    found.append((kind, data))
        return found


@pytest.fixture
async def chain(client):
    await client.register(CHAIN)
    return client


async def test_events_are_streamed_as_they_happen(chain, http):
    async with Source(http, params={"types": "workflow.*,task.succeeded"}) as source:
        await source.begun()
        run = await chain.start("w", {"n": 1}, id="one")
        await run.result(timeout=HANG)
        got = await source.take(4)
    assert [kind for kind, _ in got] == ["workflow.started", "step.succeeded", "step.succeeded", "workflow.completed"]
    kind, data = got[0]
    assert (data["type"], data["instance_id"], data["sequence"], data["workflow"]) == (kind, "one", 1, "w")
    assert source.retry == 2000
    assert source.response.headers["cache-control"] == "no-store"


async def test_a_client_that_leaves_and_comes_back_misses_nothing_and_gets_nothing_twice(open_log, rng):
    log = await open_log(partitions=3)
    scribe = Scribe(log, rng)
    async with client_on(log) as client, served(client) as http:
        got, last = [], "start"
        for _ in range(8):
            for _ in range(20):
                await scribe.act(rng.randrange(3))
            left = sum(map(len, scribe.expected.values())) - len(got)
            headers = {"Last-Event-ID": last} if last != "start" else {}
            async with Source(http, params={"since": "start"}, headers=headers) as source:
                got += await source.take(rng.randrange(left + 1))
                last = source.last_id or last
        async with Source(http, headers={"Last-Event-ID": last}) as source:
            got += await source.take(sum(map(len, scribe.expected.values())) - len(got))
    for partition, expected in scribe.expected.items():
        own = [data for _, data in got if data["instance_id"].startswith(f"i{partition}-")]
        assert len(own) == len(expected)


async def test_one_instance_is_streamed_from_its_beginning(chain, http):
    for number in range(3):
        await chain.start("w", {"n": number}, id=f"i-{number}")
    await ends(chain, *(f"i-{number}" for number in range(3)))
    history = await chain.history("i-1")
    async with Source(http, "/v1/instances/i-1/events") as source:
        got = await source.take(3)
        last = source.last_id
    async with Source(http, "/v1/instances/i-1/events", headers={"Last-Event-ID": last}) as source:
        got += await source.take(len(history) - 3)
    assert [data["sequence"] for _, data in got] == [record.sequence for record in history]
    assert {data["instance_id"] for _, data in got} == {"i-1"}
    problem(await http.get("/v1/instances/nobody/events"), 404)


async def test_only_one_workflow_is_streamed_where_one_is_named(chain, http):
    await chain.register(workflow(*steps("a"), name="other"))
    async with Source(http, params={"workflow": "other", "types": "workflow.completed"}) as source:
        await source.begun()
        await chain.start("w", {"n": 1}, id="one")
        await chain.start("other", {"n": 1}, id="two")
        await ends(chain, "one", "two")
        ((_, data),) = await source.take(1)
    assert data["instance_id"] == "two"


async def test_a_silent_stream_is_kept_alive_and_its_position_moves_on(chain, http, monkeypatch):
    monkeypatch.setattr(stream, "KEEP_ALIVE", 0.05)
    async with Source(http, params={"types": "approval.required"}) as source:
        await source.begun()
        before = source.last_id
        run = await chain.start("w", {"n": 1}, id="one")
        await run.result(timeout=HANG)
        async with asyncio.timeout(HANG):
            while source.comments < 3 or source.last_id == before:
                await source.line()


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ({"params": {"since": "nowhere"}}, 422, "is no position"),
        ({"headers": {"Last-Event-ID": "1-2-3"}}, 422, "with 3 partitions"),
        ({"params": {"since": "99"}}, 422, "beyond the end"),
        ({"params": {"types": "workflow.finished"}}, 422, "no event is called"),
        ({"params": {"types": ""}}, 422, "no event is called"),
        ({"params": {"since": "x" * 20_001}}, 422, "is no position"),
    ],
)
async def test_what_cannot_be_streamed_is_a_problem(http, asked, status, detail):
    told = problem(await http.get("/v1/events", **asked), status)
    assert detail in told["detail"]


async def test_a_position_that_retention_has_overtaken_is_gone(log, rng):
    scribe = Scribe(log, rng)
    while scribe.snapshot[0] < 20:
        await scribe.act(0)
    await scribe.counts(0)
    await log.delete_before(EVENTS, 0, 20)
    async with client_on(log) as client, served(client) as http:
        told = problem(await http.get("/v1/events", headers={"Last-Event-ID": "3"}), 410)
        assert told["type"] == "urn:stepwell:problem:position_gone"


async def test_only_who_may_look_may_listen(guarded, tokens):
    for path in ("/v1/events", "/v1/instances/x/events"):
        problem(await guarded.get(path), 401)
    async with Source(guarded, headers=tokens[1][Role.VIEWER]) as source:
        await source.begun()


async def test_a_stream_ends_when_the_token_that_it_was_asked_for_with_is_taken_back(client, tmp_path):
    path = tmp_path / "tokens"
    headers = {role: {"Authorization": f"Bearer {make_token(path, f'the-{role}', role)}"} for role in Role}
    async with (
        served(client, Access(TokenFile(path))) as http,
        Source(http, headers=headers[Role.VIEWER]) as gone,
        Source(http, headers=headers[Role.ADMIN]) as kept,
    ):
        await gone.begun()
        await kept.begun()
        await client.register(CHAIN)
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if "the-viewer" not in line))
        async with asyncio.timeout(HANG):
            rest = [line async for line in gone.lines]
        assert not [line for line in rest if line.startswith("data")]
        await client.start("w", {"n": 0}, id="one")
        assert (await kept.take(1))[0][0] == "workflow.started"


async def test_a_client_that_has_gone_leaves_nothing_behind(chain, http):
    for _ in range(5):
        async with Source(http) as source:
            await source.begun()
    await until(lambda: not chain.subscriber._endings)
    await until(lambda: not [task for task in asyncio.all_tasks() if "_Follower.read" in repr(task)])


async def test_a_client_that_does_not_read_holds_back_its_own_stream_alone(log, monkeypatch):
    monkeypatch.setattr(subscriptions, "_BATCH", 10)
    transition = encode(Transition(EVENTS_VERSION, 1, "i", 0, (StepHeartbeat("a", 1, "x" * 50_000),)))
    claimed = await log.append(EVENTS, 0, [NewRecord("", b"{}", {"kind": "claim"})])
    count = 600  # 30 MB: more than sockets hold
    for index in range(1, count + 1):
        headers = stamp_headers(TRANSITION, Stamp(claimed[0], index))
        await log.append(EVENTS, 0, [NewRecord("i", transition, headers)])
    bound = listen("127.0.0.1", 0)
    async with client_on(log) as client, serving(create_app(client, access=Access()), bound):
        with socket.create_connection(bound.getsockname()) as deaf:
            deaf.sendall(b"GET /v1/events?since=start HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with httpx.AsyncClient(base_url=url_of(bound)) as http:
                await until(lambda: answers(http))
                async with Source(http, params={"since": "start"}) as source:
                    assert len(await source.take(count)) == count
                (slow,) = [one for one in client._subscriptions if one.position not in {"", str(count)}]
                assert int(slow.position.partition(".")[0]) < count / 2, "it waits for its reader"
        await until(lambda: not client.subscriber._endings)


async def test_a_stream_ends_at_once_when_the_server_stops(log, monkeypatch):
    monkeypatch.setattr(listening, "_LAST_ANSWERS", HANG)
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        bound = listen("127.0.0.1", 0)
        async with httpx.AsyncClient(base_url=url_of(bound)) as http:
            async with serving(create_app(client, access=Access()), bound):
                await until(lambda: answers(http))
                source = Source(http)
                await source.__aenter__()
                await source.begun()
                began = time.monotonic()
            assert time.monotonic() - began < HANG
            rest = [line async for line in source.lines]  # a whole answer, and not a connection that broke
            assert "problem" not in str(rest)
            await source.__aexit__(None, None, None)
        assert not client.subscriber._endings


async def test_a_token_has_so_many_streams_and_no_more(client, tokens, monkeypatch):
    monkeypatch.setattr(stream, "MOST_STREAMS", 2)
    async with served(client, Access(tokens[0])) as http:
        viewer, operator = tokens[1][Role.VIEWER], tokens[1][Role.OPERATOR]
        async with Source(http, headers=viewer) as one, Source(http, headers=viewer) as two:
            await one.begun()
            await two.begun()
            told = problem(await http.get("/v1/events", headers=viewer), 429)
            assert "streams" in told["detail"]
            async with Source(http, headers=operator) as other:
                await other.begun()
        problem(await http.get("/v1/events", params={"since": "nonsense"}, headers=viewer), 422)
        async with asyncio.timeout(HANG):  # the server sees in its own time that they have gone
            while True:
                try:
                    async with Source(http, headers=viewer) as one, Source(http, headers=viewer) as two:
                        await one.begun()
                        await two.begun()
                        break
                except AssertionError:
                    await asyncio.sleep(0.01)
