"""What a first user stumbled over: waits without end, hints that miss the log, errors that point elsewhere."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import HANG, until

from .conftest import Inside, Shell, chain

SAGA = {
    "name": "saga",
    "steps": [
        {"id": "reserve", "handler": "steps.note", "compensate": "steps.note", "checkpoint": "reserved"},
        {"id": "ship", "handler": "steps.note", "depends_on": ["reserve"], "compensate": "steps.note"},
    ],
}
RETRIES = """
name: w
steps:
  - {id: f, handler: steps.fail, retry: {max_attempts: 9, initial_delay_seconds: 600}}
"""
SLEEPS = "name: w\nsteps:\n  - {id: f, type: wait, config: {seconds: 600}}\n"
RUN = ("run", "w.yaml", "--handlers", "steps", "--id", "x")


@pytest.fixture
def output(inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a verb in this process; gives what it printed to stdout and stderr."""

    class Tee:
        """``inside`` returns stderr only: keep what it reads."""

        out = ""

        def readouterr(self) -> Any:
            printed = capsys.readouterr()
            self.out = printed.out
            return printed

    tee = Tee()
    monkeypatch.setattr(inside, "_capsys", tee)

    def run(*words: str, status: int = 0) -> tuple[str, str]:
        err = inside(*words, status=status)
        return tee.out, err

    return run


# --- a paused instance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", [RETRIES, SLEEPS], ids=["a retry", "a wait step"])
def test_a_run_ends_once_its_instance_is_paused_and_only_waits(shell: Shell, definition: str):
    shell.write("w.yaml", definition)
    process = shell.start(*RUN)
    try:
        until(lambda: '"waiting"' in shell("status", "x", "--json", status=None).stdout)
        shell("stop", "x", "--reason", "let me see")
        _, err = process.communicate(timeout=HANG)
    finally:
        process.kill()
    assert process.returncode == 3
    assert "paused: x: let me see" in err
    assert "paused: x: let me see" in shell(*RUN, status=3).stderr, "a run that finds it so ends at once as well"


def test_a_paused_run_still_waits_for_the_step_that_a_worker_has(shell: Shell):
    shell.write("w.yaml", chain(2, until="stopped"))
    process = shell.start(*RUN)
    until(lambda: '"running"' in json.dumps(_steps(shell)))
    shell("stop", "x")
    shell.write("stopped", "")
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 3
    assert "✔ s0" in err
    assert _steps(shell)["s0"]["status"] == "succeeded"


def test_ctrl_c_during_a_wait_says_nothing_of_tasks(shell: Shell):
    shell.write("w.yaml", SLEEPS)
    process = shell.start(*RUN)
    until(lambda: '"waiting"' in shell("status", "x", "--json", status=None).stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert "never retrieved" not in err
    assert "Traceback" not in err


def test_a_second_ctrl_c_ends_what_does_not_hear_the_first(shell: Shell):
    shell.write("endless.py", "open('began', 'w').close()\nwhile True: pass\n")
    process = shell.start("validate", "endless.py")
    until((shell.directory / "began").exists)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG)
    assert process.returncode == 130


def test_the_reason_of_a_pause_is_told_in_full_once(inside: Inside):
    inside.write("w.yaml", "name: w\nsteps:\n  - {id: bad, handler: steps.fail, on_failure: pause}\n")
    err = inside(*RUN, status=3)
    assert err.count('step "bad" failed: ValueError: nothing but trouble') == 1
    assert "‖ paused at bad" in err


def _steps(shell: Shell) -> Any:
    done = shell("status", "x", "--json", status=None)
    return {} if done.returncode else json.loads(done.stdout)["steps"]


# --- an instance that was there before --------------------------------------------------------------------------


def test_a_finished_run_says_so_and_what_it_ignores(output: Any, inside: Inside):
    inside.write("w.yaml", chain(1))
    output(*RUN, "--param", "n=1")
    same = output(*RUN, "--param", "n=1")[1]
    assert "finished already, " in same
    assert "completed in" not in same
    assert "note:" not in same
    inside.write("w.yaml", chain(2))
    err = output(*RUN, "--input", '{"n": 2}', "--if-exists", "use")[1]
    assert "note: x ran with the input that it was started with, not with the one given now." in err
    assert "note: w.yaml is not what x was started with: it ran with version" in err
    out, err = output(*RUN, "--param", "n=2", "--json", "--if-exists", "use")
    assert json.loads(out)["status"] == "completed"
    assert err == ""


def test_a_run_that_goes_on_says_what_it_ignores(output: Any, inside: Inside):
    inside.write("w.yaml", "name: w\nsteps:\n  - {id: bad, handler: steps.fail, on_failure: pause}\n")
    output(*RUN, status=3)
    inside.write("w.yaml", "name: w\nsteps:\n  - {id: other, handler: steps.fail}\n")
    err = output(*RUN, "--param", "n=2", "--if-exists", "use", status=3)[1]
    assert "note: x goes on with the input that it was started with" in err
    assert "it runs on with version" in err


def test_a_run_of_an_id_whose_start_was_undecided_says_what_it_ignores(output: Any, inside: Inside):
    inside.write("w.yaml", chain(1))
    inside.write("o.yaml", {**chain(1), "name": "other"})
    output("start", "w.yaml", "--id", "x", "--param", "n=1")
    assert "note: x goes on with the input" in output(*RUN, "--param", "n=2", "--if-exists", "use")[1]
    output("start", "w.yaml", "--id", "y")
    err = output("run", "o.yaml", "--handlers", "steps", "--id", "y", status=2)[1]
    assert "belongs to workflow 'chain', not to 'other'" in err


# --- hints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "variable"])
def test_hints_name_the_log_that_was_used(inside: Inside, monkeypatch: pytest.MonkeyPatch, way: str):
    inside.write("w.yaml", "name: w\nsteps:\n  - {id: bad, handler: steps.fail}\n")
    words = RUN
    if way == "option":
        words = (*RUN, "--log", "file:other.db")
    else:
        monkeypatch.setenv("STEPWELL_LOG", "file:other.db")
    err = inside(*words, status=1)
    assert "Look:  stepwell history x --log file:other.db\n" in err
    assert "Retry: stepwell resume x --log file:other.db, then stepwell run w.yaml --id x" in err
    assert err.endswith("--handlers steps --log file:other.db\n")
    assert "`stepwell dev --log file:other.db`" in inside("start", "w.yaml", "--id", "y", "--log", "file:other.db")


# --- status, replay ---------------------------------------------------------------------------------------------


def test_a_failed_instance_names_its_step_and_a_long_error_is_cut(output: Any, inside: Inside):
    inside.write("long.py", "def fail(data):\n    raise ValueError('trouble ' * 200)\n")
    inside.write("w.yaml", "name: w\nsteps:\n  - {id: bad, handler: long.fail}\n")
    err = output("run", "w.yaml", "--handlers", "long", "--id", "x", status=1)[1]
    assert max(len(line) for line in err.splitlines()) < 400
    out = output("status", "x")[0]
    assert '  step "bad": ValueError: trouble' in out
    assert "rolled back" not in out
    sys.modules.pop("long", None)


def test_a_failure_that_was_rolled_back_is_shown_as_such(output: Any, inside: Inside):
    steps = [*SAGA["steps"], {"id": "bad", "handler": "steps.fail", "depends_on": ["ship"], "on_failure": "rollback"}]
    inside.write("w.yaml", {"name": "saga", "steps": steps})
    assert "rolled back: what has a compensation was undone" in output(*RUN, status=1)[1]
    out = output("status", "x")[0]
    assert 'step "bad": ValueError: nothing but trouble\n  rolled back: ' in out


@pytest.mark.parametrize("to", ["0", "-1", "999"])
def test_a_replay_to_an_event_that_is_not_there_names_those_that_are(output: Any, inside: Inside, to: str):
    inside.write("w.yaml", chain(1))
    output(*RUN)
    assert f"--to {to}: there are only 4 events, numbered from 1" in output("replay", "x", "--to", to, status=2)[1]


def test_a_start_that_nobody_has_decided_is_pending(output: Any, inside: Inside):
    inside.write("w.yaml", chain(2))
    output("start", "w.yaml", "--id", "x", "--param", "n=1")
    out = output("status", "x")[0]
    assert "x · pending" in out
    assert "has not been decided yet" in out
    assert "`stepwell run FILE --id x` or `stepwell dev` decides and runs it" in out
    shown = json.loads(output("status", "x", "--json")[0])
    assert (shown["status"], shown["input"], shown["sequence"]) == ("pending", {"n": 1}, 0)
    assert [step["status"] for step in shown["steps"].values()] == ["pending", "pending"]
    assert "no events" in output("replay", "x", "--to", "1", status=2)[1]
    assert "no instance 'z'" in output("status", "z", status=2)[1]


def test_a_start_that_was_rejected_afterwards_says_why(output: Any, inside: Inside):
    inside.write("w.yaml", {**chain(1), "input_schema": {"required": ["n"]}})
    output("start", "w.yaml", "--id", "x")
    output("cancel", "x", status=2)  # an engine comes by
    assert "x: its start was rejected: " in output("status", "x", status=2)[1]


# --- rollback ---------------------------------------------------------------------------------------------------


def test_a_rollback_that_waits_for_a_worker_says_so(output: Any, inside: Inside):
    inside.write("w.yaml", SAGA)
    output(*RUN)
    out = output("rollback", "x", "--checkpoint", "reserved")[0]
    again = "stepwell run FILE --id x --handlers MODULE"
    assert out == f"x: is being rolled back: 1 compensation waits for a worker: {again}\n"
    assert "is being rolled back to event 3" in output("status", "x")[0]
    assert json.loads(output("status", "x", "--json")[0])["rolling_back_to"] == 3
    output(*RUN)
    assert json.loads(output("rollback", "x", "--checkpoint", "start", "--json")[0])["rolling_back_to"] == 1
    output("cancel", "x")
    assert "was being rolled back to event 1" in output("status", "x")[0]


def test_a_rollback_with_nothing_to_undo_is_done_at_once(output: Any, inside: Inside):
    inside.write("w.yaml", chain(2))
    output(*RUN)
    assert output("rollback", "x", "--checkpoint", "start")[0] == "x: rolled back; it is running now\n"


def test_a_run_undoes_on_the_queue_of_the_compensation(output: Any, inside: Inside):
    undo = {"handler": "steps.note", "queue": "undoing"}
    inside.write("w.yaml", {"name": "w", "steps": [{"id": "a", "handler": "steps.note", "compensate": undo}]})
    output(*RUN)
    output("rollback", "x", "--checkpoint", "start")
    assert "↶ a undone" in output(*RUN)[1]


# --- handlers ---------------------------------------------------------------------------------------------------

MODULES = {
    "needs another": ("import nosuchthing_at_all", "it needs 'nosuchthing_at_all', which is not installed"),
    "ends the program": ("raise SystemExit(3)", "it ends the program (SystemExit: 3)"),
    "does not parse": ("x = 1\n\ndef f(:\n    pass\n", "broken.py, line 3)"),
    "raises": ("x = 1\nx / 0\n", "ZeroDivisionError: division by zero ("),
}


@pytest.mark.parametrize("case", MODULES)
def test_a_module_that_cannot_be_imported_is_explained(inside: Inside, case: str):
    text, expected = MODULES[case]
    inside.write("broken.py", text)
    inside.write("w.yaml", chain(1))
    err = inside("run", "w.yaml", "--handlers", "broken", status=2)
    assert "--handlers broken: module 'broken' cannot be imported: " in err
    assert expected in err
    assert "importlib" not in err
    sys.modules.pop("broken", None)


def test_a_remedy_for_many_handlers_is_told_once(inside: Inside):
    inside.write("w.yaml", chain(3))
    err = inside("run", "w.yaml", status=2)
    assert err.count("lies outside") == 3
    assert err.count("Start with --handlers steps") == 1


# --- standard output --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_full_standard_output_is_told(shell: Shell, unbuffered: bool):
    shell.write("w.yaml", chain(1))
    if unbuffered:
        shell.env["PYTHONUNBUFFERED"] = "1"
    with Path("/dev/full").open("w") as full:
        done = _to(shell, full, "plan", "w.yaml")
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_reader_that_has_gone_ends_a_verb_quietly(shell: Shell, unbuffered: bool):
    shell.write("w.yaml", chain(1))
    if unbuffered:
        shell.env["PYTHONUNBUFFERED"] = "1"
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as gone:
        gone.wait()
        done = _to(shell, gone.stdin, "plan", "w.yaml")
    assert done.stderr == ""
    assert done.returncode == 141


def _to(shell: Shell, stdout: Any, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepwell", *words],
        cwd=shell.directory, env=shell.env, text=True, stdout=stdout, stderr=subprocess.PIPE, timeout=HANG,
    )  # fmt: skip


# --- files that are no logs -------------------------------------------------------------------------------------


def test_a_verb_that_looks_makes_no_log_of_an_empty_file(inside: Inside):
    inside.write("empty.db", "")
    assert "empty.db: the file is empty: it holds no log" in inside("list", "--log", "file:empty.db", status=2)
    assert (inside.directory / "empty.db").stat().st_size == 0


@pytest.mark.parametrize("statements", [["VACUUM"], ["PRAGMA journal_mode=WAL"], ["CREATE TABLE t(a)"]], ids=str)
def test_a_verb_that_looks_makes_no_log_of_another_database(inside: Inside, statements: list[str]):
    path = inside.directory / "other ?#.db"
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    before = path.read_bytes()
    assert before
    assert "holds no log" in inside("list", "--log", "file:other%20%3F%23.db", status=2)
    assert path.read_bytes() == before


def test_a_log_whose_newest_pages_are_beside_it_is_a_log(shell: Shell):
    shell.write("w.yaml", chain(2, seconds=20))
    process = shell.start(*RUN)
    until(lambda: shell("status", "x", status=None).returncode == 0)
    process.kill()  # nothing has been moved from the -wal file into the log yet
    process.communicate()
    assert (shell.directory / ".stepwell" / "log.db").read_bytes()[68:72] == bytes(4)
    assert "x" in shell("list").stdout


# --- errors as JSON ---------------------------------------------------------------------------------------------

ERRORS = {
    "bad input": (("status", "z"), {"place": "", "type": "UnknownInstanceError"}),
    "a bad definition": (("validate", "no.yaml"), {"type": "DefinitionError"}),
    "a rejected command": (("cancel", "z"), {"place": "z", "type": "CommandRejectedError"}),
    "an unknown option": (("list", "--nosuch"), {"type": "UsageError"}),
    "an empty id": (("start", "w.yaml", "--id", ""), {"type": "UsageError"}),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_an_object_too_where_json_was_asked_for(output: Any, inside: Inside, case: str):
    words, expected = ERRORS[case]
    inside.write("w.yaml", chain(1))
    output(*RUN)
    out, err = output(*words, "--json", status=2)
    error = json.loads(out)["error"]
    assert set(error) == {"message", "place", "remedy", "type"}
    assert error["message"] in err
    assert {key: error[key] for key in expected} == expected
    assert output(*words, status=2)[0] == ""


@pytest.mark.parametrize("verb", ["run", "start"])
def test_an_id_must_be_one(inside: Inside, verb: str):
    inside.write("w.yaml", chain(1))
    assert "at least" in inside(verb, "w.yaml", "--id", "", status=2)
    assert "200 characters at most" in inside(verb, "w.yaml", "--id", "x" * 201, status=2)


def test_one_is_not_many(output: Any, inside: Inside):
    inside.write("w.yaml", chain(1))
    assert "is valid: 1 step;" in output("validate", "w.yaml")[0]
    assert ": 1 step in 1 batch\n" in output("plan", "w.yaml")[0]
