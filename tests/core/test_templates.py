"""Templates: where expressions stand in JSON values, what becomes of the rest, and where an error is."""

import contextlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import immutables
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.core.expressions.templates import compile_mapping, compile_template
from stepwell.errors import ExpressionError


class View(Mapping):
    """A lazy mapping, as the engine's scope is."""

    def __init__(self, data):
        self.data = data

    def __getitem__(self, key):
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self):
        return len(self.data)


ROWS = [{"id": 1}, {"id": 2}]
SCOPE = View(
    {
        "input_data": {
            "name": "Ada",
            "n": 3,
            "f": 0.5,
            "flag": True,
            "nothing": None,
            "from": "there",
            "list": [1, "a"],
        },
        "input": {"url": "http://x"},
        "step_outputs": View(
            {"fetch": {"rows": ROWS, "b": 1, "a": [None]}, "fetch-data": {"rows": 7}, "1st": {"x": 1}}
        ),
        "context": immutables.Map(user=immutables.Map(id=9)),
    }
)


def filled(value, scope=SCOPE):
    return compile_template(value).evaluate(scope)


def mapped(value, scope=SCOPE):
    return compile_mapping(value).evaluate(scope)


def refusal_of(value, compile_it=compile_template, scope=SCOPE):
    with pytest.raises(ExpressionError) as caught:
        compile_it(value).evaluate(scope)
    return caught.value


# Texts.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ input_data.n }}", 3),
        ("{{input_data.f}}", 0.5),
        ("{{ input_data.flag }}", True),
        ("{{ input_data.nothing }}", None),
        ("{{ input_data.list }}", [1, "a"]),
        ("{{ step_outputs.fetch.rows }}", ROWS),
        ("{{ input_data.n > 2 and input_data.name }}", "Ada"),
        ("{{ (1, 2) }}", (1, 2)),
        ("{{\n  input_data.n\n  + 1\n}}", 4),
    ],
)
def test_a_text_that_is_one_expression_keeps_its_type(text, expected):
    value = filled(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dear {{ input_data.name }}!", "Dear Ada!"),
        ("{{ input_data.n }}{{ input_data.f }}", "30.5"),
        (" {{ input_data.n }}", " 3"),
        ("{{ input_data.n }}\n", "3\n"),
        ("[{{ input_data.nothing }}]", "[]"),
        ("{{ true }}/{{ False }}", "true/false"),
        ("{{ 1e22 }} {{ 10 / 4 }} {{ -0.0 }}", "1e+22 2.5 -0.0"),
        ("{{ 'é' }}·{{ '€' }}", "é·€"),
        ("rows: {{ step_outputs.fetch }}", 'rows: {"a":[null],"b":1,"rows":[{"id":1},{"id":2}]}'),
        ("{{ context }}, {{ (1, 'a', null) if false else [] }}", '{"user":{"id":9}}, []'),
    ],
)
def test_within_a_text_a_value_becomes_text(text, expected):
    assert filled(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ '}}' }}", "}}"),
        ('{{ "}}" + "{{" }}', "}}{{"),
        ("{{ 'it\\'s }}' }}", "it's }}"),
        ("{{ '''a'}}'b''' }}", "a'}}'b"),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("{{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("{{{'a': 1}}}", {"a": 1}),
        ("{{ {'a}}': '{'}['a}}'] }}x", "{x"),
        ("a {{ '{{' }} b {{ '}}' }}", "a {{ b }}"),
    ],
)
def test_braces_within_an_expression_do_not_close_it(text, expected):
    assert filled(text) == expected


@pytest.mark.parametrize(
    "text", ["", "plain", "{ x }", "}}", '{"a": {"b": 1}}', "step_outputs.fetch.rows", "{ {x} }", "${x}"]
)
def test_a_text_without_an_expression_stays_as_it_is(text):
    template = compile_template(text)
    assert template.constant
    assert template.evaluate({}) == text


@pytest.mark.parametrize(
    "text", ["{{", "a {{ b", "{{ a }", "{{ a } }", "{{ {'a': 1} }", "{{ a }} {{ b", "{{ {'a': {} }}"]
)
def test_braces_that_are_never_closed_are_an_error(text):
    error = refusal_of({"x": text})
    assert error.place == "x"
    assert "never closed" in error.message
    assert "{{ '{{' }}" in error.remedy


@pytest.mark.parametrize(
    "text",
    ["{{}}", "{{ }}", "a{{\n}}b", "{{ a b }}", "{{ it's }}", "{{ '}}", "{{ a }}{{ }}", "{{ # }}", "{{ {{ a }} }}"],
)
def test_braces_around_no_expression_are_an_error(text):
    with pytest.raises(ExpressionError):
        compile_template(text)


# Values.


def test_nested_values_are_walked_and_keys_are_not():
    value = {"a": [{"{{ b }}": "{{ input_data.n }}"}, ("x{{ 1 }}", 2)], "c": None, "d": {"e": 1.5}}
    assert filled(value) == {"a": [{"{{ b }}": 3}, ("x1", 2)], "c": None, "d": {"e": 1.5}}


def test_constant_parts_are_returned_without_a_copy():
    constant = {"deep": [1, {"x": "y"}]}
    assert filled(constant) is constant
    value = filled({"constant": constant, "dynamic": "{{ 1 }}"})
    assert value["constant"] is constant


def test_plain_data_is_returned_without_a_copy():
    assert filled("{{ step_outputs.fetch.rows }}") is ROWS


def test_views_become_dicts_only_where_needed():
    value = filled({"outputs": "{{ step_outputs }}", "context": "{{ [context, step_outputs.fetch] }}"})
    assert type(value["outputs"]) is dict
    assert value["outputs"]["fetch"]["rows"] is ROWS
    assert [type(part) for part in value["context"]] == [dict, dict]
    assert type(value["context"][0]["user"]) is dict
    msgspec.json.encode(value)


def test_a_constant_view_becomes_a_dict():
    assert type(filled(View({"a": immutables.Map(b=1)}))["a"]) is dict


def test_an_evaluation_leaves_the_template_as_it_was():
    template = compile_template({"a": ["{{ x }}"]})
    template.evaluate({"x": 1})["a"].append("mine")
    assert template.evaluate({"x": 2}) == {"a": [2]}


def test_names_and_references_are_those_of_all_expressions():
    template = compile_template({"a": "{{ step_outputs.fetch.rows[0] }}", "b": ["x{{ context.user }}{{ len(y) }}"]})
    assert template.names == {"step_outputs", "context", "y"}
    assert template.references == {("step_outputs", "fetch", "rows"), ("context", "user"), ("y",)}
    assert not template.constant
    assert not compile_template("{{ 1 }}").constant
    assert compile_template({"a": [1]}).names == frozenset()


# Where an error is.


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"headers": {"Authorization": "Bearer {{ input_data.tokn }}"}}, "headers.Authorization"),
        ({"a": [0, {"b": ["{{ nope }}"]}]}, "a[1].b[0]"),
        ({"a": {"b": "{{ 1 ** 2 }}"}}, "a.b"),
        ({"a": ("x{{ 'unclosed }}",)}, "a[0]"),
        ("{{ nope }}", ""),
        ({"a": {"b": {1, 2}}}, "a.b"),
        ({"a": [float("nan")]}, "a[0]"),
        ({"a": {1: 2}}, "a.1"),
        ({"a": "x{{ [1] * 3 }}"}, "a"),
    ],
)
def test_an_error_names_its_place_within_the_value(value, place):
    assert refusal_of(value).place == place


def test_an_error_keeps_the_expressions_remedy():
    assert refusal_of({"x": "{{ input_data.nam }}"}).remedy == "Did you mean 'name'?"


@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), 10**6_000, b"x", {1}, datetime.now(UTC), object(), {1: 2}, {None: 1}],
    ids=lambda bad: type(bad).__name__,
)
def test_a_result_that_is_no_json_is_an_error(bad):
    for scope in ({"x": bad}, {"x": [bad]}, {"x": View({"a": bad})}):
        for text in ("{{ x }}", "a {{ x }}"):
            assert refusal_of({"p": text}, scope=scope).place == "p"


def test_a_result_that_is_too_large_is_an_error():
    assert "too much data" in refusal_of("{{ [" + "x," * 300 + "] }}", scope={"x": ["a" * 1_000_000]}).message
    assert "characters" in refusal_of("{{ x }}{{ x }}", scope={"x": "a" * 600_000}).message
    assert "characters" in refusal_of("-{{ x }}", scope={"x": ["a" * 600_000] * 2}).message


def test_nesting_is_bounded_in_values_and_in_data():
    deep, cycle = "{{ 1 }}", []
    for _ in range(2_000):
        deep = [deep]
    cycle.append(cycle)
    assert "nested" in refusal_of(deep).message
    assert "nested" in refusal_of(cycle).message
    assert "nested" in refusal_of("{{ x }}", scope={"x": cycle}).message
    assert "nested" in refusal_of("-{{ x }}", scope={"x": deep}).message


def test_an_exhausted_stack_is_an_expression_error_too():
    value = "{{ x }}"
    for _ in range(90):
        value = [value]
    template = compile_template(value)

    def at_depth(levels):
        if levels:
            return at_depth(levels - 1)
        with pytest.raises(ExpressionError, match="nested too deeply"):
            template.evaluate({"x": 1})
        with pytest.raises(ExpressionError, match="nested too deeply"):
            compile_template(value)
        return True

    used = sum(1 for _ in traceback.walk_stack(None))
    assert at_depth(sys.getrecursionlimit() - used - 70)
    template.evaluate({"x": 1})


# Mappings.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("step_outputs.fetch.rows", ROWS),
        ("step_outputs.fetch.rows[0].id", 1),
        ("step_outputs.fetch.rows[-1]['id']", 2),
        ("step_outputs['fetch-data']['rows']", 7),
        ('step_outputs["fetch-data"].rows', 7),
        ("step_outputs.fetch-data.rows", 7),
        ("step_outputs.1st.x", 1),
        ("input_data.name", "Ada"),
        ("input_data.from", "there"),
        ("input.url", "http://x"),
        ("context.user.id", 9),
        ("{{ input_data.n + 1 }}", 4),
        ("n = {{ input_data.n }}", "n = 3"),
    ],
)
def test_a_bare_path_in_a_mapping_needs_no_braces(text, expected):
    assert mapped({"x": text}) == {"x": expected}
    assert mapped({"x": {"y": {"z": text}}}) == {"x": {"y": {"z": expected}}}


@pytest.mark.parametrize(
    "text",
    [
        "step_outputs", "input", "context", "input_data", "inputs.x", "other.x", "input.", "input.x.", "input..x", "input.x y",
        " input.x", "input.x\n", "input.x + 1", "input.x()", "input[x]", "input[1.5]", "my input.x", "input.x-y", "input.1",
        "len(input.x)", "Input.x", "input,x", "input['a' + 'b']",
    ],
)  # fmt: skip
def test_any_other_text_in_a_mapping_stays_text(text):
    assert mapped({"x": text}) == {"x": text}
    assert compile_mapping({"x": text}).constant


def test_a_bare_path_in_a_list_stays_text():
    assert mapped({"x": ["input_data.name", {"y": "input_data.name"}]}) == {
        "x": ["input_data.name", {"y": "input_data.name"}]
    }


def test_a_bare_path_in_a_plain_template_stays_text():
    assert filled({"x": "input_data.name"}) == {"x": "input_data.name"}


def test_the_references_of_bare_paths_are_known():
    template = compile_mapping({"a": "step_outputs.fetch-data.rows", "b": {"c": "input_data.from"}})
    assert template.references == {("step_outputs", "fetch-data", "rows"), ("input_data", "from")}


def test_a_bare_path_to_nothing_names_place_and_near_matches():
    error = refusal_of({"a": {"b": "step_outputs.fetsh.rows"}}, compile_mapping)
    assert error.place == "a.b"
    assert error.remedy == "Did you mean 'fetch'?"


# Random ones.

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def _nest(leaves):
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(_nest(LEAVES.filter(lambda leaf: "{{" not in str(leaf))))
def test_a_value_without_expressions_is_its_own_result(value):
    template = compile_template(value)
    assert template.constant
    assert template.evaluate({}) is value


@settings(max_examples=300, deadline=None)
@given(_nest(LEAVES))
def test_any_json_comes_out_of_an_expression_as_it_went_in(data):
    assert filled("{{ x }}", {"x": data}) is data
    text = filled("{{ x }}{{ '' }}", {"x": data})
    if isinstance(data, (dict, list)):
        assert msgspec.json.decode(text) == msgspec.json.decode(msgspec.json.encode(data))
        assert filled("{{ x }}", {"x": immutables.Map(d=data)}) == {"d": data}


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text().filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)))
def test_any_text_can_be_written_as_a_literal(before, inside):
    before = before.replace("{", "")
    assert filled(before + "{{ " + repr(inside) + " }}") == before + inside


PIECES = st.sampled_from([
    "{{", "}}", "{", "}", "'", '"', "'''", "\\", "\n", " ", "x", "[0]", "input.x", "step_outputs.", ".a", "-", "#", "1", "+", "{{ x }}",
])  # fmt: skip


@settings(max_examples=500, deadline=timedelta(seconds=5))
@given(_nest(LEAVES | st.lists(PIECES, max_size=15).map("".join)), _nest(LEAVES | st.floats()))
def test_random_templates_raise_nothing_but_expression_errors(value, data):
    scope = {"x": data, "input": View({"x": data}), "step_outputs": View({"a": data})}
    for compile_it in (compile_template, compile_mapping):
        with contextlib.suppress(ExpressionError):
            msgspec.json.encode(compile_it(value).evaluate(scope))


@pytest.mark.parametrize(
    "text",
    ["{{" * 50_000, "{{ '" * 50_000, "{{ " + "'''\"\"\"" * 50_000, "{{" + "{" * 100_000, "{{ \"'" * 50_000],
    ids=range(5),
)
def test_a_long_text_is_searched_in_bounded_time(text):
    refusal_of(text)
