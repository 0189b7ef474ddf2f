"""The dialect of the step executor: what its keys become, and what it refuses."""

from __future__ import annotations

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import load_definition


def one(step, **top):
    return load_definition({"id": "letters", "steps": {"a": step}, **top}).steps[0]


def test_three_retries_unless_it_says_otherwise_and_none_for_what_is_decided_at_once():
    assert one({"type": "process"}).retry.max_attempts == 4
    assert one({"type": "process", "max_retries": 0}).retry.max_attempts == 1
    assert one({"type": "process", "max_retries": 5}).retry.max_attempts == 6
    assert one({"type": "input", "max_retries": 5}).retry.max_attempts == 1
    assert one({"type": "output"}).retry.max_attempts == 1


def test_input_holds_the_settings_of_the_type():
    step = one({"type": "ai", "input": {"prompt": "Why?"}})
    assert (step.type, step.config, step.input) == ("llm", {"prompt": "Why?"}, None)


def test_id_is_the_name_and_a_name_beside_it_describes():
    made = load_definition({"id": "a", "name": "Letters", "steps": {"x": {"type": "input"}}})
    assert (made.name, made.description) == ("a", "Letters")
    made = load_definition({"id": "a", "name": "b", "description": "c", "steps": {"x": {"type": "input"}}})
    assert (made.name, made.description) == ("a", "c")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({}, 'steps.a: missing "type"'),
        ({"type": "output", "config": {}}, 'steps.a: unknown key "config", did you mean "input"?'),
        ({"type": "process", "max_retries": 1.5}, "steps.a.max_retries: expected a whole number of at least 0"),
        ({"type": "process", "max_retries": True}, "steps.a.max_retries: expected a whole number"),
        ({"type": "process", "input": [1]}, "steps.a.input: expected a mapping, not a list"),
        (3, "steps.a: a step is a mapping, not a number"),
    ],
)
def test_refused(step, message):
    with pytest.raises(DefinitionError) as caught:
        one(step)
    assert message in str(caught.value)
