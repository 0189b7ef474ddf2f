"""``stepwell audit``."""

from __future__ import annotations

from typing import Annotated

from stepwell.cli.drawing import short
from stepwell.cli.options import Json, Limit, LogUrl, Since, check_id
from stepwell.cli.output import print_json
from stepwell.cli.signature import Option
from stepwell.cli.views import asking, local_time, must_exist, print_or, time_of


async def audit(
    by: Annotated[str, Option("--by", metavar="NAME", help="Only what they have asked for.")] = "",
    instance_id: Annotated[
        str | None, Option("--instance", metavar="ID", check=check_id, help="Only about this instance.")
    ] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Print who asked for what, when and from where, and what became of it.

    \b
    stepwell audit --instance order-1
    stepwell audit --by ann --since 7d
    """
    moment = time_of(since, "--since")
    async with asking(log) as client:
        found = await client.views.audit(by=by, instance_id=instance_id or "", since=moment, limit=limit, fresh=False)
        if not found and instance_id:
            await must_exist(client, instance_id)
    if as_json:
        print_json({"audit": found})
        return 0
    rows = [
        (
            local_time(one.at), one.by or "-", one.via or "-", one.command, one.instance_id or one.definition,
            one.outcome, short(one.message, 100),
        )
        for one in found
    ]  # fmt: skip
    titles = ("when", "by", "from", "asked for", "about", "outcome", "why")
    print_or("nobody has asked for anything like that", titles, rows)
    return 0
