"""Answering while the log is away when the server starts: every request is told so, rather than kept waiting.

There is no client yet, and so no application. What is answered is one and the same, whatever is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from http import HTTPStatus
from typing import Final

from stepwell.server.http.problems import RETRY_AFTER, Problem, last_words

_MOST: Final = 100  # connections at once; more are closed unanswered
_PATIENCE: Final = 10.0  # seconds until a request's head must be there, and its answer taken
_HEAD: Final = 65_536  # bytes


class Away:
    """Answers 503 on a socket that listens, from the first reason on until it is closed.

    Args:
        listening: Stays open when this is closed: whoever serves takes the next connections.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._reason = ""
        self._starting: asyncio.Task[asyncio.Server] | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def answers(self) -> bool:
        """Whether it has begun."""
        return self._starting is not None

    def tell(self, reason: str) -> None:
        """Answer with this reason from now on."""
        self._reason = reason
        if self._starting is None:
            begun = asyncio.start_server(self._answer, sock=self._listening.dup(), limit=_HEAD)
            self._starting = asyncio.ensure_future(begun)

    async def close(self) -> None:
        """Answer no more."""
        if self._starting is None:
            return
        server = await self._starting
        server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._starting = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _MOST:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            with contextlib.suppress(
                TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):  # nobody is there to be told
                async with asyncio.timeout(_PATIENCE):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._told())
                    await writer.drain()
        finally:
            self._open.discard(writer)
            writer.close()

    def _told(self) -> bytes:
        problem = Problem(
            "urn:stepwell:problem:log_unavailable",
            "The log is away",
            HTTPStatus.SERVICE_UNAVAILABLE.value,
            self._reason,
            remedy="The server tries again, and answers as soon as the log is back.",
        )
        return last_words(problem, retry_after=RETRY_AFTER)
