"""The dialect of the durable engine's YAML files: what its keys become, and what it refuses."""

from __future__ import annotations

import pytest

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.errors import DefinitionError
from stepwell.language import compile_loaded, load_definition, read_definition


def claim(*tasks, **top):
    return load_definition({"name": "claim", "version": 1.0, "tasks": list(tasks), **top})


def activity(name="a", **more):
    return {"id": name, "type": "activity", "activity_type": "office.do", **more}


@pytest.mark.rows("T1")
@pytest.mark.parametrize(
    ("task", "kind", "handler"),
    [
        ({"type": "activity", "activity_type": "office.do"}, "python", "office.do"),
        ({"activity_type": "office.do"}, "python", "office.do"),
        ({"type": "activity", "activity_type": "http_request", "config": {"url": "http://a"}}, "http_request", None),
        ({"type": "activity", "activity_type": "wait", "config": {"seconds": 1}}, "wait", None),
        ({"type": "human_approval"}, "approval_gate", None),
        ({"type": "delay", "config": {"duration": "2h"}}, "wait", None),
        ({"type": "ai", "config": {"prompt": "x"}}, "llm", None),
        ({"type": "sub_workflow", "config": {"workflow_name": "b"}}, "workflow_trigger", None),
    ],
)
def test_types(task, kind, handler):
    made = claim({"id": "a", **task})
    assert (made.steps[0].type, made.steps[0].handler, made.version) == (kind, handler, "1.0")
    compile_loaded(read_definition(made))


@pytest.mark.rows("T4")
def test_retry_and_timeout_of_a_task():
    made = claim(activity(timeout="90s", retry={"initial_interval": "1m", "backoff_coefficient": 3})).steps[0]
    assert made.timeout_seconds == 90
    assert (made.retry.max_attempts, made.retry.initial_delay_seconds, made.retry.multiplier) == (3, 60, 3)
    assert claim(activity(retry=5)).steps[0].retry.max_attempts == 5
    assert claim(activity(retry={"max_retries": 5})).steps[0].retry.max_attempts == 6
    assert claim(activity()).steps[0].retry.max_attempts == 1


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("1.5 m", 90), ("3d", 259200), (7, 7)])
def test_durations(text, seconds):
    assert claim(activity(timeout=text)).steps[0].timeout_seconds == seconds


def test_a_group_is_spelt_out_and_stands_for_its_members():
    made = claim(
        activity("first"),
        {"id": "both", "type": "parallel", "depends_on": ["first"],
         "tasks": [activity("x"), {"id": "inner", "tasks": [activity("y", depends_on=["x"])]}]},
        activity("last", depends_on=["both"]),
    )  # fmt: skip
    assert {step.id: step.depends_on for step in made.steps} == {
        "first": (), "x": ("first",), "y": ("first", "x"), "last": ("x", "y"),
    }  # fmt: skip


def test_parameters_are_the_input_and_have_defaults():
    made = claim(
        activity(input={"x": "{{ parameters.amount }}", "y": "{{ params.currency }}"}, condition="{{ parameters.amount > 5 }}"),
        parameters={"amount": {"type": "number", "required": True}, "currency": {"type": "string", "default": "EUR"}},
        output={"z": "{{ a.result.z }}"},
    )  # fmt: skip
    assert made.input_schema == {
        "type": "object", "required": ["amount"],
        "properties": {"amount": {"type": "number"}, "currency": {"type": "string", "default": "EUR"}},
    }  # fmt: skip
    step = made.steps[0]
    assert step.input["x"] == "{{ input.amount }}"
    assert step.condition == "input.amount > 5"
    assert made.output == {"z": "{{ step_outputs.a.z }}"}
    default = compile_expression(step.input["y"].strip("{} "))
    assert default.evaluate({"input": {}}) == "EUR"
    assert default.evaluate({"input": {"currency": "NOK"}}) == "NOK"


def test_parameters_may_be_a_list():
    listed = [{"name": "a", "type": "string", "required": True}, "b"]
    assert claim(activity(), parameters=listed).input_schema == {
        "type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("template", "canonical"),
    [
        ("{{ tasks.b.output.x }}", "{{ step_outputs.b.x }}"),
        ("{{ tasks.b }}", "{{ step_outputs.b }}"),
        ("{{ b.outputs.x }}", "{{ step_outputs.b.x }}"),
        ("{{ b.result }}", "{{ step_outputs.b }}"),
        ("{{ step_outputs.b.result }}", "{{ step_outputs.b.result }}"),
    ],
)
def test_templates(template, canonical):
    made = claim(activity("b"), activity("a", depends_on=["b"], config={"x": template}))
    assert made.steps[1].config == {"x": canonical}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"id": "a", "type": "activity"}, 'tasks[0] ("a"): missing "activity_type": http_request, or the name of a'),
        ({"id": "a", "type": "activty"}, 'unknown type "activty", did you mean "activity"?'),
        ({"id": "a", "type": "wait", "activity_type": "x"}, 'a task of type "wait" takes none'),
        (activity(timeout="soon"), '"soon" is no duration; write seconds, or a text such as 90s, 15m, 2h or 3d'),
        (activity(retry={"initial_interval": "x"}), 'tasks[0].retry.initial_interval ("a"): "x" is no duration'),
        (activity(retry={"max_attempt": 1}), 'unknown key "max_attempt", did you mean "max_attempts"?'),
        (activity(timeout=3, timeout_seconds=3), 'says the same as "timeout"; write one of them'),
        (activity(dependson=[]), 'unknown key "dependson", did you mean "depends_on"?'),
        (activity(depends_on=["b"]), 'tasks[0].depends_on[0]: unknown task "b"'),
        (activity(on_failure="ignore"), 'unknown value "ignore"'),
    ],
)
def test_refused(task, message):
    with pytest.raises(DefinitionError) as caught:
        compile_loaded(read_definition({"name": "claim", "tasks": [task]}))
    assert message in str(caught.value)
