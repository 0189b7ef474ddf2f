"""The AsyncAPI 3 description of what others may write to a log and read from it: commands, starts, the feed.

Made from the same structs that decode the records, so it cannot say anything else than they do. Payloads are JSON
Schema draft-07, which is what AsyncAPI takes without a word about the dialect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec

from stepwell.schemas.records.commands import Command, StartWorkflow
from stepwell.schemas.records.events import Event
from stepwell.schemas.records.feed import CONTENT_TYPE, FeedHead, feed_source
from stepwell.schemas.records.sender import BY, LONGEST, VIA

_KAFKA_BINDING: Final = "0.5.0"
_KEY: Final = {"type": "string", "description": "The instance id."}
_SENDER: Final = {
    "type": "object",
    "properties": {
        BY: {"type": "string", "maxLength": LONGEST, "description": "Who asks; recorded with the answer."},
        VIA: {"type": "string", "maxLength": LONGEST, "description": "From where; likewise."},
    },
}
_REFS: Final = "#/components/schemas/{name}"


def describe(*, version: str, namespace: str = "stepwell", brokers: Iterable[str] = ()) -> dict[str, Any]:
    """The description, as what JSON or YAML can hold.

    Args:
        version: Of Stepwell.
        namespace: What the topics' names begin with.
        brokers: ``host:port`` of each, where they are to be named.
    """
    commands, events = _members(Command), _members(Event)
    _, schemas = msgspec.json.schema_components([*commands.values(), *events.values(), FeedHead], ref_template=_REFS)
    servers = {
        f"kafka-{number}": {"host": broker, "pathname": "", "protocol": "kafka"}
        for number, broker in enumerate(brokers, start=1)
    }
    description: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Stepwell",
            "version": version,
            "description": "Workflows over a message log: commands ask, events happened. Records are JSON. Their "
            "key is the instance id, partitioned as Kafka's Java client does (murmur2).",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
    }
    if servers:
        description["servers"] = servers
    return description | {
        "channels": {
            "commands": _channel(
                f"{namespace}.commands", "Requests to instances; each is followed, noted or rejected.", commands
            ),
            "starts": _channel(
                f"{namespace}.starts",
                "Starts that may wait until there is room for them.",
                {"StartWorkflow": StartWorkflow},
            ),
            "feed": _channel(
                f"{namespace}.feed",
                "Every accepted event, one a record, in order for each instance, at least once. A repeat has the "
                "ce_id and ce_position of the first.",
                events,
            ),
        },
        "operations": {
            "receiveCommands": _operation("receive", "commands", commands, "What an engine follows."),
            "receiveStarts": _operation("receive", "starts", ["StartWorkflow"], "What an engine follows."),
            "publishEvents": _operation("send", "feed", events, "What `stepwell feed` publishes."),
        },
        "components": {
            "messages": {
                **{name: _command(name, kind) for name, kind in commands.items()},
                **{name: _event(name, kind, feed_source(namespace)) for name, kind in events.items()},
            },
            "schemas": {name: _in_draft_7(schema) for name, schema in schemas.items()},
        },
    }


def _members(union: Any) -> dict[str, Any]:
    return {str(kind.__struct_config__.tag): kind for kind in get_args(union)}


def _channel(address: str, text: str, messages: Iterable[str]) -> dict[str, Any]:
    return {
        "address": address,
        "description": text,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": address, "bindingVersion": _KAFKA_BINDING}},
    }


def _operation(action: str, channel: str, messages: Iterable[str], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _summary(kind: Any) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _command(name: str, kind: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "summary": _summary(kind),
        "contentType": CONTENT_TYPE,
        "headers": _SENDER,
        "payload": {"$ref": _REFS.format(name=kind.__name__)},
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": _KAFKA_BINDING}},
    }


def _event(name: str, kind: Any, source: str) -> dict[str, Any]:
    head = FeedHead.__name__
    return {
        "name": name,
        "title": kind.__name__,
        "summary": _summary(kind),
        "contentType": CONTENT_TYPE,
        "headers": _headers(name, source),
        "payload": {"allOf": [{"$ref": _REFS.format(name=head)}, {"$ref": _REFS.format(name=kind.__name__)}]},
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": _KAFKA_BINDING}},
    }


def _headers(name: str, source: str) -> dict[str, Any]:
    """CloudEvents in Kafka's binary mode."""
    text = {"type": "string"}
    properties = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**text, "description": "INSTANCE:SEQUENCE"},
        "ce_source": {"const": source},
        "ce_type": {"const": name},
        "ce_subject": {**text, "description": "The instance id."},
        "ce_time": {**text, "format": "date-time"},
        "content-type": {"const": CONTENT_TYPE},
        "ce_position": {
            **text,
            "pattern": r"^[0-9]+\.[0-9]+$",
            "description": "OFFSET.NUMBER in the partition of `events`; grows within a partition, but for repeats.",
        },
        "stepwell-stamp": {**text, "pattern": r"^[0-9]+\.[0-9]+$"},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _in_draft_7(schema: Any) -> Any:
    """What msgspec writes in JSON Schema 2020-12, in draft-07: tuples are spelled differently."""
    if isinstance(schema, list):
        return [_in_draft_7(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _in_draft_7(value) for name, value in schema.items()}
    if "prefixItems" in found:
        rest = found.pop("items", None)
        found["items"] = found.pop("prefixItems")
        if rest is not None:
            found["additionalItems"] = rest
    return found
