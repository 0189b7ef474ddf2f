"""Verbs that ask for something: start, stop, resume, cancel, rollback."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.cli.looking import print_json
from stepwell.cli.session import client_of, parse_input

if TYPE_CHECKING:
    from stepwell.client import Client


async def start(
    workflow: str,
    *,
    input_text: str | None,
    params: Sequence[str],
    instance_id: str | None,
    version: str | None,
    priority: int,
    as_json: bool,
    log: str | None,
) -> int:
    """Start an instance; a file is registered first."""
    data = parse_input(input_text, params)
    is_file = workflow.endswith((".yaml", ".yml", ".json")) or Path(workflow).is_file()
    async with client_of(log, create=is_file) as client:
        if is_file:
            definition = await client.register(Path(workflow))
            workflow, version = definition.name, definition.version
        run = await client.start(workflow, data, id=instance_id, version=version, priority=priority)
        live = await client.engine_is_live()
    if as_json:
        print_json({"instance_id": run.id, "existed": run.existed, "engine_is_live": live})
        return 0
    print(run.id)
    if run.existed:
        print("It exists already; nothing was started.", file=sys.stderr)
    elif not live:
        print("It is in the log. No engine works on this log now: `stepwell dev` starts one.", file=sys.stderr)
    return 0


async def steer(
    instance_id: str, done: str, ask: Callable[[Client], Awaitable[None]], *, as_json: bool, log: str | None
) -> int:
    """Send a command, decided here if no engine works on the log, and show where the instance is then."""
    async with client_of(log, engine=True) as client:
        await ask(client)
        shown = await client.get(instance_id)
    if as_json:
        print_json({"instance_id": instance_id, "status": shown.status, "sequence": shown.sequence})
    else:
        print(f"{instance_id}: {done}; it is {shown.status} now")
    return 0
