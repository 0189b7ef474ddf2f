"""``stepwell cancel``."""

from __future__ import annotations

from stepwell.cli.options import Id, Json, LogUrl, Reason
from stepwell.cli.steering import steer


async def cancel(instance_id: Id, reason: Reason = "", as_json: Json = False, log: LogUrl = None) -> int:
    """End an instance; handlers that run are told.

    \b
    stepwell cancel order-1 --reason "ordered twice"
    """
    return await steer(instance_id, "cancelled", lambda c: c.cancel(instance_id, reason), as_json=as_json, log=log)
