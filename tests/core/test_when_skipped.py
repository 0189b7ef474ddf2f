"""``when_skipped``: what a step does where one that it depends on was skipped."""

from __future__ import annotations

import pytest

from stepwell.core.decide.skips import runs_after_skips
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import encode_definition, hash_definition
from stepwell.schemas.records.commands import ResumeWorkflow
from stepwell.schemas.records.events import StepSkipped
from tests.core.build import in_hand, started, statuses, step, workflow


def chain(**fields):
    return started(
        step("download", condition="false"), step("truncate", "download"), step("load", "truncate"), **fields
    )


def test_what_depends_on_a_skipped_step_runs_unless_something_is_said():
    assert in_hand(chain()) == ["truncate"]
    assert in_hand(chain(when_skipped="run")) == ["truncate"]


def test_a_step_may_be_skipped_along_and_so_may_all_of_a_workflow():
    engine = chain(when_skipped="skip")
    assert statuses(engine) == {"download": "skipped", "load": "skipped", "truncate": "skipped"}
    assert engine.latest.status == "completed"
    assert [event.reason for event in engine.of(StepSkipped)][1:] == ["download was skipped", "truncate was skipped"]


def test_what_a_step_says_itself_wins_over_what_the_workflow_says():
    engine = started(
        step("a", condition="false"),
        step("b", "a", when_skipped="skip"),
        step("c", "b"),
        step("d", "b", when_skipped="skip"),
    )
    assert statuses(engine) == {"a": "skipped", "b": "skipped", "c": "ready", "d": "skipped"}
    engine = started(step("a", condition="false"), step("b", "a", when_skipped="run"), when_skipped="skip")
    assert statuses(engine) == {"a": "skipped", "b": "ready"}


@pytest.mark.parametrize("first", ["a", "b"])
def test_one_skipped_step_among_those_it_depends_on_is_enough(first):
    engine = started(
        step("a", condition="false" if first == "a" else "true"),
        step("b", condition="false" if first == "b" else "true"),
        step("join", "a", "b", when_skipped="skip"),
    )
    engine.complete("b" if first == "a" else "a")
    assert statuses(engine)["join"] == "skipped"


def test_a_condition_is_not_looked_at_where_the_step_is_skipped_along():
    engine = started(step("a", condition="false"), step("b", "a", condition="a.output.v > 1", when_skipped="skip"))
    assert engine.latest.status == "completed"


@pytest.mark.parametrize("kind", ["approval_gate", "wait", "output", "workflow_trigger"])
def test_steps_of_every_type_are_skipped_along(kind):
    config = {"wait": {"seconds": 5}, "workflow_trigger": {"workflow": "other"}}.get(kind, {})
    engine = started(step("a", condition="false"), step("b", "a", type=kind, config=config, when_skipped="skip"))
    assert statuses(engine) == {"a": "skipped", "b": "skipped"}


def test_a_failure_that_skips_its_step_skips_along():
    engine = started(step("a", on_failure="skip"), step("b", "a", when_skipped="skip"))
    engine.fail("a")
    assert statuses(engine) == {"a": "failed", "b": "skipped"}


def test_a_failure_that_a_handler_has_dealt_with_skips_nothing():
    engine = started(
        step("a"), step("mend"), step("b", "a"), on_error={"a": ("mend", "continue")}, when_skipped="skip"
    )
    engine.fail("a")
    engine.complete("mend")
    assert in_hand(engine) == ["b"]


def test_what_a_person_skips_skips_along():
    engine = started(step("a", on_failure="pause"), step("b", "a"), step("c", "a", when_skipped="skip"))
    engine.fail("a")
    engine.send(ResumeWorkflow(engine.id, "skip"))
    assert statuses(engine) == {"a": "skipped", "b": "ready", "c": "skipped"}


def test_which_steps_run_after_a_skip_is_known_beforehand():
    plan = compile_plan(
        workflow(
            step("a", condition="input.x"),
            step("b", "a", when_skipped="skip"),
            step("c", "a"),
            step("d", "b", "c"),
            step("e", "c"),
            step("f", on_failure="skip"),
            step("g", "f"),
        )
    )
    assert runs_after_skips(plan) == {"a": ("c",), "b": ("d",), "f": ("g",)}
    assert runs_after_skips(compile_plan(workflow(step("a"), step("b", "a")))) == {}


def test_a_definition_that_says_nothing_of_it_has_the_bytes_that_it_had():
    plain = workflow(step("a"), step("b", "a"))
    assert b"when_skipped" not in encode_definition(plain)
    assert hash_definition(plain) == hash_definition(workflow(step("a"), step("b", "a"), when_skipped="run"))
    assert hash_definition(plain) != hash_definition(workflow(step("a"), step("b", "a"), when_skipped="skip"))
