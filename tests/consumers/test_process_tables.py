"""The rules of the step ``process`` that work on rows: filter, map, sort, group and join."""

import pytest
from test_process import ORDERS, applied, refusal

from tests.cost import usual_seconds
from tests.workbench import handlers_of, outcome, stage, workflow


def test_filter_keeps_the_rows_for_which_the_expression_holds():
    rows = applied({"type": "filter", "field": "rows", "where": "paid and city == 'Oslo'"})["rows"]
    assert [row["id"] for row in rows] == [1, 3]


def test_an_expression_sees_the_rows_keys_and_the_row_itself():
    data = [1, 5, {"row": 7, "x": 1}]
    assert applied({"type": "filter", "where": "row == 5"}, data=data) == [5]
    assert applied({"type": "filter", "where": "row['x'] == x and row.row == 7"}, data=data[2:]) == data[2:]


def test_rows_may_go_elsewhere_and_stay():
    result = applied({"type": "filter", "field": "rows", "where": "paid", "into": "report.paid"})
    assert [row["id"] for row in result["report"]["paid"]] == [1, 3]
    assert result["rows"] is ORDERS["rows"]


def test_a_rule_on_rows_works_within_each_row_of_an_outer_list():
    data = [{"n": [3, 1]}, {"n": [2]}]
    assert applied({"type": "filter", "field": "[].n", "where": "row > 1"}, data=data) == [{"n": [3]}, {"n": [2]}]


def test_map_computes_every_field_from_the_row_as_it_was():
    rule = {"type": "map", "set": {"price": "price * 2", "total": "price * quantity", "tag.first": "name[0]"}}
    (row,) = applied(rule, data=[{"name": "ab", "price": 2, "quantity": 3}])
    assert row == {"name": "ab", "price": 4, "quantity": 3, "total": 6, "tag": {"first": "a"}}


@pytest.mark.parametrize(
    ("by", "descending", "ids"),
    [
        ("amount", False, [2, 1, 3]),
        ("amount", True, [1, 2, 3]),
        (["city", "name"], False, [1, 3, 2]),
        (["city", "amount"], True, [2, 1, 3]),
        ("paid", False, [2, 1, 3]),
        ("city", True, [2, 1, 3]),
    ],
)
def test_sort_is_stable_and_puts_nulls_last_either_way(by, descending, ids):
    rows = applied({"type": "sort", "field": "rows", "by": by, "descending": descending})["rows"]
    assert [row["id"] for row in rows] == ids


def test_sort_finds_fields_within_fields_and_takes_a_missing_one_for_null():
    data = [{"id": 1}, {"id": 2, "a": {"b": 5}}, {"id": 3, "a": {"b": 4}}]
    assert [row["id"] for row in applied({"type": "sort", "by": "a.b"}, data=data)] == [3, 2, 1]


def test_group_gathers_rows_in_order_of_their_first_and_leaves_nulls_out_of_sums():
    aggregate = {
        "n": {"count": True},
        "with_amount": {"count": "amount"},
        "total": {"sum": "amount"},
        "double": {"sum": "id * 2"},
        "least": {"min": "name"},
        "most": {"max": "amount"},
        "mean": {"avg": "amount"},
    }
    result = applied({"type": "group", "field": "rows", "by": "city", "aggregate": aggregate, "into": "cities"})
    assert result["cities"] == [
        {"city": "Oslo", "n": 2, "with_amount": 1, "total": 12.5, "double": 8, "least": "ann lee", "most": 12.5, "mean": 12.5},
        {"city": "Rome", "n": 1, "with_amount": 1, "total": 7, "double": 4, "least": "bob ray", "most": 7, "mean": 7.0},
    ]  # fmt: skip


def test_groups_by_several_fields_tell_true_from_one_and_null_from_nothing_else():
    data = [{"a": 1, "b": {"c": "x"}}, {"a": True, "b": {"c": "x"}}, {"b": {"c": "x"}}, {"a": 1, "b": {"c": "x"}}]
    rule = {"type": "group", "by": ["a", "b.c"], "aggregate": {"n": {"count": True}}}
    assert applied(rule, data=data) == [
        {"a": 1, "c": "x", "n": 2},
        {"a": True, "c": "x", "n": 1},
        {"a": None, "c": "x", "n": 1},
    ]


def test_without_by_all_rows_are_one_group_even_when_there_are_none():
    rule = {
        "type": "group",
        "aggregate": {"n": {"count": True}, "s": {"sum": "a"}, "m": {"min": "a"}, "v": {"avg": "a"}},
    }
    assert applied(rule, data=[{"a": 2}, {"a": 3}]) == [{"n": 2, "s": 5, "m": 2, "v": 2.5}]
    assert applied(rule, data=[]) == [{"n": 0, "s": 0, "m": None, "v": None}]
    assert applied({**rule, "by": "a"}, data=[]) == []


TABLES = {
    "orders": [{"id": 1, "who": 7}, {"id": 2, "who": 8}, {"id": 3, "who": None}, {"id": 4, "who": 7}],
    "people": [{"who": 7, "name": "Ann"}, {"who": 9, "name": "Bob"}, {"who": None, "name": "nobody"}],
}
JOIN = {"type": "join", "left": "orders", "right": "people"}


def test_an_inner_join_has_the_rows_that_agree():
    result = applied({**JOIN, "on": "who"}, data=TABLES)
    assert result["orders"] == [{"id": 1, "who": 7, "name": "Ann"}, {"id": 4, "who": 7, "name": "Ann"}]
    assert result["people"] is TABLES["people"]


def test_a_left_join_keeps_every_left_row_with_nulls_where_there_is_no_partner():
    result = applied({**JOIN, "on": ["who"], "how": "left", "into": "both.all"}, data=TABLES)
    assert [(row["id"], row["name"]) for row in result["both"]["all"]] == [
        (1, "Ann"),
        (2, None),
        (3, None),
        (4, "Ann"),
    ]
    assert result["orders"] is TABLES["orders"]


def test_a_join_may_be_on_fields_of_different_names_with_a_prefix_for_the_right_ones():
    rule = {**JOIN, "on": {"left": "who", "right": "person.id"}, "prefix": "p_", "how": "left"}
    data = {**TABLES, "people": [{"person": {"id": 7}, "id": "x"}]}
    assert applied(rule, data=data)["orders"][:2] == [
        {"id": 1, "who": 7, "p_person": {"id": 7}, "p_id": "x"},
        {"id": 2, "who": 8, "p_person": None, "p_id": None},
    ]


def test_a_join_that_would_overwrite_a_field_is_refused():
    message = refusal({**JOIN, "on": "who"}, data={**TABLES, "people": [{"who": 7, "id": 5}]})
    assert 'orders[0]: both rows have a field "id", with different values' in message
    assert "prefix" in message


def test_a_join_that_explodes_is_refused_before_it_fills_the_memory():
    data = {"orders": [{"k": 1}] * 2000, "people": [{"k": 1, "v": 1}] * 2000}
    with usual_seconds() as took:
        assert "more than 100,000 rows" in refusal({**JOIN, "on": "k"}, data=data)
    assert took.seconds < 5


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"type": "filter"}, "rules[0].where: is missing"),
        ({"type": "filter", "where": True}, "rules[0].where: a text is needed, not a truth value"),
        ({"type": "filter", "where": "amount >"}, "rules[0].where: "),
        ({"type": "filter", "where": "__import__('os')"}, "rules[0].where: "),
        ({"type": "filter", "where": "amout > 1"}, "rules[0]: rows[0]: where: amout (in amout > 1): there is no name 'amout'"),
        ({"type": "filter", "where": "amount > 1"}, "rules[0]: rows[2]: where: "),
        ({"type": "filter", "field": "customer", "where": "true"}, "rules[0]: customer: a list is needed here"),
        ({"type": "filter", "field": "rows[]", "where": "true", "into": "x"}, "rules[0].field: one place is needed"),
        ({"type": "filter", "where": "true", "into": "x[]"}, "rules[0].into: one place is needed"),
        ({"type": "filter", "where": "true", "into": "note.x"}, "rules[0]: note: a text has no fields"),
        ({"type": "map"}, "rules[0].set: is missing"),
        ({"type": "map", "set": {"x": 5}}, "rules[0].set.x: an expression is needed, not a number"),
        ({"type": "map", "set": {"x": "a b"}}, "rules[0].set.x: "),
        ({"type": "map", "set": {"x": "nme"}}, "rules[0]: rows[0]: set.x: nme: there is no name 'nme'"),
        ({"type": "sort"}, "rules[0].by: is missing"),
        ({"type": "sort", "by": ""}, "rules[0].by: a field's name is needed"),
        ({"type": "sort", "by": "amout"}, 'rules[0]: rows[0]: there is no field "amout", did you mean "amount"?'),
        ({"type": "sort", "by": "id", "descending": "yes"}, "rules[0].descending: true or false is needed"),
        ({"type": "group", "by": "cty", "aggregate": {}}, 'did you mean "city"?'),
        ({"type": "group", "by": "city", "aggregate": {"n": "count"}}, "rules[0].aggregate.n: one function is needed"),
        ({"type": "group", "by": "city", "aggregate": {"n": {"sm": "id"}}}, 'unknown setting "sm", did you mean "sum"?'),
        ({"type": "group", "by": "city", "aggregate": {"n": {"sum": True}}}, "rules[0].aggregate.n.sum: an expression"),
        ({"type": "group", "by": "city", "aggregate": {"n": {"sum": "name"}}}, "aggregate.n.sum: numbers are needed, not a text"),
        ({"type": "group", "by": "city", "aggregate": {"city": {"sum": "id"}}}, 'two fields "city"'),
        ({"type": "join", "left": "rows", "right": "rows"}, "rules[0].on: is missing"),
        ({"type": "join", "left": "rows", "right": "rws", "on": "id"}, 'there is no field "rws", did you mean "rows"?'),
        ({"type": "join", "left": "rows", "right": "rows", "on": "nr"}, 'rows[0]: there is no field "nr"'),
        ({"type": "join", "left": "rows", "right": "rows", "on": {"left": "id"}}, "rules[0].on.right: is missing"),
        ({"type": "join", "left": "rows", "right": "rows", "on": "id", "how": "outer"}, 'rules[0].how: unknown how "outer"'),
        ({"type": "join", "left": "rows", "right": "rows", "on": {"left": ["id", "city"], "right": "id"}}, "different numbers"),
    ],
)  # fmt: skip
def test_a_wrong_rule_on_rows_is_named_with_its_place(rule, says):
    rule = rule if rule["type"] == "join" else {"field": "rows", **rule}
    assert says in refusal(rule)


def test_values_that_cannot_be_compared_or_grouped_are_named():
    mixed = [{"a": 1}, {"a": "x"}]
    assert "by a: a number and a text cannot be compared" in refusal({"type": "sort", "by": "a"}, data=mixed)
    assert "aggregate.m.max: max: a number and a text" in refusal(
        {"type": "group", "aggregate": {"m": {"max": "a"}}}, data=mixed
    )
    lists = [{"a": [1]}]
    assert "rows cannot be told apart by a list" in refusal({"type": "group", "by": "a", "aggregate": {}}, data=lists)
    assert "by a: a list cannot be compared" in refusal({"type": "sort", "by": "a"}, data=lists)


@pytest.mark.rows("X4", "X6")
async def test_two_steps_outputs_are_joined_grouped_and_sorted_by_a_third(log):
    orders = [{"customer": 1, "total": 5}, {"customer": 2, "total": 7}, {"customer": 1, "total": 1}]
    customers = [{"id": 1, "name": " ann "}, {"id": 2, "name": "bob"}]
    rules = [
        {"type": "transform", "field": "customers[].name", "operation": "trim"},
        {"type": "transform", "field": "customers[].name", "operation": "title"},
        {"type": "join", "left": "orders", "right": "customers", "on": {"left": "customer", "right": "id"}},
        {"type": "group", "field": "orders", "by": "name", "aggregate": {"sum": {"sum": "total"}}},
        {"type": "sort", "field": "orders", "by": "sum", "descending": True},
        {"type": "validate", "field": "orders", "schema": {"type": "array", "minItems": 1}},
        {"type": "select", "fields": ["orders"]},
    ]
    definition = workflow(
        {"id": "orders", "type": "input", "config": {"data": {"orders": orders}}},
        {"id": "customers", "type": "input", "config": {"data": {"customers": customers}}},
        {"id": "report", "type": "process", "depends_on": ["orders", "customers"], "config": {"rules": rules}},
    )
    async with stage(log, handlers_of(), definition) as client:
        ended = await outcome(client, {})
    assert ended.output == {"report": {"orders": [{"name": "Bob", "sum": 7}, {"name": "Ann", "sum": 6}]}}
