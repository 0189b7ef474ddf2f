"""Events of instances, as the terminal shows them and as they happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.drawing import short
from stepwell.cli.output import print, print_json
from stepwell.cli.views import local_time
from stepwell.consumers.reading.histories import event_records
from stepwell.errors import LogClosedError, visible
from stepwell.log.partitioner import partition_for
from stepwell.schemas.records.events import WorkflowCancelled, WorkflowCompleted, WorkflowFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stepwell.client.client import Client
    from stepwell.consumers.reading.events import Accepted
    from stepwell.consumers.reading.histories import EventRecord


_ENDS = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled)


def print_events(instance_id: str, shown: Sequence[EventRecord], *, full: bool = False, as_json: bool) -> None:
    """Print events of an instance, one a line, or as one JSON object."""
    if as_json:
        print_json({"instance_id": instance_id, "events": [_plain_record(record) for record in shown]})
        return
    width = max((len(str(record.sequence)) for record in shown), default=0)
    for record in shown:
        print(record_line(record, width, full=full))


async def followed(client: Client, instance_id: str) -> AsyncIterator[EventRecord]:
    """Its events so far, and further ones, until it has ended."""
    arrived: asyncio.Queue[Accepted | BaseException] = asyncio.Queue()
    partition = partition_for(instance_id, client.log.partitions)

    def take(accepted: Accepted) -> None:
        if accepted.transition.instance_id == instance_id:
            arrived.put_nowait(accepted)

    stop = await client.subscriber.listen(take, arrived.put_nowait)  # first, so that nothing falls between
    try:
        offset, over = -1, False
        for record in await client.history(instance_id):
            yield record
            offset = record.offset
            if record.sequence:
                over = isinstance(record.event, _ENDS)
        while not over:
            accepted = await arrived.get()
            if isinstance(accepted, LogClosedError):
                return
            if isinstance(accepted, BaseException):
                raise accepted
            if accepted.record.offset <= offset:
                continue
            for record in event_records(accepted.transition, partition, accepted.record.offset):
                yield record
                if record.sequence:
                    over = isinstance(record.event, _ENDS)
    finally:
        stop()


def _plain_record(record: EventRecord) -> dict[str, Any]:
    return {
        "sequence": record.sequence, "at": record.at, "partition": record.partition, "offset": record.offset,
        **msgspec.to_builtins(record.event),
    }  # fmt: skip


def json_line(record: EventRecord) -> str:
    """An event as one line of JSON."""
    return msgspec.json.encode({"instance_id": record.instance_id, **_plain_record(record)}).decode()


def record_line(record: EventRecord, width: int, *, full: bool) -> str:
    """An event in one line; with ``full``, its traceback below."""
    shown = msgspec.to_builtins(record.event)
    kind = shown.pop("type")
    trace = _traceback(shown) if full else ""
    words = "  ".join(f"{key}={_value(value, full=full)}" for key, value in shown.items())
    milliseconds = record.at % 1000
    line = f"{record.sequence:>{width}}  {local_time(record.at)}.{milliseconds:03}  {kind:<22} {words}".rstrip()
    return line + "".join(f"\n{' ' * (width + 4)}{visible(text)}" for text in trace.rstrip().splitlines())


def _value(value: Any, *, full: bool) -> str:
    text = _plain(value)
    return visible(" ".join(text.split())) if full else short(text, 72)


def _traceback(shown: dict[str, Any]) -> str:
    error = shown.get("error")
    return str(error.get("traceback", "")) if isinstance(error, dict) else ""


def _plain(value: Any) -> str:
    if isinstance(value, dict) and "type" in value and "message" in value:
        return f"{value['type']}: {value['message']}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
