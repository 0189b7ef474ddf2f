"""The JSON Schema for editors: what Stepwell reads fits it, and what it refuses by its shape does not."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from stepwell.errors import DefinitionError
from stepwell.language import compile_plan, definition_schema, load_definition
from stepwell.step_types.table import BUILT_IN

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = definition_schema()
CHECK = Draft202012Validator(SCHEMA)


class Loader(yaml.SafeLoader):
    """As Stepwell reads YAML: only true and false are truth values, so that a key may be called on."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


STEP = {"id": "a", "handler": "h"}


def _shown():
    """Every definition of the documentation in the canonical form, by page and line."""
    pages = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "dialects.md"]  # not canonical
    for page in [ROOT / "README.md", *pages]:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if re.search(r"^name:", match[1], re.MULTILINE) and "\nsteps:" in match[1]:
                yield pytest.param(match[1], id=f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}")


FILES = [*sorted((ROOT / "examples").rglob("workflow*.yaml")), *sorted((ROOT / "tests/golden/definitions").glob("*"))]


def errors(data):
    return [f"{error.json_path}: {error.message}" for error in CHECK.iter_errors(data)]


def test_it_is_a_schema_itself():
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)
    assert len(FILES) >= 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_and_fixture_fits(path):
    assert errors(yaml.load(path.read_text(encoding="utf-8"), Loader)) == []


@pytest.mark.parametrize("text", list(_shown()))
def test_every_definition_of_the_documentation_fits(text):
    load_definition(text)
    assert errors(yaml.load(text, Loader)) == []


@pytest.mark.parametrize(
    "data",
    [
        {"steps": [STEP], "version": 2},
        {"steps": [STEP], "version": 1.5},
        {"steps": [STEP], "version": None},
        {"steps": {"a": {"handler": "h"}, "b": {"handler": "h", "depends_on": "a"}}},
        {
            "steps": [
                {**STEP, "condition": True, "compensate": "undo", "retry": None, "queue": None, "depends_on": None}
            ]
        },
        {"steps": [STEP, {"id": "b", "handler": "h"}], "error_handlers": {"a": "b"}},
        {"steps": [{"id": "a", "type": "wait", "config": {"seconds": "{{ input.seconds }}"}}]},
        {"steps": [{"id": "a", "type": "api_call", "config": {"url": "https://example.com/"}}]},
        {"steps": [{**STEP, "checkpoint": "paid"}, {"id": "b", "handler": "h", "checkpoint": True}]},
        {"steps": [{"id": "a", "type": "process", "config": {"rules": [{"type": "select", "fields": ["x"]}]}}]},
    ],
    ids=lambda data: json.dumps(data)[:60],
)
def test_short_forms_fit_as_they_are_read(data):
    compile_plan(load_definition({"name": "w", **data}))
    assert errors({"name": "w", **data}) == []


WRONG = {
    "no name": {"name": None, "steps": [STEP]},
    "an empty name": {"name": "", "steps": [STEP]},
    "no steps": {"name": "w"},
    "no step": {"name": "w", "steps": []},
    "steps that are a text": {"name": "w", "steps": "a"},
    "an unknown key": {"name": "w", "steps": [STEP], "stepz": []},
    "an unknown key of a step": {"name": "w", "steps": [{**STEP, "handlr": "x"}]},
    "a step without an id": {"name": "w", "steps": [{"handler": "h"}]},
    "an unknown type": {"name": "w", "steps": [{"id": "a", "type": "htp_request"}]},
    "no handler": {"name": "w", "steps": [{"id": "a"}]},
    "no handler, by id": {"name": "w", "steps": {"a": {"type": "python"}}},
    "a handler too many": {"name": "w", "steps": [{**STEP, "type": "input"}]},
    "a text for seconds": {"name": "w", "steps": [{**STEP, "timeout_seconds": "10"}]},
    "no time at all": {"name": "w", "steps": [{**STEP, "timeout_seconds": 0}]},
    "a missing setting": {"name": "w", "steps": [{"id": "a", "type": "wait"}]},
    "a missing setting of an alias": {"name": "w", "steps": [{"id": "a", "type": "api_call", "config": {}}]},
    "a setting that is no number": {
        "name": "w",
        "steps": [{"id": "a", "type": "wait", "config": {"seconds": "ten"}}],
    },
    "an unknown setting": {"name": "w", "steps": [{"id": "a", "type": "process", "config": {"rulez": []}}]},
    "an unknown rule": {
        "name": "w",
        "steps": [{"id": "a", "type": "process", "config": {"rules": [{"type": "sum"}]}}],
    },
    "an unknown key of a rule": {
        "name": "w",
        "steps": [{"id": "a", "type": "process", "config": {"rules": [{"type": "sort", "bye": "x"}]}}],
    },
    "an unknown operation": {
        "name": "w",
        "steps": [
            {
                "id": "a",
                "type": "process",
                "config": {"rules": [{"type": "transform", "field": "x", "operation": "uper"}]},
            }
        ],
    },
    "an unknown mode": {"name": "w", "steps": [{**STEP, "mode": "serial"}]},
    "no attempt": {"name": "w", "steps": [{**STEP, "retry": {"max_attempts": 0}}]},
    "an unknown key of a retry": {"name": "w", "steps": [{**STEP, "retry": {"attempts": 3}}]},
    "a compensation without a handler": {"name": "w", "steps": [{**STEP, "compensate": {"input": {}}}]},
    "another YAML's truth": {"name": "w", "steps": [{**STEP, "checkpoint": "yes"}]},
    "an unknown ending": {"name": "w", "steps": [STEP], "error_handlers": {"a": {"step": "b", "then": "retry"}}},
    "a number as a dependency": {"name": "w", "steps": [{**STEP, "depends_on": [1]}]},
    "no parallel step": {"name": "w", "steps": [STEP], "max_parallel_steps": 0},
    "a list": [STEP],
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_stepwell_refuses_by_its_shape_does_not_fit(data):
    with pytest.raises(DefinitionError):
        compile_plan(load_definition(json.dumps(data) + "\n"))
    assert errors(data)


def test_a_type_of_ones_own_fits_where_it_is_named():
    data = {"name": "w", "steps": [{"id": "a", "type": "resize", "config": {"width": 3}}]}
    assert errors(data)
    assert list(Draft202012Validator(definition_schema(["resize"])).iter_errors(data)) == []


def test_every_type_and_every_setting_is_offered_with_a_description_of_each_key_of_a_step():
    step = SCHEMA["$defs"]["Step"]
    assert set(step["properties"]["type"]["enum"]) == {*BUILT_IN.names, *BUILT_IN.aliases}
    offered = {}
    for rule in step["allOf"][1:]:
        config = rule["then"]["properties"]["config"]
        offered[rule["if"]["properties"]["type"]["enum"][0]] = set(config["properties"])
    assert offered == {one.name: set(one.keys) for one in BUILT_IN if one.config is not None}
    for struct in ("Step", "Retry", "Compensation", "ErrorHandler"):
        for name, schema in SCHEMA["$defs"][struct]["properties"].items():
            assert schema.get("description"), f"{struct}.{name}"
    for name, schema in SCHEMA["properties"].items():
        assert schema.get("description"), name


GATES = [
    {},
    {"approvers": "ann", "required": 1},
    {"approvers": ["ann", "bob"], "required": 2, "title": "Ship it?", "message": "{{ input.note }}"},
    {"approvers": "{{ input.people }}", "required": "{{ input.how_many }}", "on_reject": "continue"},
    {"timeout_seconds": 60, "on_timeout": "approve"},
    {"timeout_seconds": 60, "on_timeout": "escalate", "escalate_to": ["cai"]},
    {"timeout_seconds": 0.5, "escalate_to": [["cai"], ["dee", "eve"], "fay"]},
    {"approvers": [1]},
    {"approvers": {"ann": True}},
    {"approvers": [""]},
    {"required": 0},
    {"required": 1.5},
    {"required": 1001},
    {"required": "two"},
    {"timeout_seconds": 0},
    {"timeout_seconds": 60, "on_timeout": "aprove"},
    {"on_timeout": "fail"},
    {"escalate_to": ["cai"]},
    {"timeout_seconds": 60, "on_timeout": "escalate"},
    {"timeout_seconds": 60, "on_timeout": "escalate", "escalate_to": []},
    {"timeout_seconds": 60, "escalate_to": [[["cai"]]]},
    {"on_reject": "skip"},
    {"title": 7},
    {"aprovers": ["ann"]},
]
CHILDREN = [
    {"workflow": "other"},
    {"workflow": "{{ input.which }}", "wait": "{{ input.wait }}", "priority": "{{ input.priority }}"},
    {"workflow": "other", "version": "2", "input": [1], "wait": False, "on_failure": "continue", "priority": 100},
    {"workflow": "other", "version": None, "priority": 0},
    {},
    {"workflow": ""},
    {"workflow": 3},
    {"workflow": "other", "version": 2},
    {"workflow": "other", "wait": "no"},
    {"workflow": "other", "on_failure": "skip"},
    {"workflow": "other", "priority": 101},
    {"workflow": "other", "inputs": {}},
]


@pytest.mark.parametrize(
    ("kind", "config"),
    [("approval_gate", config) for config in GATES] + [("workflow_trigger", config) for config in CHILDREN],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value),
)
def test_settings_of_steps_that_wait_for_others_fit_exactly_where_stepwell_takes_them(kind, config):
    data = {"name": "w", "steps": [{"id": "a", "type": kind, "config": config}]}
    try:
        compile_plan(load_definition(data))
        refused = ""
    except DefinitionError as error:
        refused = str(error)
    assert bool(errors(data)) == bool(refused), (errors(data), refused)
