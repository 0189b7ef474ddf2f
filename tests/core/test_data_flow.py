"""Conditions, and how data gets from the workflow's input through the steps to its output."""

import pytest

from stepwell.schemas.definitions.model import Retry
from tests.core.build import in_hand, started, statuses, step, workflow
from tests.core.model import Engine


def given(engine, step_id):
    """The input that a worker was sent."""
    return engine.item(step_id).step.input


# --- conditions ---


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("input.n > 1", "ready"),
        ("input_data['n'] > 2", "skipped"),
        ("step_outputs.a.rows == 3 and a.status == 'succeeded'", "ready"),
        ("context.flag", "ready"),
        ("len(input.k) == 0", "skipped"),
        ("null", "skipped"),
    ],
)
def test_a_condition_decides_whether_a_step_runs(condition, expected):
    engine = started(step("a"), step("b", "a", condition=condition))
    engine.complete("a", {"rows": 3}, flag=True)
    assert statuses(engine)["b"] == expected


def test_a_skipped_step_counts_as_settled_and_has_no_output():
    engine = started(
        step("a"), step("b", "a", condition="false"), step("c", "b"), step("out", "b", "c", type="output")
    )
    engine.complete("a", 1)
    assert statuses(engine) == {"a": "succeeded", "b": "skipped", "c": "ready"}
    assert "b" not in given(engine, "c")
    engine.complete("c", 2)
    assert engine.latest.output == {"c": 2}
    (skipped,) = [event for event in engine.events if type(event).__name__ == "StepSkipped"]
    assert skipped.reason == "condition is false: false"


def test_skips_run_through_a_chain_in_one_transition():
    never = {"condition": "false"}
    engine = started(step("a", **never), step("b", "a", **never), step("c", "b", **never), step("end", "c"))
    assert len(engine.transitions) == 1
    assert statuses(engine) == {"a": "skipped", "b": "skipped", "c": "skipped", "end": "ready"}


def test_a_dependent_may_ask_whether_its_dependency_was_skipped():
    engine = started(
        step("a", condition="false"),
        step("b", "a", condition="a.status == 'skipped' and step_outputs.a is null"),
    )
    assert in_hand(engine) == ["b"]


def test_a_condition_that_cannot_be_evaluated_fails_its_step_by_its_policy():
    engine = started(step("a", condition="input.missing > 1", on_failure="skip"), step("b", "a"))
    failed = engine.latest.steps["a"]
    assert failed.error.type == "ExpressionError"
    assert "missing" in failed.error.message
    assert in_hand(engine) == ["b"]


def test_a_condition_is_no_matter_for_retries():
    engine = started(step("a", condition="input.missing", retry=Retry(max_attempts=5)))
    assert engine.latest.status == "failed"
    assert engine.latest.failed_step == "a"


# --- inputs ---


def test_without_an_input_a_step_gets_its_dependencies_merged_over_the_workflows_input():
    engine = started(step("a"), step("b"), step("c", "b", "a"), data={"x": 0, "y": 0})
    assert given(engine, "a") == {"x": 0, "y": 0}
    engine.complete("a", {"y": "a", "z": "a"})
    engine.complete("b", {"y": "b", "z": "b"})
    assert given(engine, "c") == {"x": 0, "y": "a", "z": "a"}  # in the order of depends_on: a last


def test_an_output_that_is_no_mapping_stands_under_its_steps_id():
    engine = started(step("a"), step("b"), step("c", "a", "b"), data={"x": 0})
    engine.complete("a", [1, 2])
    engine.complete("b", None)
    assert given(engine, "c") == {"x": 0, "a": [1, 2]}


def test_an_input_that_is_no_mapping_stands_under_input():
    engine = started(step("a"), data=[1, 2])
    assert given(engine, "a") == {"input": [1, 2]}


def test_an_input_and_its_mapping_are_laid_over_each_other():
    engine = started(
        step("a"),
        step(
            "b", "a",
            input={"n": "{{ input.n }}", "text": "n is {{ input.n }}", "kept": "step_outputs.a"},
            input_mapping={"rows": "step_outputs.a.rows", "first": "{{ step_outputs.a.rows[0] }}", "n": 5},
        ),
    )  # fmt: skip
    engine.complete("a", {"rows": [7, 8]})
    assert given(engine, "b") == {"n": 5, "text": "n is 2", "kept": "step_outputs.a", "rows": [7, 8], "first": 7}


def test_a_reference_to_nothing_fails_the_step():
    engine = started(step("a"), step("b", "a", input_mapping={"x": "step_outputs.a.nothing"}))
    engine.complete("a", {})
    state = engine.latest
    assert (state.status, state.failed_step, state.error.type) == ("failed", "b", "ExpressionError")


def test_templates_in_the_config_are_filled_in():
    engine = started(step("a", config={"url": "http://x/{{ input.n }}", "n": "{{ input.n }}"}))
    assert engine.item("a").step.config == {"url": "http://x/2", "n": 2}


def test_the_whole_context_has_its_keys_in_order_in_every_process():
    names = [f"k{n}" for n in range(40)]
    engine = started(step("a"), step("b", "a", input="{{ context }}"))
    engine.complete("a", None, **dict.fromkeys(reversed(names), 1))
    assert list(given(engine, "b")) == sorted(names)


def test_the_last_writer_of_a_context_value_wins():
    engine = started(step("a"), step("b"), step("c", "a", "b", input={"x": "{{ context.x }}"}))
    engine.complete("b", None, x="b")
    engine.complete("a", None, x="a")
    assert given(engine, "c") == {"x": "a"}


# --- steps that are decided at once ---


def test_steps_that_need_no_worker_are_decided_in_the_transition_that_frees_them():
    engine = started(
        step("in", type="input", config={"data": {"n": 3, "extra": True}}),
        step("big", "in", type="condition_check", config={"condition": "step_outputs['in'].n > 2"}),
        step("out", "in", "big", type="output"),
    )
    assert len(engine.transitions) == 1
    assert engine.latest.output == {"in": {"n": 3, "k": [1], "extra": True}, "big": {"result": True}}


def test_a_wait_lets_through_what_it_would_have_been_given():
    engine = started(step("a"), step("nap", "a", type="wait", config={"seconds": "{{ input.n }}"}), step("b", "nap"))
    engine.complete("a", {"y": 1})
    assert statuses(engine)["nap"] == "waiting"
    engine.wait(1.9)
    assert in_hand(engine) == []
    engine.wait(0.1)
    assert given(engine, "b") == {"n": 2, "k": [1], "y": 1}


@pytest.mark.parametrize("seconds", ["{{ 'x' }}", "{{ true }}", "{{ -1 }}", "{{ 10000000000 }}", "{{ null }}"])
def test_a_wait_for_no_time_fails_its_step(seconds):
    engine = started(step("nap", type="wait", config={"seconds": seconds}))
    assert engine.latest.error.message.startswith("config.seconds: ")


# --- outputs ---


def test_the_output_is_that_of_the_steps_that_nothing_depends_on_by_id():
    engine = started(step("a"), step("b", "a"), step("c", "a"), step("d", "a", condition="false"))
    engine.complete("a", 1)
    engine.complete("b", {"x": 1})
    engine.complete("c", None)
    assert engine.latest.output == {"b": {"x": 1}, "c": None}


def test_one_output_step_is_the_output():
    engine = started(step("a"), step("out", "a", type="output"), step("b", "a"))
    engine.complete("a", 1)
    engine.complete("b", 2)
    assert engine.latest.output == {"a": 1}


def test_two_output_steps_are_the_output_by_id():
    engine = started(step("a"), step("x", "a", type="output", input="{{ a.output }}"), step("y", "a", type="output"))
    engine.complete("a", 1)
    assert engine.latest.output == {"x": 1, "y": {"a": 1}}


def test_an_output_template_says_what_the_output_is():
    engine = started(step("a"), output={"total": "{{ step_outputs.a.n + input.n }}", "text": "a: {{ a.status }}"})
    engine.complete("a", {"n": 1})
    assert engine.latest.output == {"total": 3, "text": "a: succeeded"}


def test_an_output_that_cannot_be_made_fails_the_workflow_and_a_resume_tries_again():
    engine = started(step("a"), output="{{ step_outputs.a.n }}")
    engine.complete("a", {})
    assert engine.latest.status == "failed"
    assert engine.latest.error.message.startswith("output: ")
    assert engine.latest.failed_step == ""


# --- inputs of the workflow ---


def test_an_input_that_does_not_fit_the_schema_is_rejected_with_its_place():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    engine = Engine(workflow(step("a"), input_schema=schema))
    engine.start({"n": "x"})
    assert (engine.answers[0].code, engine.answers[0].message) == (
        "invalid_input",
        "input.n: 'x' is not of type 'integer'",
    )
    engine.start({})
    assert engine.answers[1].message == "input: 'n' is a required property"
    assert engine.state is None
    engine.start({"n": 1})
    assert engine.state is not None


def test_an_answer_never_quotes_more_than_fits():
    engine = Engine(workflow(step("a"), input_schema={"type": "object"}))
    engine.start("x" * 100_000)
    assert len(engine.answers[0].message) < 3_000
