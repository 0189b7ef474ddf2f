"""Every keyword of a JSON Schema pays for its work, so that no schema keeps an engine busy for long."""

import pytest

from stepwell.core.decide.decide import decide
from stepwell.core.decide.decision import Circumstances
from stepwell.core.expressions.json_schema import compile_schema, misfits, worst
from stepwell.core.expressions.meter import MAX_WORK, Meter
from stepwell.core.expressions.schema_bounds import MAX_CHECK
from stepwell.errors import DefinitionError, LimitError
from stepwell.language import compile_plan
from stepwell.schemas.records.commands import StartWorkflow
from tests.core.build import started, step, workflow
from tests.core.model import Known

pytestmark = [pytest.mark.slow]  # each uses a meter up

DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-04/schema#",
)


def doubling(word, levels=40):
    """Definitions that each refer to the next twice, by one keyword or another."""
    defs = {f"d{levels}": {"properties": {"a": {}}}}
    for number in range(levels):
        below = {"$ref": f"#/$defs/d{number + 1}"}
        made = {
            "dependentSchemas": {"dependentSchemas": {"a": below, "b": below}},
            "if": {"if": below, "then": below, "else": below},
            "not": {"not": {"not": {"allOf": [below, below]}}},
            "properties": {"properties": {"a": {"allOf": [below] * 2}}, "allOf": [below] * 2},
        }
        defs[f"d{number}"] = made.get(word, {word: [below, below]})
    return {"$defs": defs, "$ref": "#/$defs/d0"}


def used(schema, data):
    meter = Meter()
    list(misfits(compile_schema(schema), data, meter=meter))
    return MAX_WORK - meter.left


@pytest.mark.parametrize("over", ["unevaluatedProperties", "unevaluatedItems", ""])
@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf", "dependentSchemas", "if", "not"])
def test_definitions_that_double_use_their_meter_up_whatever_the_keyword(word, over):
    schema = doubling(word) | ({over: False} if over else {})
    if word in ("anyOf", "oneOf") and not over:
        schema["$defs"]["d40"] = False  # else the first of each two is enough
    data = [1] if over == "unevaluatedItems" else {"a": 1, "b": 1}
    if word == "dependentSchemas" and over == "unevaluatedItems":
        data = {"a": 1, "b": 1}
    with pytest.raises(LimitError, match=r"too much work: [0-9,]+ units of work, 2,000,000 are allowed"):
        used(schema, data)


def test_a_start_whose_input_takes_too_much_work_to_check_is_rejected():
    schema = doubling("dependentSchemas") | {"unevaluatedProperties": False}
    plan = compile_plan(workflow(step("a"), input_schema=schema))
    command = StartWorkflow("i", workflow="w", input={"a": 1, "b": 1})
    (rejected,) = decide(None, command, Circumstances(0, Known(plan))).events
    assert rejected.code == "invalid_input"
    assert "too much work" in rejected.message


def test_an_input_step_whose_check_takes_too_much_work_fails():
    config = {"schema": doubling("allOf") | {"unevaluatedProperties": False}}
    engine = started(step("a", type="input", config=config), data={"a": 1})
    assert engine.latest.steps["a"].error.type == "LimitError"
    assert "too much work" in engine.latest.steps["a"].error.message


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"allOf": [{"uniqueItems": True}] * 9000}, [{"a": n} for n in range(9_000)]),
        ({"additionalProperties": False, "patternProperties": {f"^k{n}x$": {} for n in range(1000)}},
         {f"k{n}y": 1 for n in range(9_000)}),
        ({"pattern": "(?:a|b)*a(?:a|b){900}c"}, "ab" * 450_000),
        ({"propertyNames": {"pattern": "(?:a|b)*a(?:a|b){900}c"}}, {"ab" * 450_000: 1}),
        ({"patternProperties": {"(?:a|b)*a(?:a|b){900}c": {}}}, {"ab" * 450_000: 1}),
        ({"items": {f"x{n}": 1 for n in range(19_000)}}, [1] * 9_000),
        ({"items": {"enum": [{"a": [1] * 50, "n": n} for n in range(300)]}},
         [{"a": [1] * 50, "n": 299}] * 9_000),
        ({"items": {"const": list(range(10_000))}}, [list(range(10_000))] * 9_000),
        ({"contains": {"contains": {"contains": {"const": 1}}}}, [[[0] * 100] * 100] * 100),
    ],
)  # fmt: skip
def test_work_that_is_no_keyword_s_own_is_paid_for(schema, data):
    with pytest.raises(LimitError):
        used(schema, data)


@pytest.mark.parametrize("draft", DRAFTS)
def test_a_schema_of_an_older_draft_pays_as_well(draft):
    with pytest.raises(LimitError):
        used(doubling("allOf") | {"$schema": draft} if "20" in draft else {"$schema": draft, "allOf": [
            {"items": {"allOf": [{"type": "integer"}] * 5_000}}
        ]}, [1] * 9_000 if "20" not in draft else {})  # fmt: skip


def test_a_schema_within_another_that_names_its_draft_has_no_patterns_of_another_kind():
    schema = {"properties": {"a": {"$schema": DRAFTS[2], "pattern": "^(a+)+$"}}}
    assert "does not match" in worst(compile_schema(schema), {"a": "a" * 100 + "b"})


def test_what_is_usual_takes_a_small_part_of_a_meter():
    row = {"type": "object", "required": ["a"], "properties": {key: {"type": "integer"} for key in "abcde"}}
    assert used({"items": row}, [dict.fromkeys("abcde", 1)] * 1_000) < MAX_WORK // 10
    assert (
        used({"items": {"enum": [f"c{n}" for n in range(5_000)]}}, [f"c{n}" for n in range(1_000)]) < MAX_WORK // 10
    )
    uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    texts = ["01234567-89ab-cdef-0123-456789abcdef"] * 1_000
    assert used({"items": {"pattern": uuid}}, texts) < MAX_WORK // 10
    assert used({"uniqueItems": True}, [{"a": n} for n in range(9_000)]) < MAX_WORK // 10


def test_what_one_schema_or_another_evaluates_is_evaluated():
    schema = {
        "properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}, {"patternProperties": {"^x": {}}}],
        "anyOf": [{"properties": {"c": {"const": 1}}, "required": ["c"]}, {"properties": {"d": {}}}],
        "if": {"required": ["e"]}, "then": {"properties": {"e": {}}}, "else": {"properties": {"f": {}}},
        "dependentSchemas": {"g": {"properties": {"g": {}}}}, "unevaluatedProperties": False,
    }  # fmt: skip
    validator = compile_schema(schema)
    for fits in ({"a": 1, "b": 1, "xy": 1}, {"c": 1}, {"c": 1, "d": 1}, {"e": 1}, {"f": 1}, {"g": 1}):
        assert worst(validator, fits) == "", fits
    for odd in ({"z": 1}, {"e": 1, "f": 1}):
        assert "Unevaluated properties are not allowed" in worst(validator, odd), odd
    items = compile_schema({"prefixItems": [{}, {}], "contains": {"const": 7}, "unevaluatedItems": {"type": "null"}})
    assert worst(items, [1, 2, 7, None, 7]) == ""
    assert "Unevaluated items are not allowed (3 was unexpected)" in worst(items, [1, 2, 7, 3])
    old = compile_schema({"$schema": DRAFTS[1], "items": [{}], "unevaluatedItems": False})
    assert worst(old, [1]) == ""
    assert "Unevaluated" in worst(old, [1, 2])


def test_names_within_a_schema_are_found_by_all_who_refer_to_them():
    schema = {
        "$defs": {"n": {"$anchor": "number", "type": "integer"}, "t": {"$id": "http://x/t", "type": "string"}},
        "properties": {"a": {"$ref": "#number"}, "b": {"$ref": "http://x/t"}},
    }
    validator = compile_schema(schema)
    assert worst(validator, {"a": 1, "b": "x"}) == ""
    assert "is not of type 'integer'" in worst(validator, {"a": "x"})
    assert "is not of type 'string'" in worst(validator, {"b": 1})


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"pattern": "a" * 60_000}, "it has 60,000 characters"),
        ({"allOf": [{"pattern": f"(?:a|b){{900}}x{n}"} for n in range(500)]}, "more than 200,000 instructions"),
        ({"$ref": "#/" + "a" * 2_000}, "has more than 1,000 characters"),
        ({"$id": "http://x/" + "a" * 2_000}, "has more than 1,000 characters"),
    ],
)
def test_a_schema_that_would_cost_much_at_each_use_is_refused_when_it_is_registered(schema, says):
    with pytest.raises(DefinitionError, match=says):
        compile_plan(workflow(step("a"), input_schema=schema))


def test_all_schemas_of_a_definition_pay_from_one_meter_when_it_is_registered():
    one = {"allOf": [{"type": "object"}] * 500}
    steps = [step(f"s{n}", type="input", config={"schema": one}) for n in range(10)]
    meter = Meter(MAX_CHECK)
    compile_plan(workflow(*steps), meter)
    for_ten = MAX_CHECK - meter.left
    assert for_ten > 10 * 500
    with pytest.raises(DefinitionError, match="too much work"):
        compile_plan(workflow(*steps), Meter(for_ten - 1))
