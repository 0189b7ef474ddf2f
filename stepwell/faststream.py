"""For programs built on FastStream: a router that subscribes to Stepwell's feed with typed events.

    router = FeedRouter("billing")

    @router.on("workflow.completed")
    async def completed(happened: Happened[WorkflowCompleted]) -> None: ...

    broker = KafkaBroker("localhost:9092")
    broker.include_router(router)
    app = FastStream(broker)

It needs ``pip install 'stepwell[faststream]'``, and ``stepwell feed`` running somewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, get_args

import msgspec

from stepwell.errors import StepwellError
from stepwell.log.port import FEED
from stepwell.schemas.records.events import Event
from stepwell.schemas.records.feed import FeedHead, FeedPosition, event_type, feed_headers, feed_source, feed_value

try:
    from faststream import AckPolicy, BaseMiddleware, ContextRepo
    from faststream.kafka import KafkaMessage, KafkaRouter, Topic

    from stepwell.consumers.outbound.feed_application import FeedApplication
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"stepwell.faststream needs {_error.name}, which is not installed: pip install 'stepwell[faststream]'",
        name=_error.name,
    ) from None

__all__ = ["FeedApplication", "FeedMessage", "FeedRouter", "FeedRouterError", "Happened", "feed_message"]

TYPES: Final = tuple(event_type(kind) for kind in get_args(Event))
"""What the events of the feed are called."""

_E = TypeVar("_E")
_F = TypeVar("_F", bound=Callable[..., Any])

_heads: msgspec.json.Decoder[FeedHead] = msgspec.json.Decoder(FeedHead)
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class FeedRouterError(StepwellError):
    """A subscription that could not do what it says."""


class Happened(msgspec.Struct, Generic[_E], frozen=True):
    """An event of the feed.

    Attributes:
        id: The same for each repeat: ``instance:sequence``.
        type: Such as ``workflow.completed``.
        workflow: The name of the instance's definition; empty where the feeder did not know it.
        sequence: The event's number within the instance, from 1; 0 for an answer that is no part of a history.
        at: When it was decided, in milliseconds since 1970.
        partition: Of the feed,
        position: and where in it the event belongs. Within a partition it only grows, but for repeats.
        event: The event itself.
    """

    id: str
    type: str
    instance_id: str
    workflow: str
    sequence: int
    at: int
    partition: int
    position: tuple[int, int]
    event: _E

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let FastStream, which validates arguments with pydantic, pass on what msgspec has decoded already."""
        from pydantic_core import core_schema  # noqa: PLC0415 - FastStream's, not ours

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """What a FastStream application says of it in its AsyncAPI description."""
        return {"type": "object", "title": "Happened", "description": "An event: see `stepwell asyncapi`."}


class FeedMessage(TypedDict):
    """The arguments for ``KafkaBroker.publish``."""

    message: bytes
    topic: str
    key: bytes
    headers: dict[str, str]


def feed_message(
    event: Event,
    *,
    instance_id: str,
    sequence: int = 1,
    workflow: str = "",
    at: int = 0,
    position: tuple[int, int] = (0, 0),
    namespace: str = "stepwell",
) -> FeedMessage:
    """A record as the feed has it, for tests: ``await broker.publish(**feed_message(event, instance_id="x"))``."""
    head = FeedHead(instance_id, sequence, at, workflow)
    headers = feed_headers(head, event, FeedPosition(*position, 0, 0), feed_source(namespace))
    return FeedMessage(
        message=feed_value(head, event), topic=f"{namespace}.{FEED}", key=instance_id.encode(), headers=headers
    )


def _decode(value: bytes, headers: Mapping[str, str], partition: int) -> Happened[Any]:
    head = _heads.decode(value)
    offset, _, number = headers.get("ce_position", "0.0").partition(".")
    return Happened(
        id=headers.get("ce_id", ""),
        type=headers["ce_type"],
        instance_id=head.instance_id,
        workflow=head.workflow,
        sequence=head.sequence,
        at=head.at,
        partition=partition,
        position=(int(offset), int(number)),
        event=_events.decode(value),
    )


class _Patience(BaseMiddleware[Any, Any]):
    """Waits after a handler's error: without it, FastStream would hand it the same record again at once."""

    def __init__(self, msg: Any, /, *, context: ContextRepo, seconds: float) -> None:
        super().__init__(msg, context=context)
        self._seconds = seconds

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
        try:
            return await call_next(msg)
        except Exception:
            await asyncio.sleep(self._seconds)
            raise


class FeedRouter(KafkaRouter):
    """Subscribes to the feed, as one consumer group.

    A record is acknowledged when its handler has returned; after an error it is handed out again, and those of its
    partition that follow wait. So every event is handled at least once, in order for each instance.

    Args:
        group_id: The group; each has all events, and shares them out among its processes.
        namespace: The log's.
        start: Where a new group begins: ``earliest`` or ``latest``.
        retry_delay: Seconds until a handler that failed is given the same event again.
    """

    def __init__(
        self,
        group_id: str,
        *,
        namespace: str = "stepwell",
        start: Literal["earliest", "latest"] = "earliest",
        retry_delay: float = 1.0,
    ) -> None:
        def patience(msg: Any, /, *, context: ContextRepo) -> _Patience:
            return _Patience(msg, context=context, seconds=retry_delay)

        super().__init__(middlewares=[patience])
        self.group_id = group_id
        self.topic: str = f"{namespace}.{FEED}"
        self._start = start
        self._taken: dict[str, str] = {}  # event type → the handler's name
        self._one_by_one: Any = None
        self._batched = False

    def on(self, *types: str) -> Callable[[_F], _F]:
        """Subscribe a function to events of these types, one a call: ``async def f(happened: Happened[…])``.

        The function may use all of FastStream: ``Depends``, ``Context``, publishers. Each is acknowledged by itself,
        which makes about 1,000 events a second; where that is too few, take ``batches``.

        Args:
            types: Such as ``workflow.completed``; ``*`` stands for anything: ``step.*``.

        Raises:
            FeedRouterError: There are no such events, or another function of this router has them.
        """
        if self._batched:
            raise self._mixed()
        chosen = self._choose(types)
        if self._one_by_one is None:  # FastStream must not make the topic: it would have one partition
            self._one_by_one = self.subscriber(
                Topic(self.topic, declare=False),
                group_id=self.group_id,
                ack_policy=AckPolicy.NACK_ON_ERROR,
                auto_offset_reset=self._start,
            )
            # Without a function for everything else, FastStream would take it for an error.
            self._one_by_one(_pass_by, filter=self._is_unwanted, decoder=_leave)

        def is_wanted(message: KafkaMessage) -> bool:
            return message.headers.get("ce_type") in chosen

        def register(function: _F) -> _F:
            self._take(chosen, function)
            self._one_by_one(function, filter=is_wanted, decoder=_decode_one)
            return function

        return register

    def batches(self, *types: str, most: int = 500, within: float = 0.2) -> Callable[[_F], _F]:
        """Subscribe a function to events of these types, many a call: ``async def f(all: list[Happened[Any]])``.

        Twenty times as fast as one by one. An error hands out the whole batch again. A batch may hold events of
        several partitions, each in its order.

        Args:
            most: Events in a batch; those of other types count.
            within: Seconds to wait for more.

        Raises:
            FeedRouterError: There are no such events, or the router has another function.
        """
        if self._batched or self._one_by_one is not None:
            raise self._mixed()
        self._batched = True
        chosen = self._choose(types)
        subscriber: Any = self.subscriber(
            Topic(self.topic, declare=False),
            group_id=self.group_id,
            batch=True,
            max_records=most,
            batch_timeout_ms=int(within * 1000),
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset=self._start,
        )

        def is_wanted(message: KafkaMessage) -> bool:
            return any(headers.get("ce_type") in chosen for headers in message.batch_headers)

        def is_unwanted(message: KafkaMessage) -> bool:
            return not is_wanted(message)

        async def decode(message: KafkaMessage) -> list[Happened[Any]]:
            return [
                _decode(record.value, headers, record.partition)
                for record, headers in zip(message.raw_message, message.batch_headers, strict=True)
                if headers.get("ce_type") in chosen
            ]

        def register(function: _F) -> _F:
            self._take(chosen, function)
            subscriber(_pass_by, filter=is_unwanted, decoder=_leave)
            subscriber(function, filter=is_wanted, decoder=decode)
            return function

        return register

    def _choose(self, patterns: tuple[str, ...]) -> frozenset[str]:
        chosen: set[str] = set()
        for pattern in patterns or ("",):
            found = {name for name in TYPES if fnmatchcase(name, pattern)}
            if not found:
                raise FeedRouterError(
                    f"no event is called {pattern!r}",
                    place=f"FeedRouter({self.group_id!r})",
                    remedy=f"There are {', '.join(TYPES)}; `*` stands for anything.",
                )
            chosen |= found
        return frozenset(chosen)

    def _take(self, chosen: frozenset[str], function: Callable[..., Any]) -> None:
        name = getattr(function, "__name__", repr(function))
        for one in sorted(chosen):
            if one in self._taken:
                raise FeedRouterError(
                    f"{one} goes to {self._taken[one]} already, so {name} would never see it",
                    place=f"FeedRouter({self.group_id!r})",
                    remedy="Call both from one function, or give the second a router with another group_id.",
                )
        self._taken.update(dict.fromkeys(chosen, name))

    def _is_unwanted(self, message: KafkaMessage) -> bool:
        return message.headers.get("ce_type") not in self._taken

    def _mixed(self) -> FeedRouterError:
        return FeedRouterError(
            "two subscriptions of one group would share the events out, and each miss those of the other",
            place=f"FeedRouter({self.group_id!r})",
            remedy="A router has either functions by `on`, or one by `batches`. Use a second with another group_id.",
        )


async def _decode_one(message: KafkaMessage) -> Happened[Any]:
    return _decode(message.body, message.headers, message.raw_message.partition)  # type: ignore[union-attr]


async def _leave(message: KafkaMessage) -> None:
    """Decode nothing: it is not wanted."""


async def _pass_by() -> None:
    """Nobody has asked for it."""
