"""``stepwell status``."""

from __future__ import annotations

from typing import Annotated

from stepwell.cli.instances import show_instance
from stepwell.cli.options import Id, Json, LogUrl
from stepwell.cli.signature import Option


async def status(
    instance_id: Id,
    attempts: Annotated[
        bool, Option("--attempts", help="Every attempt at every step: worker, when, how long, error.")
    ] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Show an instance: its steps, times, attempts and errors.

    \b
    stepwell status order-1
    stepwell status order-1 --attempts
    """
    return await show_instance(instance_id, None, attempts=attempts, as_json=as_json, log=log)
