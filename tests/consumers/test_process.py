"""The step ``process``: what each rule makes of data, and how a mistake is named."""

import asyncio
import copy
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.builtin.process import (
    MOST_MADE,
    MOST_WORK,
    RuleError,
    RuleLimitError,
    ValidationError,
    apply_rules,
    compile_rules,
)
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import describe
from stepwell.core.decide.retry import is_retryable
from stepwell.core.expressions.values import Evaluation
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.events import StepReady
from stepwell.schemas.records.work import WorkItem
from tests.cost import usual_seconds

ORDERS = {
    "rows": [
        {"id": 1, "name": "ann lee", "city": "Oslo", "amount": 12.5, "paid": True},
        {"id": 2, "name": "bob ray", "city": "Rome", "amount": 7, "paid": False},
        {"id": 3, "name": "cy o'neil", "city": "Oslo", "amount": None, "paid": True},
    ],
    "customer": {"name": "  Zoë ", "address": {"city": "Bonn"}},
    "note": "they're here",
}


def process(data, config):
    step = StepReady(step_id="clean", run=1, step_type="process", config=config)
    return asyncio.run(BUILTIN["process"](data, StepContext(WorkItem("i", "w", "1", 1, step))))


def applied(*rules, data=ORDERS):
    """The result of rules, after a look whether they left the data alone."""
    before = copy.deepcopy(data)
    result = apply_rules(data, list(rules))
    assert data == before
    json.dumps(result)
    return result


def transformed(operation, x, settings):
    return applied({"type": "transform", "field": "x", "operation": operation, **settings}, data={"x": x})["x"]


def refusal(*rules, data=ORDERS, kind=RuleError):
    with pytest.raises(kind) as caught:
        applied(*rules, data=data)
    assert type(caught.value) is kind
    assert not is_retryable(Retry(max_attempts=3), describe(caught.value))
    return str(caught.value)


# --- The step -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"rules": None}, {"rules": []}])
def test_without_rules_the_data_is_unchanged(config):
    assert process(ORDERS, config) is ORDERS
    assert process(None, config) is None


def test_rules_are_applied_in_order():
    rules = [
        {"type": "transform", "field": "message", "operation": "uppercase"},
        {"type": "transform", "field": "message", "operation": "replace", "old": "HELLO", "new": "bye"},
    ]
    assert process({"message": "hello you"}, {"rules": rules}) == {"message": "bye YOU"}
    assert process({"message": "hello you"}, {"rules": rules[::-1]}) == {"message": "HELLO YOU"}


def test_all_rules_are_checked_before_the_first_is_applied():
    rules = [{"type": "transform", "field": "nowhere", "operation": "upper"}, {"type": "filtr"}]
    assert refusal(*rules).startswith('rules[1].type: unknown type "filtr", did you mean "filter"?')


def test_a_step_with_a_wrong_setting_says_so():
    with pytest.raises(RuleError, match='unknown setting "rule", did you mean "rules"'):
        process({}, {"rule": []})


def test_what_the_rules_do_not_touch_is_shared_not_copied():
    result = applied({"type": "transform", "field": "note", "operation": "upper"})
    assert result["rows"] is ORDERS["rows"]


# --- transform ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "value", "settings", "expected"),
    [
        ("upper", "straße", {}, "STRASSE"),
        ("uppercase", "a", {}, "A"),
        ("lower", "ÀB", {}, "àb"),
        ("lowercase", "AB", {}, "ab"),
        ("title", "they're o'neil's  two-way éTÉ", {}, "They're O'neil's  Two-Way Été"),
        ("trim", " \t a b\n", {}, "a b"),
        ("replace", "a.b.c", {"old": ".", "new": ""}, "abc"),
        ("round", 2.675, {"digits": 2}, 2.67),
        ("round", 2.5, {}, 2),
        ("round", 1234, {"digits": -2}, 1200),
        ("cast", " 12 ", {"to": "int"}, 12),
        ("cast", 12.0, {"to": "int"}, 12),
        ("cast", True, {"to": "int"}, 1),
        ("cast", "1e3", {"to": "float"}, 1000.0),
        ("cast", 1.5, {"to": "str"}, "1.5"),
        ("cast", True, {"to": "str"}, "true"),
        ("cast", " Yes", {"to": "bool"}, True),
        ("cast", "off", {"to": "bool"}, False),
        ("cast", 0, {"to": "bool"}, False),
        ("default", None, {"value": [1]}, [1]),
        ("default", 0, {"value": 5}, 0),
        ("default", False, {"value": 5}, False),
    ],
)
def test_a_transform_gives(operation, value, settings, expected):
    result = transformed(operation, value, settings)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("operation", "value", "settings", "says"),
    [
        ("upper", 5, {}, "rules[0]: x: upper takes a text, not a number"),
        ("trim", None, {}, "rules[0]: x: trim takes a text, not null"),
        ("title", ["a"], {}, "not a list"),
        ("round", "5", {}, "round takes a number, not a text"),
        ("round", True, {}, "not a truth value"),
        ("cast", "12.5", {"to": "int"}, "'12.5' cannot be cast to int"),
        ("cast", 12.5, {"to": "int"}, "Round it first."),
        ("cast", "9" * 5000, {"to": "int"}, "cannot be cast to int"),
        ("cast", "inf", {"to": "float"}, "cannot be cast to float"),
        ("cast", "nan", {"to": "float"}, "cannot be cast to float"),
        ("cast", 10**400, {"to": "float"}, "cannot be cast to float"),
        ("cast", "maybe", {"to": "bool"}, "'maybe' cannot be cast to bool"),
        ("cast", 2, {"to": "bool"}, "2 cannot be cast to bool"),
        ("cast", None, {"to": "str"}, "not null"),
        ("cast", {}, {"to": "str"}, "not a mapping"),
        ("replace", "a" * 1000, {"old": "a", "new": "b" * 2000}, "more than 1,000,000 characters"),
    ],
)
def test_a_value_that_a_transform_cannot_take_is_named(operation, value, settings, says):
    rule = {"type": "transform", "field": "x", "operation": operation, **settings}
    assert says in refusal(rule, data={"x": value})


@pytest.mark.parametrize("field", ["customer.name", "['customer']['name']", "customer['name']"])
def test_a_path_leads_to_a_field_within_fields(field):
    result = applied({"type": "transform", "field": field, "operation": "trim"})
    assert result["customer"] == {"name": "Zoë", "address": {"city": "Bonn"}}


def test_a_path_with_brackets_leads_to_every_row_or_to_one():
    result = applied(
        {"type": "transform", "field": "rows[].name", "operation": "title"},
        {"type": "transform", "field": "rows[1].city", "operation": "upper"},
    )
    assert [row["name"] for row in result["rows"]] == ["Ann Lee", "Bob Ray", "Cy O'neil"]
    assert [row["city"] for row in result["rows"]] == ["Oslo", "ROME", "Oslo"]


def test_a_path_may_begin_with_brackets_and_go_through_lists_of_lists():
    rule = {"type": "transform", "field": "[][].t", "operation": "upper"}
    assert applied(rule, data=[[{"t": "a"}], [], [{"t": "b"}]]) == [[{"t": "A"}], [], [{"t": "B"}]]


def test_the_empty_path_is_the_data_itself():
    assert applied({"type": "transform", "field": "", "operation": "upper"}, data="abc") == "ABC"


def test_rename_keeps_the_order_of_fields():
    result = applied({"type": "transform", "field": "rows[].city", "operation": "rename", "to": "town"})
    assert list(result["rows"][0]) == ["id", "name", "town", "amount", "paid"]


def test_default_makes_what_is_missing_with_all_that_is_around_it():
    rule = {"type": "transform", "field": "customer.phone.home", "operation": "default", "value": "none"}
    assert applied(rule)["customer"]["phone"] == {"home": "none"}
    rule = {"type": "transform", "field": "rows[].amount", "operation": "default", "value": 0}
    assert [row["amount"] for row in applied(rule)["rows"]] == [12.5, 7, 0]


def test_drop_takes_fields_and_rows_away_and_does_not_mind_if_there_are_none():
    drop = {"type": "transform", "operation": "drop"}
    assert list(applied({**drop, "field": "rows[].name"})["rows"][0]) == ["id", "city", "amount", "paid"]
    assert [row["id"] for row in applied({**drop, "field": "rows[0]"})["rows"]] == [2, 3]
    for field in ("nowhere", "no.where", "customer.x", "rows[].x", "rows[9]"):
        assert applied({**drop, "field": field}) == ORDERS


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"operation": "uppercas"}, 'rules[0].operation: unknown operation "uppercas", did you mean "uppercase"?'),
        ({}, "rules[0].operation: is missing"),
        ({"operation": "upper", "field": None}, "rules[0].field: a text is needed, not null"),
        ({"operation": "upper", "field": "a..b"}, "rules[0].field: this is no path: a..b"),
        ({"operation": "upper", "field": "a[x]"}, "this is no path"),
        ({"operation": "upper", "field": ".a"}, "this is no path"),
        ({"operation": "upper", "field": "a."}, "this is no path"),
        ({"operation": "upper", "field": "a." * 1000 + "b"}, "this is no path"),
        ({"operation": "upper", "field": "nme"}, 'rules[0]: there is no field "nme", did you mean "name"?'),
        (
            {"operation": "upper", "field": "address.cty"},
            'rules[0]: address: there is no field "cty", did you mean "city"',
        ),
        ({"operation": "upper", "field": "rows[].x"}, 'rules[0]: rows[0]: there is no field "x"'),
        ({"operation": "upper", "field": "rows[7]"}, "rules[0]: rows: there is no [7], only 1 elements"),
        ({"operation": "upper", "field": "rows.x"}, "Write [] after a list's name"),
        ({"operation": "upper", "field": "name.first"}, "rules[0]: name: a text has no fields"),
        ({"operation": "upper", "field": "name[]"}, "rules[0]: name: a list is needed here, not a text"),
        ({"operation": "upper", "field": "name", "to": "x"}, 'rules[0]: unknown setting "to"'),
        ({"operation": "rename"}, "rules[0].to: is missing"),
        ({"operation": "rename", "to": "rows"}, 'there is a field "rows" already'),
        ({"operation": "rename", "to": "x", "field": "rows[]"}, "rules[0].field: only a field can be renamed"),
        ({"operation": "rename", "to": "x", "field": "nme"}, 'did you mean "name"?'),
        ({"operation": "default"}, "rules[0].value: is missing"),
        ({"operation": "drop", "field": ""}, "rules[0].field: the whole data cannot be dropped"),
        ({"operation": "cast", "to": "integer"}, 'rules[0].to: unknown to "integer", did you mean "int"?'),
        ({"operation": "round", "digits": 1.5}, "rules[0].digits: a whole number"),
        ({"operation": "replace", "old": "", "new": "x"}, "rules[0].old: an empty text"),
    ],
)
def test_a_wrong_transform_is_named_with_its_place(rule, says):
    data = {"name": "a", "address": {"city": "b"}, "rows": [{"id": 1}]}
    assert says in refusal({"type": "transform", "field": "name", **rule}, data=data)


# --- The list of rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"type": "filter"}, "rules: a list of rules is needed, not a mapping"),
        (["upper"], "rules[0]: a mapping is needed, not a text"),
        ([{}], "rules[0].type: is missing"),
        ([{"type": 5}], "rules[0].type: a text is needed, not a number"),
        ([{"type": "trnsform"}], 'did you mean "transform"?'),
        ([{"type": "filter", "were": "x"}], 'rules[0]: unknown setting "were", did you mean "where"?'),
        ([{"type": "select", "fields": []}], "rules[0].fields: a text or a list of texts is needed"),
        ([{"type": "select", "fields": ["rows[]"]}], "rules[0].fields: names of fields are needed"),
    ],
)
def test_wrong_rules_are_named_with_their_place(rules, says):
    with pytest.raises(RuleError) as caught:
        compile_rules(rules)
    assert says in str(caught.value)


# --- select -------------------------------------------------------------------------------------------------


def test_select_keeps_only_some_fields_of_a_mapping_or_of_each_row():
    rule = {"type": "select", "fields": ["note", "customer.address.city"]}
    assert applied(rule) == {"note": "they're here", "customer": {"address": {"city": "Bonn"}}}
    rows = applied({"type": "select", "field": "rows", "fields": ["city", "id"]})["rows"]
    assert rows[0] == {"city": "Oslo", "id": 1}
    assert 'rows[0]: there is no field "town"' in refusal({"type": "select", "field": "rows", "fields": ["town"]})


# --- validate -----------------------------------------------------------------------------------------------


def test_valid_data_passes_unchanged():
    schema = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array", "minItems": 1}}}
    assert applied({"type": "validate", "schema": schema, "required": ["note", "rows[].id"]}) is ORDERS


def test_invalid_data_fails_with_every_problem_and_its_place():
    schema = {"properties": {"amount": {"type": "number"}, "city": {"enum": ["Oslo"]}}}
    rule = {"type": "validate", "field": "rows[]", "schema": schema, "required": ["paid", "phone.home"]}
    message = refusal(rule, kind=ValidationError)
    assert message.startswith("rules[0]: 5 problems")
    for problem in (
        "rows[0].phone: is missing",
        "rows[2].amount: None is not of type 'number'",
        "rows[1].city: 'Rome' is not one of ['Oslo']",
    ):
        assert problem in message


def test_the_rows_that_a_rule_checks_share_the_work_that_it_may_cost():
    """Each row takes little; whoever sends a hundred thousand must not hold up a worker for minutes."""
    schema = {"allOf": [{"type": "integer", "minimum": 0, "maximum": 9}] * 200}
    rule = {"type": "validate", "field": "rows[]", "schema": schema}
    assert apply_rules({"rows": [1] * 10}, [rule])
    with usual_seconds() as took, pytest.raises(RuleError, match="too much work"):
        apply_rules({"rows": [1] * 100_000}, [rule])
    assert took.seconds < 30


def test_data_of_another_shape_is_invalid_and_no_mistake_of_the_rule():
    rule = {"type": "validate", "required": ["customer.name.first", "missing", "note[]"]}
    message = refusal(rule, kind=ValidationError)
    assert "customer.name: a text has no fields" in message
    assert "missing: is missing" in message
    assert "the data: a list is needed" not in message
    assert "null: a list" not in refusal({"type": "validate", "field": "x[]", "required": "y"}, kind=ValidationError)


def test_many_problems_are_cut_short():
    rule = {"type": "validate", "field": "[]", "schema": {"type": "integer"}}
    assert refusal(rule, data=["x"] * 1000, kind=ValidationError).count("is not of type") == 20


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "rules[0].schema: is missing"),
        ({"schema": []}, "rules[0].schema: a mapping is needed, not a list"),
        ({"schema": {"type": "strng"}}, "rules[0].schema.type: 'strng' is not valid"),
        ({"schema": {"$ref": "#/$defs/x"}}, 'rules[0].schema.$ref: there is no "#/$defs/x" in the schema'),
        ({"schema": {"$ref": "http://127.0.0.1:9/schema.json"}}, "the schema refers to what is not in it"),
    ],
)
def test_a_wrong_schema_is_a_mistake_of_the_rule_and_nothing_is_fetched(settings, says):
    assert says in refusal({"type": "validate", **settings})


# --- Costs and the unexpected -------------------------------------------------------------------------------

json_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcx"), inner, max_size=3),
    max_leaves=12,
)
paths = st.sampled_from(["", "a", "a.b", "a[]", "a[].b", "[]", "[0]", "[].a", "x", "x[0].a"])


def rule(kind, **fields):
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


def one(*values):
    return st.sampled_from(values)


OPERATIONS = ("upper", "title", "trim", "drop", "round")
AGGREGATES = ({"n": {"count": True}}, {"s": {"sum": "b"}}, {"m": {"max": "b"}})
rules = st.one_of(
    rule("transform", field=paths, operation=one(*OPERATIONS)),
    rule("transform", field=paths, operation=one("cast"), to=one("int", "float", "str", "bool")),
    rule("transform", field=paths, operation=one("default"), value=json_data),
    rule("transform", field=paths, operation=one("rename"), to=one("a", "b", "c")),
    rule("filter", field=paths, where=one("a > b", "row", "a")),
    rule("map", field=paths, set=one({"c": "a", "x.y": "row.b"})),
    rule("sort", field=paths, by=one("a", "b.c"), descending=st.booleans()),
    rule("group", field=paths, by=one("a"), aggregate=one(*AGGREGATES)),
    rule("join", left=one("a"), right=one("b"), on=one("x"), how=one("left", "inner")),
    rule("select", field=paths, fields=one(["a", "b.c"])),
    rule("validate", field=paths, required=one(["a", "b[].c"])),
)


@given(json_data, st.lists(rules, max_size=4))
def test_whatever_the_data_rules_give_json_or_a_named_error_and_leave_it_alone(data, several):
    before = copy.deepcopy(data)
    try:
        result = apply_rules(data, several)
        json.dumps(result, allow_nan=False)
        place = ""
    except (RuleError, ValidationError) as error:
        place = error.place
    assert not place or place.startswith("rules[")
    assert data == before


def test_ten_thousand_rows_take_well_under_a_second():
    rows = [{"id": n, "name": f" row {n} ", "amount": n % 97, "group": n % 10} for n in range(10_000)]
    several = [
        {"type": "transform", "field": "[].name", "operation": "trim"},
        {"type": "map", "set": {"double": "amount * 2"}},
        {"type": "filter", "where": "double > 20"},
        {"type": "sort", "by": "amount", "descending": True},
        {"type": "group", "by": "group", "aggregate": {"total": {"sum": "double"}}},
    ]
    with usual_seconds() as took:
        assert len(apply_rules(rows, several)) == 10
    assert took.seconds < 2


# --- What may be computed -------------------------------------------------------------------------------------

ROWS = [{"id": n, "t": "a" * 100} for n in range(9_000)]
WIDE = [{"k": 1} | {f"c{n}": n for n in range(300)}] * 300
OTHER = [{"k": 1} | {f"d{n}": n for n in range(300)}] * 300


@pytest.mark.parametrize(
    ("data", "several"),
    [
        (ROWS, [{"type": "transform", "field": "[].t", "operation": "replace", "old": "a", "new": "b" * 1_000}]),
        (ROWS, [{"type": "transform", "field": "[].d", "operation": "default", "value": "x" * 900_000}]),
        (ROWS, [{"type": "map", "set": {"a": "row", "b": "row"}}] * 40),
        (ROWS, [{"type": "map", "set": {f"a{n}": "str(row)" for n in range(99)}}]),
        (ROWS, [{"type": "filter", "where": "id >= 0"}] * 2_000),
        ({"l": WIDE, "r": OTHER}, [{"type": "join", "left": "l", "right": "r", "on": "k"}]),
        ({"l": [{"k": 1}] * 300, "r": [{"k": 1, "z": 2}] * 300},
         [{"type": "join", "left": "l", "right": "r", "on": "k", "prefix": "p" * 100_000}]),
        ({"l": [{"k": 1}] * 100, "r": [{"k": 1, "z" * 5_000: 2}] * 100},
         [{"type": "join", "left": "l", "right": "r", "on": "k", "prefix": "p"}]),
        ({"l": [{"k": n} for n in range(3_000)], "r": [{"k": -n - 1, f"z{n}": 2} for n in range(3_000)]},
         [{"type": "join", "left": "l", "right": "r", "on": "k", "how": "left", "prefix": "p" * 100_000}]),
        ({"r": ROWS}, [{"type": "validate", "field": "r[]", "schema": {"allOf": [{"uniqueItems": True}] * 300}}]),
    ],
)  # fmt: skip
def test_rules_that_multiply_are_stopped_while_they_do(data, several):
    with pytest.raises(RuleError) as caught:
        apply_rules(data, several)
    error = caught.value
    assert isinstance(error, RuleLimitError)
    assert error.used > error.limit
    assert f"{error.limit:,} are allowed" in error.message
    assert error.place
    assert not is_retryable(Retry(max_attempts=3), describe(error))


def test_all_rules_of_a_step_pay_from_one_meter():
    rule = {"type": "sort", "by": "id"}
    once = Evaluation({}, MOST_WORK, MOST_MADE)
    for apply in compile_rules([rule], once):
        apply(ROWS)
    cost = MOST_WORK - once.left
    few = Evaluation({}, 3 * cost + 1, MOST_MADE)
    first, *others = compile_rules([rule] * 4, few)
    for apply in (first, *others[:2]):
        apply(ROWS)
    with pytest.raises(RuleLimitError, match="units of work"):
        others[2](ROWS)


def test_usual_rules_on_ten_thousand_rows_take_a_small_part_of_the_meter():
    rows = [{"id": n, "name": f" row {n} ", "amount": n % 97, "group": n % 10} for n in range(10_000)]
    several = [
        {"type": "transform", "field": "[].name", "operation": "trim"},
        {"type": "map", "set": {"double": "amount * 2"}},
        {"type": "filter", "where": "double > 20"},
        {"type": "sort", "by": "amount"},
    ]
    run, data = Evaluation({}, MOST_WORK, MOST_MADE), rows
    for apply in compile_rules(several, run):
        data = apply(data)
    assert MOST_WORK - run.left < MOST_WORK // 10
    assert MOST_MADE - run.room < MOST_MADE // 10


async def test_rules_run_beside_the_loop():
    """Others of the process have their turns meanwhile."""
    thread = threading.get_ident()
    seen = []

    class Seen(dict):
        def get(self, *arguments):
            seen.append(threading.get_ident())
            return super().get(*arguments)

    config = {"rules": [{"type": "transform", "field": "a", "operation": "upper"}]}
    step = StepReady(step_id="clean", run=1, step_type="process", config=config)
    assert await BUILTIN["process"](Seen(a="x"), StepContext(WorkItem("i", "w", "1", 1, step))) == {"a": "X"}
    assert seen
    assert thread not in seen
