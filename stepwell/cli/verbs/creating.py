"""``stepwell templates`` and ``stepwell create``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.cli.files import as_json as json_text
from stepwell.cli.files import as_yaml, write_new
from stepwell.cli.output import print
from stepwell.cli.session import UsageError, at, client_of, import_handlers, parse_input
from stepwell.cli.verbs.show import print_json
from stepwell.cli.verbs.steering import started
from stepwell.schemas.definitions.blueprint import Blueprint, Parameter, find_blueprint, find_blueprints, instantiate

if TYPE_CHECKING:
    from stepwell.core.plan.compile import Plan

HANDLERS: Final = "stepwell.templates.handlers"
"""The module of the handlers that the shipped templates name."""


async def templates(name: str | None, directory: Path, *, as_json: bool) -> int:
    """List templates, or show one."""
    if name is None:
        found = list(find_blueprints(directory).values())
        if as_json:
            print_json({"templates": [_described(blueprint) for blueprint in found]})
            return 0
        for blueprint in found:
            print(f"{blueprint.template}  {blueprint.description}{_origin(blueprint)}")
            for key, parameter in blueprint.parameters.items():
                if parameter.is_required:
                    print(f"    --param {key}=…  {parameter.description}")
            optional = [key for key, parameter in blueprint.parameters.items() if not parameter.is_required]
            if optional:
                print(f"    and if you like: {', '.join(optional)}")
        print("\nstepwell templates NAME shows one, stepwell create NAME --param KEY=VALUE makes a workflow of it.")
        return 0
    blueprint = find_blueprint(name, directory)
    if as_json:
        print_json({**_described(blueprint), "definition": blueprint.definition})
        return 0
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
    return 0


def _origin(blueprint: Blueprint) -> str:
    return "" if blueprint.source == "shipped" else f"  ({blueprint.source})"


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
    words = ["stepwell", "create", blueprint.template if blueprint.source == "shipped" else blueprint.source]
    for key, parameter in blueprint.parameters.items():
        if parameter.is_required:
            value = "VALUE" if parameter.sample is msgspec.UNSET else parameter.sample
            words += ["--param", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)


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


async def create(
    template: str,
    *,
    params: Sequence[str],
    name: str,
    out: Path | None,
    register: bool,
    start: bool,
    input_text: str | None,
    instance_id: str | None,
    directory: Path,
    modules: Sequence[str] = (),
    as_json: bool,
    log: str | None,
) -> int:
    """Create a workflow from a template: write it, register it, start it, as asked."""
    if not start and (input_text is not None or instance_id is not None):
        raise UsageError(
            "is for an instance", place="--input" if input_text is not None else "--id", remedy="--start"
        )
    import_handlers(modules)  # before the definition: they may hold step types of their own
    data = parse_input(input_text, ())
    blueprint = find_blueprint(template, directory)
    plain = instantiate(blueprint, _given(params), name=name)
    compiled = _compiled(plain, f"template {blueprint.template}")
    problem = compiled.input_problem(data) if start else ""
    if problem:
        raise UsageError(problem, place="--input", remedy=_input_remedy(blueprint))
    definition = compiled.definition
    made: dict[str, Any] = {
        "template": blueprint.template, "workflow": definition.name, "version": definition.version,
        "reference": definition.reference, "hash": compiled.hash, **_needs(compiled),
    }  # fmt: skip
    if out is not None:
        text = json_text(plain) if out.suffix == ".json" or (str(out) == "-" and as_json) else as_yaml(plain)
        if str(out) != "-":
            write_new(out, text)
            made["file"] = str(out)
        elif not as_json:
            print(text, end="")
    if out is None or register or start:
        async with client_of(log, create=True) as client:
            await client.register(definition)
            made["registered"] = True
            if start:
                run = await started(
                    client, definition.name, data, instance_id=instance_id, version=definition.version
                )
                live = await client.engine_is_live()
                made |= {"instance_id": run.id, "existed": run.existed, "engine_is_live": live}
    if as_json:
        print_json({**made, "definition": plain})
    else:
        _tell(blueprint, made, log)
    return 0


def _given(params: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise UsageError("is not of the form KEY=VALUE", place=f"--param {param}")
        if key in given:
            raise UsageError("is given twice", place=f"--param {key}")
        given[key] = value
    return given


def _compiled(plain: dict[str, Any], place: str) -> Plan:
    from stepwell.errors import DefinitionError  # noqa: PLC0415
    from stepwell.language import compile_plan, load_definition  # noqa: PLC0415 - start-up time

    try:
        return compile_plan(load_definition(plain, place=place))
    except DefinitionError as error:
        raise DefinitionError(error.problems, place=place, remedy="Is a parameter's value what was meant?") from None


def _needs(compiled: Plan) -> dict[str, Any]:
    """What a workflow needs in order to run: handlers, agents, people."""
    steps = compiled.definition.steps
    agents: dict[str, list[str]] = {}
    for step in steps:
        if step.type == "agent_task":
            agents.setdefault(step.queue, []).append(step.id)
    gates = [step for step in steps if step.type == "approval_gate"]
    # A gate under a condition that names nobody is one that the parameters have switched off.
    asked = [step for step in gates if step.config.get("approvers") or step.condition is None]
    approvals = {step.id: step.config.get("approvers", []) for step in asked}
    return {"handlers": sorted(compiled.handlers), "agents": agents, "approvals": approvals}


def _input_remedy(blueprint: Blueprint) -> str:
    example = json.dumps(blueprint.input_example, ensure_ascii=False)
    return f"For example: --input {shlex.quote(example)}" if blueprint.input_example else ""


def _tell(blueprint: Blueprint, made: dict[str, Any], log: str | None) -> None:
    out = sys.stdout if "file" in made or made.get("registered") else sys.stderr  # stdout holds the definition
    if "file" in made:
        print(f"wrote {made['file']}", file=out)
    if made.get("registered"):
        print(f"created {made['reference']}", file=out)
    if "instance_id" in made:
        print(f"{'exists already:' if made['existed'] else 'started'} {made['instance_id']}", file=out)
        if not made["engine_is_live"]:
            begins = f"`stepwell engine{at(log)}` or `stepwell dev{at(log)}` starts one"
            print(f"  It is in the log. No engine works on it now: {begins}.", file=out)
    else:
        print(f"  {'start:' if made.get('registered') else 'run:  '}     {_start(blueprint, made, log)}", file=out)
    own = _own_handlers(made)
    other = [handler for handler in made["handlers"] if handler not in own]
    if own:
        print(f"  handlers:  --handlers {HANDLERS}, for stepwell run, worker or dev", file=out)
    if other:
        print(f"  handlers:  yours are needed: {', '.join(other)}", file=out)
    for agent, steps in made["agents"].items():
        serve = f"stepwell worker --queue {shlex.quote(agent)} --handlers MODULE"
        print(f"  agent:     {agent} ({', '.join(steps)}): {serve}, which registers agent_task:{agent}", file=out)
    if made["agents"]:
        print(f"             stepwell templates {blueprint.template} shows what they have to return", file=out)
    for step, approvers in made["approvals"].items():
        who = ", ".join(map(str, approvers)) if isinstance(approvers, list) else str(approvers)
        print(f"  approval:  {step}: {who or 'anybody'}", file=out)
    if not made["agents"] and not made["handlers"]:
        print("  It needs no handlers: all of its steps are of built-in types.", file=out)


def _start(blueprint: Blueprint, made: dict[str, Any], log: str | None) -> str:
    """The command that starts an instance: of what is registered, or else of the file."""
    if made.get("registered"):
        words = ["stepwell", "start", made["workflow"], "--version", made["version"]]
    else:
        words = ["stepwell", "run", made.get("file", "FILE")]
        if _own_handlers(made):
            words += ["--handlers", HANDLERS]
        if made["agents"] or len(_own_handlers(made)) < len(made["handlers"]):
            words += ["--handlers", "MODULE"]
    if blueprint.input_example:
        words += ["--input", json.dumps(blueprint.input_example, ensure_ascii=False)]
    return shlex.join(words) + at(log)


def _own_handlers(made: dict[str, Any]) -> list[str]:
    return [handler for handler in made["handlers"] if handler.startswith(f"{HANDLERS}.")]
