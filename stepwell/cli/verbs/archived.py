"""``stepwell archived``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from stepwell.archiving.reading import Archive, summary_of
from stepwell.cli.archives import day
from stepwell.cli.drawing import SIGNS, count, seconds
from stepwell.cli.exits import UsageError
from stepwell.cli.instances import print_instance
from stepwell.cli.options import Json, check_id
from stepwell.cli.output import print, print_json
from stepwell.cli.records import print_events
from stepwell.cli.signature import Argument, Option
from stepwell.cli.views import local_time

if TYPE_CHECKING:
    from stepwell.archiving.reading import ArchivedInstance


async def archived(
    file: Annotated[Path, Argument(metavar="FILE", help="What `archive` or `cleanup` has written.")],
    instance_id: Annotated[
        str | None, Argument(metavar="[ID]", check=check_id, help="Show this instance; list all without.")
    ] = None,
    history: Annotated[bool, Option("--history", help="Print its events, one a line.")] = False,
    to: Annotated[int | None, Option("--to", metavar="N", help="Show it as it was after event N.")] = None,
    as_json: Json = False,
) -> int:
    """Read an archive back: list it, or show an instance of it as `status`, `history` and `replay` would.

    \b
    stepwell archived orders.jsonl.gz
    stepwell archived orders.jsonl.gz order-1 --to 7
    """
    if instance_id is None and (history or to is not None):
        raise UsageError("--history and --to are about one instance", remedy="Name its ID behind FILE.")
    if history and to is not None:
        raise UsageError("--history and --to are two questions", remedy="Ask one of them.")
    opened = Archive(file)
    if instance_id is None:
        return _list(opened, as_json=as_json)
    return _show(opened.get(instance_id), history=history, to=to, as_json=as_json)


def _list(opened: Archive, *, as_json: bool) -> int:
    if as_json:  # one at a time: an archive may be larger than memory
        opened.check()  # first: half an object is none
        header = msgspec.to_builtins(opened.header)
        first = True
        for one in opened.summaries():
            print(f'{{"archive": {json.dumps(header)}, "instances": [' if first else ",")
            print(json.dumps(summary_of(one), ensure_ascii=False), end="")
            first = False
        print("\n]}" if not first else f'{{"archive": {json.dumps(header)}, "instances": []}}')
        return 0
    found = 0
    for one in opened.summaries():
        line = one.summary
        started = local_time(line.started_at)
        took = seconds((line.finished_at - line.started_at) / 1000)
        sign = SIGNS.get(line.status, ("▶", ""))[0]
        print(f"{sign} {line.id:<36}  {line.workflow} {line.version}  {line.status:<9}  {started}  {took}".rstrip())
        found += 1
    chosen = opened.header.chosen
    print(
        f"{count(found, 'instance')} of {opened.header.log} that finished before {day(chosen.finished_before)}; "
        f"archived on {day(opened.header.made_at)}"
    )
    return 0


def _show(one: ArchivedInstance, *, history: bool, to: int | None, as_json: bool) -> int:
    if history:
        print_events(one.id, one.history(), as_json=as_json)
        return 0
    shown = one.view(to)
    if as_json:
        print_json(shown)
        return 0
    if to is not None:
        print(f"as of event {shown.sequence}:")
    print_instance(shown, one.plan())
    return 0
