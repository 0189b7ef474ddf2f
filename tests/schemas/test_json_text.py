"""JSON from anybody is read strictly: nothing in it is lost without a word."""

from __future__ import annotations

import math

import pytest

from stepwell.cli.session import UsageError, parse_input
from stepwell.cli.views import fields_of
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.blueprint import instantiate, read_blueprint
from stepwell.schemas.definitions.json_text import JsonError, parse_json, read_json, value_of
from stepwell.schemas.definitions.text import parse_text

TEXTS = [
    "NaN",
    "-Infinity",
    "83e2010",
    "1e400",
    "-1e999",
    "1e-400",
    ".inf",
    ".5",
    "01",
    "+1",
    "1_000",
    "tru",
    "",
    "9" * 5000,
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_value_that_json_cannot_hold_is_the_text_that_was_written(text):
    assert value_of(text) == text
    assert parse_input(None, [f"x={text}"]) == {"x": text}
    assert fields_of([f"x={text}"], "--field") == {"x": text}


@pytest.mark.parametrize(("text", "value"), {
    "1": 1, "-0": 0, "1e3": 1000.0, "0e0": 0.0, "true": True, "null": None, '"NaN"': "NaN", "[1]": [1], '{"a": []}': {"a": []},
    "9" * 60: int("9" * 60),
}.items())  # fmt: skip
def test_a_value_that_is_json_is_what_json_says(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_a_number_of_too_many_digits_is_told_in_words():
    with pytest.raises(JsonError) as caught:
        read_json('{"x": ' + "9" * 5000 + "}")
    assert caught.value.what == "has a number of more than 4,300 digits"


WRONG = {
    '{"x": NaN}': "x", '{"x": [0, {"y": -Infinity}]}': "x[1].y", "[[1e400]]": "[0][0]", '{"a": 1, "a": 2}': "",
    '{"x": [{"a": {"b": 1, "b": 1}}]}': "x[0].a", '[1, {"k": 0, "k": 0}]': "[1]",
}  # fmt: skip


@pytest.mark.parametrize(("text", "place"), WRONG.items())
def test_a_structure_that_json_cannot_hold_is_refused_at_its_place_by_every_door(text, place, tmp_path):
    with pytest.raises(JsonError) as caught:
        read_json(text)
    assert caught.value.place == place
    (tmp_path / "in.json").write_text(text, encoding="utf-8-sig")
    doors = [
        lambda: parse_input(text, []),
        lambda: parse_input(f"@{tmp_path / 'in.json'}", []),
        lambda: parse_input(None, [f"x={text}"]),
        lambda: fields_of([f"x={text}"], "--field"),
    ]
    for door in doors:
        with pytest.raises(UsageError) as refused:
            door()
        assert place in refused.value.place or place in refused.value.message
        assert refused.value.remedy


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 2_000 + "]" * 2_000])
def test_what_is_nested_too_deeply_is_refused(text):
    for given, params in ((text, []), (None, [f"x={text}"])):
        with pytest.raises(UsageError, match="nested too deeply"):
            parse_input(given, params)


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(UsageError, match="--param x: is given twice"):
        parse_input('{"x": 0}', ["x=1", "x=2"])
    assert parse_input('{"x": 0}', ["x=1"]) == {"x": 1}


BLUEPRINT = read_blueprint(
    "template: t\nparameters: {m: {type: mapping, default: {}, description: what}}\n"
    "definition: {name: w, steps: [{id: a, type: input, config: {data: '${m}'}}]}\n",
    "t",
)


@pytest.mark.parametrize("value", ['{"a": NaN}', '{"a": 1, "a": 2}', '{"a": [1e400]}', {"a": [math.nan]}])
def test_a_template_s_parameter_that_json_cannot_hold_is_refused(value):
    with pytest.raises(DefinitionError, match='parameter "m": '):
        instantiate(BLUEPRINT, {"m": value})


@pytest.mark.parametrize(
    ("rest", "told"), [("&a ", "is no JSON"), ("[" * 100_000, "is no JSON"), (", " + "[" * 100_000, "is no JSON")]
)
def test_what_stands_behind_a_key_that_is_given_twice_is_read_before_it_is_told(rest, told):
    with pytest.raises(JsonError, match=told):
        parse_json('{"a": 1, "a": 2}' + rest)
    with pytest.raises(JsonError, match=r"nested too deeply|no JSON"):
        parse_json('{"a": {"b": 1, "b": 2}, "c": ' + "[" * 100_000)
    with pytest.raises(JsonError, match="given twice"):
        parse_json('[{"a": 1, "a": 2}, ' + "9" * 10_000 + "]")
    with pytest.raises(DefinitionError):
        parse_text('{"name": "w",\n"name": "v", "steps": []}' + rest, "w.json")
