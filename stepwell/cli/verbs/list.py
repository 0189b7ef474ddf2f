"""``stepwell list``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from stepwell.cli.completion import instance_ids, workflow_names
from stepwell.cli.drawing import SIGNS, seconds, short
from stepwell.cli.exits import UsageError
from stepwell.cli.options import Json, Limit, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Option
from stepwell.cli.views import asking, fields_of, in_order, local_time, table, time_of
from stepwell.projections.filters import FilterError, InstanceFilter, checked, checked_order, read_cursor
from stepwell.schemas.records.statuses import WorkflowStatus
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.projections.filters import InstancePage
    from stepwell.projections.rows import InstanceRow


Least = Annotated[int | None, Option(metavar="N", min=0, max=100, help="Of this priority or more.")]


Most = Annotated[int | None, Option(metavar="N", min=0, max=100, help="Of this priority or less.")]


async def list_(
    status: Annotated[
        Sequence[str],
        Option(
            "--status",
            metavar="STATUS",
            help="Only pending, running, paused, completed, failed or cancelled ones; repeat it.",
        ),
    ] = (),
    workflow: Annotated[
        str | None, Option(metavar="NAME", complete=workflow_names, help="Only of this workflow.")
    ] = None,
    version: Annotated[str | None, Option(metavar="VERSION", help="Only of this version.")] = None,
    tag: Annotated[str | None, Option(metavar="TAG", help="Only of workflows with this tag.")] = None,
    since: Annotated[
        str | None,
        Option(metavar="TIME", help="Started from then on: ISO, or an age: 90s, 15m, 2h, 7d."),
    ] = None,
    until: Annotated[str | None, Option(metavar="TIME", help="Started before.")] = None,
    finished_since: Annotated[str | None, Option(metavar="TIME", help="Ended from then on.")] = None,
    finished_until: Annotated[str | None, Option(metavar="TIME", help="Ended before.")] = None,
    priority_min: Least = None,
    priority_max: Most = None,
    input_: Annotated[
        Sequence[str],
        Option("--input", metavar="NAME=VALUE", help="With this in the input; customer.id=17; repeat it."),
    ] = (),
    output: Annotated[
        Sequence[str], Option("--output", metavar="NAME=VALUE", help="With this in the output; repeat it.")
    ] = (),
    error: Annotated[str, Option(metavar="TEXT", help="With this text in any error it has had.")] = "",
    parent: Annotated[str, Option(metavar="ID", complete=instance_ids, help="Only children of this instance.")] = "",
    order: Annotated[
        str,
        Option(metavar="ORDER", help="created, finished, priority; with a minus the largest first."),
    ] = "-created",
    limit: Limit = 20,
    cursor: Annotated[str | None, Option(metavar="TEXT", help="Go on where a page before ended.")] = None,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """List instances, the newest first.

    \b
    stepwell list --status failed --since 2h
    stepwell list --workflow order --input customer.id=17 --priority-min 50
    stepwell list --error "does not answer" --order -finished
    """
    given: dict[str, tuple[str, Any]] = {
        "status": ("--status", tuple(dict.fromkeys(status))),
        "workflow": ("--workflow", workflow or ""),
        "version": ("--version", version or ""),
        "tag": ("--tag", tag or ""),
        "created_after": ("--since", time_of(since, "--since")),
        "created_before": ("--until", time_of(until, "--until")),
        "finished_after": ("--finished-since", time_of(finished_since, "--finished-since")),
        "finished_before": ("--finished-until", time_of(finished_until, "--finished-until")),
        "priority_min": ("--priority-min", priority_min),
        "priority_max": ("--priority-max", priority_max),
        "input": ("--input", fields_of(input_, "--input")),
        "output": ("--output", fields_of(output, "--output")),
        "error": ("--error", error),
        "parent": ("--parent", parent),
    }
    in_order(given)
    wanted = InstanceFilter(**{name: value for name, (_, value) in given.items()})
    named = {name: option for name, (option, value) in given.items() if value not in (None, "", (), {})}
    try:
        checked(wanted), checked_order(order)  # before anything is waited for
        if cursor:
            read_cursor(cursor, order)
    except FilterError as wrong:
        raise UsageError(wrong.message, place=_option(wrong.place), remedy=wrong.remedy) from None
    async with asking(log) as client:
        page, total = await client.views.find(wanted, order=order, cursor=cursor, limit=limit, fresh=False)
        if as_json:
            print_json({"total": total, "instances": list(page), "next": page.next})
            return 0
        if not total:
            print(await _widened(client, wanted, named))
            return 0
    _print_page(page, total)
    return 0


def _option(place: str) -> str:
    """The option of a filter: ``--priority-min`` of ``priority_min``, ``--input name`` of ``input.name``."""
    name, _, field = place.partition(".")
    return f"--{name.replace('_', '-')} {field}".rstrip()


def _print_page(page: InstancePage, total: int) -> None:
    rows = [
        (
            SIGNS.get(row.status, ("▶", ""))[0],
            row.instance_id,
            f"{row.workflow} {row.version}",
            row.status,
            local_time(row.started_at),
            seconds(max(0, row.finished_at - (row.started_at or 0)) / 1000) if row.finished_at else "",
            row.priority or "",
            _why(row),
        )
        for row in page
    ]
    print("\n".join(table([""] * 8, rows)))
    if page.next:
        print(f"… of {total:,}; the next ones: --cursor {page.next}")
    elif total > len(page):
        print(f"… the last of {total:,}")


def _why(row: InstanceRow) -> str:
    """What there is to say of an instance besides its status."""
    if row.status == WorkflowStatus.FAILED:
        where = f"{row.failed_step}: " if row.failed_step else ""
        return short(where + row.error, 80)
    return short(row.reason, 80)


async def _widened(client: Client, wanted: InstanceFilter, named: dict[str, str]) -> str:
    """What to say where nothing was found: which of the filters keeps how many away."""
    _, whole = await client.views.find(InstanceFilter(), limit=1, fresh=False)
    if not whole:
        return "no instances: nothing was started on this log yet"
    lines = [f"no instances are like that, of {whole:,} in all"]
    unset = InstanceFilter()
    for name, option in named.items():
        wider = msgspec.structs.replace(wanted, **{name: getattr(unset, name)})
        _, total = await client.views.find(wider, limit=1, fresh=False)
        if total:
            lines.append(f"  without {option}: {total:,}")
    if len(lines) == 1 and len(named) > 1:
        lines.append("  none of the filters alone keeps them away: leave out several")
    if wanted.workflow:
        await client.registry.catch_up()
        known = [definition.name for definition in client.registry.all()]
        if wanted.workflow not in known:
            near = suggest(wanted.workflow, known)
            lines.append(f'  no workflow "{short(wanted.workflow)}" is registered{near}')
    return "\n".join(lines)
