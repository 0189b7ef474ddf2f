"""Methods of expressions: the pure ones of mappings, texts and lists, each paid for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.methods import METHODS
from stepwell.core.expressions.templates import compile_template
from stepwell.core.expressions.values import MAX_TEXT
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.language import compile_loaded, load_definition, read_definition

DATA = {"input": {"name": " Ann Lee ", "items": [3, 1, 3], "get": {"x": 1}, "csv": "a,b,,c", "rows": [{"a": 1}, {"a": 2}],
                  "deep": {"b": 2, "a": 1}}}  # fmt: skip

MEANT = {
    "input.get('nothing')": None, "input.get('nothing', {}).get('x', 7)": 7, "input.get('deep').get('a')": 1,
    "input.get.x": 1, "input.get('get').x": 1, "input.items": [3, 1, 3], "input.deep.items()": [["b", 2], ["a", 1]],
    "input.deep.keys()": ["b", "a"], "input.deep.values()": [2, 1], "'b' in input.deep.keys()": True,
    "input.name.strip().lower()": "ann lee", "input.name.strip().upper()": "ANN LEE", "'xax'.lstrip('x')": "ax",
    "'xax'.rstrip('x')": "xa", "input.name.strip().startswith('Ann')": True, "'a'.endswith(['b', 'a'])": True,
    "input.csv.split(',')": ["a", "b", "", "c"], "input.csv.split(',', 1)": ["a", "b,,c"], "' a  b '.split()": ["a", "b"],
    "'-'.join(input.csv.split(','))": "a-b--c", "'aaa'.replace('a', 'b')": "bbb", "'aaa'.replace('a', 'b', 2)": "bba",
    "'aaa'.replace('', '-')": "-a-a-a-", "'abc'.find('c')": 2, "'abc'.find('z')": -1, "'abc'.index('b')": 1,
    "'aXa'.count('a')": 2, "input.items.count(3)": 2, "input.items.index(1)": 1, "input.rows.count({'a': 1})": 1,
    "'12'.isdigit()": True, "'a\\nb'.splitlines()": ["a", "b"], "'prefix-x'.removeprefix('prefix-')": "x",
    "'x.csv'.removesuffix('.csv')": "x", "'ß'.casefold()": "ss", "input.name.strip().title()": "Ann Lee",
    "{'a': 1}.get('a')": 1, "[1].count(1)": 1,
}  # fmt: skip


@pytest.mark.parametrize(("source", "value"), MEANT.items())
def test_a_method_means_what_it_means_in_python(source, value):
    assert compile_expression(source).evaluate(DATA) == value
    assert compile_template("{{ " + source + " }}").evaluate(DATA) == value


WORDS = st.text("ab ,-ß", max_size=6)


@given(text=WORDS, one=WORDS, other=WORDS, number=st.integers(-2, 3))
def test_methods_of_texts_give_what_python_s_give(text, one, other, number):
    scope = {"t": text, "a": one, "b": other, "n": number}
    calls = {
        "t.replace(a, b)": text.replace(one, other), "t.replace(a, b, n)": text.replace(one, other, number),
        "t.split()": text.split(), "t.strip(a)": text.strip(one), "t.find(a)": text.find(one), "t.count(a)": text.count(one),
        "a.join([t, b])": one.join([text, other]), "t.startswith(a)": text.startswith(one), "t.upper()": text.upper(),
        "t.split(None, n)": text.split(None, number),
    }  # fmt: skip
    if one:
        calls["t.split(a, n)"] = text.split(one, number)
    for source, value in calls.items():
        assert compile_expression(source).evaluate(scope) == value, source


REFUSED = {
    "'a'.encode()": "encode", "'{}'.format(1)": "format", "'a'.format_map(input)": "format_map", "input.pop('a')": "pop",
    "input.update({})": "update", "[1].append(2)": "append", "'a'.__class__()": "__class__", "'a'.translate({})": "translate",
    "'a'.center(1000000000)": "center", "'a'.zfill(1000000000)": "zfill", "input.get()": "get", "input.get(1, 2, 3)": "get",
    "'a'.split(sep=',')": "split", "'a'.lowr()": r"Did you mean \.lower\(\)", "(1).get('a')('b')": "call",
    "'a'.join(*input)": "unpacking",
}  # fmt: skip


@pytest.mark.parametrize(("source", "words"), REFUSED.items())
def test_every_other_method_is_refused_when_it_is_compiled(source, words):
    with pytest.raises(ExpressionError, match=words):
        compile_expression(source)


FAILING = {
    "input.name.keys()": "a text has no keys", "input.deep.lower()": "a mapping has no lower", "(1).get('a')": "a number has no get",
    "input.deep.get(1)": "takes a text", "','.join([1])": "takes a text", "','.join('ab')": "list of texts",
    "'a'.index('z')": "finds nothing", "'a'.split('')": "empty separator", "'a'.replace('a', 1)": "takes a text",
    "'a'.split(',', 'b')": "whole number", "null.get('a')": "null has no get", "input.none.get('a')": "no key 'none'",
}  # fmt: skip


@pytest.mark.parametrize(("source", "words"), FAILING.items())
def test_a_method_of_another_kind_of_value_is_explained(source, words):
    with pytest.raises(ExpressionError, match=words):
        compile_expression(source).evaluate(DATA)


LARGE = {
    "t": "a" * 900_000,
    "l": ["ab" * 40] * 100_000,
    "s": " a" * 400_000,
    "m": {str(n): n for n in range(150_000)},
}


@pytest.mark.parametrize("source", [
    "t.replace('a', 'bb')", "t.replace('', 'x')", "t.join(l)", "'xx'.join(l).replace('a', t)", "s.split()", "s.split(' ')",
    "m.items()", "m.keys()", "t.strip(t)", "s.replace(' ', '\\n').splitlines()",
    " + ".join(["t.count('b')"] * 60), " and ".join(["m.get('x', t).lower()"] * 2 + ["t.upper()"] * 60),
])  # fmt: skip
def test_what_a_method_makes_or_goes_through_is_paid_for(source):
    with pytest.raises(ExpressionError, match=r"more than|too much data|takes 100 characters"):
        compile_expression(source).evaluate(LARGE)


def test_no_method_makes_more_than_a_text_may_have():
    made = compile_expression("t.replace('a', 'b')").evaluate({"t": "a" * MAX_TEXT})
    assert len(made) == MAX_TEXT


def test_a_key_that_is_got_is_a_reference_and_is_checked_as_one():
    assert compile_expression("step_outputs.get('fetch', {}).get('rows')").references == {
        ("step_outputs", "fetch", "rows")
    }
    assert compile_expression("input.get(context.key).lower()").references == {("input",), ("context", "key")}
    text = "name: w\nsteps:\n- {id: fetch, handler: h}\n- {id: b, handler: h, condition: \"step_outputs.get('fetsh', {})\"}\n"
    with pytest.raises(DefinitionError, match="fetsh"):
        compile_loaded(read_definition(text))


DIALECTS = {
    "residency": "name: w\nsteps:\n- {id: a, handler: h}\n"
    "- {id: b, handler: h, depends_on: [a], condition: \"step_outputs.get('a', {}).get('n', 0) > 1\"}\n",
    "tasks": "name: w\nparameters: {n: {type: integer, default: 2}}\ntasks:\n- {id: a, type: activity, activity_type: h}\n"
    "- {id: b, type: activity, activity_type: h, depends_on: [a], "
    "condition: \"a.output.get('n', 0) > 1 and parameters.get('n', 3) > 2 and 'X'.lower() == 'x'\"}\n",
    "dag": "name: w\ndag:\n  nodes:\n  - {id: a, handler: h}\n"
    "  - {id: b, handler: h, dependencies: [a], condition: \"a.output.get('n', 0) > 1 and a.output.s.lower().strip() == 'x'\"}\n",
    "orchestration": "name: w\ntasks:\n  a: {action: agent_task, agent_id: x}\n"
    "  b: {action: agent_task, agent_id: x, dependencies: [a], conditions: [\"step_outputs.a.get('n', 0) > 1\"]}\n",
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_knows_methods(dialect):
    definition = load_definition(DIALECTS[dialect], dialect=dialect)
    compile_loaded(read_definition(DIALECTS[dialect], dialect=dialect))
    condition = definition.steps[1].condition
    assert condition is not None
    scope = {"step_outputs": {"a": {"n": 2, "s": " X "}}, "input": {}}
    assert compile_expression(condition).evaluate(scope) is True


def test_the_page_names_every_method():

    page = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text()
    assert not [name for name in METHODS if f"`{name}`" not in page and f"`{name}(" not in page]
