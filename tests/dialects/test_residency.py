"""The dialect of the residency scheduler's engine: what its keys become, and what it refuses."""

from __future__ import annotations

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_loaded, load_definition, read_definition


def steps(*given, **top):
    return load_definition({"steps": list(given), **top}, name="rota", dialect="residency")


def test_the_wait_before_the_nth_retry_is_the_multiplier_to_the_power_of_n():
    policy = {"max_attempts": 4, "backoff_multiplier": 3, "max_backoff_seconds": 20}
    retry = steps({"id": "a", "handler": "h", "retry_policy": policy}).steps[0].retry
    waits = [
        min(retry.initial_delay_seconds * retry.multiplier**n, retry.max_delay_seconds)
        for n in range(retry.max_attempts - 1)
    ]
    assert waits == [3, 9, 20]
    assert retry.retry_on_timeout


def test_a_policy_that_says_nothing_gives_three_attempts_and_none_gives_one():
    with_policy, without = steps({"id": "a", "handler": "h", "retry_policy": {}}, {"id": "b", "handler": "h"}).steps
    assert (with_policy.retry.max_attempts, with_policy.retry.multiplier) == (3, 2)
    assert without.retry.max_attempts == 1


def test_a_handler_of_several_failures_is_copied_for_each():
    made = steps(
        {"id": "a", "handler": "h"}, {"id": "b", "handler": "h"}, {"id": "tell", "handler": "t"},
        error_handlers={"a": "tell", "b": "tell"},
    )  # fmt: skip
    assert {key: handler.step for key, handler in made.error_handlers.items()} == {"a": "tell", "b": "tell_of_b"}
    assert made.steps[-1].handler == "t"
    compile_loaded(read_definition(made))


def test_the_template_around_a_definition_says_name_version_and_tags():
    made = load_definition({
        "name": "swap", "version": 3, "tags": ["x"], "description": "d",
        "definition": {"name": "other", "steps": [{"id": "a", "handler": "h"}], "default_timeout_seconds": 9},
    })  # fmt: skip
    assert (made.name, made.version, made.tags, made.description) == ("swap", "3", ("x",), "d")
    assert made.default_timeout_seconds == 9


def test_an_inactive_template_is_refused_because_a_file_registers_what_may_be_started():
    with pytest.raises(DefinitionError, match=r"is_active: .*active"):
        load_definition({"name": "a", "is_active": False, "definition": {"steps": [{"id": "a", "handler": "h"}]}})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"retry_policy": {"attempts": 2}}, 'unknown key "attempts", did you mean "max_attempts"?'),
        ({"retry_policy": {"backoff_multiplier": "2"}}, "expected a number of at least 0, not a text"),
        ({"retry_policy": {"backoff_multiplier": 0.5}}, "expected a number of at least 1"),
        ({"retry_policy": 3}, "a retry policy is a mapping, not a number"),
        ({"execution_mode": "both"}, 'unknown value "both"; there are parallel, sequential'),
        ({"dependson": ["b"]}, 'unknown key "dependson", did you mean "depends_on"?'),
        ({"timeout": 3}, 'unknown key "timeout", did you mean "timeout_seconds"?'),
        ({"timeout_seconds": "3"}, "expected a number, not a text"),
    ],
)
def test_refused(step, message):
    with pytest.raises(DefinitionError) as caught:
        steps({"id": "a", "handler": "h", **step})
    assert message in str(caught.value)
