"""``stepwell start``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from stepwell.cli.completion import names_or_files
from stepwell.cli.exits import UsageError
from stepwell.cli.imports import import_handlers
from stepwell.cli.inputs import parse_input
from stepwell.cli.options import Dialect, IfExists, Input, Json, LogUrl, Params, Priority, Types, check_id
from stepwell.cli.outcomes import report
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.sources import given, is_python
from stepwell.cli.steering import no_engine, started
from stepwell.client.launch import plans_of
from stepwell.client.waiting import until_over
from stepwell.command_line import command
from stepwell.consumers.registry.children import tell_children
from stepwell.log.port import WORKERS

if TYPE_CHECKING:
    from stepwell.client.client import Client


async def start(
    workflow: Annotated[
        str,
        Argument(
            metavar="WORKFLOW", complete=names_or_files, help="A registered workflow's name, or a definition's file."
        ),
    ],
    dialect: Dialect = None,
    modules: Types = (),
    input_text: Input = None,
    params: Params = (),
    instance_id: Annotated[
        str | None, Option("--id", metavar="ID", check=check_id, help="Name the instance.")
    ] = None,
    if_exists: IfExists = "refuse",
    version: Annotated[str | None, Option(metavar="VERSION", help="A version; the newest by default.")] = None,
    priority: Priority = 0,
    wait: Annotated[
        bool, Option("--wait", help="Wait for its end, and print its output; exit statuses as for run.")
    ] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Start an instance and return at once; any engine and worker on this log, or `stepwell dev`, run it.

    \b
    stepwell start order --input '{"order": 1}' --id order-1
    stepwell start order.yaml --input @order.json --wait
    """
    import_handlers(modules)  # before the definition: they may hold step types of their own
    data = parse_input(input_text, params)
    is_file = workflow.endswith((".yaml", ".yml", ".json")) or Path(workflow).is_file() or is_python(workflow)
    named = [workflow]
    if dialect is not None:
        named += ["--dialect", dialect]
    for module in modules:
        named += ["--handlers", module]
    if dialect is not None and not is_file:
        raise UsageError(
            f"{workflow} is no file, and what is registered has no dialect any more", place=f"--dialect {dialect}"
        )
    async with client_of(log, create=is_file) as client:
        if is_file:
            definition = await client.register(given(workflow), dialect=dialect)
            workflow, version = definition.name, definition.version
        else:
            await client.registry.catch_up()
            plan = client.registry.resolve(workflow, version)
            if plan is not None:
                tell_children([one.definition for one in plans_of(plan, client.registry)], client.registry)
        said = data if input_text is not None or params else None  # where nothing is said of it, nothing is compared
        run = await started(
            client, workflow, said, instance_id=instance_id, version=version, priority=priority, if_exists=if_exists
        )
        live = await client.engine_is_live()
        if run.existed and not as_json:
            print("It exists already; nothing was started.", file=sys.stderr)
        if wait:
            return await _wait(client, run.id, named, live=live, as_json=as_json, log=log)
    if as_json:
        print_json({"instance_id": run.id, "existed": run.existed, "engine_is_live": live})
        return 0
    print(run.id)
    if not run.existed and not live:
        print(f"It is in the log. {no_engine(log)}", file=sys.stderr)
    return 0


async def _wait(
    client: Client, instance_id: str, named: Sequence[str], *, live: bool, as_json: bool, log: str | None
) -> int:
    again = command("start", *named, "--id", instance_id, "--wait") + at(log)
    if not as_json:
        print(instance_id, file=sys.stderr)  # stdout belongs to the output
        if not live:
            print(f"Waits: it is in the log. {no_engine(log)}", file=sys.stderr)
        elif not await client.log.members(WORKERS):
            print(
                f"Waits: no worker is live now: `stepwell worker --handlers MODULE{at(log)}` starts one.",
                file=sys.stderr,
            )
    try:
        ended = await until_over(client, instance_id)
    except asyncio.CancelledError:
        if not as_json:
            print(f"\nIt goes on without you. Wait for it again with:\n  {again}", file=sys.stderr)
        raise
    return report(ended, as_json=as_json, again=again, log=log)
