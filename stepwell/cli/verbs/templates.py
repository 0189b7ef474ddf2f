"""``stepwell templates``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from stepwell.cli.files import as_yaml
from stepwell.cli.options import Directory, Json
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Argument
from stepwell.command_line import command
from stepwell.schemas.definitions.blueprint import Blueprint, Parameter, find_blueprint, find_blueprints


async def templates(
    name: Annotated[
        str | None, Argument(metavar="NAME", help="Show this one; its name, or the path of its file.")
    ] = None,
    directory: Directory = Path("templates"),
    as_json: Json = False,
) -> int:
    """List the templates that workflows can be created from, with their parameters; or show one.

    \b
    stepwell templates
    stepwell templates approval_chain
    """
    if name is None:
        found = list(find_blueprints(directory).values())
        if as_json:
            print_json({"templates": [_described(blueprint) for blueprint in found]})
        else:
            _list(found)
        return 0
    blueprint = find_blueprint(name, directory)
    if as_json:
        print_json({**_described(blueprint), "definition": blueprint.definition})
    else:
        _show(blueprint)
    return 0


def _list(found: Sequence[Blueprint]) -> None:
    for blueprint in found:
        print(f"{blueprint.template}  {blueprint.description}{_origin(blueprint)}")
        for key, parameter in blueprint.parameters.items():
            if parameter.is_required:
                print(f"    --param {key}=…  {parameter.description}")
        optional = [key for key, parameter in blueprint.parameters.items() if not parameter.is_required]
        if optional:
            print(f"    and if you like: {', '.join(optional)}")
    print("\nstepwell templates NAME shows one, stepwell create NAME --param KEY=VALUE makes a workflow of it.")


def _show(blueprint: Blueprint) -> None:
    print(f"{blueprint.template} (template version {blueprint.version}){_origin(blueprint)}")
    print(f"  {blueprint.description}")
    if blueprint.use_for:
        print(f"  For: {', '.join(blueprint.use_for)}")
    print("\nparameters" if blueprint.parameters else "\nIt has no parameters.")
    for key, parameter in blueprint.parameters.items():
        print(f"  {key}: {parameter.type}, {_when_left_out(parameter)}")
        for line in (parameter.description, _bounds(parameter)):
            if line:
                print(f"      {line}")
    if blueprint.agents:
        print("\nagents, which you provide")
        for key, contract in blueprint.agents.items():
            print(f"  {key}: {contract}")
    print(f"\n{_example(blueprint)}\n")
    print(as_yaml({"definition": blueprint.definition}), end="")


def _when_left_out(parameter: Parameter) -> str:
    if parameter.is_required:
        return "required"
    return f"default {json.dumps(parameter.default, ensure_ascii=False)}"


def _bounds(parameter: Parameter) -> str:
    said = [f"one of {', '.join(map(str, parameter.choices))}"] if parameter.choices else []
    said += [f"at least {parameter.minimum:g}"] if parameter.minimum is not None else []
    said += [f"at most {parameter.maximum:g}"] if parameter.maximum is not None else []
    return ", ".join(said)


def _example(blueprint: Blueprint) -> str:
    words = ["create", blueprint.template if blueprint.source == "shipped" else blueprint.source]
    for key, parameter in blueprint.parameters.items():
        if parameter.is_required:
            value = "VALUE" if parameter.sample is msgspec.UNSET else parameter.sample
            words += ["--param", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return command(*words)


def _described(blueprint: Blueprint) -> dict[str, Any]:
    parameters = {
        key: {"required": parameter.is_required, **msgspec.to_builtins(parameter)}
        for key, parameter in blueprint.parameters.items()
    }
    return {
        "template": blueprint.template, "version": blueprint.version, "description": blueprint.description,
        "use_for": blueprint.use_for, "parameters": parameters, "agents": blueprint.agents,
        "input_example": blueprint.input_example, "source": blueprint.source,
    }  # fmt: skip


def _origin(blueprint: Blueprint) -> str:
    return "" if blueprint.source == "shipped" else f"  ({blueprint.source})"
