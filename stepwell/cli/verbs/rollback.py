"""``stepwell rollback``."""

from __future__ import annotations

from typing import Annotated

from stepwell.cli.exits import UsageError
from stepwell.cli.options import Id, Json, LogUrl
from stepwell.cli.signature import Option
from stepwell.cli.steering import steer


async def rollback(
    instance_id: Id,
    checkpoint: Annotated[
        str | None,
        Option(
            metavar="POINT",
            help="A checkpoint's name or a settled step's id; where nothing is called so: `latest`, `start`, "
            "or an event's number. Without it, the step that was settled last.",
        ),
    ] = None,
    event: Annotated[int | None, Option(metavar="N", help="An event's number, whatever is called so.")] = None,
    pause: Annotated[bool, Option(help="Stay paused there.")] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Return to an earlier point: what came after is undone where it has a compensation, and runs anew.

    \b
    stepwell rollback order-1 --checkpoint paid
    stepwell rollback order-1 --event 17
    """
    return await steer(
        instance_id,
        "rolled back",
        lambda c: c.rollback(instance_id, _point(checkpoint, event), pause=pause),
        as_json=as_json,
        log=log,
    )


def _point(checkpoint: str | None, event: int | None) -> str | int | None:
    """Where a rollback returns to.

    Raises:
        UsageError: Both a name and an event are given.
    """
    if checkpoint is not None and event is not None:
        raise UsageError("--event and --checkpoint exclude each other", remedy="Name one point.")
    return checkpoint if event is None else event
