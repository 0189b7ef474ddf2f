"""``stepwell reschedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from stepwell.cli.completion import instance_ids
from stepwell.cli.exits import UsageError
from stepwell.cli.options import Json, LogUrl, check_id
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.steering import steer
from stepwell.cli.views import caught_up
from stepwell.errors import CommandRejectedError
from stepwell.projections.filters import InstanceFilter
from stepwell.schemas.definitions.model import LONGEST_SECONDS
from stepwell.schemas.records.statuses import LIVE

if TYPE_CHECKING:
    from stepwell.client.client import Client

_PAGE: Final = 200  # instances asked for at once


async def reschedule(
    instance_id: Annotated[
        str | None, Argument(metavar="[ID]", check=check_id, complete=instance_ids, help="The instance's id.")
    ] = None,
    step: Annotated[str, Option(metavar="STEP", help="The step whose timer is meant; all of them without.")] = "",
    in_: Annotated[
        float | None,
        Option("--in", metavar="SECONDS", min=0, max=LONGEST_SECONDS, help="From now until that timer is due."),
    ] = None,
    everything: Annotated[bool, Option("--all", help="Mend the timers of all live instances.")] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Move timers: mend those that a wrong clock has put off, or move one to another time.

    \b
    stepwell reschedule order-1
    stepwell reschedule order-1 --step remind --in 0
    stepwell reschedule --all
    """
    if everything:
        if instance_id is not None or step or in_ is not None:
            raise UsageError("--all stands alone", remedy="Name an instance, or leave out what is besides --all.")
        return await _all(as_json=as_json, log=log)
    if instance_id is None:
        raise UsageError("no instance is named", remedy="stepwell reschedule ID, or --all for all live ones.")
    if in_ is not None and not step:
        raise UsageError("--in needs the step whose timer is meant", remedy="Name it: --step STEP.")
    return await steer(
        instance_id,
        lambda answer: answer.noted or "its timers were moved",
        lambda c: c.reschedule(instance_id, step, delay_seconds=in_),
        as_json=as_json,
        log=log,
    )


async def _all(*, as_json: bool, log: str | None) -> int:
    moved, live = [], 0
    async with client_of(log, engine=True) as client:
        await caught_up(client)
        for instance_id in await _live(client):
            try:
                answer = await client.reschedule(instance_id)
            except CommandRejectedError:  # it has ended meanwhile
                continue
            live += 1
            if answer.decided and not answer.noted:
                moved.append(instance_id)
    if as_json:
        print_json({"live": live, "moved": moved})
    else:
        for instance_id in moved:
            print(f"{instance_id}: its timers were moved")
        print(f"{len(moved):,} of {live:,} live instances had timers that were due too late")
    return 0


async def _live(client: Client) -> list[str]:
    """The ids of all live instances."""
    wanted = InstanceFilter(status=tuple(sorted(LIVE)))
    page, _ = await client.views.find(wanted, order="created", limit=_PAGE, fresh=False)
    found = [row.instance_id for row in page]
    while page.next:
        page, _ = await client.views.find(wanted, order="created", cursor=page.next, limit=_PAGE, fresh=False)
        found += [row.instance_id for row in page]
    return found
