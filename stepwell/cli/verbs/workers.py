"""``stepwell workers``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from stepwell.cli.drawing import seconds
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.service import own_handlers
from stepwell.cli.session import at, client_of
from stepwell.cli.signature import Option
from stepwell.cli.views import caught_up, table

if TYPE_CHECKING:
    from stepwell.consumers.reading.live_members import LiveMembers
    from stepwell.projections.statistics import WorkerStatistics


MOST_SHOWN: Final = 20  # workers: every `stepwell run` was one


async def workers(
    done: Annotated[
        bool, Option("--done", help="What each worker has done, too; those that have left as well.")
    ] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Show the live engines and workers: partitions, queues, handlers, concurrency.

    \b
    stepwell workers
    stepwell workers --done
    """
    did: list[WorkerStatistics] = []
    live: set[str] = set()
    async with client_of(log) as client:
        members = await client.live_members()
        if done:
            await caught_up(client)
            live = {worker.name for worker in members.workers}
            did = await client.views.workers(first=live, limit=max(MOST_SHOWN, len(live)), fresh=False)
    if as_json:
        print_json({**msgspec.to_builtins(members), "done": did} if done else members)
        return 0
    _print_members(members, log)
    if done:
        rows = [
            (
                one.worker,
                f"{one.runs:,}",
                f"{one.failures:,}",
                seconds(one.busy_seconds),
                _is_live(one.worker in live),
            )
            for one in did
        ]
        print()
        lines = table(("worker", "runs", "failures", "busy", ""), rows, right=(1, 2, 3))
        print("\n".join(lines) if did else "no worker has done anything yet")
        if len(did) == MOST_SHOWN:
            print("  … those that are live, and those that have done most")
    return 0


def _is_live(yes: bool) -> str:
    return "live" if yes else "has left"


def _print_members(members: LiveMembers, log: str | None) -> None:
    rows = [
        ("engine", engine.name, f"partitions {_spans(engine.partitions) or 'none yet'}") for engine in members.engines
    ]
    for worker in members.workers:
        able = ", ".join(own_handlers(worker.handlers, worker.prefixes)) or "built-in step types only"
        rows.append((
            "worker", worker.name, f"queues {', '.join(worker.queues)}  concurrency {worker.concurrency}  runs {able}"
        ))  # fmt: skip
    width = max((len(name) for _, name, _ in rows), default=0)
    for kind, name, what in rows:
        print(f"{kind}  {name:<{width}}  {what}")
    here = at(log)
    if not members.engines:
        print(f"no engine is live: nothing is decided. `stepwell engine{here}` starts one.")
    elif members.unowned:
        print(f"partitions {_spans(members.unowned)} have no live owner yet: what is theirs waits.")
    if not members.workers:
        print(f"no worker is live: steps wait. `stepwell worker --handlers MODULE{here}` starts one.")


def _spans(numbers: Sequence[int]) -> str:
    """Numbers in order, runs of them shortened: 0-3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
