"""People's decisions and child workflows from the command line, with real processes."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.patience import HANG

from .conftest import Shell, chain

GATE = {
    "name": "purchase",
    "steps": [
        {
            "id": "gate", "type": "approval_gate",
            "config": {"approvers": ["ann", "bob"], "title": "Buy {{ input.what }}?"},
        },
        {"id": "buy", "handler": "steps.note", "depends_on": ["gate"]},
    ],
}  # fmt: skip


def parent(**config: object) -> dict[str, object]:
    return {
        "name": "parent",
        "steps": [
            {"id": "sub", "type": "workflow_trigger", "config": {"workflow": "purchase", **config}},
            {"id": "after", "handler": "steps.note", "depends_on": ["sub"]},
        ],
    }


@pytest.mark.rows("O4", "T3")
def test_a_run_that_waits_for_people_says_for_whom_and_goes_on_once_they_have_decided(shell: Shell):
    shell.write("w.json", GATE)
    words = ("run", "w.json", "--handlers", "steps", "--id", "one")
    waits = shell(*words, "--param", "what=tea", status=3)
    assert "gate waits for approval by ann or bob: Buy tea?" in waits.stderr
    assert "stepwell approve one --by ann" in waits.stderr
    assert "waits for approval by ann or bob" in shell("status", "one").stdout
    assert (
        '"eve" may not decide "gate"; these may: ann, bob' in shell("approve", "one", "--by", "eve", status=2).stderr
    )
    assert "approved" in shell("approve", "one", "--by", "bob", "--comment", "cheap").stdout
    assert 'step "gate" waits for no approval' in shell(
        "reject", "one", "--step", "gate", "--by", "ann", status=2
    ).stderr  # fmt: skip
    done = shell.json(*words)
    assert done["status"] == "completed"
    assert {key: done["steps"]["gate"]["output"][key] for key in ("approved", "by", "comment")} == {
        "approved": True, "by": "bob", "comment": "cheap",
    }  # fmt: skip
    assert len(shell.runs()) == 1


@pytest.mark.rows("O4")
def test_a_rejection_fails_the_run_and_says_who_and_why(shell: Shell):
    shell.write("w.json", GATE)
    words = ("run", "w.json", "--handlers", "steps", "--id", "one", "--param", "what=tea")
    shell(*words, status=3)
    shell("reject", "one", "--by", "ann", "--comment", "too dear")
    assert "ApprovalRejected: rejected by ann: too dear" in shell(*words, status=1).stderr
    assert not shell.runs()


@pytest.mark.rows("T3")
def test_a_parent_waits_for_those_whom_its_child_waits_for(shell: Shell):
    shell.write("child.json", GATE)
    shell.write("w.json", parent())
    shell("run", "child.json", "--handlers", "steps", "--id", "first", "--param", "what=rice", status=3)
    words = ("run", "w.json", "--handlers", "steps", "--id", "one", "--param", "what=tea")
    waits = shell(*words, status=3)
    child = next(step for step in shell.json("status", "one")["steps"].values())["child"]
    assert f"stepwell approve {child} --by ann" in waits.stderr
    shell("approve", child, "--by", "ann")
    assert shell.json(*words)["steps"]["sub"]["output"]["status"] == "completed"
    assert sorted(instance for instance, _, _ in shell.runs()) == [child, "one"][:: 1 if child < "one" else -1]


@pytest.mark.rows("T3")
def test_a_child_whose_steps_cannot_run_here_is_found_out_before_anything_runs(shell: Shell):
    shell.write("child.json", {"name": "purchase", "steps": [{"id": "x", "handler": "steps.note"}]})
    shell("run", "child.json", "--handlers", "steps")
    shell.write("w.json", {**parent(), "steps": parent()["steps"][:1]})  # type: ignore[index]
    assert "steps.note" in shell("run", "w.json", "--id", "one", status=2).stderr


@pytest.mark.rows("T3")
def test_killed_while_a_child_runs_both_go_on(shell: Shell):
    shell.write("child.json", {**chain(4, seconds=0.15), "name": "purchase"})
    shell("run", "child.json", "--handlers", "steps", "--id", "first")
    shell.write("w.json", parent())
    words = ("run", "w.json", "--handlers", "steps", "--id", "one", "--json")
    before, kills = len(shell.runs()), 0
    while kills < 3:
        process = shell.start(*words)
        deadline = time.monotonic() + HANG
        runs = len(shell.runs())
        while len(shell.runs()) == runs and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    done = json.loads(shell(*words).stdout)
    assert done["status"] == "completed"
    assert done["steps"]["sub"]["output"]["status"] == "completed"
    assert 5 <= len(shell.runs()) - before <= 5 + kills


@pytest.mark.rows("T3")
def test_what_people_write_steers_no_terminal(shell: Shell):
    red = "\x1b[31mred"
    shell.write(
        "w.json", {"name": "w", "steps": [{"id": "a", "type": "approval_gate", "config": {"approvers": [red]}}]}
    )
    told = shell("run", "w.json", "--id", "one", status=3).stderr
    told += shell("stop", "one", "--reason", red).stdout + shell("status", "one").stdout
    shell("approve", "one", "--by", red, "--comment", red)
    told += shell("history", "one").stdout + shell("run", "w.json", "--id", "one", status=None).stderr
    assert "\\x1b[31mred" in told
    assert "\x1b" not in told


@pytest.mark.rows("T3")
def test_an_argument_that_is_no_text_is_told(shell: Shell):
    shell.write("w.json", {"name": "w", "steps": [{"id": "a", "type": "approval_gate"}]})
    shell("run", "w.json", "--id", "one", status=3)
    err = shell("approve", "one", "--by", "ann", "--comment", "caf\udce9", status=None).stderr
    assert "error: one: a text in it is no UTF-8" in err
