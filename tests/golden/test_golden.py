"""What was ever written is read to the same values, and today's code writes the same bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from stepwell.core.fold.evolve import fold
from stepwell.core.fold.snapshots import decode_partition
from stepwell.core.fold.state import (
    InstanceState,
    decode_instance,
    encode_instance,
    instance_from_plain,
    instance_to_plain,
)
from stepwell.schemas.definitions.model import decode_definition
from stepwell.schemas.records.codec import (
    decode_cancel,
    decode_command,
    decode_snapshotted,
    decode_transition,
    decode_work,
    encode,
)
from stepwell.schemas.records.commands import Command
from stepwell.schemas.records.events import EVENTS_VERSION, Event
from stepwell.schemas.records.partition_records import PartitionOwned
from tests.golden import make, values
from tests.golden.values import transition

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NEWEST = f"events/v{EVENTS_VERSION}/"
FILES = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.json*"))


def golden(name: str) -> bytes:
    return (HERE / name).read_bytes()


def test_every_file_has_its_value_and_every_value_its_file():
    assert sorted({**values.files(), **values.OLD_STATES, **values.OLD_PARTITIONS}) == FILES, (
        "run `python -m tests.golden.make`"
    )


def test_every_type_of_event_and_command_has_a_file():
    written = {json.loads(golden(name))["events"][0]["type"] for name in FILES if name.startswith(NEWEST)}
    assert written == {kind.__struct_config__.tag for kind in get_args(Event)}
    written = {json.loads(golden(name))["type"] for name in FILES if name.startswith("commands/")}
    assert written == {kind.__struct_config__.tag for kind in get_args(Command)}


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__struct_config__.tag)
def test_every_field_of_an_event_stands_in_some_file(kind):
    """A field that no file shows could change its meaning unseen."""
    shown = {
        key
        for name in FILES
        if name.startswith(NEWEST)
        for event in json.loads(golden(name))["events"]
        if event["type"] == kind.__struct_config__.tag
        for key in event
    }
    assert shown == {"type", *kind.__struct_encode_fields__}


@pytest.mark.parametrize("name", values.TRANSITIONS)
def test_an_event_is_read_and_written_as_ever(name):
    assert decode_transition(golden(name), name) == values.TRANSITIONS[name]
    assert encode(decode_transition(golden(name), name)) == golden(name)


OLDER = {**values.FROM_V1, **values.FROM_V2, **values.FROM_V3, **values.FROM_OLD_V2}


@pytest.mark.parametrize("name", OLDER)
def test_an_event_of_an_older_version_is_read_as_what_it_means_today(name):
    assert decode_transition(golden(name), name) == OLDER[name]


def test_a_state_that_waits_for_a_child_by_its_older_names_is_read_from_snapshots_and_reopenings():
    """The event that asked for a child stands in the state, so its names stood there, too."""
    (asked,) = json.loads(golden("events/v2/child.requested-old.json"))["events"]
    state = fold([*values.HISTORY[:1], transition(values.CHILD_OF_OLD, sequence=5)])
    assert state is not None
    plain = instance_to_plain(state)
    plain["steps"]["sub"]["child"] = asked
    assert decode_instance(json.dumps(plain).encode()) == state
    assert instance_from_plain(plain) == state


def test_every_golden_file_that_history_knows_still_stands_as_it_was():
    """Logs that hold such bytes exist. A file may be renamed; what stood in one must stand in one for ever."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git here, so nobody knows which files there were")
    known = _git("rev-list", "--objects", "HEAD", "--", "tests/golden").splitlines()
    once = {blob: name for blob, _, name in (line.partition(" ") for line in known) if ".json" in name}
    assert once
    here = _git("hash-object", "--", *(str(HERE / name) for name in FILES)).splitlines()
    gone = {name for blob, name in once.items() if blob not in here}
    assert not gone, "changed or gone; put their former bytes back, beside today's under a new name"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", values.COMMANDS)
def test_a_command_is_read_and_written_as_ever(name):
    assert decode_command(golden(name)) == values.COMMANDS[name]
    assert encode(decode_command(golden(name))) == golden(name)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("records/owned.json", msgspec.json.Decoder(PartitionOwned).decode),
        ("records/snapshotted.json", lambda value: decode_snapshotted(value, "a test")),
        ("records/work.json", decode_work),
        ("records/cancel.json", decode_cancel),
    ],
)
def test_the_other_records_are_read_and_written_as_ever(name, read):
    assert read(golden(name)) == values.OTHERS[name]
    assert encode(read(golden(name))) == golden(name)


@pytest.mark.parametrize("name", values.DEFINITIONS)
def test_a_definition_keeps_its_bytes_and_so_its_hash(name):
    assert decode_definition(golden(name)) == values.DEFINITIONS[name]
    assert values.files()[name] == golden(name)


def test_a_history_folds_to_the_same_state():
    for name in ("events/history.jsonl", "events/history-3.jsonl", "events/history-4.jsonl"):
        history = [decode_transition(line, "a test") for line in golden(name).splitlines()]
        assert history == values.HISTORY
    assert encode_instance(fold(history)) == golden(_newest("states/rolling-back-"))
    assert encode_instance(fold(history, to=11)) == golden(_newest("states/running-"))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("states/r")])
def test_a_state_is_read_as_ever(name):
    """States grow by fields: older files must still be read, and only the newest is what is written today."""
    state = decode_instance(golden(name))
    assert state == {**values.STATES, **values.OLD_STATES}[name]
    assert instance_from_plain(instance_to_plain(state)) == state
    if name == _newest(name.rpartition("-")[0]):
        assert encode_instance(state) == golden(name)
        assert {*json.loads(golden(name))} == {*InstanceState.__struct_fields__}


@pytest.mark.parametrize("name", [*values.PARTITIONS, *values.OLD_PARTITIONS])
def test_a_partition_is_read_as_ever_however_it_was_cut(name):
    whole = golden(name)
    for size in (len(whole), 1, 7, 100):
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert decode_partition(chunks) == {**values.PARTITIONS, **values.OLD_PARTITIONS}[name]


def _newest(prefix: str) -> str:
    return max((name for name in FILES if name.startswith(prefix)), key=lambda name: (len(name), name))


def test_making_them_never_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make, "HERE", tmp_path)
    assert make.main() == 0
    victim = tmp_path / "commands" / "PauseWorkflow.json"
    victim.write_bytes(b"{}")
    assert make.main() == 1
    assert victim.read_bytes() == b"{}"
    assert "refused to overwrite commands/PauseWorkflow.json" in capsys.readouterr().err


def test_it_can_be_called_as_it_is_documented():
    ran = subprocess.run([sys.executable, "-m", "tests.golden.make"], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
