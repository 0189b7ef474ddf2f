"""``stepwell reschedule``, as who has timers that are due too late uses it."""

from __future__ import annotations

import json

import pytest

from .conftest import Shell

LATE = json.dumps({"name": "late", "steps": [{"id": "a", "type": "wait", "config": {"seconds": 3_000}}]})


@pytest.fixture
def late(shell: Shell) -> Shell:
    (shell.directory / "late.json").write_text(LATE)
    shell("register", "late.json")
    for name in ("one", "two"):
        shell("start", "late", "--id", name)
    return shell


def test_what_is_due_in_time_stays_and_is_said_to(late: Shell) -> None:
    said = "one: no timer of it is due later than if its wait began now; it is running now\n"
    assert late("reschedule", "one").stdout == said
    assert late("reschedule", "--all").stdout == "0 of 2 live instances had timers that were due too late\n"


def test_a_timer_is_moved_to_now(late: Shell) -> None:
    assert late("reschedule", "one", "--step", "a", "--in", "0").stdout.startswith(
        "one: its timers were moved; it is "
    )
    assert "timers.moved" in late("history", "one").stdout
    assert json.loads(late("reschedule", "--all", "--json").stdout)["moved"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("one", "--step", "b"), 'step "b" has no timer; these have one: a'),
        (("nobody",), 'there is no instance "nobody"'),
        ((), "no instance is named"),
        (("one", "--in", "3"), "--in needs the step whose timer is meant"),
        (("--all", "--in", "3"), "--all stands alone"),
        (("one", "--step", "a", "--in", "-1"), "-1.0 is not in the range"),
        (("one", "--step", "a", "--in", "nan"), ""),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(late: Shell, words: tuple[str, ...], says: str) -> None:
    assert says in late("reschedule", *words, status=2).stderr
    assert "timers.moved" not in late("history", "one").stdout
