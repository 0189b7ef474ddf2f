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

_LAST_ANSWERS: Final = 5  # seconds that requests under way get when the server is stopped
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
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                "another program listens there already",
                place=place,
                remedy="Name another --port; 0 takes a free one.",
            ) from None
        raise ListenError(f"cannot listen there: {error.strerror or error}", place=place) from None
    except (UnicodeError, OverflowError) as error:
        raise ListenError(f"is no address: {error}", place=place) from None


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
async def serving(app: Litestar, listening: socket.socket) -> AsyncIterator[asyncio.Future[None]]:
    """Serve for as long as the block lasts; then answer what is under way, and close the socket.

    Yields:
        What ends if the server stops by itself.
    """
    config = uvicorn.Config(
        app,
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
    try:
        yield running
    finally:
        app.state.stopping.set()
        server.should_exit = True
        await asyncio.gather(running, return_exceptions=True)
        listening.close()
