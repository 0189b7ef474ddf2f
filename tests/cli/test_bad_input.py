"""Bad input: one clear message that names the place and the remedy, exit status 2, nothing written."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from stepwell.schemas.records.events import EVENTS_VERSION
from tests.files import database
from tests.patience import until

from .conftest import Inside, Shell, chain

STEP = "steps: [{id: a, handler: greet}]"

BAD_DEFINITIONS = {
    "empty": ("", "is empty"),
    "a list": ("- 1\n- 2\n", "a definition is a mapping"),
    "broken yaml": ("name: x\nsteps: [", "line 3, column 1"),
    "tabs": ("name: x\n\tsteps: 1\n", "line 2"),
    "broken json": ('{"name": ', "JSON"),
    "no steps": ("name: x\n", '"steps"'),
    "no step at all": ("name: x\nsteps: []\n", "there are none"),
    "misspelt key": (f"nam: x\n{STEP}", 'unknown key "nam", did you mean "name"?'),
    "misspelt step key": ("name: x\nsteps: [{id: a, handler: greet, dependson: []}]", 'did you mean "depends_on"?'),
    "wrong type": ("name: x\nsteps: [{id: a, handler: greet, timeout_seconds: soon}]", "timeout_seconds"),
    "unknown step": (
        "name: x\nsteps: [{id: extract, handler: greet}, {id: b, handler: greet, depends_on: [extrct]}]",
        'unknown step "extrct", did you mean "extract"?',
    ),
    "duplicate id": ("name: x\nsteps: [{id: a, handler: greet}, {id: a, handler: greet}]", "is given to 2 steps"),
    "cycle": (
        "name: x\nsteps: [{id: a, handler: greet, depends_on: [b]}, {id: b, handler: greet, depends_on: [a]}]",
        "in a cycle: ",
    ),
    "bad expression": ("name: x\nsteps: [{id: a, handler: greet, condition: 'input.x ==='}]", "steps[0].condition"),
    "forbidden expression": (
        "name: x\nsteps: [{id: a, handler: greet, condition: '__import__(\"os\")'}]",
        "steps[0].condition",
    ),
    "unknown name": ("name: x\nsteps: [{id: a, handler: greet, condition: inptu.x > 1}]", 'did you mean "input"?'),
    "unknown type": ("name: x\nsteps: [{id: a, type: proces}]", 'did you mean "process"?'),
    "no handler": ("name: x\nsteps: [{id: a}]", "needs a handler"),
    "bad schema": (f"name: x\ninput_schema: {{type: nonsense}}\n{STEP}", "input_schema"),
    "yaml tag": ("name: !!python/object:os.system x\nsteps: []\n", "w.yaml"),
}


@pytest.mark.parametrize("case", BAD_DEFINITIONS)
def test_a_wrong_definition_is_explained(inside: Inside, case: str):
    text, words = BAD_DEFINITIONS[case]
    inside.write("w.yaml", text)
    err = inside("run", "w.yaml", "--handlers", "steps", status=2)
    assert words in err
    assert err.startswith("error: ")
    assert not (inside.directory / ".stepwell").exists(), "nothing may be written for a definition that is wrong"


def test_all_problems_of_a_graph_are_told_at_once(shell: Shell):
    shell.write("w.yaml", "name: x\nsteps: [{id: a}, {id: b, type: nope}, {id: c, handler: greet, depends_on: [zz]}]")
    err = shell("validate", "w.yaml", status=2).stderr
    assert "3 problems" in err


BAD_CALLS = {
    "no such file": (("run", "nothere.yaml"), "no such file"),
    "a near file": (("run", "god.yaml"), "did you mean good.yaml?"),
    "a directory": (("run", "."), "is a directory"),
    "binary": (("run", "binary.yaml"), "UTF-8"),
    "unknown handler": (("run", "good.yaml"), "handler 'greet': is not registered"),
    "outside": (("run", "dotted.yaml"), "--handlers steps"),
    "no such module": (("run", "good.yaml", "--handlers", "nowhere.steps"), "no module"),
    "a path as module": (("run", "good.yaml", "--handlers", "steps.py"), "--handlers steps"),
    "no such function": (("run", "missing.yaml", "--handlers", "steps"), 'did you mean "greet"?'),
    "input no json": (("run", "good.yaml", "--handlers", "steps", "--input", "{oops"), "is no JSON"),
    "input no file": (("run", "good.yaml", "--handlers", "steps", "--input", "@gone.json"), "gone.json"),
    "param": (("run", "good.yaml", "--handlers", "steps", "--param", "oops"), "KEY=VALUE"),
    "schema": (("run", "strict.yaml", "--handlers", "steps", "--input", '{"n": "one"}'), "input.n"),
    "url": (("run", "good.yaml", "--handlers", "steps", "--log", "nonsense"), "file:nonsense"),
    "kafka": (("run", "good.yaml", "--handlers", "steps", "--log", "kafka://127.0.0.1:1?connect_timeout=0.2"), "broker up"),
    "no log": (("status", "x"), "no log"),
    "no log to list": (("list",), "no log"),
    "no log to cancel": (("cancel", "x"), "no log"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_wrong_call_is_explained(inside: Inside, case: str):
    inside.write("good.yaml", f"name: good\n{STEP}")
    inside.write("dotted.yaml", "name: dotted\nsteps: [{id: a, handler: steps.note}]")
    inside.write("missing.yaml", "name: missing\nsteps: [{id: a, handler: steps.gret}]")
    inside.write("strict.yaml", f"name: strict\ninput_schema: {{properties: {{n: {{type: integer}}}}}}\n{STEP}")
    (inside.directory / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    words, expected = BAD_CALLS[case]
    err = inside(*words, status=2)
    assert expected in err
    assert err.startswith("error: ")


def test_unknown_instances_are_named_by_every_verb(shell: Shell):
    shell.write("w.json", chain(1))
    shell("run", "w.json", "--handlers", "steps", "--id", "there")
    for verb in ("status", "history", "replay", "stop", "resume", "cancel", "rollback"):
        assert "no instance" in shell(verb, "elsewhere", status=2).stderr


def test_a_finished_instance_cannot_be_cancelled(shell: Shell):
    shell.write("w.json", chain(1))
    shell("run", "w.json", "--handlers", "steps", "--id", "there")
    assert "it has finished: completed" in shell("cancel", "there", status=2).stderr


def test_an_unknown_checkpoint_is_answered_with_those_there_are(shell: Shell):
    shell.write("w.json", chain(3))
    shell("run", "w.json", "--handlers", "steps", "--id", "there")
    err = shell("rollback", "there", "--checkpoint", "s7", status=2).stderr
    assert "s7" in err
    assert "s1" in err or "s2" in err


def test_a_changed_definition_under_the_same_version_is_refused(shell: Shell):
    shell.write("w.json", {**chain(1), "version": "1"})
    shell("run", "w.json", "--handlers", "steps")
    shell.write("w.json", {**chain(2), "version": "1"})
    assert "version" in shell("run", "w.json", "--handlers", "steps", status=2).stderr


def test_without_a_version_an_edited_definition_simply_runs(shell: Shell):
    shell.write("w.json", chain(1))
    shell("run", "w.json", "--handlers", "steps")
    shell.write("w.json", chain(2))
    shell("run", "w.json", "--handlers", "steps")
    assert len(shell.runs()) == 3


def test_a_file_that_is_no_log_is_left_alone(shell: Shell):
    shell.write("w.json", chain(1))
    shell.write("notes.txt", "dear diary, " * 1000)
    done = shell("run", "w.json", "--handlers", "steps", "--log", "file:notes.txt", status=2)
    assert "notes.txt" in done.stderr
    assert (shell.directory / "notes.txt").read_text() == "dear diary, " * 1000


def test_a_damaged_log_is_told_apart(shell: Shell):
    shell.write("w.json", chain(1))
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    path = shell.directory / ".stepwell" / "log.db"
    path.write_bytes(path.read_bytes()[:5000] + os.urandom(4000))
    for leftover in path.parent.glob("log.db-*"):
        if leftover.is_file():
            leftover.unlink()
    done = shell("status", "x", status=2)
    assert "log.db" in done.stderr


def test_a_locked_log_is_told_after_a_few_seconds(shell: Shell):
    shell.write("w.json", chain(1))
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    holder = sqlite3.connect(shell.directory / ".stepwell" / "log.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        done = shell("run", "w.json", "--handlers", "steps", "--id", "y", status=2)
    finally:
        holder.close()
    assert "lock" in done.stderr


def test_a_log_of_a_newer_version_is_refused(shell: Shell):
    shell.write("w.json", chain(1))
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    with database(shell.directory / ".stepwell" / "log.db") as log:
        changed = log.execute("UPDATE meta SET value = 999 WHERE name = 'format'").rowcount
    assert changed == 1
    done = shell("status", "x", status=2)
    assert "999" in done.stderr
    assert "pgrade" in done.stderr or "pdate" in done.stderr


def test_events_of_a_newer_version_stop_the_run_and_nothing_is_skipped(shell: Shell):
    shell.write("w.json", chain(3, until="read"))  # so that the run is not over before it is killed
    process = shell.start("run", "w.json", "--handlers", "steps", "--id", "x")
    until(lambda: '"running"' in shell("status", "x", "--json", status=None).stdout)
    process.kill()
    process.communicate()
    shell.write("read", "")
    path = shell.directory / ".stepwell" / "log.db"
    with database(path) as log:
        log.execute(
            "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), ?, '\"version\":99') AS BLOB)",
            (f'"version":{EVENTS_VERSION}',),
        )
    done = shell("run", "w.json", "--handlers", "steps", "--id", "x", status=2)
    assert "99" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_full_disk_is_told_and_nothing_is_lost(shell: Shell, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        shell.write("w.json", chain(3))
        url = f"file:{small}/log.db"
        shell("run", "w.json", "--handlers", "steps", "--id", "before", "--log", url)
        room = os.statvfs(small)
        (small / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_bsize))
        done = shell("run", "w.json", "--handlers", "steps", "--id", "x", "--log", url, status=2)
        assert "full" in done.stderr
        for service in ("engine", "worker"):  # which are to be started again until there is room
            assert "no room" in shell(service, "--log", url, status=75).stderr
        (small / "ballast").unlink()
        assert shell.json("status", "before", "--log", url)["status"] == "completed"
        assert shell.json("run", "w.json", "--handlers", "steps", "--id", "x", "--log", url)["status"] == "completed"
    finally:
        subprocess.run(["umount", str(small)], check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "\udcff"),
        ("debug", "\udcff"),
        ("history", "\udcff"),
        ("monitor", "\udcff"),
        ("cached", "w", "--input", r'{"a": "\ud800"}'),
        ("start", "w", "--param", "a=\udcff"),
    ],
)
def test_what_is_no_unicode_is_refused(inside: Inside, arguments):
    inside.write("w.yaml", "name: w\nsteps: [{id: a, type: wait, config: {seconds: 0}}]")
    inside("run", "w.yaml")
    inside("register", "w.yaml")
    assert "a bug in" not in inside(*arguments, status=2)
