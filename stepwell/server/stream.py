"""Events as they happen, as server-sent events (the browser's ``EventSource``).

Each event's ``id`` is the position after it, so a client that was cut off sends it back as ``Last-Event-ID`` and
misses nothing. Where nothing that it asked for happens, the position goes out with the keep-alive comment: an ``id``
without data, which a client keeps without telling anybody. Who reads slowly is waited for: the log holds what is to
come, and here is no more than a batch of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Request, Router, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from stepwell.client import Client
from stepwell.consumers.histories import EventRecord
from stepwell.consumers.subscriptions import Subscription
from stepwell.errors import StepwellError
from stepwell.schemas.codec import encode
from stepwell.schemas.feed import FeedHead, feed_value
from stepwell.schemas.positions import START
from stepwell.server.access import Role, requires
from stepwell.server.problems import problem_of

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = 15.0  # seconds; proxies cut off what is silent for a minute, some for half of it
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
        Message, media_type=MEDIA_TYPE, description="Events without end.", generate_examples=False
    )
}


@get(
    "/v1/events", guards=[requires(Role.VIEWER)], operation_id="streamEvents", media_type=MEDIA_TYPE,
    responses=_STREAMED,
)  # fmt: skip
async def stream_events(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    types: Types = None,
    workflow: Annotated[str | None, QueryParameter(description="Only of instances of this definition.")] = None,
    instance_id: Annotated[str | None, QueryParameter(description="Only of this instance.")] = None,
    since: Since = None,
    last_event_id: LastEventId = None,
) -> Stream:
    """Events of all instances as they are accepted: from now on, or from a position. It does not end by itself."""
    events = client.subscribe(
        _patterns(types), instance_id=instance_id, workflow=workflow, since=last_event_id or since
    )
    return await _streamed(request, events)


@get(
    "/v1/instances/{instance_id:str}/events", guards=[requires(Role.VIEWER)], operation_id="streamInstanceEvents",
    media_type=MEDIA_TYPE, responses=_STREAMED,
)  # fmt: skip
async def stream_instance_events(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    instance_id: FromPath[str],
    types: Types = None,
    since: Since = None,
    last_event_id: LastEventId = None,
) -> Stream:
    """What happened to an instance so far, and then what happens to it. It does not end by itself."""
    position = last_event_id or since or START
    if position == START:
        await client.get(instance_id)  # one that there is not is an error, rather than silence
    return await _streamed(request, client.subscribe(_patterns(types), instance_id=instance_id, since=position))


router = Router("/", route_handlers=[stream_events, stream_instance_events], tags=["events"])


def _patterns(types: list[str] | None) -> list[str]:
    if types is None:
        return ["*"]
    return [pattern.strip() for text in types for pattern in text.split(",")]


async def _streamed(request: Request[Any, Any, Any], events: Subscription) -> Stream:
    """The answer, once it is known that the position can be gone on from: else an error is the answer."""
    await events.__aenter__()
    stopping: asyncio.Event = request.app.state.stopping
    return Stream(_lines(events, stopping), media_type=MEDIA_TYPE, headers=_HEADERS)


async def _lines(events: Subscription, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    stopped = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[EventRecord] | None = None
    try:
        yield f"retry: {_RETRY}\nid: {events.position}\n\n".encode()  # sends the headers, too
        while not stopping.is_set():
            if coming is None:
                coming = asyncio.ensure_future(events.__anext__())
            ends: list[asyncio.Future[Any]] = [coming, stopped]
            await asyncio.wait(ends, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                event = coming.result()
                coming = None
                yield _message(event)
            elif not stopping.is_set():
                yield f": nothing new\nid: {events.position}\n\n".encode()
    except StopAsyncIteration:
        return  # the client was closed
    except StepwellError as error:  # of the log, in the midst of it: the headers are gone already
        problem, _ = problem_of(error)
        yield b"event: problem\ndata: " + encode(problem) + b"\n\n"
    finally:
        stopped.cancel()
        # In a task of its own: where the client has gone, whatever is awaited here is cancelled.
        await asyncio.shield(asyncio.ensure_future(_let_go(events, coming)))


async def _let_go(events: Subscription, coming: asyncio.Future[EventRecord] | None) -> None:
    if coming is not None:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    with contextlib.suppress(StepwellError):  # what mattered was told before
        await events.aclose()


def _message(event: EventRecord) -> bytes:
    head = FeedHead(event.instance_id, event.sequence, event.at, event.workflow)
    value = feed_value(head, event.event)
    return f"id: {event.position}\nevent: {event.type}\ndata: ".encode() + value + b"\n\n"
