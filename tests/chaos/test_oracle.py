"""The chaos suite's judge finds what it is there for."""

from __future__ import annotations

import pytest

from stepwell.log.port import Record
from stepwell.schemas.records.events import (
    EVENTS_VERSION,
    StepReady,
    StepSucceeded,
    Transition,
    WorkflowPaused,
    WorkflowStarted,
)
from tests.chaos.follower import Rule, Seen
from tests.chaos.injector import Hit
from tests.chaos.oracle import judge
from tests.chaos.recovery import begun_late, figures, recoveries

STARTED = WorkflowStarted(workflow="w", version="1", definition="d", command_id="c1")
READY = StepReady(step_id="a", run=1)


def history(*lists, at=1):
    """Transitions of one instance, one after the other."""
    found, sequence = [], 1
    for events in lists:
        found.append(Transition(EVENTS_VERSION, at, "i", sequence, tuple(events)))
        sequence += len(events)
    return found


def note(what, **more):
    return {"what": what, "at": 10.0, "of": ["i", "a", 1], **more}


DONE = [note("begin"), note("end", output=5)]


def test_a_clean_history_is_clean():
    found = judge([history([STARTED, READY], [StepSucceeded("a", 1, output=5)])], ["c1"], DONE)
    assert (found.lost, found.twice, found.strange, found.needed, found.beyond) == ([], [], [], 1, 0)


def test_an_acknowledged_command_that_nothing_answers_is_lost():
    assert judge([history([STARTED])], ["c1", "c2"], []).lost == ["c2"]


@pytest.mark.parametrize(
    "lists",
    [
        ([STARTED], [STARTED]),
        ([STARTED, READY], [READY]),
        ([STARTED], [WorkflowPaused(command_id="c2")], [WorkflowPaused(command_id="c2")]),
        ([STARTED, READY], [StepSucceeded("a", 1, output=5)], [StepSucceeded("a", 1, output=5)]),
    ],
)
def test_what_happens_twice_is_found(lists):
    assert judge([history(*lists)], ["c1"], DONE).twice


def test_an_event_that_is_missing_or_there_twice_is_found():
    whole = history([STARTED, READY], [StepSucceeded("a", 1, output=5)])
    assert judge([whole[1:]], [], DONE).twice
    assert judge([[*whole, whole[1]]], [], DONE).twice


def test_outputs_and_runs_that_have_no_cause_are_found():
    assert judge([history([STARTED, READY], [StepSucceeded("a", 1, output=6)])], [], DONE).strange
    assert judge([history([STARTED])], [], DONE).strange


def test_runs_beyond_the_needed_are_counted():
    whole = [history([STARTED, READY], [StepSucceeded("a", 1, output=5)])]
    assert judge(whole, [], [*DONE, note("begin"), note("begin")]).beyond == 2
    seen = [Seen(20.0, 20.0, 0, transition) for transition in whole[0]]
    late = {**note("begin"), "at": 21.0}
    assert begun_late([*DONE, late], seen) == 1


def record(offset, kind, epoch=0, index=0):
    headers = {"kind": kind} if kind == "claim" else {"kind": kind, "epoch": str(epoch), "index": str(index)}
    return Record(offset, "i", b'{"owner": "me"}', headers, 0)


def test_only_what_the_last_claim_allows_counts_and_a_hole_is_no_log():
    rule = Rule()
    taken = [
        rule.take(record(0, "claim")), rule.take(record(1, "transition", 0, 1)), rule.take(record(2, "claim")),
        rule.take(record(3, "transition", 0, 2)), rule.take(record(4, "transition", 2, 1)),
        rule.take(record(5, "transition", 2, 1)), rule.take(record(6, "transition", 2, 3)),
    ]  # fmt: skip
    assert taken == [False, True, False, False, True, False, False]
    assert (rule.claims, rule.refused, rule.owner) == (2, 3, "me")
    with pytest.raises(AssertionError, match="a hole"):
        rule.take(record(8, "claim"))


def test_recovery_is_what_was_made_after_the_fault():
    transition = history([STARTED, READY], [StepSucceeded("a", 1, output=5)])[1]
    seen = [Seen(10.5, 9.9, 0, transition), Seen(12.0, 11.5, 0, transition)]
    hits = [Hit("kill engine", 10.0, [0, 1]), Hit("kill worker", 10.0, [], [("i", "a", 1), ("i", "b", 2)])]
    assert recoveries(hits, seen) == ({"kill engine": [2.0], "kill worker": [2.0]}, 2)
    assert figures([3.0, 1.0, 2.0]) == {"n": 3, "p50": 2.0, "p99": 3.0}
