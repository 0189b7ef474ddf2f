"""The verbs that ask the read models, on instances that real runs have left behind."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.projections.projector import Projector
from tests.patience import HANG

from .conftest import Inside, Shell

ORDER = {
    "name": "order",
    "version": "1",
    "tags": ["daily"],
    "steps": [
        {"id": "load", "handler": "steps.note"},
        {
            "id": "pay", "handler": "steps.flaky", "depends_on": ["load"],
            "retry": {"max_attempts": 3, "initial_delay_seconds": 0.01},
        },
    ],
}  # fmt: skip
BROKEN = {"name": "broken", "version": "1", "steps": [{"id": "bad", "handler": "steps.fail"}]}
GATE = {
    "name": "purchase", "version": "1",
    "steps": [{"id": "ask", "type": "approval_gate", "config": {"approvers": ["ann"]}}],
}  # fmt: skip


@pytest.fixture
def ran(inside: Inside) -> Inside:
    """Three instances: completed after retries, failed, and waiting for approval."""
    for name, definition in (("order", ORDER), ("broken", BROKEN), ("gate", GATE)):
        inside.write(f"{name}.json", definition)
    inside("run", "order.json", "--handlers", "steps", "--id", "o1", "--param", "customer=17", "--priority", "70")
    inside("run", "broken.json", "--handlers", "steps", "--id", "b1", "--param", "customer=18", status=1)
    inside("run", "gate.json", "--id", "g1", status=3)
    return inside


def ids(found):
    return [row["instance_id"] for row in found["instances"]]


@pytest.mark.rows("R11", "O5")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ["g1", "b1", "o1"]),
        ("--status failed", ["b1"]),
        ("--status failed --status completed", ["b1", "o1"]),
        ("--workflow order --version 1", ["o1"]),
        ("--workflow order --version 2", []),
        ("--tag daily", ["o1"]),
        ("--since 1h --until 2100-01-01", ["g1", "b1", "o1"]),
        ("--since 2100-01-01T08:30", []),
        ("--finished-since 1h --order finished", ["o1", "b1"]),
        ("--finished-until 1h", []),
        ("--priority-min 50", ["o1"]),
        ("--priority-max 50 --order created", ["b1", "g1"]),
        ("--input customer=17", ["o1"]),
        ("--output pay.attempt=3", ["o1"]),
        ('--output pay.attempt="3"', []),
        ("--error nothing.but", []),
        ("--error TROUBLE", ["b1"]),
        ("--parent o1", []),
        ("--order -priority --limit 1", ["o1"]),
    ],
)
def test_list_filters_and_orders(ran: Inside, words: str, expected: list[str]):
    assert ids(ran.json("list", *words.split())) == expected


@pytest.mark.rows("R11")
def test_list_pages_by_the_cursor_that_it_prints(ran: Inside):
    first = ran.out("list", "--limit", "2")
    assert "g1" in first
    assert "… of 3; the next ones: --cursor " in first
    second = ran.out("list", "--limit", "2", "--cursor", first.split()[-1])
    assert "o1" in second
    assert "g1" not in second
    assert "… the last of 3" in second


def test_a_table_shows_errors_priorities_and_reasons(ran: Inside):
    ran("stop", "g1", "--reason", "price is being checked")
    lines = ran.out("list").splitlines()
    assert lines[0].startswith("‖  g1  purchase 1  paused")
    assert lines[0].endswith("price is being checked")
    assert lines[1].endswith("bad: ValueError: nothing but trouble")
    assert " 70" in lines[2]


def test_an_empty_list_says_which_filter_to_leave_out(ran: Inside):
    shown = ran.out("list", "--status", "failed", "--workflow", "ordr")
    assert shown.splitlines() == [
        "no instances are like that, of 3 in all",
        "  without --workflow: 1",
        '  no workflow "ordr" is registered, did you mean "order"?',
    ]
    assert "leave out several" in ran.out("list", "--status", "running", "--workflow", "order", "--tag", "weekly")


def test_the_hints_of_an_empty_list_count_exactly(ran: Inside, monkeypatch):
    for name, cap in (("FEW", 0), ("COUNTED", 1), ("_COUNTED_SLOWLY", 1)):
        monkeypatch.setattr(f"stepwell.projections.finding.{name}", cap)
    assert "  without --tag: 3" in ran.out("list", "--tag", "nothing").splitlines()


def test_history_takes_task_for_step(ran: Inside):
    meant = ran.json("history", "o1", "--types", "step.*")["events"]
    assert meant
    assert ran.json("history", "o1", "--types", "task.*")["events"] == meant
    assert "no event is of this type" in ran("history", "o1", "--types", "task.nothing", status=2)


def test_a_log_without_instances_says_so(inside: Inside):
    inside.write("gate.json", GATE)
    inside("register", "gate.json")
    assert inside.out("list") == "no instances: nothing was started on this log yet\n"
    assert inside.out("stats") == "nothing has run yet\n"
    assert inside.out("errors") == "no errors\n"
    assert inside.out("work") == "nothing is under way\n"
    assert inside.json("list") == {"total": 0, "instances": [], "next": ""}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("list --status faild", 'did you mean "failed"?'),
        ("list --since yesterday", "--since: is no time: 'yesterday'"),
        ("list --since 2h --until 3h", "--since: is not before --until"),
        ("list --cursor nonsense", "is no cursor"),
        ("list --order newest", "there is no order 'newest'"),
        ("list --input customer", "is not of the form NAME=VALUE"),
        ("list --input a.b.c.d=1", "only fields up to 3 keys deep"),
        ("list --error ab", "3 characters at least"),
        ("list --priority-min 200", "--priority-min"),
        ("list --limit 0", "--limit"),
        ("debug nobody", "`stepwell list` shows the instances"),
        ("monitor nobody --duration 1", "`stepwell list` shows the instances"),
        ("errors --instance nobody", "`stepwell list` shows the instances"),
        ("audit --instance nobody", "`stepwell list` shows the instances"),
        ("audit --since 17", "--since: is no time: '17'"),
        ("errors ab", "3 characters at least"),
        ("work --status rnning", 'did you mean "running"?'),
        ("work --limit 0", "--limit"),
        ("stats ordr", 'did you mean "order"?'),
        ("stats order@7", 'workflow "order" has no version 7'),
        ("cached ordr", 'did you mean "order"?'),
        ("cached order --max-age soon", "--max-age: is no age: 'soon'"),
        ("cached order --input {", "--input: is no JSON"),
        ("history o1 --types step.faild", 'did you mean "step.failed"?'),
    ],
)
def test_bad_input_gives_one_clear_error(ran: Inside, words: str, told: str):
    error = ran(*words.split(), status=2)
    assert told in error
    assert len(error.splitlines()) <= 4


@pytest.mark.parametrize(
    "words",
    ["list", "stats", "health", "alerts", "errors", "audit", "work", "cached x", "monitor --duration 1", "debug x",
     "projections status", "projections rebuild"],
)  # fmt: skip
def test_without_a_log_there_is_one_clear_error_and_none_is_made(inside: Inside, words: str):
    assert "error: " in inside(*words.split(), status=2)
    assert not (inside.directory / ".stepwell").exists()


@pytest.mark.parametrize(
    "verb",
    ["list", "status", "history", "monitor", "debug", "stats", "health", "alerts", "errors", "audit", "work", "cached",
     "projections status", "projections rebuild"],
)  # fmt: skip
def test_every_verb_that_looks_has_help_with_an_example(inside: Inside, verb: str):
    shown = inside.out(*verb.split(), "--help")
    assert f"stepwell {verb}" in shown.split("Options:")[0].partition("\n\n")[2] or f"  stepwell {verb}" in shown
    assert "--json" in shown


@pytest.mark.rows("R12", "R15", "X8")
def test_stats_tell_totals_success_and_durations_and_of_steps_attempts_and_failure_rates(ran: Inside):
    found = ran.json("stats", "--steps")["workflows"]
    broken, order, purchase = found
    assert (order["total"], order["completed"], order["success_rate"]) == (1, 1, 100.0)
    assert (broken["failed"], broken["success_rate"]) == (1, 0.0)
    assert (purchase["running"], purchase["success_rate"]) == (1, None)
    assert order["duration"]["count"] == 1
    assert order["avg_duration_seconds"] > 0
    pay = order["steps"][1]
    assert (pay["step_id"], pay["attempts"], pay["retried"], pay["succeeded"]) == ("pay", 3, 2, 1)
    assert round(pay["failure_rate"], 2) == 0.67
    shown = ran.out("stats", "order@1", "--steps")
    assert "order 1" in shown
    assert "broken" not in shown
    assert "66.7%" in shown
    assert "100 %" in shown
    assert "p99" in shown


@pytest.mark.rows("R14")
def test_status_shows_every_attempt_with_its_worker_time_and_error(ran: Inside):
    attempts = ran.json("status", "o1", "--attempts")["attempts"]
    assert [(one["step_id"], one["attempt"], one["max_attempts"], one["status"]) for one in attempts] == [
        ("load", 1, 1, "succeeded"), ("pay", 1, 3, "retried"), ("pay", 2, 3, "retried"), ("pay", 3, 3, "succeeded"),
    ]  # fmt: skip
    assert all(one["worker"] and one["finished_at"] >= one["ready_at"] > 0 for one in attempts)
    assert "raise ConnectionError" in attempts[1]["traceback"]
    shown = ran.out("status", "o1", "--attempts")
    assert shown.startswith("✔ order 1 · o1 · completed")
    assert "pay   2 of 3   ✘ retried" in shown
    assert "ConnectionError: try again" in shown


@pytest.mark.rows("R14")
def test_history_takes_types_and_shows_tracebacks_in_full(ran: Inside):
    shown = ran.out("history", "o1", "--types", "step.retry*")
    assert len(shown.splitlines()) == 2
    full = ran.out("history", "o1", "--types", "step.retry*", "--full")
    assert full.count("raise ConnectionError") == 2
    events = ran.json("history", "o1", "--types", "step.ready,workflow.*")["events"]
    assert {event["type"] for event in events} == {"step.ready", "workflow.started", "workflow.completed"}
    assert "none of its" in ran.out("history", "o1", "--types", "rollback.started")
    lines = ran.out("history", "o1", "--follow", "--json").splitlines()
    assert json.loads(lines[-1])["type"] == "workflow.completed", "it has ended, so nothing more is waited for"


@pytest.mark.rows("O7", "O8")
def test_health_and_alerts_exit_with_1_while_something_is_critical(ran: Inside):
    report = ran.json("health", status=1)
    assert report["level"] == "critical"
    scores = {one["workflow"]: one["level"] for one in report["workflows"]}
    assert (scores["broken"], scores["order"]) == ("warning", "warning")
    shown = ran.out("health", status=1)
    assert "✘  engines      critical" in shown
    assert "stepwell engine" in shown
    found = ran.json("alerts", status=1)["alerts"]
    assert {"failing", "no_engine"} <= {alert["code"] for alert in found}
    assert found[0]["level"] == "critical"
    assert "! warning   failing" in ran.out("alerts", status=1)


@pytest.mark.rows("O8")
def test_health_exits_with_0_where_all_is_well(inside: Inside):
    inside.write("hello.yaml", "name: hello\nsteps: [{id: a, handler: greet}]\n")
    inside("run", "hello.yaml", "--handlers", "steps", "--id", "h1")
    assert inside.json("health")["level"] == "healthy"
    assert inside.out("alerts") == "no alerts\n"


def test_errors_audit_and_work_list_what_was_asked_for(ran: Inside):
    found = ran.json("errors", "trouble")["errors"]
    assert [(one["instance_id"], one["step_id"], one["kind"]) for one in found] == [("b1", "bad", "ValueError")]
    assert "o1  pay  ConnectionError: try again" in ran.out("errors", "--instance", "o1")
    assert "no errors with that" in ran.out("errors", "of another kind")
    ran("approve", "g1", "--by", "ann", "--comment", "within budget")
    asked = ran.json("audit", "--instance", "g1")["audit"]
    assert [(one["command"], one["outcome"], one["message"]) for one in asked] == [
        ("ApproveStep", "followed", "within budget"), ("StartWorkflow", "followed", ""),
    ]  # fmt: skip
    assert "within budget" in ran.out("audit", "--since", "1h")
    assert "nobody has asked" in ran.out("audit", "--by", "somebody else")


@pytest.mark.rows("R15", "O7")
def test_work_shows_what_waits_for_whom(ran: Inside):
    (found,) = ran.json("work")["work"]
    assert (found["instance_id"], found["step_id"], found["status"], found["waits_for"]) == (
        "g1", "ask", "waiting", "approval",
    )  # fmt: skip
    assert "g1        ask   waiting for approval" in ran.out("work", "--status", "waiting")
    assert "nothing is under way there" in ran.out("work", "--status", "ready", "--queue", "mail")


@pytest.mark.rows("X8", "O7")
def test_workers_tell_what_each_has_done_those_that_have_left_too(ran: Inside):
    done = ran.json("workers", "--done")["done"]
    assert sum(one["runs"] for one in done) == 5, "load, three times pay, bad; not the approval"
    assert sum(one["failures"] for one in done) == 3
    assert "has left" in ran.out("workers", "--done")
    assert "done" not in ran.json("workers")
    assert {found["workflow"] for found in ran.json("stats")["workflows"]} == {"order", "broken", "purchase"}


@pytest.mark.rows("O12")
def test_cached_prints_the_result_of_an_equal_input_and_exits_with_1_without_one(ran: Inside):
    found = ran.json("cached", "order", "--param", "customer=17")
    assert found["cached"]["instance_id"] == "o1"
    assert found["output"] == {"pay": {"attempt": 3}}
    shown = ran.out("cached", "order@1", "--input", '{"customer": 17}', "--max-age", "1h")
    assert shown.startswith("o1  completed ")
    assert ran.json("cached", "order", "--param", "customer=99", status=1) == {"cached": None, "output": None}
    told = ran.out("cached", "order", "--param", "customer=99", status=1)
    assert "stepwell start order --param customer=99 --wait" in told
    ran.json("cached", "broken", "--param", "customer=18", status=1)  # what has failed is no result


def test_projections_tell_where_they_are_and_are_made_anew(ran: Inside):
    assert ids(ran.json("list")) == ["g1", "b1", "o1"]
    before = ran.json("projections", "status")
    assert (before["generation"], before["records_behind"], before["problem"]) == (1, 0, "")
    rebuilt = ran.json("projections", "rebuild")
    assert rebuilt["generation"] == 2
    after = ran.json("projections", "status")
    assert after["generation"] == 2
    assert {Path(file["file"]).name.partition(".")[0] for file in after["files"]} == {"2"}, "the old one is gone"
    assert ids(ran.json("list")) == ["g1", "b1", "o1"]
    assert "lag         none" in ran.out("projections", "status")
    assert "generation 3 is in place" in ran.out("projections", "rebuild")


@pytest.mark.rows("O5")
def test_debug_prints_the_cause_and_the_commands_with_the_right_log(ran: Inside):
    log = f"file:{ran.directory}/.stepwell/log.db"
    shown = ran.out("debug", "b1", "--log", log)
    assert shown.startswith(
        '✘ broken 1 · b1 · failed\n\nfailed: step "bad" failed: ValueError: nothing but trouble\n'
    )
    assert '  input  {"customer": 18}' in shown
    assert 'raise ValueError("nothing but trouble")' in shown
    assert f"stepwell resume b1 --log {log}" in shown
    assert f"stepwell history b1 --log {log}" in shown
    assert 'approval: step "ask" waits for approval by ann' in ran.out("debug", "g1")
    found = ran.json("debug", "g1")
    assert [finding["code"] for finding in found["findings"]] == ["approval", "no_engine"]
    remedies = [remedy["command"] for finding in found["findings"] for remedy in finding["remedies"]]
    assert remedies[0].startswith("stepwell approve g1")
    shown = ran.out("status", "g1")
    assert remedies[0] == "stepwell approve g1 --by ann"
    assert f"It waits for a person: `{remedies[0]}`" in shown
    assert "stepwell run" not in shown, "that would end with exit status 3"


def test_debug_of_what_completed_and_of_what_nobody_has_decided(ran: Inside):
    assert "completed: it has completed; nothing is wrong" in ran.out("debug", "o1")
    ran("start", "order", "--id", "later")
    assert "no engine: its start is in the log" in ran.out("debug", "later")


def test_a_first_look_that_takes_long_says_on_stderr_what_it_waits_for(ran: Inside, monkeypatch):
    take = Projector.take

    async def slowly(self, partition, records):
        await asyncio.sleep(0.3)
        await take(self, partition, records)

    monkeypatch.setattr("stepwell.projections.projector.Projector.take", slowly)
    monkeypatch.setattr("stepwell.cli.views._PATIENCE", 0.1)
    monkeypatch.setattr("stepwell.cli.views._TELL_SELDOM", 0.1)
    told = ran("list")
    assert re.search(r"the read models are being made: \d+% of \d+ records …\n", told)


def test_hostile_texts_cannot_steer_the_terminal(inside: Inside):
    inside.write("w.json", {"name": "w", "steps": [{"id": "ask", "type": "approval_gate",
                                                    "config": {"title": "{{ input.t }}"}}]})  # fmt: skip
    inside("run", "w.json", "--id", "bad\x1b[31m", status=2)  # ids are plain
    inside("run", "w.json", "--id", "bad", "--input", json.dumps({"t": "x\x1b]0;owned\x07\u202e"}), status=3)
    inside("stop", "bad", "--reason", "r\x1b[2J\u202e")
    for verb in ("list", "debug bad", "work", "audit", "history bad --full", "status bad --attempts",
                 "monitor --duration 0"):  # fmt: skip
        shown = inside.out(*verb.split(" "))
        assert "\x1b" not in shown, verb
        assert "\u202e" not in shown, verb


@pytest.mark.parametrize("verb", ["list", "history", "audit", "errors"])
def test_a_reader_that_leaves_ends_the_verb_quietly(shell: Shell, verb: str):
    shell.write("b.json", BROKEN)
    shell("run", "b.json", "--handlers", "steps", "--id", "b1", status=1)
    words = [sys.executable, "-m", "stepwell", verb, *(["b1"] if verb == "history" else [])]
    process = subprocess.Popen(
        words, cwd=shell.directory, env=shell.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=HANG) in (0, 141)
    assert error == ""


def test_read_models_that_are_made_anew_are_told_in_a_sentence_without_colours(ran: Inside):
    ran("list")
    (ran.directory / ".stepwell/log.db").rename(ran.directory / "old.db")
    for end in ("-wal", "-shm"):
        (ran.directory / f".stepwell/log.db{end}").unlink(missing_ok=True)
    ran("run", "gate.json", "--id", "g2", status=3)
    told = ran("list")
    assert "warning: making the read models anew from the log: they follow another log, or a former one" in told
    assert "\x1b" not in told
    assert "[warning" not in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--error ab", "error: --error: a text of 3 characters at least is looked for"),
        ("--cursor nonsense", "error: --cursor: is no cursor"),
        ("--input a.b.c.d.e.f.g.h.i.j=1", "error: --input a.b.c"),
    ],
)
def test_a_filter_that_makes_no_sense_names_its_option(ran: Inside, words: str, message: str):
    assert message in ran("list", *words.split(), status=2)


def test_the_processor_time_of_steps_is_labelled_as_a_sum(ran: Inside):
    assert ran.out("stats", "order", "--steps").splitlines()[4].endswith("cpu in all")
