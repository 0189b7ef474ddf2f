"""A real HTTP server with an answer for each path, and requests to it by the step ``http_request``."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import describe
from stepwell.core.decide.retry import is_retryable
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.events import StepReady
from stepwell.schemas.records.work import WorkItem


@dataclass
class Seen:
    """A request, as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None  # instead of all that
    wait: float = 0.0  # seconds before the answer
    trickle: float = 0.0  # seconds before each byte of the body


class Server:
    """An HTTP server with an answer for each path. Knows what it was asked, and how often one connected."""

    def __init__(self, host="127.0.0.1", tls=None):
        self.host, self.tls = host, tls
        self.answers = {}
        self.seen = []
        self.names = []  # that were asked for in TLS handshakes
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, self.host, 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    def url(self, path="/", host=None):
        return f"{'https' if self.tls else 'http'}://{host or self.host}:{self.port}{path}"

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.rstrip().split("\r\n")
            method, target, _ = line.split(" ")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.seen.append(Seen(method, target, headers, body))
            answer = self.answers.get(target.partition("?")[0], Answer(404, body=b"nothing here"))
            await asyncio.sleep(answer.wait)
            if answer.raw is not None:
                writer.write(answer.raw)
            else:
                await self.reply(writer, answer, method)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def reply(self, writer, answer, method):
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Status", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        if method == "HEAD":
            return
        if not answer.trickle:
            writer.write(answer.body)
        for byte in answer.body if answer.trickle else b"":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(answer.trickle)


def context(config, *, timeout=None, instance="order-1"):
    step = StepReady(step_id="call", run=3, step_type="http_request", config=config, timeout_seconds=timeout)
    return StepContext(WorkItem(instance, "shop", "1", 7, step))


async def request(url, *, timeout=None, instance="order-1", data=None, **config):
    return await BUILTIN["http_request"](data, context({"url": url, **config}, timeout=timeout, instance=instance))


async def failure(kind, url, **config):
    """The error of a request, after a look at what would be recorded of it."""
    with pytest.raises(kind) as caught:
        await request(url, **config)
    assert type(caught.value) is kind
    return caught.value


def retried(error):
    return is_retryable(Retry(max_attempts=3), describe(error))


def json_of(value, **more):
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(value).encode(), **more)


def redirect(to, status=302):
    return Answer(status, headers={"Location": to})
