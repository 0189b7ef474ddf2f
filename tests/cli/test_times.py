"""Times and durations as the terminal shows them: of the run that is meant, as of when it is meant."""

from __future__ import annotations

import io
import json
import time

import pytest
from msgspec.json import encode

from stepwell.cli.drawing import step_words
from stepwell.cli.instances import print_instance
from stepwell.cli.live import _Lines
from stepwell.consumers.reading.histories import time_of
from stepwell.consumers.reading.subscriber import Watch
from stepwell.consumers.reading.views import view
from stepwell.core.fold.evolve import fold
from stepwell.projections.folding import attempts_in
from stepwell.schemas.definitions.model import Compensation, Retry
from stepwell.schemas.records.commands import PauseWorkflow, ResumeWorkflow, RollbackWorkflow
from tests.core.build import started, step
from tests.core.test_approvals import approve, gate

from .conftest import Inside


def lines(engine):
    """What `run` prints of an instance, without the times in front."""
    stream, watch = io.StringIO(), Watch(engine.id)
    watch.listeners.append(_Lines(watch, stream).take)
    for transition in engine.transitions:
        watch.take(transition)
    return [line.partition(" s  ")[2] for line in stream.getvalue().splitlines()]


def shown(engine, to=None):
    """An instance after one of its events, as a replay shows it."""
    state = fold(engine.transitions, to=to)
    return view(state, engine.plan, time_of(engine.transitions, state.sequence))


def replayed(engine, to, capsys):
    print_instance(shown(engine, to), engine.plan)
    return capsys.readouterr().out


def test_a_step_that_runs_anew_after_a_rollback_took_what_its_new_run_took():
    kinds = [
        step("worked", compensate=Compensation("undo")),
        step("slept", "worked", type="wait", config={"seconds": 2}),
        step("asked", "slept", type="approval_gate"),
        step("told", "asked", type="input"),
        step("last", "told"),
    ]
    engine = started(*kinds)

    def all_but_the_last(seconds):
        engine.wait(seconds)
        engine.complete("worked")
        engine.wait(2)
        engine.wait(seconds)
        approve(engine)

    all_but_the_last(30)
    engine.wait(500)
    engine.send(RollbackWorkflow(engine.id, "start"))
    engine.wait(60)
    engine.complete("worked")
    all_but_the_last(7)
    done = [line for line in lines(engine) if line.startswith("✔")]
    assert done[:4] == ["✔ worked  30.0 s", "✔ slept  2.0 s", "✔ asked  30.0 s", "✔ told  0 ms"]
    assert done[4:] == ["✔ worked  7.0 s", "✔ slept  2.0 s", "✔ asked  7.0 s", "✔ told  0 ms"]


def test_a_step_that_is_tried_again_or_resumed_took_what_its_last_attempt_took():
    engine = started(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=5), on_failure="pause"))
    engine.wait(40)
    engine.fail("a")
    engine.wait(100)
    engine.wait(3)
    engine.fail("a")
    engine.wait(1_000)
    engine.send(ResumeWorkflow(engine.id, "retry", "again"))
    engine.wait(4)
    engine.complete("a")
    assert lines(engine)[-1] == "✔ a  4.0 s"
    assert step_words(shown(engine).steps["a"], engine.now) == "4.0 s"


def test_a_replay_shows_durations_as_of_the_time_of_its_event(capsys):
    engine = started(step("a"), step("b", "a"))
    engine.wait(30)
    ready = engine.latest.sequence
    engine.report("a")
    reported = engine.latest.sequence
    engine.wait(60)
    engine.complete("a")
    first = replayed(engine, ready, capsys)
    assert "running · 0 ms" in first
    assert "a 0 ms" in first
    second = replayed(engine, reported, capsys)
    assert "running · 30.0 s" in second
    assert "a 30.0 s" in second
    assert "1 min 30 s" in replayed(engine, None, capsys), "the newest event, not now"


def test_what_has_not_happened_has_no_time():
    engine = started(step("a"), step("b", "a"))
    plain = json.loads(encode(shown(engine)))
    assert plain["finished_at"] is None
    assert {plain["steps"]["b"][name] for name in ("started_at", "finished_at", "due")} == {None}
    assert plain["steps"]["a"]["started_at"] > 0
    assert plain["steps"]["a"]["finished_at"] is None
    (attempt,) = attempts_in(engine.transitions)
    assert (attempt.started_at, attempt.finished_at, attempt.due) == (None, None, None)
    engine.complete("a")
    engine.complete("b")
    assert shown(engine).finished_at == engine.now


@pytest.mark.parametrize("level", [1, 2])
def test_a_gate_of_a_paused_instance_shows_what_is_left_and_no_due_time(level):
    config = {"timeout_seconds": 100}
    if level == 2:
        config |= {"on_timeout": "escalate", "escalate_to": [["cy"]]}
    engine = started(gate(**config))
    engine.wait(40 if level == 1 else 140)
    due = shown(engine).steps["gate"].due
    assert due == engine.now + 60_000
    assert attempts_in(engine.transitions)[0].due == due
    engine.send(PauseWorkflow(engine.id, "", "stop"))
    engine.wait(5_000)
    held = shown(engine).steps["gate"]
    assert (held.due, held.approval.due, held.remaining_ms) == (None, None, 60_000)
    assert attempts_in(engine.transitions)[0].due is None
    assert "time stands still for it, 1 min 0 s left once it goes on" in step_words(held, engine.now)
    engine.send(ResumeWorkflow(engine.id, "retry", "go on"))
    going = shown(engine).steps["gate"]
    assert (going.due, going.approval.due, going.remaining_ms) == (engine.now + 60_000,) * 2 + (None,)
    assert attempts_in(engine.transitions)[0].due == going.due


def test_no_time_on_the_terminal_or_in_a_list_is_1970(inside: Inside):
    inside.write(
        "w.yaml", "name: w\nsteps:\n  - {id: a, type: approval_gate}\n  - {id: b, depends_on: [a], type: input}\n"
    )
    inside("run", "w.yaml", "--id", "x", status=3)
    told = [
        inside.json(*words)
        for words in (
            ("status", "x", "--attempts"), ("replay", "x", "--to", "2"), ("list",), ("work",), ("debug", "x"),
        )
    ]  # fmt: skip
    names = {"started_at", "finished_at", "due", "since", "until", "ready_at", "as_of", "updated_at"}

    def times(value):
        if isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in names:
                    yield key, inner
                else:
                    yield from times(inner)

    found = list(times(told))
    assert {key for key, _ in found} > {"started_at", "finished_at", "due", "since", "as_of"}
    assert all(value is None or value > time.time() * 1000 - 86_400_000 for _, value in found), found


def test_an_incident_that_a_step_has_told_of_is_listed_once_among_the_errors(inside: Inside):
    inside.write("w.yaml", "name: w\nsteps: [{id: a, handler: steps.fail, on_failure: pause}]\n")
    inside("run", "w.yaml", "--handlers", "steps", "--id", "x", status=3)
    (found,) = inside.json("errors")["errors"]
    assert (found["step_id"], found["kind"]) == ("a", "ValueError")
