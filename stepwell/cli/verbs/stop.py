"""``stepwell stop``."""

from __future__ import annotations

from stepwell.cli.options import Id, Json, LogUrl, Reason
from stepwell.cli.steering import steer


async def stop(instance_id: Id, reason: Reason = "", as_json: Json = False, log: LogUrl = None) -> int:
    """Pause an instance: no further step starts until `stepwell resume`.

    \b
    stepwell stop order-1 --reason "price is being checked"
    """
    return await steer(instance_id, "paused", lambda c: c.pause(instance_id, reason), as_json=as_json, log=log)
