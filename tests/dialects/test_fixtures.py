"""Each dialect's own examples: known by their shape, compiled to the form that stands beside them."""

from __future__ import annotations

import json

import pytest
import yaml

from stepwell.language import compile_loaded, load_definition, read_definition
from stepwell.schemas.definitions.dump import to_yaml
from stepwell.schemas.definitions.model import Definition, hash_definition
from stepwell.schemas.dialects import DIALECTS, detect

from .fixtures import Fixture, fixtures

FIXTURES = fixtures()


def test_every_dialect_has_an_example():
    assert {fixture.dialect for fixture in FIXTURES} == set(DIALECTS)


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_the_shape_tells_the_dialect(fixture: Fixture):
    assert read_definition(fixture.path).dialect == fixture.dialect
    assert read_definition(fixture.golden).dialect == "canonical"


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_it_is_compiled_to_the_canonical_form_beside_it(fixture: Fixture):
    loaded = read_definition(fixture.path)
    compile_loaded(loaded)
    assert loaded.definition is not None
    assert to_yaml(loaded.definition) == fixture.golden.read_text()
    assert hash_definition(load_definition(fixture.golden)) == hash_definition(loaded.definition)


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_it_means_the_same_as_yaml_as_json_as_data_and_where_the_dialect_is_named(fixture: Fixture):
    data = yaml.safe_load(fixture.path.read_text())
    name = fixture.path.stem
    once = load_definition(fixture.path)
    others: list[Definition] = [
        load_definition(data, name=name),
        load_definition(json.dumps(data), name=name),
        load_definition(yaml.safe_dump(data, sort_keys=False), name=name),
        load_definition(fixture.path, dialect=fixture.dialect),
    ]
    assert others == [once] * 4


@pytest.mark.parametrize(
    ("data", "dialect"),
    [
        ({"name": "a", "steps": [{"id": "x", "handler": "h"}]}, "canonical"),
        ({"name": "a", "steps": {"x": {"handler": "h"}}}, "canonical"),
        ({"name": "a", "steps": {"x": {"type": "process", "config": {"rules": []}}}}, "canonical"),
        ({"name": "a", "steps": {"x": {"type": "process", "input": {"rules": []}}}}, "executor"),
        ({"id": "a", "steps": {"x": {"type": "output"}}}, "executor"),
        ({"name": "a", "steps": {"x": {"type": "output", "max_retries": 1}}}, "executor"),
        ({"steps": [{"id": "x", "handler": "h"}]}, "residency"),
        ({"name": "a", "steps": [{"id": "x", "handler": "h", "execution_mode": "parallel"}]}, "residency"),
        ({"name": "a", "steps": [{"id": "x", "handler": "h", "execution_mode": "parallel", "mode": "parallel"}]},
         "canonical"),
        ({"name": "a", "definition": {"steps": []}}, "residency"),
        ({"name": "a", "tasks": {}}, "orchestration"),
        ({"name": "a", "steps": [{"id": "x", "action": "api_call"}]}, "orchestration"),
        ({"name": "a", "tasks": []}, "tasks"),
        ({"name": "a", "dag": None}, "dag"),
        ({}, "canonical"),
        ({"steps": None}, "canonical"),
        ({"steps": [3]}, "residency"),
    ],
)  # fmt: skip
def test_shapes(data, dialect):
    assert detect(data) == dialect
