"""``stepwell run`` as a user meets it: real processes, killed at real moments."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter

from tests.files import database
from tests.patience import HANG, until

from .conftest import Shell, chain


def test_a_workflow_runs_to_its_end_and_prints_its_output(shell: Shell):
    shell.write("w.yaml", "name: hello\nsteps:\n  - {id: greet, handler: greet}\n")
    done = shell("run", "w.yaml", "--handlers", "steps", "--param", "name=you")
    assert json.loads(done.stdout.split("prints\n")[-1]) == {"greet": {"greeting": "hello you"}}
    assert "✔ greet" in done.stderr


def test_json_is_one_object_with_what_programs_need(shell: Shell):
    steps = [
        {"id": "first", "handler": "steps.note"},
        {"id": "never", "handler": "steps.note", "depends_on": ["first"], "condition": "false"},
    ]
    shell.write("w.json", {"name": "w", "version": "3", "steps": steps})
    result = shell.json("run", "w.json", "--handlers", "steps", "--id", "one")
    assert result == {
        "instance_id": "one", "workflow": "w", "version": "3", "status": "completed",
        "output": {"never": None} if result["output"].get("never") else {}, "error": None,
        "steps": {
            "first": {"status": "succeeded", "attempts": 1, "output": {"first": 1}, "error": None},
            "never": {"status": "skipped", "attempts": 0, "output": None, "error": None},
        },
    }  # fmt: skip


def test_a_failed_workflow_exits_with_1_and_says_which_step_and_why(shell: Shell):
    shell.write("w.yaml", "name: w\nsteps:\n  - {id: bad, handler: steps.fail}\n")
    done = shell("run", "w.yaml", "--handlers", "steps", "--id", "x", status=1)
    assert 'step "bad": ValueError: nothing but trouble' in done.stderr
    assert "stepwell resume x" in done.stderr


def test_retries_are_made_and_shown(shell: Shell):
    retry = "{max_attempts: 5, initial_delay_seconds: 0.02}"
    shell.write("w.yaml", f"name: w\nsteps:\n  - {{id: f, handler: steps.flaky, retry: {retry}}}\n")
    result = shell.json("run", "w.yaml", "--handlers", "steps")
    assert result["steps"]["f"]["attempts"] == 3
    assert result["output"] == {"f": {"attempt": 3}}


def test_a_paused_workflow_exits_with_3_and_goes_on_after_resume(shell: Shell):
    shell.write("w.yaml", "name: w\nsteps:\n  - {id: bad, handler: steps.fail, on_failure: pause}\n")
    done = shell("run", "w.yaml", "--handlers", "steps", "--id", "x", status=3)
    assert "stepwell resume x" in done.stderr
    assert "nothing but trouble" in done.stderr
    (shell.directory / "steps.py").write_text("def fail(data):\n    return {'mended': True}\n")
    assert "running now" in shell("resume", "x").stdout
    assert shell.json("run", "w.yaml", "--handlers", "steps", "--id", "x")["output"] == {"bad": {"mended": True}}


def test_the_same_id_again_gives_the_finished_run_and_runs_nothing(shell: Shell):
    shell.write("w.json", chain(3))
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    assert len(shell.runs()) == 3


def test_an_id_of_another_workflow_is_refused(shell: Shell):
    shell.write("w.json", chain(1))
    shell.write("o.json", {**chain(1), "name": "other"})
    shell("run", "w.json", "--handlers", "steps", "--id", "x")
    done = shell("run", "o.json", "--handlers", "steps", "--id", "x", status=2)
    assert "belongs to workflow 'chain', not to 'other'" in done.stderr


def test_killed_at_random_moments_it_finishes_and_settled_steps_do_not_run_again(shell: Shell):
    seed = int(os.environ.get("STEPWELL_SEED", time.time_ns() % 100_000))
    print(f"STEPWELL_SEED={seed}")  # noqa: T201 - so that a failure can be repeated
    rnd = random.Random(seed)
    length, kills = 12, 6
    shell.write("w.json", chain(length, seconds=0.1))
    words = ("run", "w.json", "--handlers", "steps", "--id", "k", "--json")
    settled_before: list[set[int]] = []
    for _ in range(kills):
        process = shell.start(*words)
        time.sleep(rnd.uniform(0.15, 1.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        runs_so_far = len(shell.runs())
        settled_before.append((runs_so_far, _settled_runs(shell)))
    assert shell.json(*words[:-1])["status"] == "completed"
    runs = [run for _, _, run in shell.runs()]
    for count, settled in settled_before:
        again = settled.intersection(runs[count:])
        assert not again, f"settled before a kill and run again after it: {again}"
    assert max(Counter(runs).values()) <= kills + 1
    assert len(runs) <= length + kills, "at most the one step in hand runs again for each kill"
    sequences = [event["sequence"] for event in shell.json("history", "k")["events"]]
    assert sequences == list(range(1, len(sequences) + 1))


def _settled_runs(shell: Shell) -> set[int]:
    """The runs whose success is in the log, read from the file as anybody can."""
    path = shell.directory / ".stepwell" / "log.db"
    if not path.exists():
        return set()
    try:
        with database(path) as log:
            rows = log.execute("SELECT value FROM events").fetchall()
    except sqlite3.OperationalError:
        return set()  # killed before the tables were made
    found = set()
    for (value,) in rows:
        for event in json.loads(value).get("events", ()):
            if event["type"] == "step.succeeded":
                found.add(event["run"])
    return found


def test_ctrl_c_leaves_a_run_that_can_go_on(shell: Shell):
    shell.write("w.json", chain(4, until="interrupted"))  # so that it is not over before the signal
    process = shell.start("run", "w.json", "--handlers", "steps", "--id", "c")
    until(lambda: '"running"' in shell("status", "c", "--json", status=None).stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    shell.write("interrupted", "")
    assert process.returncode == 130
    assert "Go on with:\n  stepwell run w.json --id c --handlers steps" in err
    assert "Traceback" not in err
    assert shell.json("run", "w.json", "--handlers", "steps", "--id", "c")["status"] == "completed"


def test_two_runs_share_one_log_and_both_finish(shell: Shell):
    shell.write("w.json", chain(5, seconds=0.05))
    processes = [shell.start("run", "w.json", "--handlers", "steps", "--id", f"p{i}", "--json") for i in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=HANG)
        assert process.returncode == 0, err
        assert json.loads(out)["status"] == "completed"
    assert len(shell.runs()) == 15


def test_output_that_is_no_json_and_output_that_is_too_large_fail_their_step(shell: Shell):
    shell.write("w.yaml", "name: w\nsteps:\n  - {id: odd, handler: steps.unserialisable}\n")
    assert shell.json("run", "w.yaml", "--handlers", "steps", status=1)["error"]["type"] == "TypeError"
    shell.write("h.yaml", "name: h\nsteps:\n  - {id: big, handler: steps.huge}\n")
    result = shell.json("run", "h.yaml", "--handlers", "steps", status=1)
    assert result["error"]["type"] == "PayloadTooLarge"
    assert "2,0" in result["error"]["message"]
