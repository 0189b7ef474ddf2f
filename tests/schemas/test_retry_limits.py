"""A longest wait between attempts that is written is no shorter than the first wait that is, in every dialect."""

from __future__ import annotations

import pytest

from stepwell.core.decide.retry import delay_seconds
from stepwell.errors import DefinitionError
from stepwell.language import load_definition
from stepwell.schemas.definitions.model import (
    Compensation,
    Definition,
    Retry,
    Step,
    decode_definition,
    encode_definition,
)
from stepwell.schemas.dialects import translate
from stepwell.step_types.table import BUILT_IN


def canonical(retry: str, key: str = "retry") -> str:
    inner = f"compensate: {{handler: u, retry: {retry}}}" if key == "compensate" else f"retry: {retry}"
    return f"name: w\nsteps:\n  - {{id: a, handler: h, {inner}}}\n"


def tasks(retry: str) -> str:
    return f"name: w\ntasks:\n  - {{id: a, type: activity, activity_type: h, retry: {retry}}}\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (canonical("{initial_delay_seconds: 900, max_delay_seconds: 300}"), "steps[0].retry.max_delay_seconds"),
        (canonical("{initial_delay_seconds: 1, max_delay_seconds: 0.5}"), "steps[0].retry.max_delay_seconds"),
        (canonical("{initial_delay_seconds: 900, max_delay_seconds: 300}", "compensate"),
         "steps[0].compensate.retry.max_delay_seconds"),
        (tasks("{initial_interval: 15m, maximum_interval: 5m}"), "tasks[0].retry"),
    ],
)  # fmt: skip
def test_a_longest_wait_below_the_first_is_refused_at_its_place(text, place):
    with pytest.raises(DefinitionError) as caught:
        load_definition(text)
    assert "less than the first wait" in str(caught.value)
    assert place in str(caught.value)


def test_one_that_was_built_in_python_is_refused_alike():
    for step in (
        Step("a", handler="h", retry=Retry(initial_delay_seconds=900, max_delay_seconds=300)),
        Step(
            "a", handler="h", compensate=Compensation("u", retry=Retry(initial_delay_seconds=9, max_delay_seconds=1))
        ),
    ):
        with pytest.raises(DefinitionError, match="less than the first wait"):
            load_definition(Definition("w", (step,)))


def test_a_longest_wait_alone_shortens_the_first_that_nobody_wrote():
    retry = load_definition(canonical("{max_attempts: 3, max_delay_seconds: 0.5}")).steps[0].retry
    assert delay_seconds(retry, 1, "s") == 0.5


@pytest.mark.parametrize("text", [
    canonical("{max_attempts: 5, initial_delay_seconds: 900}"),
    tasks("{max_attempts: 5, initial_interval: 15m}"),
    "name: w\ntasks:\n  a: {agent_id: x, action: agent_task, retry_count: 4, retry_delay: 900}\n",
    "name: w\nsteps:\n  - {id: a, handler: h, retry_policy: {max_attempts: 5, backoff_multiplier: 900}}\n",
])  # fmt: skip
def test_a_first_wait_that_is_written_holds_in_every_dialect(text):
    retry = load_definition(text).steps[0].retry
    assert delay_seconds(retry, 1, "s") == 900


def test_a_residency_step_waits_no_longer_than_its_policy_says():
    text = (
        "name: w\nsteps:\n  - {id: a, handler: h, retry_policy: {backoff_multiplier: 20, max_backoff_seconds: 5}}\n"
    )
    retry = load_definition(text).steps[0].retry
    assert [delay_seconds(retry, attempt, "s") for attempt in (1, 2)] == [5, 5]


DAG = {"name": "w", "dag": {"nodes": [{"id": "a", "handler": "h"}]}}


def test_the_dag_s_settings_of_the_environment_follow_the_same_rule():
    made = translate(DAG, "dag", BUILT_IN, name="", environment={"RETRY_INITIAL_DELAY": "120"})
    assert not made.problems
    assert made.plain["steps"][0]["retry"]["max_delay_seconds"] == 120
    both = {"RETRY_INITIAL_DELAY": "120", "RETRY_MAX_DELAY": "60"}
    (problem,) = translate(DAG, "dag", BUILT_IN, name="", environment=both).problems
    assert "RETRY_MAX_DELAY is 60, less than RETRY_INITIAL_DELAY" in problem.text


def test_a_longest_wait_of_300_that_is_written_is_kept():
    definition = load_definition(canonical("{max_attempts: 2, max_delay_seconds: 300}"))
    assert decode_definition(encode_definition(definition)).steps[0].retry.max_delay_seconds == 300
    assert delay_seconds(definition.steps[0].retry, 1, "s", 3600.0) == 300
