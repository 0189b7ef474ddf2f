"""``stepwell history``: what ever happened to an instance, and what happens next."""

from __future__ import annotations

import asyncio
import fnmatch
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.drawing import short
from stepwell.cli.exits import UsageError
from stepwell.cli.output import print
from stepwell.cli.session import client_of
from stepwell.cli.verbs.show import print_json
from stepwell.cli.views import local_time
from stepwell.errors import LogClosedError, visible
from stepwell.schemas.records.events import WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stepwell.client.client import Client
    from stepwell.consumers.reading.events import Accepted
    from stepwell.consumers.reading.histories import EventRecord

_ENDS = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled)


async def history(
    instance_id: str, *, follow: bool, types: Sequence[str], full: bool, as_json: bool, log: str | None
) -> int:
    """Print an instance's events.

    Args:
        follow: Go on as further ones happen, until it has ended.
        types: Only of these types, with wildcards.
        full: Cut nothing.
    """
    from stepwell.consumers.reading.patterns import meant_by  # noqa: PLC0415 - start-up time

    given = [part.strip() for text in types for part in text.split(",") if part.strip()]
    wanted = [meant_by(pattern) for pattern in given]
    _check(wanted)
    async with client_of(log) as client:
        if follow:
            async for record in followed(client, instance_id):
                if _is_wanted(record, wanted):
                    line = json_line(record) if as_json else _line(record, 3, full=full)
                    print(line, flush=True)
            return 0
        records = await client.history(instance_id)
    shown = [record for record in records if _is_wanted(record, wanted)]
    print_events(instance_id, shown, full=full, as_json=as_json)
    if not records and not as_json:
        print("nothing has happened yet: its start is in the log and has not been decided yet")
    elif not shown and not as_json:
        there = ", ".join(sorted({record.type for record in records}))
        print(f"none of its {len(records):,} events is of that type; there are {there}")
    return 0


def print_events(instance_id: str, shown: Sequence[EventRecord], *, full: bool = False, as_json: bool) -> None:
    """Print events of an instance, one a line, or as one JSON object."""
    if as_json:
        print_json({"instance_id": instance_id, "events": [_plain_record(record) for record in shown]})
        return
    width = max((len(str(record.sequence)) for record in shown), default=0)
    for record in shown:
        print(_line(record, width, full=full))


def _check(wanted: Sequence[str]) -> None:
    """Refuse a type of events that no event has."""
    from typing import get_args  # noqa: PLC0415

    from stepwell.schemas.records.events import Event  # noqa: PLC0415 - start-up time

    known = [str(kind.__struct_config__.tag) for kind in get_args(Event)]
    for pattern in wanted:
        if not any(fnmatch.fnmatchcase(kind, pattern) for kind in known):
            raise UsageError(
                f"no event is of this type{suggest(pattern, known)}",
                place=f"--types {pattern}",
                remedy=f"There are {', '.join(sorted(known))}; * stands for anything: step.*",
            )


def _is_wanted(record: EventRecord, wanted: Sequence[str]) -> bool:
    return not wanted or any(fnmatch.fnmatchcase(record.type, pattern) for pattern in wanted)


async def followed(client: Client, instance_id: str) -> AsyncIterator[EventRecord]:
    """Its events so far, and further ones, until it has ended."""
    from stepwell.consumers.reading.histories import event_records  # noqa: PLC0415 - start-up time
    from stepwell.log.partitioner import partition_for  # noqa: PLC0415

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


def _line(record: EventRecord, width: int, *, full: bool) -> str:
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
