"""An ``input`` step refuses data that does not fit, before anything else runs, and names what is wrong."""

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_plan
from stepwell.schemas.records.events import StepFailed
from stepwell.step_types.agent_task import agent_handler
from tests.core.build import in_hand, started, statuses, step, workflow

pytestmark = pytest.mark.rows("X4", "D6")

SCHEMA = {
    "type": "object",
    "required": ["order"],
    "properties": {"order": {"type": "integer"}, "lines": {"type": "array", "items": {"type": "object"}}},
}

# Twenty lines, each of which asks the one before twice: a million checks.
BRANCHING = {
    "$ref": "#/$defs/d20",
    "$defs": {"d0": {"type": "object"}}
    | {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 21)},
}
TOWER: dict = {}
for _ in range(150):
    TOWER = {"items": TOWER}


def checked(data, /, *, on_failure="fail", **config):
    return started(step("in", type="input", config=config, on_failure=on_failure), step("next", "in"), data=data)


def failure(engine):
    (found,) = engine.of(StepFailed)
    return found.error


def test_data_that_fits_goes_on():
    engine = checked({"order": 1, "lines": [{}]}, schema=SCHEMA, required=["order", "lines"])
    assert statuses(engine)["in"] == "succeeded"
    assert in_hand(engine) == ["next"]


@pytest.mark.parametrize(
    ("data", "config", "message"),
    [
        ({"order": "1"}, {"schema": SCHEMA}, "order: '1' is not of type 'integer'"),
        ({}, {"schema": SCHEMA}, "the data: 'order' is a required property"),
        ({"order": 1, "lines": [{}, 3]}, {"schema": SCHEMA}, "lines[1]: 3 is not of type 'object'"),
        ({"customer": {"name": None}}, {"required": ["customer.name", "order"]},
         "customer.name: is missing; order: is missing"),
        ({"customer": 3}, {"required": "customer.name"}, "customer.name: is missing"),
        ([1], {"required": ["a"]}, "a: is missing"),
        ({"order": 1}, {"schema": {"$ref": "other.json"}}, "the schema refers to what is not in it"),
        ({"a": "a" * 40 + "!"}, {"schema": {"properties": {"a": {"pattern": "^(a+)+$"}}}}, "does not match"),
        ({"order": 1}, {"schema": BRANCHING}, "checking it takes too much work"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_fails_the_step_with_the_path(data, config, message):
    engine = checked(data, **config)
    assert message in failure(engine).message
    assert engine.latest is None or str(engine.latest.status) == "failed"


def test_such_a_failure_is_a_validation_error_and_follows_the_steps_policy():
    engine = checked({}, on_failure="pause", required=["a"])
    assert failure(engine).type == "ValidationError"
    assert str(engine.latest.status) == "paused"


def test_what_config_data_adds_is_checked_too():
    engine = checked({"order": 1}, data={"lines": []}, required=["order", "lines"])
    assert statuses(engine)["in"] == "succeeded"


def test_a_hundred_problems_are_told_in_part():
    message = failure(checked({}, required=[f"f{n}" for n in range(100)])).message
    assert "f19: is missing" in message
    assert "f20" not in message


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"schema": {"type": "nonsense"}}, ".schema.type: 'nonsense' is not valid"),
        ({"schema": {"pattern": "(?=a)"}}, ".schema.pattern: '(?=a)' is no pattern"),
        ({"schema": {"$ref": "#/$defs/gone"}}, '.schema.$ref: there is no "#/$defs/gone" in the schema'),
        ({"schema": TOWER}, ".schema: the schema is nested more than 100 deep"),
        ({"schema": 3}, ".schema: a JSON Schema is a mapping, not a number"),
        ({"schema": {"properties": {"a": {"const": "{{ input.a }}"}}}}, ".schema: must be written out"),
        ({"required": 3}, ".required: names of fields are needed"),
        ({"required": [""]}, ".required: names of fields are needed"),
        ({"required": ["{{ input.a }}"]}, ".required: must be written out"),
        ({"require": ["a"]}, ': unknown key "require", did you mean "required"?'),
    ],
)
def test_a_wrong_schema_is_found_with_the_graph(config, problem):
    with pytest.raises(DefinitionError) as caught:
        compile_plan(workflow(step("in", type="input", config=config)))
    assert any(found.startswith(f"steps[0].config{problem}") for found in caught.value.problems)


@pytest.mark.parametrize(
    ("config", "queue", "handler"),
    [
        ({"agent_id": "writer"}, "default", "agent_task:writer"),
        ({}, "writer", "agent_task:writer"),
        ({"agent_id": 3}, "writer", "agent_task:writer"),
    ],
)
def test_the_task_of_an_agent_is_known_by_the_agents_id_or_else_by_its_queue(config, queue, handler):
    assert agent_handler(queue, config) == handler
