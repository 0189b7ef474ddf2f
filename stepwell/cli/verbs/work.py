"""``stepwell work``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from stepwell.cli.drawing import SIGNS, seconds
from stepwell.cli.options import Json, Limit, LogUrl
from stepwell.cli.output import print_json
from stepwell.cli.signature import Option
from stepwell.cli.views import age, asking, print_or


async def work(
    status: Annotated[
        Sequence[str],
        Option("--status", metavar="STATUS", help="Only ready, running or waiting; repeat it."),
    ] = (),
    queue: Annotated[str, Option("--queue", metavar="NAME", help="Only of this queue.")] = "",
    limit: Limit = 50,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Print what is under way in all instances, what has been so for the longest first.

    \b
    stepwell work --status ready
    stepwell work --queue mail
    """
    async with asking(log) as client:
        found = await client.views.work(status=status, queue=queue, limit=limit, fresh=False)
    if as_json:
        print_json({"work": found})
        return 0
    rows = [
        (
            SIGNS[one.status][0],
            one.instance_id,
            one.step_id,
            one.status + (f" for {one.waits_for}" if one.waits_for else ""),
            f"{one.attempt}/{one.max_attempts}",
            seconds(age(one.started_at or one.ready_at)),
            one.queue,
            one.worker,
        )
        for one in found
    ]
    titles = ("", "instance", "step", "status", "attempt", "for", "queue", "worker")
    print_or("nothing is under way" + (" there" if status or queue else ""), titles, rows)
    return 0
