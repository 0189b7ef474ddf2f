"""``stepwell definitions``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from stepwell.cli.completion import workflow_names
from stepwell.cli.drawing import count, short
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.cli.signature import Option
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from stepwell.consumers.registry.definitions import RegisteredVersion


async def definitions(
    workflow: Annotated[
        str | None, Option("--workflow", metavar="NAME", complete=workflow_names, help="Only this one's versions.")
    ] = None,
    tag: Annotated[str | None, Option("--tag", metavar="TAG", help="Only those that have this tag.")] = None,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Show what is registered: versions, which of them can be started, tags.

    \b
    stepwell definitions
    stepwell definitions --workflow order --json
    """
    async with client_of(log) as client:
        found = await client.definitions(workflow=workflow, tag=tag)
        names = list(client.registry.names())
    if as_json:
        print_json({"definitions": found, "total": len(found)})
        return 0
    if workflow is not None and workflow not in names:
        hint = suggest(workflow, names) or f"; there are {', '.join(sorted(names)) or 'none'}"
        print(f"no workflow {workflow!r} is registered{hint}")
    elif not found:
        here = at(log)
        print(f"nothing is registered{f' with the tag {tag!r}' if tag else f': `stepwell register FILE{here}`'}")
    width = max((len(f"{one.name}@{one.version}") for one in found), default=0)
    for one in found:
        print(_line(one, width))
    return 0


def _line(one: RegisteredVersion, width: int) -> str:
    state = "current" if one.current else "active" if one.active else "inactive"
    when = datetime.fromtimestamp(one.registered_at / 1000).astimezone()
    tags = f"  [{', '.join(one.tags)}]" if one.tags else ""
    about = f"  {short(one.description, 60)}" if one.description else ""
    named = f"{one.name}@{one.version}"
    return f"{named:<{width}}  {state:<8}  {count(one.steps, 'step'):<8}  {when:%Y-%m-%d %H:%M:%S}{tags}{about}"
