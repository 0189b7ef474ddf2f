"""Bytes to records: what is none is said to be none, and nothing else ever comes out."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import LogCorruptedError, LogVersionError
from stepwell.schemas.records.cleanups import decode_cleanup
from stepwell.schemas.records.codec import MOST_NESTED, decode_command, decode_snapshotted, decode_transition, encode
from stepwell.schemas.records.commands import CompleteStep, ResumeWorkflow, StartWorkflow
from stepwell.schemas.records.events import EVENTS_VERSION, StepSucceeded, Transition
from tests.core.model import examples

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@examples(200)
@given(json_values)
def test_any_json_survives_the_log(value):
    command = decode_command(encode(CompleteStep("i", "a", 1, value)))
    assert command.output == value
    transition = Transition(EVENTS_VERSION, 1, "i", 2, (StepSucceeded("a", 1, command.output),))
    again = decode_transition(encode(transition), "here")
    assert again == transition
    assert encode(again) == encode(transition)


@examples(200)
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_noise_is_never_taken_for_a_record(noise):
    with pytest.raises(msgspec.DecodeError):
        decode_command(noise)
    with pytest.raises((LogCorruptedError, LogVersionError)):
        decode_transition(noise, "events[0] 7")


@examples(200)
@given(json_values, st.sampled_from(["version", "at", "instance_id", "sequence", "events"]))
def test_an_old_transition_with_an_odd_field_brings_nobody_down(value, key):
    raw = {"version": 1, "at": 5, "instance_id": "i", "sequence": 1, "events": [{"type": "step.failed"}], key: value}
    with contextlib.suppress(LogCorruptedError, LogVersionError):  # some odd values are just as good
        decode_transition(json.dumps(raw).encode(), "events[0] 7")


@pytest.mark.parametrize(
    "events", ["abc", ["abc"], [["type"]], [{}], [{"type": "step.retry_scheduled", "delay_seconds": "x"}], 5]
)
def test_old_events_that_are_none_are_corrupted(events):
    raw = {"version": 1, "at": 5, "instance_id": "i", "sequence": 1, "events": events}
    with pytest.raises(LogCorruptedError):
        decode_transition(json.dumps(raw).encode(), "here")


@pytest.mark.parametrize("version", [EVENTS_VERSION + 1, 99, 0, "2", None, [], {}, 2.5])
def test_an_event_of_an_unknown_version_stops_the_reader(version):
    raw = {"version": version, "at": 5, "instance_id": "i", "sequence": 1, "events": [{"type": "from.the.future"}]}
    with pytest.raises((LogVersionError, LogCorruptedError)) as caught:
        decode_transition(json.dumps(raw).encode(), "events[0] 7")
    assert "Nothing was skipped." in str(caught.value)
    if version in (EVENTS_VERSION + 1, 99):
        assert isinstance(caught.value, LogVersionError)
        assert "Update Stepwell" in str(caught.value)


def test_an_unknown_event_of_our_own_version_is_corruption():
    raw = {"version": EVENTS_VERSION, "at": 5, "instance_id": "i", "sequence": 1, "events": [{"type": "from.afar"}]}
    with pytest.raises(LogCorruptedError):
        decode_transition(json.dumps(raw).encode(), "here")


@pytest.mark.parametrize(
    "read",
    [
        lambda: decode_transition(
            b'{"version":3,"at":5,"instance_id":"i","sequence":1,"events":[{"type":"x"}]}', "e"
        ),
        lambda: decode_transition(
            b'{"version":2,"at":5,"instance_id":"i","sequence":1,"events":[{"type":"x"}]}', "e"
        ),
        lambda: decode_snapshotted(b'{"version":2}', "e"),
        lambda: decode_cleanup(b'{"version":1}', {}, "e"),
    ],
)
def test_a_record_that_cannot_be_read_is_either_newer_or_damaged_and_the_message_names_both(read):
    with pytest.raises(LogCorruptedError) as caught:
        read()
    assert "a newer Stepwell wrote it: update" in caught.value.remedy
    assert "it is damaged: restore the log from a backup" in caught.value.remedy


def test_a_snapshot_record_of_a_newer_version_says_so():
    record = {
        "version": EVENTS_VERSION + 1,
        "at": 1,
        "covers": 1,
        "epoch": 1,
        "index": 1,
        "first": 1,
        "chunks": 1,
        "size": 1,
    }
    with pytest.raises(LogVersionError):
        decode_snapshotted(json.dumps(record).encode(), "here")
    with pytest.raises(LogCorruptedError):
        decode_snapshotted(b"{}", "here")


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "StartWorkflow", "instance_id": "", "workflow": "w"},
        {"type": "StartWorkflow", "instance_id": "x" * 201, "workflow": "w"},
        {"type": "StartWorkflow", "instance_id": "i", "workflow": "w", "priority": 101},
        {"type": "StartWorkflow", "instance_id": "i", "workflow": "w", "timeout_seconds": -1},
        {"type": "StartWorkflow", "instance_id": "i"},
        {"type": "CompleteStep", "instance_id": "i", "step_id": "a", "run": "1"},
        {"type": "CompleteStep", "instance_id": "i", "step_id": "a", "run": 1, "context": []},
        {"type": "ResumeWorkflow", "instance_id": "i", "failed_steps": "maybe"},
        {"type": "FireTimer", "instance_id": "i", "timer": ""},
        {"type": "ContinueWorkflow", "instance_id": "i"},
        {"type": "QuarantineInstance", "instance_id": "i", "error": {"type": "x"}},
        {"type": "PauseWorkflow", "instance_id": "i", "schema": 2},
        {"type": "Nonsense", "instance_id": "i"},
        {"instance_id": "i"},
        [],
    ],
)
def test_a_command_that_is_none_is_refused(raw):
    """Also those that only the owner of a partition makes: they never cross the wire."""
    with pytest.raises(msgspec.DecodeError):
        decode_command(json.dumps(raw).encode())


def test_a_command_from_another_language_needs_no_more_than_what_it_says():
    raw = b'{"type": "StartWorkflow", "instance_id": "i", "workflow": "w", "a_field_of_tomorrow": 1}'
    assert decode_command(raw) == StartWorkflow("i", workflow="w")
    assert decode_command(b'{"type":"ResumeWorkflow","instance_id":"i"}') == ResumeWorkflow("i")


@pytest.mark.parametrize("kind", ["list", "mapping"])
@pytest.mark.parametrize("depth", [MOST_NESTED - 5, MOST_NESTED + 5, 5_000, 100_000])
def test_what_is_nested_too_deeply_is_refused_however_deep(kind, depth):
    """A payload that this process can just read must be readable by every other, in a state and in a snapshot."""
    nested = "[" * depth + "]" * depth if kind == "list" else '{"a":' * depth + "1" + "}" * depth
    raw = f'{{"type":"CompleteStep","instance_id":"i","step_id":"a","run":1,"output":{nested}}}'.encode()
    if depth < MOST_NESTED:
        assert encode(decode_command(raw).output) == nested.encode()
    else:
        with pytest.raises(msgspec.DecodeError, match="nested"):
            decode_command(raw)


def test_a_wide_payload_is_not_a_deep_one():
    rows = [{"n": number, "tags": []} for number in range(5_000)]
    assert decode_command(encode(CompleteStep("i", "a", 1, rows))).output == rows
