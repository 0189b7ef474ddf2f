"""Verbs that have nothing to do, or may not do it yet: they say so and why, and how it can be done."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Inside

UNDO = {"handler": "steps.note"}
TWO = {
    "name": "w",
    "steps": [
        {"id": "a", "handler": "steps.note", "compensate": UNDO, "checkpoint": "early"},
        {"id": "b", "handler": "steps.note", "depends_on": ["a"], "compensate": UNDO},
    ],
}


def test_the_verb_says_why_nothing_went_and_how_it_can(inside: Inside):
    inside.write("w.json", {"name": "w", "steps": [{"id": "a", "handler": "steps.note"}]})
    inside("run", "w.json", "--handlers", "steps", "--id", "one")
    words = ("cleanup", "--older-than", "0s", "--no-archive", "--yes")
    out = inside.out(*words, status=1)
    assert "deleted 0 instances\n" in out
    assert "1 older one cannot go yet:" in out
    assert "--snapshot-now takes it now" in out
    assert inside.json(*words, status=1)["kept"] == 1
    assert "--snapshot-now: writes" in inside(
        "cleanup", "--older-than", "0s", "--dry-run", "--snapshot-now", status=2
    )
    assert "deleted 1 instance" in inside.out(*words, "--snapshot-now")
    assert "deleted 0 instances: none has finished before" in inside.out(*words)


def test_a_rollback_of_a_completed_instance_with_nothing_to_undo_says_what_could_be_named(inside: Inside):
    inside.write("w.json", TWO)
    inside("run", "w.json", "--handlers", "steps", "--id", "one")
    before = inside.json("status", "one")["sequence"]
    for point in ((), ("--checkpoint", "b"), ("--checkpoint", "latest")):
        err = inside("rollback", "one", *point, status=2)
        assert "there is nothing to undo, and nothing to run again" in err
        assert "Name an earlier point: early, a, start" in err or "Name an earlier point: a, early, start" in err
    told: Any = inside.json("rollback", "one", status=2)
    assert told["error"]["type"] == "CommandRejectedError"
    assert inside.json("status", "one")["sequence"] == before
    assert "being rolled back: 1 compensation" in inside.out("rollback", "one", "--checkpoint", "early")
