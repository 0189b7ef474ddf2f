"""A real server on a free port of loopback, with a real log, an engine and a worker."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from stepwell.server.access import Access, Role
from stepwell.server.app import create_app
from stepwell.server.http.listening import listen, serving, url_of
from stepwell.server.tokens import TokenFile, make_token
from tests.patience import HANG
from tests.workbench import Gate, handlers_of, stage, until, work


@contextlib.asynccontextmanager
async def served(client, access=None, *more):
    """An HTTP client of a server of this client."""
    listening = listen("127.0.0.1", 0)
    async with (
        serving(create_app(client, access=access or Access(), more=more), listening),
        httpx.AsyncClient(base_url=url_of(listening), timeout=HANG) as http,
    ):
        await until(lambda: answers(http))
        yield http


async def answers(http):
    try:
        return (await http.get("/redoc")).status_code == 200
    except httpx.ConnectError:
        return False


@pytest.fixture
def gate():
    """A handler that waits until it is let through."""
    return Gate()


@pytest.fixture
async def client(log, gate):
    """A client of a log with an engine, and a worker that knows ``work``, ``fail`` and ``gate``."""
    async with stage(log, handlers_of(work=work, fail=fail, gate=gate)) as client:
        yield client


def fail(data):
    raise LookupError("the register is closed")


@pytest.fixture
async def http(client):
    """An HTTP client of a server without tokens."""
    async with served(client) as http:
        yield http


@pytest.fixture
def tokens(tmp_path):
    """A file of tokens, and the headers of each role."""
    path = tmp_path / "tokens"
    headers = {role: {"Authorization": f"Bearer {make_token(path, f'the-{role}', role)}"} for role in Role}
    return TokenFile(path), headers


@pytest.fixture
async def guarded(client, tokens):
    """An HTTP client of a server with tokens; it sends none by itself."""
    async with served(client, Access(tokens[0])) as http:
        yield http


def problem(answer, status, **expected):
    """Check that an answer is a problem, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:stepwell:problem:")
    assert told["title"]
    assert told["detail"]
    assert "Traceback" not in answer.text
    for key, value in expected.items():
        assert told.get(key) == value, told
    return told


def fine(answer, status=200):
    """Check an answer's status, and return what it holds."""
    assert answer.status_code == status, answer.text
    return answer.json()


async def registered(http, definition):
    return fine(await http.post("/v1/definitions", json=definition), 201)
