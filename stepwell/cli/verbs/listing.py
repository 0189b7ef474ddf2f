"""The verbs that list what the read models hold: list, errors, audit, work, cached."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.drawing import SIGNS, seconds, short
from stepwell.cli.output import print
from stepwell.cli.session import UsageError, at, client_of, parse_input
from stepwell.cli.verbs.show import print_json
from stepwell.cli.views import age, asking, caught_up, local_time, split_version, table
from stepwell.errors import visible
from stepwell.schemas.records.statuses import WorkflowStatus
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.client.client import Client
    from stepwell.projections.filters import InstanceFilter, InstancePage
    from stepwell.projections.rows import InstanceRow

NOTHING = 1  # exit status of `cached` where there is nothing


async def list_instances(
    wanted: InstanceFilter,
    named: dict[str, str],
    *,
    order: str,
    limit: int,
    cursor: str | None,
    as_json: bool,
    log: str | None,
) -> int:
    """List instances.

    Args:
        named: The option of each filter that was given, by its name, as it was written.
    """
    from stepwell.projections.filters import (  # noqa: PLC0415 - start-up time
        FilterError,
        checked,
        checked_order,
        read_cursor,
    )

    try:
        checked(wanted), checked_order(order)  # before anything is waited for
        if cursor:
            read_cursor(cursor, order)
    except FilterError as error:
        raise UsageError(error.message, place=_option(error.place), remedy=error.remedy) from None
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
    from stepwell.projections.filters import InstanceFilter  # noqa: PLC0415 - start-up time

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


async def errors(text: str, instance_id: str, limit: int, *, as_json: bool, log: str | None) -> int:
    """Print the last errors."""
    async with asking(log) as client:
        found = await client.views.errors(instance_id or None, text=text, limit=limit, fresh=False)
        if not found and instance_id:
            await _must_exist(client, instance_id)
    if as_json:
        print_json({"errors": found})
        return 0
    rows = [
        (local_time(one.at), one.instance_id, one.step_id or "(workflow)", f"{one.kind}: {short(one.message, 160)}")
        for one in found
    ]
    _print_or("no errors" + (" with that in them" if text else ""), ("", "", "", ""), rows)
    return 0


async def audit(by: str, instance_id: str, since: int | None, limit: int, *, as_json: bool, log: str | None) -> int:
    """Print who asked for what."""
    async with asking(log) as client:
        found = await client.views.audit(by=by, instance_id=instance_id, since=since, limit=limit, fresh=False)
        if not found and instance_id:
            await _must_exist(client, instance_id)
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
    _print_or("nobody has asked for anything like that", titles, rows)
    return 0


async def work(statuses: Sequence[str], queue: str, limit: int, *, as_json: bool, log: str | None) -> int:
    """Print the attempts under way."""
    async with asking(log) as client:
        found = await client.views.work(status=statuses, queue=queue, limit=limit, fresh=False)
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
    _print_or("nothing is under way" + (" there" if statuses or queue else ""), titles, rows)
    return 0


async def cached(
    name: str,
    input_text: str | None,
    params: Sequence[str],
    max_age: float | None,
    *,
    as_json: bool,
    log: str | None,
) -> int:
    """Print the result of the newest instance that completed with an equal input; return whether there is one."""
    data = parse_input(input_text, params)
    async with client_of(log) as client:
        workflow, version = await registered(client, name)
        await caught_up(client)
        found = await client.views.cached(workflow, data, version=version, max_age_seconds=max_age, fresh=False)
        view = None if found is None else await client.get(found.instance_id)
    output: Any = None if view is None else view.output
    if as_json:
        print_json({"cached": found, "output": output})
    elif found is None:
        words = ["stepwell", "start", workflow, *(("--version", version) if version else ())]
        words += [*(("--input", input_text) if input_text is not None else ())]
        words += [word for param in params for word in ("--param", param)]
        print(f"no instance of {short(workflow)} has completed with this input")
        print(f"  Compute it: {visible(shlex.join([*words, '--wait']))}{at(log)}")
    else:
        print(f"{found.instance_id}  completed {seconds(age(found.finished_at or 0))} ago")
        print_json(output)
    return 0 if found is not None else NOTHING


async def _must_exist(client: Client, instance_id: str) -> None:
    from stepwell.consumers.reading.histories import unknown_instance  # noqa: PLC0415 - start-up time

    if await client.views.instance(instance_id, fresh=False) is None:
        raise unknown_instance(instance_id)


async def registered(client: Client, name: str) -> tuple[str, str | None]:
    """The workflow, and the version if one is meant, of ``NAME`` or ``NAME@VERSION``.

    Raises:
        UnknownWorkflowError: No such is registered; with what there is.
    """
    from stepwell.errors import UnknownWorkflowError  # noqa: PLC0415 - start-up time

    await client.registry.catch_up()
    definitions = client.registry.all()
    names = {definition.name for definition in definitions}
    workflow, version = (name, None) if name in names else split_version(name)  # a name may have an @ in it
    remedy = "`stepwell definitions` shows what is registered."
    if workflow not in names:
        raise UnknownWorkflowError(f'no workflow "{workflow}" is registered{suggest(workflow, names)}', remedy=remedy)
    versions = [definition.version for definition in definitions if definition.name == workflow]
    if version is not None and version not in versions:
        near = suggest(version, versions)
        raise UnknownWorkflowError(f'workflow "{workflow}" has no version {version}{near}', remedy=remedy)
    return workflow, version


def _print_or(nothing: str, titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("\n".join(table(titles, rows)) if rows else nothing)
