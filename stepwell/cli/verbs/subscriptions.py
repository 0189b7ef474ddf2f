"""``stepwell subscriptions``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from stepwell.cli.exits import UsageError
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of
from stepwell.cli.signature import Option


async def subscriptions(
    forget: Annotated[
        str | None, Option("--forget", metavar="NAME", help="Forget how far this name has come.")
    ] = None,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Show the durable names of those who read events: how far each has come, and how many records it is behind.

    \b
    stepwell subscriptions
    stepwell subscriptions --forget webhook:billing
    """
    async with client_of(log) as client:
        if forget is not None and not await client.forget_subscription(forget):
            raise UsageError(
                f"there is no durable name {forget!r}",
                place="--forget",
                remedy="`stepwell subscriptions` shows those that there are.",
            )
        found = await client.subscriptions()
    if as_json:
        print_json({"subscriptions": found, **({"forgotten": forget} if forget is not None else {})})
        return 0
    if forget is not None:
        print(f"forgotten: {forget}; whoever uses this name next begins anew")
        return 0
    width = max((len(info.name) for info in found), default=0)
    for info in found:
        at = datetime.fromtimestamp(info.at / 1000).astimezone()
        print(f"{info.name:<{width}}  {info.lag:>7} behind  {at:%Y-%m-%d %H:%M:%S}  {info.position}")
    if not found:
        print("no durable names")
    return 0
