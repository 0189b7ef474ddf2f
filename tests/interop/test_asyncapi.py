"""`stepwell asyncapi`: the description is valid, whole, and says what the codec does."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from stepwell.schemas.records.asyncapi import describe
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import Command, StartWorkflow
from stepwell.schemas.records.events import Event
from stepwell.schemas.records.feed import FeedHead, FeedPosition, event_type, feed_headers, feed_value
from tests.golden import values
from tests.patience import HANG

# AsyncAPI's own schema: schemas/3.0.0.json of @asyncapi/specs 6.11.1 (npm), Apache-2.0, without its spaces.
SCHEMA = Path(__file__).parent / "asyncapi-3.0.0.json.gz"
DOCUMENT = describe(version="1.2.3", namespace="shop", brokers=["kafka.example:9092"])


def test_it_is_valid_by_asyncapi_s_own_schema():
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    validator = jsonschema.Draft7Validator(schema)
    assert [f"{list(e.absolute_path)}: {e.message[:300]}" for e in validator.iter_errors(DOCUMENT)] == []
    broken = json.loads(json.dumps(DOCUMENT))
    del broken["info"]["version"]
    broken["channels"]["feed"]["messages"] = []
    assert list(validator.iter_errors(broken)), "the schema checks something"


def test_every_reference_leads_somewhere():
    def references(part):
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    found = set(references(DOCUMENT))
    assert len(found) > 60
    for reference in found:
        place = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def test_faststream_s_own_models_read_it():
    parsed = ApplicationSchema.model_validate(DOCUMENT)
    assert set(parsed.channels) == {"commands", "starts", "feed"}
    assert parsed.channels["feed"].address == "shop.feed"


def test_every_command_and_every_event_is_there():
    commands = {str(kind.__struct_config__.tag) for kind in Command.__args__}
    events = {str(kind.__struct_config__.tag) for kind in Event.__args__}
    channels = DOCUMENT["channels"]
    assert set(channels["commands"]["messages"]) == commands
    assert set(channels["starts"]["messages"]) == {"StartWorkflow"}
    assert set(channels["feed"]["messages"]) == events
    assert set(DOCUMENT["components"]["messages"]) == commands | events


def check(name, value, headers=None):
    message = DOCUMENT["components"]["messages"][name]
    whole = {"components": DOCUMENT["components"]}
    jsonschema.Draft7Validator({**message["payload"], **whole}).validate(json.loads(value))
    if headers is not None:
        jsonschema.Draft7Validator({**message["headers"], **whole}).validate(headers)


@pytest.mark.parametrize("event", values._EVENTS.values(), ids=event_type)
def test_what_the_feed_publishes_is_what_is_described(event):
    head = FeedHead("order-1", 7, 1_700_000_000_000, "order")
    headers = feed_headers(head, event, FeedPosition(12, 3, 9, 3), "/stepwell/shop")
    check(event_type(event), feed_value(head, event), headers)


def test_what_is_described_can_be_sent_and_what_is_not_cannot():
    check("StartWorkflow", encode(StartWorkflow("order-1", workflow="order", input={"a": [1]}, priority=3)))
    for wrong in ({"priority": 101}, {"workflow": 5}, {"instance_id": ""}, {"type": "Start"}):
        value = {"type": "StartWorkflow", "instance_id": "order-1", "workflow": "order", **wrong}
        with pytest.raises(jsonschema.ValidationError):
            check("StartWorkflow", json.dumps(value))
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(json.dumps(value), type=Command)


def run(*arguments):
    command = [sys.executable, "-m", "stepwell", "asyncapi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG)


def test_the_verb_prints_it_as_json_and_as_yaml():
    plain, told = run(), run("--yaml", "--log", "kafka://kafka.example:9092?namespace=shop")
    assert plain.returncode == told.returncode == 0, told.stderr
    assert "servers" not in json.loads(plain.stdout)
    document = yaml.safe_load(told.stdout)
    assert document["servers"] == {"kafka-1": {"host": "kafka.example:9092", "pathname": "", "protocol": "kafka"}}
    assert document["channels"]["feed"]["address"] == "shop.feed"
    both = run("--yaml", "--json")
    assert (both.returncode, "Traceback" in both.stderr) == (2, False)
