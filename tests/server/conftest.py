"""A real server on a free port of loopback, with a real log, an engine and a worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import httpx
import pytest
import uvicorn

from stepwell.server.access import Access
from stepwell.server.app import create_app
from tests.workbench import handlers_of, stage, work


@contextlib.asynccontextmanager
async def served(client, access=None, *more):
    """An HTTP client of a server of this client."""
    app = create_app(client, access=access or Access(), more=more)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none", proxy_headers=False))
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        port = listening.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            yield http
    finally:
        server.should_exit = True
        await serving
        listening.close()


@pytest.fixture
async def client(log):
    """A client of a log with an engine and a worker that knows ``work``."""
    async with stage(log, handlers_of(work=work)) as client:
        yield client


@pytest.fixture
async def http(client):
    """An HTTP client of a server without tokens."""
    async with served(client) as http:
        yield http
