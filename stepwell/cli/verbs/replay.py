"""``stepwell replay``."""

from __future__ import annotations

from typing import Annotated

from stepwell.cli.instances import show_instance
from stepwell.cli.options import Id, Json, LogUrl
from stepwell.cli.signature import Option


async def replay(
    instance_id: Id,
    to: Annotated[int | None, Option("--to", metavar="N", help="Stop after event N.")] = None,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Show an instance as it was after any past event, folded from its history alone.

    \b
    stepwell replay order-1 --to 7
    """
    return await show_instance(instance_id, to, replayed=True, as_json=as_json, log=log)
