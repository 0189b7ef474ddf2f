"""What every example has to be: a definition that the engine accepts, handlers that exist, inputs that fit."""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import Definition

EXAMPLES = ("parallel", "residency", "weather_pipeline")
BUILT = {"builder": "plan_walk"}  # written in Python
FOREIGN = ("node_worker",)  # its handlers are in another language: test_node_worker.py
FOLDER = Path(__file__).resolve().parents[2] / "examples"


def definition(name):
    if name in BUILT:
        return getattr(importlib.import_module(f"examples.{name}.workflow"), BUILT[name]).definition
    return msgspec.convert(yaml.safe_load((FOLDER / name / "workflow.yaml").read_text()), Definition, strict=True)


@pytest.mark.parametrize("name", [*EXAMPLES, *BUILT, *FOREIGN])
def test_the_definition_is_canonical_and_its_graph_is_sound(name):
    plan = compile_plan(definition(name))
    assert sum(map(len, plan.batches)) + len(plan.definition.error_handlers) == len(plan.steps)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_handler_exists_takes_data_and_perhaps_a_context_and_says_what_it_is_for(name):
    prefix = f"examples.{name}.handlers"
    paths = compile_plan(definition(name)).handlers
    assert paths
    for path in paths:
        module, function = path.rsplit(".", 1)
        assert module == prefix
        handler = getattr(importlib.import_module(module), function)
        assert list(inspect.signature(handler).parameters) in (["data"], ["data", "ctx"])
        assert handler.__doc__


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/input*.json")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_shipped_input_fits_the_schema_and_names_files_that_exist(path):
    data = json.loads(path.read_text())
    schema = definition(path.parent.name).input_schema
    if schema:
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(data, schema)
    for key in ("roster", "program", "rules", "path"):
        assert key not in data or Path(data[key]).is_file()


@pytest.mark.parametrize("name", [*EXAMPLES, *BUILT, *FOREIGN])
def test_the_readme_gives_the_command_and_names_files_that_exist(name):
    text = (FOLDER / name / "README.md").read_text()
    command = f"stepwell run examples/{name}/workflow.yaml --handlers examples.{name}.handlers"
    if name in BUILT:
        command = f"stepwell run examples/{name}/workflow.py"
    elif name in FOREIGN:
        command = f"stepwell register examples/{name}/workflow.yaml"
    assert command in text
    for target in re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"@(examples/\S+?\.json)", text):
        place = FOLDER.parent / target if target.startswith("examples/") else FOLDER / name / target
        assert place.exists(), target


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_the_code_is_short_and_needs_nothing_but_the_standard_library_and_msgspec(path):
    import sys

    text = path.read_text()
    assert text.count("\n") < 400
    allowed = (
        sys.stdlib_module_names | {"msgspec", "examples"} | ({"stepwell"} if path.parent.name in BUILT else set())
    )
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        for name in names:
            assert name.split(".")[0] in allowed
