"""``stepwell approve``."""

from __future__ import annotations

from stepwell.cli.options import By, Comment, Id, Json, LogUrl, Step
from stepwell.cli.steering import steer


async def approve(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: LogUrl = None
) -> int:
    """Approve what an instance waits for; who, when and why is recorded.

    \b
    stepwell approve order-1 --comment "within budget"
    stepwell approve order-1 --step level2 --by bob
    """
    return await steer(
        instance_id,
        "approved",
        lambda c: c.approve(instance_id, step, by=by, comment=comment),
        as_json=as_json,
        log=log,
    )
