"""``stepwell errors``."""

from __future__ import annotations

from typing import Annotated

from stepwell.cli.drawing import short
from stepwell.cli.options import Json, Limit, LogUrl, check_id
from stepwell.cli.output import print_json
from stepwell.cli.signature import Argument, Option
from stepwell.cli.views import asking, local_time, must_exist, print_or


async def errors(
    text: Annotated[str, Argument(metavar="[TEXT]", help="Only errors with this text in them.")] = "",
    instance_id: Annotated[
        str | None, Option("--instance", metavar="ID", check=check_id, help="Only of this instance.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Print the last errors of all instances, those that were retried, too.

    \b
    stepwell errors
    stepwell errors "connection refused"
    """
    async with asking(log) as client:
        found = await client.views.errors(instance_id, text=text, limit=limit, fresh=False)
        if not found and instance_id:
            await must_exist(client, instance_id)
    if as_json:
        print_json({"errors": found})
        return 0
    rows = [
        (local_time(one.at), one.instance_id, one.step_id or "(workflow)", f"{one.kind}: {short(one.message, 160)}")
        for one in found
    ]
    print_or("no errors" + (" with that in them" if text else ""), ("", "", "", ""), rows)
    return 0
