"""``stepwell history``: what ever happened to an instance, and what happens next."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, get_args

from stepwell.cli.exits import UsageError
from stepwell.cli.options import Id, Json, LogUrl
from stepwell.cli.output import print
from stepwell.cli.records import followed, json_line, print_events, record_line
from stepwell.cli.session import client_of
from stepwell.cli.signature import Option
from stepwell.consumers.reading.patterns import meant_by
from stepwell.schemas.records.events import Event
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from stepwell.consumers.reading.histories import EventRecord


async def history(
    instance_id: Id,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as more happens, until it has ended.")] = False,
    types: Annotated[
        Sequence[str],
        Option("--types", metavar="TYPE", help="Only events of this type, with wildcards: step.*; repeat it."),
    ] = (),
    full: Annotated[bool, Option("--full", help="Cut nothing, and show tracebacks.")] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Print everything that ever happened to an instance, one event a line.

    \b
    stepwell history order-1
    stepwell history order-1 --types 'step.failed' --full
    stepwell history order-1 --follow
    stepwell history order-1 --json | jq '.events[] | select(.type == "step.failed")'
    """
    given = [part.strip() for text in types for part in text.split(",") if part.strip()]
    wanted = [meant_by(pattern) for pattern in given]
    _check(wanted)
    async with client_of(log) as client:
        if follow:
            async for record in followed(client, instance_id):
                if _is_wanted(record, wanted):
                    line = json_line(record) if as_json else record_line(record, 3, full=full)
                    print(line, flush=True)
            return 0
        records = await client.history(instance_id)
    shown = [record for record in records if _is_wanted(record, wanted)]
    print_events(instance_id, shown, full=full, as_json=as_json)
    if not records and not as_json:
        print("nothing has happened yet: its start is in the log and has not been decided yet")
    elif not shown and not as_json:
        there = ", ".join(sorted({record.type for record in records}))
        print(f"none of its {len(records):,} events is of that type; there are {there}")
    return 0


def _check(wanted: Sequence[str]) -> None:
    """Refuse a type of events that no event has."""
    known = [str(kind.__struct_config__.tag) for kind in get_args(Event)]
    for pattern in wanted:
        if not any(fnmatch.fnmatchcase(kind, pattern) for kind in known):
            raise UsageError(
                f"no event is of this type{suggest(pattern, known)}",
                place=f"--types {pattern}",
                remedy=f"There are {', '.join(sorted(known))}; * stands for anything: step.*",
            )


def _is_wanted(record: EventRecord, wanted: Sequence[str]) -> bool:
    return not wanted or any(fnmatch.fnmatchcase(record.type, pattern) for pattern in wanted)
