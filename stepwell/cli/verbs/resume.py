"""``stepwell resume``."""

from __future__ import annotations

from typing import Annotated

from stepwell.cli.options import Id, Json, LogUrl
from stepwell.cli.signature import Option
from stepwell.cli.steering import steer


async def resume(
    instance_id: Id,
    skip_failed: Annotated[bool, Option(help="Go on without the steps that failed; a gate asks anew.")] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Go on with a paused instance, or with a failed or cancelled one at the step that failed.

    \b
    stepwell resume order-1
    """
    return await steer(
        instance_id,
        "resumed",
        lambda c: c.resume(instance_id, skip_failed=skip_failed),
        as_json=as_json,
        log=log,
    )
