"""Events as they happen, as server-sent events (the browser's ``EventSource``).

Each event's ``id`` is the position after it, so a client that was cut off sends it back as ``Last-Event-ID`` and
misses nothing. Where nothing that it asked for happens, the position goes out with the keep-alive comment: an ``id``
without data, which a client keeps without telling anybody. Who reads slowly is waited for: the log holds what is to
come, and here is no more than a batch of it. A stream ends when its client's token is taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from stepwell.client.client import Client
from stepwell.consumers.reading.histories import EventRecord
from stepwell.consumers.reading.subscriptions import Subscription
from stepwell.errors import StepwellError
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.feed import FeedHead, feed_value
from stepwell.schemas.records.positions import START
from stepwell.server.access import TAKES_TICKETS, TICKET, TICKETS, Access, Role, requires, token_of
from stepwell.server.http.discretion import may_see_tracebacks
from stepwell.server.http.problems import RefusedError, problem_of
from stepwell.server.http.reading import EVENT_STREAM
from stepwell.server.http.tickets import TICKET_SECONDS
from stepwell.tasks import cancel_and_wait

MOST_STREAMS: Final = 256  # of one token; without tokens, of all together
KEEP_ALIVE: Final = 15.0  # seconds; proxies cut off what is silent for a minute, some for half of it
_CHECK_EVERY: Final = 1.0  # seconds between two looks whether the client's token was taken back
_RETRY: Final = 2_000  # milliseconds after which a client comes back
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would keep events back

Types = Annotated[
    list[str] | None,
    QueryParameter(description="Types of events, with wildcards: `workflow.*,task.failed`. All without any."),
]
Since = Annotated[
    str | None,
    QueryParameter(description=f"`{START}`, or the `id` of an event, to go on behind it."),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", description="As `since`, and before it."),
]


Ticketed = Annotated[
    str | None,
    QueryParameter(
        name=TICKET,
        description=f"From `POST {TICKETS}`, for clients that can send no token, as a browser's `EventSource`.",
    ),
]


class Ticket(Struct, frozen=True):
    """Opens streams of events, and nothing else.

    Attributes:
        ticket: To be given as the parameter `ticket`.
        seconds: How long it opens streams. Those that it has opened go on.
    """

    ticket: str
    seconds: int


class Streams:
    """How many streams each token has. Each costs a subscription, which is asked about every event."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def open(self, name: str) -> OpenStream:
        """Count one more stream of a token.

        Raises:
            RefusedError: 429: they have as many as they may.
        """
        if self._open[name] >= MOST_STREAMS:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{name} has {MOST_STREAMS} streams of events open, which is the most",
                remedy="One stream tells of all instances. Close those that nobody reads.",
                headers={"Retry-After": "5"},
            )
        self._open[name] += 1
        return OpenStream(self._open, name)


class OpenStream:
    """One of the streams that a token has open; it counts until it is closed."""

    def __init__(self, open_: Counter[str], name: str) -> None:
        self._open: Counter[str] | None = open_
        self._name = name

    def close(self) -> None:
        """Count it no more. Closing again does nothing."""
        if self._open is not None:
            self._open[self._name] -= 1
            if not self._open[self._name]:
                del self._open[self._name]
            self._open = None


class Message(Struct, frozen=True, omit_defaults=True):
    """A message of the stream.

    Attributes:
        id: The position behind it.
        event: The type of the event, such as `workflow.started`; `problem` where the stream met one, and ends.
        data: JSON: the event as the feed has it, or the problem. A message without only says how far the stream is.
        retry: Milliseconds after which to come back when it was cut off.
    """

    id: str = ""
    event: str = ""
    data: str = ""
    retry: int = 0


_STREAMED: Final = {
    HTTPStatus.OK.value: ResponseSpec(
        Message, media_type=EVENT_STREAM, description="Events without end.", generate_examples=False
    )
}


@get(
    "/v1/events", guards=[requires(Role.VIEWER)], operation_id="streamEvents", media_type=EVENT_STREAM,
    responses=_STREAMED, opt=TAKES_TICKETS,
)  # fmt: skip
async def stream_events(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    access: NamedDependency[Access],
    types: Types = None,
    workflow: Annotated[str | None, QueryParameter(description="Only of instances of this definition.")] = None,
    instance_id: Annotated[str | None, QueryParameter(description="Only of this instance.")] = None,
    since: Since = None,
    ticket: Ticketed = None,  # noqa: ARG001 - the guard has looked at it
    last_event_id: LastEventId = None,
) -> Stream:
    """Events of all instances as they are accepted: from now on, or from a position. It does not end by itself."""
    events = client.subscribe(
        _patterns(types), instance_id=instance_id, workflow=workflow, since=last_event_id or since
    )
    return await _streamed(request, access, events)


@get(
    "/v1/instances/{instance_id:str}/events", guards=[requires(Role.VIEWER)], operation_id="streamInstanceEvents",
    media_type=EVENT_STREAM, responses=_STREAMED, opt=TAKES_TICKETS,
)  # fmt: skip
async def stream_instance_events(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    access: NamedDependency[Access],
    instance_id: FromPath[str],
    types: Types = None,
    since: Since = None,
    ticket: Ticketed = None,  # noqa: ARG001 - the guard has looked at it
    last_event_id: LastEventId = None,
) -> Stream:
    """What happened to an instance so far, and then what happens to it. It does not end by itself."""
    position = last_event_id or since or START
    if position == START:
        await client.get(instance_id)  # one that there is not is an error, rather than silence
    events = client.subscribe(_patterns(types), instance_id=instance_id, since=position)
    return await _streamed(request, access, events)


@post(TICKETS, guards=[requires(Role.VIEWER)], operation_id="makeStreamTicket", tags=["tickets"])
async def make_ticket(request: Request[Any, Any, Any], access: NamedDependency[Access]) -> Response[Ticket]:
    """A ticket for streams of events, with the name and the role of the token that it is asked for with."""
    return Response(Ticket(access.ticket(token_of(request)), TICKET_SECONDS), headers={"Cache-Control": "no-store"})


_STREAMS: Final = Router("/", route_handlers=[stream_events, stream_instance_events], tags=["events"])
router: Router = Router("/", route_handlers=[_STREAMS, make_ticket])


def _patterns(types: list[str] | None) -> list[str]:
    if types is None:
        return ["*"]
    return [pattern.strip() for text in types for pattern in text.split(",")]


async def _streamed(request: Request[Any, Any, Any], access: Access, events: Subscription) -> Stream:
    """The answer, once it is known that the position can be gone on from: else an error is the answer."""
    stopping: asyncio.Event = request.app.state.stopping
    actor, token = request.state.actor, token_of(request)
    counted = request.app.state.streams.open(actor.name)
    try:
        await events.__aenter__()
        is_allowed = _now_and_then(lambda: access.still(token))
        lines = _lines(events, stopping, is_allowed, counted, whole=may_see_tracebacks(actor.role))
    except BaseException:
        counted.close()
        raise
    weakref.finalize(lines, counted.close)  # who has gone before the first line does not come to the end of them
    return Stream(lines, media_type=EVENT_STREAM, headers=_HEADERS)


async def _lines(
    events: Subscription, stopping: asyncio.Event, is_allowed: Callable[[], bool], counted: OpenStream, *, whole: bool
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    quiet_since = loop.time()
    stopped = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[EventRecord] | None = None
    try:
        yield f"retry: {_RETRY}\nid: {events.position}\n\n".encode()  # sends the headers, too
        while not stopping.is_set() and is_allowed():
            if coming is None:
                coming = asyncio.ensure_future(events.__anext__())
            ends: list[asyncio.Future[Any]] = [coming, stopped]
            await asyncio.wait(ends, timeout=min(_CHECK_EVERY, KEEP_ALIVE), return_when=asyncio.FIRST_COMPLETED)
            if coming.done() and is_allowed():
                event = coming.result()
                coming = None
                yield _message(event, whole=whole)
                quiet_since = loop.time()
            elif not coming.done() and not stopping.is_set() and loop.time() - quiet_since >= KEEP_ALIVE:
                quiet_since = loop.time()
                yield f": nothing new\nid: {events.position}\n\n".encode()
    except StopAsyncIteration:
        return  # the client was closed
    except StepwellError as error:  # of the log, in the midst of it: the headers are gone already
        problem, _ = problem_of(error)
        yield b"event: problem\ndata: " + encode(problem) + b"\n\n"
    finally:
        counted.close()
        stopped.cancel()
        # In a task of its own: where the client has gone, whatever is awaited here is cancelled.
        await asyncio.shield(asyncio.ensure_future(_let_go(events, coming)))


def _now_and_then(is_so: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, whose answer holds for a moment."""
    clock = asyncio.get_running_loop().time
    looked, found = clock(), True

    def asked() -> bool:
        nonlocal looked, found
        if clock() - looked >= _CHECK_EVERY:
            looked, found = clock(), is_so()
        return found

    return asked


async def _let_go(events: Subscription, coming: asyncio.Future[EventRecord] | None) -> None:
    if coming is not None:
        await cancel_and_wait(coming)
    with contextlib.suppress(StepwellError):  # what mattered was told before
        await events.aclose()


def _message(event: EventRecord, *, whole: bool) -> bytes:
    head = FeedHead(event.instance_id, event.sequence, event.at, event.workflow, event.life)
    value = feed_value(head, event.event, tracebacks=whole)
    return f"id: {event.position}\nevent: {event.type}\ndata: ".encode() + value + b"\n\n"
