"""What a connection may take of the server: bytes and seconds until a request is there, and places for others.

uvicorn reads a request's head without bounds, and waits for the rest of it for ever. Whoever can connect could so use
up the memory, or hold every file descriptor, and the log needs some of those as well. So heads are counted before
they are parsed, and once a second all connections are looked at: what is overdue is closed.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stepwell.logs import Logger
from stepwell.server.http.problems import RefusedError, last_words, problem_of

_LOOK_EVERY: Final = 1.0  # seconds between two looks at all connections
_LINGER: Final = 5.0  # seconds in which whoever was answered last has to take the answer
_MOST: Final = 8_192  # connections, however many files this process may open
_FEWEST: Final = 8
_KEPT: Final = 256  # file descriptors for the log, read models and what steps ask; of few at most half
_TELL_EVERY: Final = 10.0  # seconds between two lines about connections that were refused
_logger = Logger("stepwell.server")


class Limits(Struct, frozen=True):
    """What a connection may take.

    Attributes:
        head_bytes: Of a request: its first line and its headers. Also what the framing of a body may add to it.
        headers: Of a request, trailers included.
        head_seconds: Until the head is there: from the connection's beginning, or from the first byte after another
            request.
        body_seconds: Until the body is there, if it comes no faster than
        body_rate: so many bytes a second, which it gets as well.
        answer_seconds: In which something of an answer must be taken.
        connections: At once.
        per_address: Of these, from one address: so that nobody alone can keep all others out.
    """

    head_bytes: int = 65_536
    headers: int = 100
    head_seconds: float = 20.0
    body_seconds: float = 60.0
    body_rate: int = 16_384
    answer_seconds: float = 60.0
    connections: int = _MOST
    per_address: int = _MOST * 3 // 4


def limits_here() -> Limits:
    """The limits of this process: as many connections as it may open files, but for those that the log needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST + _KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
        except (OSError, ValueError):  # then as many as there are
            pass
    files = wanted if soft == resource.RLIM_INFINITY else soft
    connections = max(_FEWEST, min(_MOST, files - min(_KEPT, files // 2)))
    return Limits(connections=connections, per_address=max(1, connections * 3 // 4))


class Connections:
    """All connections of a server.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits: Limits = limits or Limits()
        self.clock = clock
        self._open: set[Connection] = set()
        self._from: Counter[str] = Counter()
        self._refused = 0
        self._told = float("-inf")

    def protocol(self, *args: Any, **more: Any) -> Connection:
        """What uvicorn makes of each connection."""
        return Connection(self, *args, **more)

    def enter(self, connection: Connection, address: str) -> bool:
        """Take a connection; False if there are too many, of all or from its address."""
        limits = self.limits
        if len(self._open) >= limits.connections or self._from[address] >= limits.per_address:
            self._refused += 1
            self._tell(address)
            return False
        self._open.add(connection)
        self._from[address] += 1
        return True

    def leave(self, connection: Connection, address: str) -> None:
        """Note that a connection has ended."""
        if connection in self._open:
            self._open.remove(connection)
            self._from[address] -= 1
            if not self._from[address]:
                del self._from[address]

    def look(self) -> None:
        """Close what is overdue."""
        now = self.clock()
        for connection in list(self._open):
            connection.look(now)

    async def watch(self) -> None:
        """Look at all connections, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.look()

    def _tell(self, address: str) -> None:
        now = self.clock()
        if now - self._told >= _TELL_EVERY:
            _logger.warning(
                "refused: too many connections",
                refused=self._refused, open=len(self._open), address=address, limit=self.limits.connections,
                limit_of_an_address=self.limits.per_address,
            )  # fmt: skip
            self._told, self._refused = now, 0


class _Refusal(Exception):  # noqa: N818 - it is no error of ours
    """A request is not read any further."""


class Connection(HttpToolsProtocol):
    """One connection, held to the limits."""

    def __init__(self, all_: Connections, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._all = all_
        self._limits = all_.limits
        self._address = ""
        self._heading = True  # the next byte belongs to a request's head
        self._read = 0  # bytes of the head, or of the body with its framing
        self._body = 0  # bytes of the body
        self._fields = 0  # headers and trailers
        self._since: float | None = None  # when the head, or the body, began
        self._blocked: float | None = None  # when the other side stopped to take what is sent
        self._closing: float | None = None
        self._refusal: tuple[HTTPStatus, str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As the class above; or end it, if there are too many."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._since = self._all.clock()
        if not self._all.enter(self, self._address):
            self.connections.discard(self)
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "there are too many connections")
            transport.abort() if transport.get_write_buffer_size() else transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As the class above."""
        self._all.leave(self, self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As the class above, no more of a head at a time than it may have."""
        while data and not self.transport.is_closing():
            if self._since is None:
                self._since = self._all.clock()
            if not self._heading:
                self._read += len(data)
                super().data_received(data)
                if self._read - self._body * 8 > self._limits.head_bytes:  # which is 0 where the body has ended
                    self._refuse(HTTPStatus.BAD_REQUEST, "the body has more framing than content")
                return
            room = self._limits.head_bytes - self._read
            piece, data = data[:room], data[room:]
            self._read += len(piece)
            super().data_received(piece)
            if self._read >= self._limits.head_bytes:  # which is 0 where the head has ended
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"the request's head has more than {self._limits.head_bytes:,} bytes",
                )

    def on_header(self, name: bytes, value: bytes) -> None:
        """As the class above, of so many headers."""
        self._fields += 1
        if self._fields > self._limits.headers:
            self._refusal = (
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the request has more than {self._limits.headers} headers",
            )
            raise _Refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """As the class above."""
        self._heading, self._read, self._since = False, 0, self._all.clock()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As the class above."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """As the class above."""
        self._heading, self._read, self._body, self._fields, self._since = True, 0, 0, 0, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says less than we do
        """As the class above, in words."""
        status, told = self._refusal or (HTTPStatus.BAD_REQUEST, "this is no HTTP request")
        self._refuse(status, told)

    def pause_writing(self) -> None:
        """As the class above."""
        self._blocked = self._all.clock()
        super().pause_writing()

    def resume_writing(self) -> None:
        """As the class above."""
        self._blocked = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """Close it if it is overdue.

        Args:
            now: Of the clock.
        """
        limits = self._limits
        if self.transport.is_closing():
            self._closing = now if self._closing is None else self._closing
            if now - self._closing > _LINGER:
                self.transport.abort()
        elif self._blocked is not None and now - self._blocked > limits.answer_seconds:
            self.transport.abort()  # there is more to be sent than will ever be taken
        elif self._since is not None and not self.flow.read_paused:  # whoever is kept from sending is not late
            late = now - self._since
            if self._heading:
                if late > limits.head_seconds:
                    self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's head has not come in time")
            elif late > limits.body_seconds + (0 if self._is_answered() else self._body / limits.body_rate):
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's body has not come in time")

    def _is_answered(self) -> bool:
        """Whether the request has its whole answer, so nobody will read what still comes of it."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and cycle.response_complete

    def _refuse(self, status: HTTPStatus, told: str) -> None:
        """Answer, unless another answer is under way, and close."""
        if self.transport.is_closing():
            return
        if not self._read and self._heading and status is HTTPStatus.REQUEST_TIMEOUT:
            self.transport.close()  # there was no request at all
            return
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete or not cycle.response_started:
            if cycle is not None:
                cycle.disconnected = True  # its own answer would be taken for one of the next request
                cycle.message_event.set()
            problem, _ = problem_of(RefusedError(status, told))
            self.transport.write(last_words(problem))
        self.transport.close()
