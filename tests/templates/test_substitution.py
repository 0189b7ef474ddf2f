"""A parameter's value stays a value: it never becomes an expression, a reference, or another part of the document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.templates import compile_mapping, compile_template
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.substitution import substitute

pytestmark = pytest.mark.rows("O3")

HOSTILE = st.sampled_from([
    "{{ input.secret }}", "{{", "}}", "{", "}", "{{{", "' + input.secret + '", '" + input.secret + "', "\\", "${b}",
    "$${", "{{ '{{' }}", "input.secret", "step_outputs.x.y", "\n- id: evil\n", "a: b", "%}", "\u2028", "\\u007b",
])  # fmt: skip
TEXTS = st.lists(HOSTILE | st.text(st.characters(codec="utf-8"), max_size=4), max_size=4).map("".join)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-999, 999) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
SCOPE = {
    "input": {"secret": "leaked", "n": 1},
    "step_outputs": {"x": {"y": "leaked"}},
    "input_data": {},
    "context": {},
}


def placed(step, **values):
    return substitute({"steps": [step]}, values, place="t")["steps"][0]


def problems(step, **values):
    with pytest.raises(DefinitionError) as caught:
        placed(step, **values)
    return caught.value.problems


@given(VALUES)
def test_a_marker_alone_gives_the_value_with_its_type_where_templates_are_evaluated(value):
    step = placed({"input": {"x": "${a}"}, "config": {"x": ["${a}"]}}, a=value)
    assert compile_template(step["input"]).evaluate(SCOPE) == {"x": value}
    assert compile_template(step["config"]).evaluate(SCOPE) == {"x": [value]}


@given(VALUES)
def test_in_an_input_mapping_a_value_is_no_reference(value):
    step = placed({"input_mapping": {"x": "${a}", "y": {"z": "${a}"}, "l": ["${a}"]}}, a=value)
    assert compile_mapping(step["input_mapping"]).evaluate(SCOPE) == {"x": value, "y": {"z": value}, "l": [value]}


@given(TEXTS, TEXTS)
def test_within_a_text_the_values_are_text(a, b):
    step = placed({"input": {"x": "Dear ${a}${b}, {{ input.n }} and ${b}!"}}, a=a, b=b)
    assert compile_template(step["input"]).evaluate(SCOPE) == {"x": f"Dear {a}{b}, 1 and {b}!"}
    mapping = placed({"input_mapping": {"x": "input.${a}"}}, a=a)["input_mapping"]
    assert compile_mapping(mapping).evaluate(SCOPE) == {"x": f"input.{a}"}


@given(VALUES)
def test_in_an_expression_the_value_is_a_literal(value):
    step = placed(
        {"condition": "[${a}, input.n]", "type": "process", "input": {"x": "{{ [${a}, {'k': ${a}}] }}!"},
         "config": {"rules": [{"type": "map", "set": {"x": "${a}"}}]}},
        a=value,
    )  # fmt: skip
    assert compile_expression(step["condition"]).evaluate(SCOPE) == [value, 1]
    whole = placed({"input": "{{ [${a}, {'k': ${a}}] }}"}, a=value)["input"]
    assert compile_template(whole).evaluate(SCOPE) == [value, {"k": value}]
    rules = compile_template(step["config"]).evaluate(SCOPE)  # templates are filled in before rules are read
    assert compile_expression(rules["rules"][0]["set"]["x"]).evaluate({}) == value


@given(VALUES)
def test_elsewhere_the_value_is_what_it_is(value):
    made = substitute({"name": "${a}", "tags": ["${a}"], "steps": {"s": {"queue": "${a}"}}}, {"a": value}, place="t")
    assert made == {"name": value, "tags": [value], "steps": {"s": {"queue": value}}}


def test_what_was_given_is_neither_changed_nor_shared():
    definition = {"steps": [{"config": {"x": "${a}", "y": "${a}"}}]}
    value = {"k": [1]}
    made = substitute(definition, {"a": value}, place="t")
    made["steps"][0]["config"]["x"]["k"].append(2)
    assert made["steps"][0]["config"]["y"] == value == {"k": [1]}
    assert definition == {"steps": [{"config": {"x": "${a}", "y": "${a}"}}]}


def test_a_dollar_before_it_makes_a_marker_a_text():
    assert placed({"name": "$${a}", "input": "costs $5 and $${a}"}, a=1) == {
        "name": "${a}", "input": "costs $5 and ${a}",
    }  # fmt: skip


def test_negative_numbers_stand_in_an_expression_as_one_value():
    condition = placed({"condition": "10 - ${a}"}, a=-5)["condition"]
    assert compile_expression(condition).evaluate({}) == 15


def test_all_that_is_wrong_with_a_template_is_told_at_once():
    step = {
        "name": "${limt}", "condition": "'a ${limit}' == input.x", "input": {"${limit}": 1, "x": "{{${limit}"},
        "config": {"x": "a {${limit}"},
    }  # fmt: skip
    assert problems(step, limit=1) == [
        'definition.steps[0].name: there is no parameter "limt", did you mean "limit"?',
        "definition.steps[0].condition: a parameter cannot stand within the quotes of an expression; join it with +",
        'definition.steps[0].input: a parameter cannot stand in a key, and "${limit}" has one',
        "definition.steps[0].config.x: a brace right before ${limit} could open a template with it",
    ]
