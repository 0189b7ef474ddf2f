"""The verbs that look and steer, on instances that a real run has left behind."""

from __future__ import annotations

import signal

import pytest

from stepwell.cli.session import client_of
from stepwell.cli.steering import rolling_back
from tests.patience import HANG, until

from .conftest import Shell, chain

SAGA = {
    "name": "saga",
    "steps": [
        {"id": "reserve", "handler": "steps.note", "compensate": "steps.note", "checkpoint": "reserved"},
        {"id": "pack", "handler": "steps.note", "depends_on": ["reserve"], "compensate": "steps.note"},
        {"id": "ship", "handler": "steps.note", "depends_on": ["pack"]},
    ],
}


def test_status_history_list_and_replay_tell_the_same_story(shell: Shell):
    shell.write("w.json", chain(3))
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    status = shell.json("status", "x")
    assert status["status"] == "completed"
    assert [step["status"] for step in status["steps"].values()] == ["succeeded"] * 3
    events = shell.json("history", "x")["events"]
    assert [event["type"] for event in events] == [
        "workflow.started", "step.ready", "step.succeeded", "step.ready", "step.succeeded",
        "step.ready", "step.succeeded", "workflow.completed",
    ]  # fmt: skip
    listed = shell.json("list", "--status", "completed")
    assert listed["total"] == 1
    assert listed["instances"][0]["instance_id"] == "x"
    assert shell.json("list", "--status", "failed") == {"total": 0, "instances": [], "next": ""}
    shell.write("long.yaml", "name: a name that is longer than most\nsteps: [{id: a, type: input}]\n")
    shell("run", "long.yaml", "--id", "long")
    lines = shell("list").stdout.splitlines()
    assert len(lines) > 1
    assert len({line.index("completed") for line in lines}) == 1, "columns stand below each other"
    past = shell.json("replay", "x", "--to", "3")
    assert past["status"] == "running"
    assert [step["status"] for step in past["steps"].values()] == ["succeeded", "pending", "pending"]
    assert "s0" in shell("replay", "x", "--to", "3").stdout
    assert "only 8 events" in shell("replay", "x", "--to", "9", status=2).stderr


def test_rollback_undoes_in_reverse_order_and_the_run_goes_on(shell: Shell):
    shell.write("w.json", SAGA)
    words = ("run", "w.json", "--handlers", "steps", "--id", "x")
    shell(*words)
    shell("rollback", "x", "--checkpoint", "start")
    assert shell.json(*words)["status"] == "completed"
    assert [step for _, step, _ in shell.runs()] == [
        "reserve", "pack", "ship",  # forth
        "pack", "reserve",  # undone
        "reserve", "pack", "ship",  # and forth again
    ]  # fmt: skip


async def test_a_rollback_that_workers_finish_while_it_is_told_is_told_as_finished(shell: Shell):
    shell.write("w.json", SAGA)
    words = ("run", "w.json", "--handlers", "steps", "--id", "x")
    shell(*words)
    shell("rollback", "x", "--checkpoint", "start")
    shell(*words)
    events = shell.json("history", "x")["events"]
    started = next(event["sequence"] for event in events if event["type"] == "rollback.started")
    async with client_of(f"file:{shell.directory}/.stepwell/log.db") as client:
        a_moment_ago = await client.replay("x", to=started)
        assert a_moment_ago.rolling_back_to is not None
        assert await rolling_back(client, a_moment_ago, None) == "rolled back"


def test_rollback_to_a_named_checkpoint_keeps_what_came_before(shell: Shell):
    shell.write("w.json", SAGA)
    words = ("run", "w.json", "--handlers", "steps", "--id", "x")
    shell(*words)
    shell("rollback", "x", "--checkpoint", "reserved", "--pause")
    shown = shell.json("status", "x")
    assert shown["steps"]["reserve"]["status"] == "succeeded"
    shell(*words, status=3)
    shell("resume", "x")
    assert shell.json(*words)["status"] == "completed"
    assert [step for _, step, _ in shell.runs()] == ["reserve", "pack", "ship", "pack", "pack", "ship"]


def test_a_failed_run_is_resumed_at_the_step_that_failed(shell: Shell):
    definition = chain(2)
    definition["steps"].append({"id": "bad", "handler": "steps.fail", "depends_on": ["s1"]})
    shell.write("w.json", definition)
    words = ("run", "w.json", "--handlers", "steps", "--id", "x")
    shell(*words, status=1)
    (shell.directory / "steps.py").write_text(
        (shell.directory / "steps.py").read_text() + "\ndef fail(data):\n    return {'mended': True}\n"
    )
    shell("resume", "x")
    assert shell.json(*words)["output"] == {"bad": {"mended": True}}
    assert len(shell.runs()) == 2, "what had succeeded did not run again"


def test_a_failed_step_can_be_skipped(shell: Shell):
    definition = {
        "name": "w",
        "steps": [
            {"id": "bad", "handler": "steps.fail"},
            {"id": "next", "handler": "steps.note", "depends_on": ["bad"]},
        ],
    }
    shell.write("w.json", definition)
    words = ("run", "w.json", "--handlers", "steps", "--id", "x")
    shell(*words, status=1)
    shell("resume", "x", "--skip-failed")
    result = shell.json(*words)
    assert result["steps"]["bad"]["status"] == "skipped"
    assert result["steps"]["next"]["status"] == "succeeded"


def test_stop_and_cancel_reach_a_run_in_another_process(shell: Shell):
    shell.write("w.json", chain(2, until="stopped"))  # so that it is not over before it is stopped
    process = shell.start("run", "w.json", "--handlers", "steps", "--id", "x")
    until(lambda: '"running"' in shell("status", "x", "--json", status=None).stdout)
    assert "paused now" in shell("stop", "x", "--reason", "let me see").stdout
    shell.write("stopped", "")
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 3
    assert "let me see" in err
    assert "cancelled now" in shell("cancel", "x", "--reason", "enough").stdout
    assert shell.json("status", "x")["reason"] == "enough"
    shell("run", "w.json", "--handlers", "steps", "--id", "x", status=1)


def test_dev_registers_a_directory_runs_what_is_started_and_reloads(shell: Shell):
    (shell.directory / "workflows").mkdir()
    file = shell.directory / "workflows" / "hello.yaml"
    file.write_text("name: hello\nsteps: [{id: a, handler: greet}]\n")
    (shell.directory / "workflows" / "broken.yaml").write_text("name: broken\nsteps: [{id: a, type: nope}]\n")
    process = shell.start("dev", "workflows", "--handlers", "steps")
    try:
        until(lambda: (shell.directory / ".stepwell" / "log.db").exists() and _registered(shell))
        started = shell.json("start", "hello", "--id", "d1", "--input", '{"name": "dev"}')
        assert started["engine_is_live"]
        until(lambda: shell.json("status", "d1")["status"] == "completed")
        assert shell.json("status", "d1")["output"] == {"a": {"greeting": "hello dev"}}
        file.write_text("name: hello\nsteps: [{id: b, handler: greet}]\n")
        versions = {shell.json("status", "d1")["version"]}
        numbers = iter(range(100))

        def reloaded() -> bool:
            name = f"e{next(numbers)}"
            shell("start", "hello", "--id", name)
            versions.add(shell.json("status", name)["version"])
            return len(versions) == 2

        until(reloaded)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert "registered hello" in err
    assert "reloaded hello" in err
    assert 'unknown type "nope"' in err
    assert "Traceback" not in err


def _registered(shell: Shell) -> bool:
    return shell("start", "hello", "--id", "probe", status=None).returncode == 0


def test_start_without_an_engine_is_in_the_log_and_says_so(shell: Shell):
    shell.write("w.json", chain(1))
    done = shell("start", "w.json", "--id", "later")
    assert done.stdout == "later\n"
    assert "No engine works on this log now" in done.stderr
    assert shell.json("run", "w.json", "--handlers", "steps", "--id", "later")["status"] == "completed"


def test_plan_draws_batches_and_validate_counts_steps(shell: Shell):
    shell.write(
        "w.yaml",
        """
name: w
steps:
  - {id: a, handler: greet}
  - {id: b, handler: greet, depends_on: [a]}
  - {id: c, handler: greet, depends_on: [a], condition: input.x > 1}
  - {id: d, handler: greet, depends_on: [b, c]}
""",
    )
    out = shell("plan", "w.yaml").stdout
    assert " 2  b ‖ c\n" in out
    assert "├── a  (greet)\n│   ├── b  (greet)\n│   └── c  (greet; if input.x > 1)\n└── d  (greet; after b, c)" in out
    assert shell.json("plan", "w.yaml")["batches"] == [["a"], ["b", "c"], ["d"]]
    assert "4 steps" in shell("validate", "w.yaml", "--handlers", "steps").stdout


@pytest.mark.parametrize("verb", ["run", "dev", "start", "status", "list", "history", "replay", "stop", "resume",
                                  "cancel", "rollback", "validate", "plan"])  # fmt: skip
def test_every_verb_has_help_with_an_example(shell: Shell, verb: str):
    assert f"stepwell {verb}" in shell(verb, "--help").stdout
