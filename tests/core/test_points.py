"""Points that a rollback names: names come before words and numbers, and mean the newest that is not undone."""

from __future__ import annotations

import pytest

from stepwell.schemas.records.commands import ResumeWorkflow, RollbackWorkflow
from stepwell.schemas.records.events import RollbackStarted
from tests.core.build import in_hand, started, step


def back(engine, to=None, **fields):
    return engine.send(RollbackWorkflow(engine.id, to, command_id=f"back {engine.decided}", **fields))


def target(engine):
    return engine.of(RollbackStarted)[-1].to


WORDS = ["start", "latest", "2", "0", "007"]


@pytest.mark.parametrize("word", WORDS)
def test_a_checkpoints_name_wins_over_words_and_numbers(word):
    engine = started(step("a"), step("b", "a", checkpoint=word), step("c", "b"), step("d", "c"))
    for name in "abc":
        engine.complete(name)
    back(engine, word)
    assert target(engine) == engine.latest.checkpoints[word]
    assert in_hand(engine) == ["c"]


@pytest.mark.parametrize("word", WORDS)
def test_a_steps_id_wins_over_words_and_numbers(word):
    engine = started(step("a"), step(word, "a"), step("c", word), step("d", "c"))
    for name in ("a", word, "c"):
        engine.complete(name)
    back(engine, word)
    assert in_hand(engine) == ["c"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("named_by", ["step", "checkpoint", "checkpoint that is true"])
def test_a_name_that_was_not_reached_yet_is_refused_and_never_taken_for_a_word(word, named_by):
    last = {
        "step": step(word, "b"),
        "checkpoint": step("c", "b", checkpoint=word),
        "checkpoint that is true": step(word, "b", checkpoint=True),
    }[named_by]
    engine = started(step("a"), step("b", "a"), last)
    engine.complete("a")
    engine.complete("b")
    decision = back(engine, word)
    assert decision.events[0].code == "unknown_checkpoint"
    assert decision.events[0].message == f'"{word}" has not been reached; there are a, b, latest, start'


def test_a_name_that_is_a_checkpoint_and_another_steps_id_is_refused_and_never_guessed():
    engine = started(step("a", checkpoint="b"), step("b", "a"), step("c", "b"), step("d", "c"))
    engine.complete("a")
    back(engine, "b", pause=True)
    assert target(engine) == engine.latest.checkpoints["b"]  # the step has not been reached: there is one point only
    engine.send(ResumeWorkflow(engine.id))
    engine.complete("b")
    engine.complete("c")
    state = engine.latest
    decision = back(engine, "b")
    at = (state.checkpoints["b"], state.steps["b"].settled)
    assert (
        decision.events[0].message
        == f'"b" is a checkpoint (event {at[0]}) and a step (event {at[1]}); name the event'
    )
    back(engine, at[1])
    assert target(engine) == at[1]


def test_an_event_is_written_so_that_it_cannot_be_a_name():
    engine = started(step("a"), step("2", "a"), step("start", "2", checkpoint="latest"), step("d", "start"))
    for name in ("a", "2", "start"):
        engine.complete(name)
    back(engine, 2)
    assert target(engine) == 2
    assert in_hand(engine) == ["a"]


def test_without_a_point_it_is_the_step_that_was_settled_last_whatever_is_called_latest():
    engine = started(step("a", checkpoint="latest"), step("b", "a"), step("c", "b"))
    engine.complete("a")
    engine.complete("b")
    back(engine)
    assert target(engine) == engine.latest.steps["b"].settled
    back(engine, "latest")
    assert target(engine) == engine.latest.steps["a"].settled


def test_words_and_numbers_are_what_they_were_where_nothing_is_called_so():
    engine = started(step("a"), step("b", "a"), step("c", "b"))
    engine.complete("a")
    engine.complete("b")
    back(engine, "latest")
    assert target(engine) == engine.latest.steps["b"].settled
    back(engine, "3")
    assert target(engine) == 3
    back(engine, "start")
    assert target(engine) == 1


@pytest.mark.parametrize("between", ["to an event", "to a step"])
def test_a_name_given_twice_means_the_older_point_again_once_the_newer_is_undone(between):
    engine = started(
        step("one", checkpoint="paid"),
        step("two", "one"),
        step("three", "two", checkpoint="paid"),
        step("four", "three"),
    )
    engine.complete("one")
    older = engine.latest.checkpoints["paid"]
    engine.complete("two")
    engine.complete("three")
    assert engine.latest.checkpoints["paid"] > older
    back(engine, "two" if between == "to a step" else engine.latest.steps["two"].settled)
    assert dict(engine.latest.checkpoints) == {"paid": older}
    back(engine, "paid")
    assert target(engine) == older
    for name in ("two", "three"):
        engine.complete(name)
    assert engine.latest.checkpoints["paid"] > older


def test_the_newest_point_that_is_kept_is_meant_of_however_many():
    engine = started(
        *(step(name, *after, checkpoint="paid") for name, *after in ("a", "ba", "cb", "dc")), step("e", "d")
    )
    for name in "abcd":
        engine.complete(name)
    back(engine, "c")
    assert dict(engine.latest.checkpoints) == {"paid": engine.latest.steps["c"].settled}
    back(engine, "b")
    assert dict(engine.latest.checkpoints) == {"paid": engine.latest.steps["b"].settled}


def test_a_name_is_forgotten_where_every_point_of_it_is_undone():
    engine = started(step("a"), step("b", "a", checkpoint="paid"), step("c", "b", checkpoint="paid"), step("d", "c"))
    for name in "abc":
        engine.complete(name)
    back(engine, "a")
    assert dict(engine.latest.checkpoints) == {}
    assert back(engine, "paid").events[0].code == "unknown_checkpoint"
