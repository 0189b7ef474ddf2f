"""The versions of the orchestration schema: one step at a time, up and down."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.literals import literal
from stepwell.schemas.migration.migrate import CURRENT, STEPS, VERSIONS, migrate, schema_version
from stepwell.schemas.migration.old_conditions import condition_of, expression_of

from .documents import DOCUMENTS, TODAY, VALUES, conditions

pytestmark = pytest.mark.rows("O11")

PATHS = "input.city, step_outputs.check.score or context.rows.0.price"
OLDEST = {
    "id": "wf-7",
    "name": "Invoices",
    "version": "1.0.0",
    "description": "Reads invoices and books them.",
    "steps": [
        {"id": "read", "name": "Read", "agent": "clerk", "action": "agent_task", "timeout": 600,
         "params": {"description": "Read every invoice of the folder"}},
        {"id": "book", "agent": "ledger", "action": "agent_task", "depends_on": ["read"]},
    ],
}  # fmt: skip


def problems_of(data, **options):
    with pytest.raises(DefinitionError) as caught:
        migrate(data, **options)
    return caught.value.problems


def as_text(data):
    """With the order of keys, which equality of dicts does not see."""
    return json.dumps(data)


def test_the_oldest_document_reaches_the_newest_version_by_every_step():
    migrated = migrate(OLDEST)
    assert (migrated.before, migrated.after) == ("1.0.0", "2.0.0")
    assert [change[:13] for change in migrated.changes] == ["1.0.0 → 1.1.0", "1.1.0 → 1.2.0", "1.2.0 → 2.0.0"]
    assert migrated.data == {
        "id": "wf-7",
        "name": "Invoices",
        "version": "2.0.0",
        "description": "Reads invoices and books them.",
        "tasks": {
            "read": {"name": "Read", "agent_id": "clerk", "action": "agent_task", "timeout_seconds": 600,
                     "parameters": {"description": "Read every invoice of the folder"},
                     "execution_mode": "sequential", "conditions": [], "retry_count": 0},
            "book": {"agent_id": "ledger", "action": "agent_task", "dependencies": ["read"],
                     "execution_mode": "sequential", "conditions": [], "retry_count": 0},
        },
    }  # fmt: skip
    assert list(migrated.data) == ["id", "name", "version", "description", "tasks"]


def test_the_steps_lead_from_each_version_to_the_next():
    assert [step.before for step in STEPS] == list(VERSIONS[:-1])
    assert [step.after for step in STEPS] == list(VERSIONS[1:])
    assert VERSIONS[-1] == CURRENT == "2.0.0"


def test_a_document_of_today_stays_as_it_is():
    data = {"name": "a", "version": "2.0.0", "tasks": {"a": {"action": "agent_task", "retry_count": 3}}}
    assert migrate(data).data == data
    assert migrate(data).changes == ()


@pytest.mark.parametrize("to", VERSIONS[1:])
@pytest.mark.parametrize("version", DOCUMENTS)
@given(data=st.data())
def test_up_then_down_gives_the_original_back(version, to, data):
    original = data.draw(DOCUMENTS[version])
    before = copy.deepcopy(original)
    if VERSIONS.index(to) < VERSIONS.index(version):
        return
    up = migrate(original, to=to)
    assert original == before, "what was given is left as it was"
    assert up.data["version"] == schema_version(up.data) == to
    down = migrate(up.data, to=version)
    assert down.data == original
    assert list(down.data) == list(original)


@pytest.mark.parametrize("to", VERSIONS)
@pytest.mark.parametrize("version", DOCUMENTS)
@given(data=st.data())
def test_up_then_down_then_up_is_as_if_one_had_stayed_up(version, to, data):
    up = migrate(data.draw(DOCUMENTS[version])).data
    if VERSIONS.index(to) < VERSIONS.index(version):
        return  # what is of a later version need not be sayable
    assert as_text(migrate(migrate(up, to=to).data).data) == as_text(up)


@given(TODAY)
def test_what_can_be_said_in_an_older_version_comes_back_with_the_same_meaning(data):
    for to in VERSIONS[:-1]:
        try:
            down = migrate(data, to=to)
        except DefinitionError:
            continue  # it says something new
        again = migrate(down.data).data
        assert {name: meant(task) for name, task in again["tasks"].items()} == {
            name: meant(task) for name, task in data["tasks"].items()
        }
        assert migrate(again, to=to).data == down.data


def meant(task):
    """A task with what it means where it says nothing."""
    return {"execution_mode": "sequential", "conditions": [], "retry_count": 0, **task}


@pytest.mark.parametrize("version", DOCUMENTS)
@given(data=st.data())
def test_one_way_up_is_as_good_as_any_other(version, data):
    original = data.draw(DOCUMENTS[version])
    at_once = migrate(original).data
    one_by_one = original
    for to in VERSIONS[VERSIONS.index(version) :]:
        one_by_one = migrate(one_by_one, to=to).data
    assert as_text(one_by_one) == as_text(at_once)


@given(conditions())
def test_every_condition_becomes_an_expression_and_back(condition):
    text = expression_of(condition)
    compile_expression(text)
    assert condition_of(text) == condition


@given(VALUES)
def test_a_literal_is_an_expression_with_just_that_value(value):
    text = literal(value)
    assert "{{" not in text
    assert "}}" not in text
    assert compile_expression(text).evaluate({}) == value


def test_conditions_mean_what_they_meant():
    task = {"action": "agent_task", "conditions": [
        {"field": "step_outputs.check.score", "operator": "greater_or_equal", "value": 70},
        {"field": "step_outputs.check-2.rows.0.city", "operator": "in", "value": ["Ulm", "it's"]},
        {"field": "input.urgent", "operator": "equals", "value": True},
        {"field": "input.customer.note", "operator": "missing"},
    ]}  # fmt: skip
    up = migrate({"name": "x", "version": "1.2.0", "tasks": {"a": task}}).data["tasks"]["a"]["conditions"]
    assert up == [
        "step_outputs.check.score >= 70",
        'step_outputs["check-2"].rows[0].city in ["Ulm", "it\'s"]',
        "input.urgent == true",
        '"note" not in input.customer',
    ]
    scope = {
        "step_outputs": {"check": {"score": 70}, "check-2": {"rows": [{"city": "it's"}]}},
        "input": {"urgent": True, "customer": {}},
    }
    assert all(compile_expression(text).evaluate(scope) is True for text in up)


def test_going_down_refuses_whatever_would_be_lost_all_at_once():
    tasks = {
        "a": {"action": "agent_task", "retry_count": 2, "retry_delay": 5},
        "b": {"action": "agent_task", "conditions": ["input.x > 1 and input.y > 2", "input.x > 1", "1 < input.x"]},
        "c": {"action": "agent_task", "checkpoint": True},
    }
    problems = problems_of({"name": "x", "version": "2.0.0", "tasks": tasks}, to="1.0.0")
    assert [problem.partition(": ")[0] for problem in problems] == [
        "tasks.a.retry_count", "tasks.a.retry_delay", "tasks.b.conditions[0]", "tasks.b.conditions[2]",
        "tasks.c.checkpoint",
    ]  # fmt: skip
    parallel = {
        "name": "x",
        "version": "1.1.0",
        "tasks": {"a": {"action": "agent_task", "execution_mode": "parallel"}},
    }
    assert problems_of(parallel, to="1.0.0") == [
        'tasks.a.execution_mode: is "parallel", and 1.0.0 has nothing but "sequential"'
    ]
    conditional = {"a": {"action": "agent_task", "execution_mode": "conditional", "conditions": [
        {"field": "x", "operator": "equals", "value": 1}]}}  # fmt: skip
    assert problems_of({"name": "x", "version": "1.2.0", "tasks": conditional}, to="1.1.0") == [
        "tasks.a.conditions: 1.1.0 has none", 'tasks.a.execution_mode: 1.1.0 does not know "conditional"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"schema_version": "2.1.0", "tasks": {}},
         'version: the schema has no version "2.1.0", did you mean "2.0.0"? there are 1.0.0, 1.1.0, 1.2.0, 2.0.0'),
        ({"schema_version": None, "steps": [{"id": "a", "action": "api_call"}]},
         "version: there is none, and it tells how to read the rest; there are 1.0.0, 1.1.0, 1.2.0, 2.0.0"),
        ({"version": "7", "steps": [{"id": "a", "action": "api_call"}]},
         'version: is none of the schema; write "schema_version: 1.0.0" beside it, to be told apart'),
        ({"version": "2.0.0", "steps": [{"id": "a", "action": "api_call"}]},
         'version: says 2.0.0, which has a mapping "tasks"; a list "steps" is of 1.0.0'),
        ({"version": "1.0.0", "steps": [{"action": "api_call"}]}, "steps[0].id: there is none; it names the step"),
        ({"version": "1.0.0", "steps": [{"id": "a", "action": "x"}, {"id": "a"}]}, 'steps[1].id: "a" is given twice'),
        ({"version": "1.0.0", "steps": [{"id": "a", "action": "x"}, "b"]}, "steps[1]: must be a mapping"),
        ({"version": "1.0.0", "steps": [{"id": "a", "action": "x", "agent": "b", "agent_id": "b"}]},
         "steps[0].agent: is what agent_id was called in 1.0.0, and both are there"),
        ({"version": "1.1.0", "tasks": {"a": {"depends_on": []}}},
         'tasks.a.depends_on: is of 1.0.0; since 1.1.0 it is called "dependencies"'),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": {}}}}, "tasks.a.conditions: must be a list"),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": [7]}}},
         "tasks.a.conditions[0]: must be a mapping with field, operator and value"),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": [{"operater": "in"}]}}},
         'tasks.a.conditions[0]: unknown key "operater", did you mean "operator"?'),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": [{"operator": "equal", "value": 1}]}}},
         'tasks.a.conditions[0]: unknown operator "equal", did you mean "equals"?'),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": [{"operator": "equals"}]}}},
         'tasks.a.conditions[0]: operator "equals" needs a value'),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": [{"field": "a..b", "operator": "in", "value": []}]}}},
         f"tasks.a.conditions[0]: field: must be a path such as {PATHS}"),
        ({"version": "1.2.0", "tasks": {"a": {"conditions": [{"field": "input.0", "operator": "exists"}]}}},
         'tasks.a.conditions[0]: operator "exists" asks for a key; there is none at the end of the field'),
        ({"name": "x", "version": "1.0.0", "steps": [{"id": "a", "handler": "x.y"}]},
         "is no definition of the orchestration dialect, which has a mapping of tasks"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(data, problem):
    assert problems_of(data) == [problem]


def test_other_dialects_have_no_schema_version():
    for other in (
        {"version": "1.0.0", "steps": [{"id": "a", "handler": "x.y"}]},
        {"version": "1.0.0", "steps": {"a": {"type": "input"}}},
        {"version": 1.0, "tasks": [{"id": "a", "type": "activity"}]},
        {"dag": {"nodes": []}}, [], None, "tasks",
    ):  # fmt: skip
        assert schema_version(other) is None


def test_what_is_of_a_later_version_than_a_document_says_is_kept_and_told():
    tasks = {
        "a": {"agent_id": "x", "action": "agent_task", "execution_mode": "parallel", "retry_count": 3},
        "b": {"agent_id": "x", "action": "agent_task", "dependencies": ["a"], "retry_count": 1,
              "conditions": ["input.n > 1", {"field": "input.n", "operator": "gt", "value": 1}]},
    }  # fmt: skip
    migrated = migrate({"name": "x", "version": "1.0.0", "tasks": tasks})
    assert migrated.data["tasks"] == {
        "a": {**tasks["a"], "conditions": []},
        "b": {**tasks["b"], "execution_mode": "sequential"},
    }
    assert migrated.notes == (
        'tasks: came with 1.1.0, and this says that it is 1.0.0, which has a list "steps"; read all the same',
        "tasks.a: execution_mode came with 1.1.0, and this says that it is 1.0.0; kept as it is",
        "tasks.a and 1 more: retry_count came with 2.0.0, and this says that it is 1.0.0; kept as it is",
        "tasks.b: conditions came with 1.2.0, and this says that it is 1.0.0; kept as it is",
    )


def test_a_document_may_have_a_version_of_its_own_beside_that_of_the_schema():
    data = {"name": "x", "version": "7", "schema_version": "1.1.0", "tasks": {"a": {"action": "agent_task"}}}
    up = migrate(data)
    assert (up.data["version"], up.data["schema_version"], up.before) == ("7", "2.0.0", "1.1.0")
    assert migrate(up.data, to="1.1.0").data == data


@pytest.mark.parametrize("version", [None, "7", 3, 1.2, "2.1.0"])
def test_tasks_without_a_version_of_the_schema_are_those_of_today(version):
    head = {} if version is None else {"version": version}
    data = {"name": "x", **head, "tasks": {"a": {"action": "agent_task"}}}
    assert schema_version(data) == CURRENT
    same = migrate(data)
    assert same.data == data
    said = "there is none" if version is None else f'"{version}" is no version of the schema, but the workflow\'s own'
    assert same.notes == (f"version: {said}; read as 2.0.0",)
    if version is None:
        assert migrate(data, to="1.2.0").data["version"] == "1.2.0"
    else:  # it would be lost if the schema's took its place
        assert problems_of(data, to="1.2.0") == [
            'version: is none of the schema; write "schema_version: 2.0.0" beside it, to be told apart'
        ]


def test_a_list_without_a_version_is_of_the_only_one_that_had_lists():
    up = migrate({key: value for key, value in OLDEST.items() if key != "version"})
    assert up.notes == ("version: there is none; read as 1.0.0",)
    assert up.data == migrate(OLDEST).data
    own = {**OLDEST, "version": "7", "schema_version": "1.0.0"}
    assert migrate(own).data == {**migrate(OLDEST).data, "version": "7", "schema_version": "2.0.0"}
