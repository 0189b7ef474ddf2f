"""A name in an expression is the name that was written, and a value is the value, in every script."""

from __future__ import annotations

import datetime as dt

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.templates import compile_mapping, compile_template
from stepwell.errors import DefinitionError
from stepwell.language import compile_loaded, load_definition, read_definition
from stepwell.schemas.definitions.literals import literal
from tests.core.build import in_hand, started

NAMES = [
    "\u00b5g", "n\u00ba", "\uff29\uff24", "cafe\u0301", "caf\u00e9", "\ufb01n", "\u2167", "e\u0301\u0323", "\u017f", "\u210c",
    "größe", "日本",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is_written(name):
    scope = {"input": {name: {name: 1}}, name: {name: 2}, "step_outputs": {name: {"x": 3}}}
    assert compile_expression(f"input.{name}.{name}").evaluate(scope) == 1
    assert compile_expression(f"( {name} ).  {name}").evaluate(scope) == 2
    assert compile_expression(f"(input # a.b\n.{name} # c.d\n.\n {name}) + {name}.{name}").evaluate(scope) == 3
    assert compile_expression(f"input.{name}.{name}").references == {("input", name, name)}
    assert compile_template(f"{{{{ input.{name}.{name} }}}}").evaluate(scope) == 1
    assert compile_mapping({"a": f"step_outputs.{name}.x", "b": f"input.{name}.{name}"}).evaluate(scope) == {
        "a": 3,
        "b": 1,
    }


@given(name=st.text(min_size=1, max_size=4).filter(str.isidentifier))
def test_any_identifier_is_read_as_it_is_written(name):
    try:
        expression = compile_expression(f"input.{name}")
    except Exception:
        return  # a word of the language, as Python's parser sees it
    assert expression.evaluate({"input": {name: 1}}) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dialect", ["canonical", "residency", "orchestration", "dag", "tasks"])
def test_an_id_in_any_script_can_be_depended_on_and_asked_in_every_dialect(name, dialect):
    data = {
        "canonical": {"steps": [{"id": name, "handler": "h", "queue": "q"},
                                {"id": "b", "handler": "h", "depends_on": [name], "condition": f"{name}.status == 'succeeded'",
                                 "input": {"v": f"{{{{ {name}.output.{name} }}}}"}}]},
        "residency": {"steps": [{"id": name, "handler": "h"},
                                {"id": "b", "handler": "h", "depends_on": [name],
                                 "input_mapping": {"v": f"step_outputs.{name}.{name}"}}]},
        "orchestration": {"tasks": {name: {"action": "agent_task", "agent_id": "x"},
                                    "b": {"action": "agent_task", "agent_id": "x", "dependencies": [name],
                                          "conditions": [{"task": name, "status": "completed"},
                                                         {"field": f"step_outputs.{name}.{name}", "operator": "gt", "value": 1}]}}},
        "dag": {"dag": {"nodes": [{"id": name, "handler": "h"},
                                  {"id": "b", "handler": "h", "dependencies": [name], "condition": f"{name}.output.{name} > 1"}]}},
        "tasks": {"tasks": [{"id": name, "type": "activity", "activity_type": "h"},
                            {"id": "b", "type": "activity", "activity_type": "h", "depends_on": [name],
                             "config": {"v": f"{{{{ {name}.output.{name} }}}}"}}]},
    }[dialect]  # fmt: skip
    plan = compile_loaded(read_definition({"name": "w", **data}, dialect=dialect))
    assert set(plan.steps) == {name, "b"}
    engine = started(*plan.definition.steps)
    engine.complete(name, {name: 7})
    assert in_hand(engine) == ["b"]


VALUES = ["𠮷田", "🚀", "a\u2028b", "{{ x }}", "}}", "'\"\\", "line\nbreak", "\x00", None, True, False, -1, 1.5, [], {}, ["𠮷"],
          {"🚀": {"{{": [None]}}]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_a_value_becomes_the_expression_that_is_that_value(value):
    assert compile_expression(literal(value)).evaluate({}) == value
    assert compile_template("{{ " + literal(value) + " }}").evaluate({}) == value


@pytest.mark.parametrize("value", [value for value in VALUES if value != "\x00"])
def test_a_value_in_a_condition_or_a_default_of_a_dialect_is_that_value(value):
    condition = {"field": "input.x", "operator": "equals", "value": value}
    data = {"name": "w", "tasks": {"a": {"agent_id": "x", "action": "agent_task", "conditions": [condition]}}}
    source = load_definition(data).steps[0].condition
    assert source is not None
    assert compile_expression(source).evaluate({"input": {"x": value}}) is True
    data = {
        "name": "w", "parameters": {"p": {"type": "string", "default": value}},
        "tasks": [{"id": "a", "type": "activity", "activity_type": "h", "config": {"v": "{{ parameters.p }}"}}],
    }  # fmt: skip
    config = load_definition(data).steps[0].config
    assert compile_template(config).evaluate({"input": {}}) == {"v": value}


DATED = (
    "name: w\nparameters: {day: {type: string, default: 2026-11-30}}\n"
    "tasks:\n  - {id: a, type: activity, activity_type: h, config: {v: '{{ parameters.day }}'}}\n"
)


@pytest.mark.parametrize("source", [DATED, yaml.safe_load(DATED)], ids=["text", "data"])
def test_a_date_as_a_default_is_its_text(source):
    definition = load_definition(source)
    assert compile_template(definition.steps[0].config).evaluate({"input": {}}) == {"v": "2026-11-30"}


@pytest.mark.parametrize("day", ["2026-11-30", dt.date(2026, 11, 30)])
def test_a_date_in_a_condition_is_its_text(day):
    task = {
        "agent_id": "x",
        "action": "agent_task",
        "conditions": [{"field": "input.day", "operator": "gte", "value": day}],
    }
    source = load_definition({"name": "w", "tasks": {"a": task}}).steps[0].condition
    assert source == 'input.day >= "2026-11-30"'


def test_what_no_expression_can_say_in_a_condition_is_a_problem_with_its_place():
    task = {"agent_id": "x", "action": "agent_task", "conditions": [{"field": "input.x", "value": object()}]}
    with pytest.raises(DefinitionError, match=r"tasks\.a\.conditions\[0\]"):
        load_definition({"name": "w", "tasks": {"a": task}})


def test_a_field_of_a_condition_with_a_dash_is_a_path_and_no_subtraction():
    task = {"agent_id": "x", "action": "agent_task",
            "conditions": [{"field": "input.unit-price.0.x", "operator": "eq", "value": 1}]}  # fmt: skip
    source = load_definition({"name": "w", "tasks": {"a": task}}).steps[0].condition
    assert compile_expression(source).evaluate({"input": {"unit-price": [{"x": 1}]}}) is True


def test_two_names_that_look_the_same_are_told_apart_in_the_message():
    text = "name: w\nsteps:\n- {id: cafe\u0301, handler: h}\n- {id: b, handler: h, depends_on: [caf\u00e9]}\n"
    with pytest.raises(DefinitionError, match=r"did you mean 'cafe\\u0301'\? It looks the same as 'caf\\xe9'"):
        compile_loaded(read_definition(text))
