"""``stepwell run``: everything that one workflow needs, in one process, to its end."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from stepwell.cli.exits import UsageError
from stepwell.cli.imports import paths_of
from stepwell.cli.inputs import parse_input
from stepwell.cli.live import progress
from stepwell.cli.options import (
    Concurrency,
    Dialect,
    File,
    IfExists,
    Input,
    Json,
    LogUrl,
    MaxDeliveries,
    Modules,
    Params,
    Priority,
    StrictHandlers,
    check_id,
)
from stepwell.cli.outcomes import report
from stepwell.cli.output import print
from stepwell.cli.session import at, client_of
from stepwell.cli.signature import Option
from stepwell.cli.sources import definition_of, given
from stepwell.cli.steering import OTHERWISE
from stepwell.client.launch import check_handlers, find, needs_input, plans_of, run_to_end
from stepwell.client.same_start import conflict
from stepwell.client.waiting import Over
from stepwell.command_line import command
from stepwell.consumers.registry.children import tell_children
from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.errors import UnknownInstanceError
from stepwell.ids import new_id
from stepwell.language import compile_loaded, read_definition
from stepwell.projections.input_hash import input_hash
from stepwell.schemas.records.statuses import PENDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.consumers.reading.views import InstanceView
    from stepwell.core.plan.compile import Plan


async def run(
    file: File,
    dialect: Dialect = None,
    input_text: Input = None,
    params: Params = (),
    modules: Modules = (),
    strict: StrictHandlers = False,
    instance_id: Annotated[
        str | None,
        Option(
            "--id",
            metavar="ID",
            check=check_id,
            help="Name the instance; the same id again goes on where it stopped.",
        ),
    ] = None,
    going_on: Annotated[
        bool, Option("--continue", help="Only go on with the instance that --id names; start none.")
    ] = False,
    if_exists: IfExists = "refuse",
    priority: Priority = 0,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Run a workflow to its end, in this process, and print its output.

    Exit status: 0 completed, 1 failed or cancelled, 2 bad input, 3 waiting for a person.

    \b
    stepwell run order.yaml --handlers shop.steps --input '{"order": 1}' --id order-1
    stepwell run order.yaml --handlers shop.steps --id order-1     # after a crash: goes on
    """
    if going_on and instance_id is None:
        raise UsageError("names no instance to go on with", place="--continue", remedy="Add --id ID.")
    prefixes = paths_of(modules, strict=strict)  # before the definition: they may hold step types of their own
    source = given(file)
    loaded = read_definition(definition_of(source), dialect=dialect)
    compiled = compile_loaded(loaded)  # all that is wrong with it, before anything is written
    definition = compiled.definition
    data = parse_input(input_text, params)
    handlers = Handlers(prefixes, BUILTIN)
    handlers.update(registered)
    named = instance_id or new_id()
    async with client_of(log, create=True) as client:

        def look_at(found: InstanceView) -> None:
            """What there is to say of an instance that was there before."""
            if found.workflow != definition.name:
                raise UsageError(
                    f"instance {named!r} belongs to workflow {found.workflow!r}, not to {definition.name!r}",
                    place=f"--id {named}",
                    remedy="Choose another id, or name that workflow's file.",
                )
            other = (input_text is not None or params) and input_hash(data) != input_hash(found.input)
            if other and if_exists != "use":
                raise conflict(named, "another input", f"Leave the input out to go on with it. {OTHERWISE}")
            if as_json:
                return
            pinned = client.registry.resolve(found.workflow, found.version)
            if other:
                tense = "ran" if found.finished else "goes on"
                _note(f"{named} {tense} with the input that it was started with, not with the one given now.")
            if pinned is not None and pinned.hash != compiled.hash:
                tense = "ran" if found.finished else "runs on"
                _note(f"{file} is not what {named} was started with: it {tense} with version {found.version}.")

        existing = None if instance_id is None else await find(client, instance_id)
        plan: Plan | None
        if existing is None and instance_id is not None:
            _check_start(compiled, instance_id, log, going_on=going_on, said=input_text is not None or bool(params))
        if existing is None:
            if not isinstance(source, Path):
                await client.register(source)  # and those that it calls
            plan = await client.registry.register(definition, compiled, sender=client.sender)
            family = [one.definition for one in plans_of(plan, client.registry)]
            tell_children(family if isinstance(source, Path) else family[1:], client.registry)  # else told already
        else:
            await client.registry.catch_up()
            look_at(existing)
            data = existing.input if existing.status == PENDING else data
            plan = client.registry.resolve(existing.workflow, existing.version)
        if plan is None:
            raise UnknownInstanceError(f"the definition of {named!r} is not in the log", place=str(file))
        if existing is None or not existing.finished:
            for needed in plans_of(plan, client.registry):
                check_handlers(needed, handlers)
        again = _again(file, dialect, modules, named, log)
        if existing is not None and existing.finished:
            return report(Over(existing), as_json=as_json, again=again, log=log, already=True)
        try:
            ended = await run_to_end(
                client,
                plan,
                handlers,
                named,
                data,
                existing=existing,
                look_at=look_at,
                shown=functools.partial(progress, plan=plan, quiet=as_json),
                priority=priority,
                concurrency=concurrency,
            )
        except asyncio.CancelledError:
            if not as_json:
                print(f"\nStopped. Every finished step is in the log. Go on with:\n  {again}", file=sys.stderr)
            raise
    return report(ended, as_json=as_json, again=again, log=log)


def _check_start(plan: Plan, instance_id: str, log: str | None, *, going_on: bool, said: bool) -> None:
    """Refuse to start an instance where somebody means to go on with one, and has mistyped its id.

    Raises:
        UnknownInstanceError: The log holds none of this id, and nothing was said of its input.
    """
    if not going_on and (said or not needs_input(plan)):
        return
    shown = f"`stepwell list{at(log)}` shows the ids that there are"
    start = "leave --continue out" if going_on else "give its input: --input JSON, --input @FILE or --param K=V"
    none = "" if said else " (--input '{}' for none)"
    raise UnknownInstanceError(
        f"nothing with this id is in the log: {instance_id!r}",
        place=f"--id {instance_id}",
        remedy=f"To go on with another one, {shown}. To start this one, {start}{none}.",
    )


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _again(file: Path, dialect: str | None, modules: Sequence[str], instance_id: str, log: str | None) -> str:
    words = ["run", str(file), "--id", instance_id]
    if dialect is not None:
        words += ["--dialect", dialect]
    for module in modules:
        words += ["--handlers", module]
    return command(*words) + at(log)
