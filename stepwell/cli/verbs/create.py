"""``stepwell create``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from stepwell.cli.exits import UsageError
from stepwell.cli.files import as_json as json_text
from stepwell.cli.files import as_yaml, write_new
from stepwell.cli.imports import import_handlers
from stepwell.cli.inputs import parse_input
from stepwell.cli.options import Directory, Json, LogUrl, Params, Types, check_id
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.steering import started
from stepwell.command_line import command
from stepwell.errors import DefinitionError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.definitions.blueprint import Blueprint, find_blueprint, instantiate

if TYPE_CHECKING:
    from stepwell.core.plan.compile import Plan


HANDLERS: Final = "stepwell.templates.handlers"
"""The module of the handlers that the shipped templates name."""


async def create(
    template: Annotated[str, Argument(metavar="TEMPLATE", help="A template's name, or the path of its file.")],
    params: Params = (),
    name: Annotated[str, Option("--name", metavar="NAME", help="What to call the workflow.")] = "",
    out: Annotated[
        Path | None,
        Option("--out", metavar="FILE", help="Write the definition there instead, YAML or JSON; - prints it."),
    ] = None,
    register: Annotated[bool, Option("--register", help="Register it; what happens anyway without --out.")] = False,
    start: Annotated[bool, Option("--start", help="Register it, and start an instance.")] = False,
    input_text: Annotated[
        str | None, Option("--input", metavar="JSON|@FILE", help="With --start: the instance's input.")
    ] = None,
    instance_id: Annotated[
        str | None,
        Option("--id", metavar="ID", check=check_id, help="With --start: name the instance."),
    ] = None,
    directory: Directory = Path("templates"),
    modules: Types = (),
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Create a workflow from a template: check its parameters, and register it.

    \b
    stepwell create approval_chain --param level1_approver=alice --param level2_approver=bob \\
        --param request_title="Budget Approval"
    stepwell create sample --name my-pipeline --out my-pipeline.yaml
    stepwell create sample --start --id sample-1
    """
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
        serve = command("worker", "--queue", agent, "--handlers", "MODULE")
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
        words = ["start", made["workflow"], "--version", made["version"]]
    else:
        words = ["run", made.get("file", "FILE")]
        if _own_handlers(made):
            words += ["--handlers", HANDLERS]
        if made["agents"] or len(_own_handlers(made)) < len(made["handlers"]):
            words += ["--handlers", "MODULE"]
    if blueprint.input_example:
        words += ["--input", json.dumps(blueprint.input_example, ensure_ascii=False)]
    return command(*words) + at(log)


def _own_handlers(made: dict[str, Any]) -> list[str]:
    return [handler for handler in made["handlers"] if handler.startswith(f"{HANDLERS}.")]
