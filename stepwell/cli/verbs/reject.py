"""``stepwell reject``."""

from __future__ import annotations

from stepwell.cli.options import By, Comment, Id, Json, LogUrl, Step
from stepwell.cli.steering import steer


async def reject(
    instance_id: Id, step: Step = "", by: By = "", comment: Comment = "", as_json: Json = False, log: LogUrl = None
) -> int:
    """Reject what an instance waits for: its step fails, or goes on with the rejection as its output.

    \b
    stepwell reject order-1 --comment "too expensive"
    """
    return await steer(
        instance_id,
        "rejected",
        lambda c: c.reject(instance_id, step, by=by, comment=comment),
        as_json=as_json,
        log=log,
    )
