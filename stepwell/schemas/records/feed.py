"""The public feed: one accepted event a record, as CloudEvents say it in Kafka (binary mode).

A record's value is the event as plain JSON: what it is about (``instance_id``, ``sequence``, ``at``, ``workflow``),
its ``type`` and its own fields beside them. So one decoder reads the head of any event, and another the event itself.
Its headers are those of CloudEvents 1.0 (cloudevents.io, Kafka protocol binding, 3.2), and two of ours:

- ``ce_position``, an extension attribute: ``OFFSET.NUMBER``, the transition's offset on the partition of ``events``
  with the same number, and the number of the event within it, from 0. It only grows, but for repeats.
- ``stepwell-stamp``: ``EPOCH.INDEX`` of the transition, from which a feeder goes on
  (``stepwell.core.fold.acceptance``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.discretion import without_tracebacks
from stepwell.schemas.records.events import Event, WorkflowStarted

CONTENT_TYPE: Final = "application/json"
POSITION: Final = "ce_position"
STAMP: Final = "stepwell-stamp"


class FeedHead(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an event of the feed is about.

    Attributes:
        sequence: The event's number within the instance, from 1; 0 for an answer that is no part of a history.
        at: When it was decided, in milliseconds since 1970.
        workflow: The name of the instance's definition; left out where the feeder does not know it.
        life: What tells the event from one of an earlier instance of this id, where there may have been one; also a
            part of its ``ce_id``.
    """

    instance_id: str
    sequence: int
    at: int
    workflow: str = ""
    life: int = 0


class FeedPosition(NamedTuple):
    """Where an event of the feed comes from; compares as the events are ordered within their partition.

    Attributes:
        offset: Of its transition,
        number: and of the event within it, from 0.
        epoch: The transition's epoch,
        turn: and its index there.
    """

    offset: int
    number: int
    epoch: int
    turn: int


def event_type(event: Event) -> str:
    """What an event is called: ``workflow.started``."""
    return str(event.__struct_config__.tag)


def feed_source(namespace: str) -> str:
    """The ``ce_source`` of a log's events."""
    return f"/stepwell/{namespace}"


def feed_value(head: FeedHead, event: Event, *, tracebacks: bool = False) -> bytes:
    """An event as the feed has it.

    Args:
        tracebacks: Whether errors keep theirs: for those who may see them alone. The feed's readers are anybody.
    """
    if not tracebacks:
        event = without_tracebacks(event)
    if isinstance(event, WorkflowStarted):  # it names the workflow itself
        head = replace(head, workflow="")
    return encode(head)[:-1] + b"," + encode(event)[1:]


def attributes(head: FeedHead, event: Event, where: str, source: str) -> dict[str, str]:
    """The attributes of an event as CloudEvents 1.0 calls them.

    An answer outside any history has no sequence of its own, so its id names the record that it comes from.

    Args:
        where: ``OFFSET.NUMBER``.
        source: Whose events they are.
    """
    life = f"@{head.life}" if head.life else ""
    return {
        "specversion": "1.0",
        "id": f"{head.instance_id}:{head.sequence}" + (life if head.sequence else f":{where}"),
        "source": source,
        "type": event_type(event),
        "subject": head.instance_id,
        "time": rfc3339(head.at),
    }


def feed_headers(head: FeedHead, event: Event, position: FeedPosition, source: str) -> dict[str, str]:
    """The headers of an event in the feed."""
    where = f"{position.offset}.{position.number}"
    return {
        **{f"ce_{name}": value for name, value in attributes(head, event, where, source).items()},
        "content-type": CONTENT_TYPE,
        POSITION: where,
        STAMP: f"{position.epoch}.{position.turn}",
    }


def feed_position(headers: Mapping[str, str]) -> FeedPosition | None:
    """Where a record of the feed says that it comes from; None where it is none of ours."""
    try:
        offset, number = headers[POSITION].split(".")
        epoch, turn = headers[STAMP].split(".")
        return FeedPosition(int(offset), int(number), int(epoch), int(turn))
    except (KeyError, ValueError):
        return None


def rfc3339(at: int) -> str:
    """Milliseconds since 1970 as text, in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
