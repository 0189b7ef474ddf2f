"""``stepwell monitor`` and ``stepwell history --follow``: what happens, while it happens, in another process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.patience import HANG

from .conftest import Inside, Shell, chain

pytestmark = pytest.mark.rows("O5")

GATE = {
    "name": "purchase", "version": "1",
    "steps": [
        {"id": "ask", "type": "approval_gate"}, {"id": "buy", "handler": "steps.note", "depends_on": ["ask"]},
    ],
}  # fmt: skip


def _line(process: subprocess.Popen[str], wanted: str) -> str:
    """Read on to a line with this in it."""
    for line in process.stdout:
        if wanted in line:
            return line
    raise AssertionError(f"no {wanted!r}: {process.stderr.read()}")


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    return out, err


def test_an_instance_is_watched_in_lines_until_it_ends(shell: Shell):
    shell.write("w.json", GATE)
    shell("run", "w.json", "--handlers", "steps", "--id", "x", status=3)
    watching = shell.start("monitor", "x")
    _line(watching, "◷ ask")
    shell("approve", "x")
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    rest, err = _end(watching)
    assert "✔ buy" in rest
    assert rest.splitlines()[-1].startswith("✔ purchase 1 · x · completed")
    assert err == ""


def test_a_history_is_followed_until_the_instance_ends(shell: Shell):
    shell.write("w.json", GATE)
    shell("run", "w.json", "--handlers", "steps", "--id", "x", status=3)
    following = shell.start("history", "x", "--follow")
    _line(following, "approval.required")
    shell("approve", "x")
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    rest, _ = _end(following)
    kinds = [line.split()[3] for line in rest.splitlines()]
    assert kinds == ["approval.decided", "step.succeeded", "step.ready", "step.succeeded", "workflow.completed"]
    numbers = [int(line.split()[0]) for line in rest.splitlines()]
    assert numbers == list(range(3, 8)), "nothing is missing, nothing is twice"


def test_one_that_has_ended_is_shown_and_that_is_all(inside: Inside):
    inside.write("w.json", chain(2))
    inside("run", "w.json", "--handlers", "steps", "--id", "x")
    assert inside.out("monitor", "x").splitlines()[0].startswith("✔ chain ")
    events = [json.loads(line)["type"] for line in inside.out("monitor", "x", "--json").splitlines()]
    assert (events[0], events[-1]) == ("workflow.started", "workflow.completed")


def test_watching_ends_after_the_duration_with_status_0(inside: Inside):
    inside.write("w.json", GATE)
    inside("run", "w.json", "--handlers", "steps", "--id", "x", status=3)
    began = time.monotonic()
    shown = inside.out("monitor", "x", "--duration", "0.4").splitlines()
    assert 0.4 <= time.monotonic() - began < HANG
    assert "waits for approval" in shown[1]
    assert shown[-1].startswith("▶ purchase 1 · x · running")


def test_all_that_goes_on_is_told_in_lines_whenever_it_changes(shell: Shell):
    shell.write("bad.json", {"name": "bad", "version": "1", "steps": [{"id": "a", "handler": "steps.fail"}]})
    shell("run", "bad.json", "--handlers", "steps", "--id", "b1", status=1)
    watching = shell.start("monitor", "--interval", "0.1", "--duration", "40")
    assert "failed 1 " in _line(watching, "running 0")
    assert "b1  a  ValueError: nothing but trouble" in _line(watching, "✘")
    shell("run", "bad.json", "--handlers", "steps", "--id", "b2", status=1)
    assert "b2  a  ValueError" in _line(watching, "✘")
    watching.terminate()
    watching.communicate(timeout=HANG)
    assert watching.returncode == 130


def test_all_that_goes_on_as_json_is_an_overview_a_line(inside: Inside):
    inside.write("w.json", GATE)
    inside("run", "w.json", "--handlers", "steps", "--id", "x", status=3)
    lines = inside.out("monitor", "--json", "--interval", "0.05", "--duration", "0.5").splitlines()
    assert len(lines) > 1
    found = json.loads(lines[-1])
    assert found["statuses"]["running"] == 1
    assert found["steps"] == {"running": 0, "ready": 0, "waiting": 1}
    assert found["work"][0]["instance_id"] == "x"
    assert found["health"]["parts"][0]["name"] == "log"


@pytest.mark.parametrize("words", [["monitor"], ["monitor", "x"]])
def test_on_a_terminal_it_redraws_and_fits_the_screen(shell: Shell, words: list[str]):
    shell.write("w.json", GATE)
    shell("run", "w.json", "--handlers", "steps", "--id", "x", status=3)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env = {**shell.env, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "stepwell", *words, "--interval", "0.1", "--duration", "1"],
        cwd=shell.directory, env=env, stdin=slave, stdout=slave, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other end was closed
        while part := os.read(master, 65_536):
            shown += part
    os.close(master)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    text = shown.decode()
    assert text.count("\x1b[1A") > 5, "what stood there is drawn over"
    if words == ["monitor"]:
        assert "under way, the longest first:" in text
        assert "purchase 1" in text
    else:
        assert "waits for approval by anybody" in text
