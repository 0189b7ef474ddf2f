"""Where the server listens, and serving until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

import uvicorn
from litestar import Litestar

from stepwell.errors import StepwellError
from stepwell.server.access import Access, is_loopback
from stepwell.server.http.connections import Connections

_LAST_ANSWERS: Final = 5  # seconds that requests under way get when the server is stopped
_BACKLOG: Final = 2048  # connections that wait to be taken
_KEEP_ALIVE: Final = 65  # seconds; more than the minute for which proxies keep idle connections


class ListenError(StepwellError):
    """The server cannot, or must not, listen where it was told to."""


def check_exposure(host: str, access: Access) -> None:
    """Refuse to be reached from elsewhere by whoever likes.

    Raises:
        ListenError: The host is not this machine alone, and there are no tokens.
    """
    if access.open and not is_loopback(host):
        raise ListenError(
            f"on {host} others could reach it, and without access tokens everybody may do everything",
            place="--host",
            remedy="`stepwell token NAME --role admin` makes a token; name its file with --tokens. "
            "Or leave --host out to listen on this machine only.",
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ListenError: It cannot.
    """
    place = f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise ListenError(f"is no address of this machine: {error}", place=place) from None
    # The protocol is named because asyncio sends without delay only where it is: else an answer takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            message, remedy = "another program listens there already", "Name another --port; 0 takes a free one."
        else:
            message, remedy = f"cannot listen there: {error.strerror or error}", ""
        raise ListenError(message, place=place, remedy=remedy) from None
    return listening


def url_of(listening: socket.socket) -> str:
    """How the server is reached, as people write it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    app: Litestar, listening: socket.socket, connections: Connections | None = None
) -> AsyncIterator[asyncio.Future[None]]:
    """Serve for as long as the block lasts; then answer what is under way, and close the socket.

    Args:
        connections: What they may take.

    Yields:
        What ends if the server stops by itself.
    """
    connections = connections or Connections()
    config = uvicorn.Config(
        app,
        http=connections.protocol,  # type: ignore[arg-type] # what makes a protocol does as well as its class
        log_config=None,
        access_log=False,
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # anybody could claim to come from anywhere
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_ANSWERS,
    )
    server = _Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listening]))
    watching = asyncio.ensure_future(connections.watch())
    try:
        yield running
    finally:
        watching.cancel()
        app.state.stopping.set()
        await app.state.lending.close()  # or workers that wait for steps would keep us waiting
        server.should_exit = True
        await asyncio.gather(running, return_exceptions=True)
        listening.close()
