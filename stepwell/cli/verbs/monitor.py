"""``stepwell monitor``: one instance, or all that goes on, as it happens."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from stepwell.cli.alerts import LEVEL_SIGNS, alert_lines
from stepwell.cli.drawing import SIGNS, count, headline, seconds, short
from stepwell.cli.instances import print_instance, shown_instance
from stepwell.cli.live import progress
from stepwell.cli.options import LogUrl, check_id
from stepwell.cli.output import print
from stepwell.cli.records import followed, json_line
from stepwell.cli.session import client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.views import age, caught_up, local_time, table
from stepwell.diagnosis.overview import overview_of
from stepwell.errors import UnknownInstanceError, visible
from stepwell.process import now_ms
from stepwell.schemas.records.statuses import PENDING, WorkflowStatus

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.diagnosis.overview import Overview


EVERY: Final = 1.0  # seconds between two looks, unless told otherwise
_ROOM: Final = 22  # lines of the screen for all but workflows, work and errors


async def monitor(
    instance_id: Annotated[
        str | None, Argument(metavar="[ID]", check=check_id, help="An instance; without one, all of them.")
    ] = None,
    duration: Annotated[
        float | None, Option("--duration", metavar="SECONDS", min=0, help="Stop after so long.")
    ] = None,
    interval: Annotated[
        float, Option("--interval", metavar="SECONDS", min=0.05, max=3600, help="Between two looks.")
    ] = 1.0,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object a line.")] = False,
    log: LogUrl = None,
) -> int:
    """Watch an instance until it ends; or all that goes on. Runs nothing itself.

    On a terminal it redraws; elsewhere it prints lines. Exit status 0, however it goes.

    \b
    stepwell monitor order-1
    stepwell monitor --duration 600 --interval 5
    """
    async with client_of(log) as client:
        if instance_id is not None:
            await shown_instance(client, instance_id, None)  # there is one, or one is told so
        else:
            await caught_up(client)
        ends = asyncio.timeout(duration)
        try:
            async with ends:
                if instance_id is None:
                    await _watch_all(client, interval, as_json=as_json)
                elif as_json:
                    await _tell_events(client, instance_id)
                else:
                    await _watch_one(client, instance_id, interval)
        except TimeoutError:
            if not ends.expired():
                raise
            if instance_id is not None and not as_json and not sys.stdout.isatty():
                shown = await shown_instance(client, instance_id, None)
                print(f"{SIGNS.get(shown.status, ('▶', ''))[0]} {headline(shown, now_ms())}")
    return 0


async def _tell_events(client: Client, instance_id: str) -> None:
    """Its events, one JSON object a line, until it has ended."""
    await client.wait(instance_id, lambda _: True)  # its start may not have been decided yet
    async for record in followed(client, instance_id):
        print(json_line(record), flush=True)


async def _watch_one(client: Client, instance_id: str, interval: float) -> None:
    watch = await client.subscriber.watch(instance_id)
    try:
        if watch.state is None:
            print(f"{instance_id}: its start is in the log and has not been decided yet", file=sys.stderr)
        view = await client.wait(instance_id, lambda _: True)
        await client.registry.catch_up()
        plan = client.registry.resolve(view.workflow, view.version)
        redrawn = sys.stdout.isatty() and not view.finished
        if not redrawn:
            print_instance(view, plan)
            sys.stdout.flush()
        if view.finished:
            return
        if plan is None:
            raise UnknownInstanceError(f"the definition of {instance_id!r} is not in the log")
        async with progress(watch, plan, quiet=False, stream=sys.stdout, interval=interval):
            view = await client.wait(instance_id, lambda state: not state.live)
        if not redrawn:
            print(f"{SIGNS[view.status][0]} {headline(view, now_ms())}")
    finally:
        client.subscriber.unwatch(watch)


async def _watch_all(client: Client, interval: float, *, as_json: bool) -> None:
    if as_json:
        async for overview in _looks(client, interval):
            print(msgspec.json.encode(overview).decode(), flush=True)
    elif not sys.stdout.isatty():
        lines = _Lines()
        async for overview in _looks(client, interval):
            lines.take(overview)
    else:
        from rich.console import Console  # noqa: PLC0415 - start-up time
        from rich.live import Live  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        console = Console()
        room = max(3, (console.height - _ROOM) // 3)
        first = await overview_of(client, most=room)
        with Live(Text(visible("\n".join(screen(first, room)))), console=console, auto_refresh=False) as live:
            async for overview in _looks(client, interval, most=room):
                live.update(
                    Text(visible("\n".join(screen(overview, room))), no_wrap=True, overflow="ellipsis"), refresh=True
                )


async def _looks(client: Client, interval: float, most: int = 10) -> Any:
    """An overview now, and then one each interval."""
    following = time.monotonic()
    while True:
        yield await overview_of(client, most=most)
        following = max(following + interval, time.monotonic())
        await asyncio.sleep(following - time.monotonic())


class _Lines:
    """An overview as lines: the figures whenever they change, and errors as they happen."""

    def __init__(self) -> None:
        self._figures = ""
        self._newest: tuple[object, ...] | None = None

    def take(self, overview: Overview) -> None:
        figures = _figures(overview)
        if figures != self._figures:
            self._figures = figures
            print(f"{local_time(overview.at)}  {figures}", flush=True)
        fresh = []
        for one in overview.errors:
            if self._newest == (one.at, one.instance_id, one.step_id, one.run, one.kind):
                break
            fresh.append(one)
        if overview.errors:
            one = overview.errors[0]
            first, self._newest = self._newest is None, (one.at, one.instance_id, one.step_id, one.run, one.kind)
            for error in reversed(fresh[:1] if first else fresh):
                words = f"{error.instance_id}  {error.step_id}  {error.kind}: {short(error.message, 160)}"
                print(f"{local_time(error.at)}  ✘ {visible(words)}", flush=True)


def _figures(overview: Overview) -> str:
    parts = [f"{name} {number:,}" for name, number in (*_statuses(overview), *_steps(overview))]
    lag = overview.lag.records if overview.lag is not None else 0
    return "  ".join([*parts, f"lag {lag:,}", overview.health.level, f"alerts {len(overview.alerts)}"])


def _statuses(overview: Overview) -> list[tuple[str, int]]:
    return [*([(PENDING, overview.pending)] if overview.pending else []), *overview.statuses.items()]


def _steps(overview: Overview) -> list[tuple[str, int]]:
    return [(f"steps {name}", number) for name, number in overview.steps.items()]


def screen(overview: Overview, room: int) -> list[str]:
    """An overview for a screen.

    Args:
        room: Lines for each of workflows, work and errors.
    """
    statuses = "  ".join(f"{SIGNS[name][0]} {name} {number:,}" for name, number in _statuses(overview))
    steps = "  ".join(f"{name} {number:,}" for name, number in overview.steps.items())
    lag = overview.lag
    behind = f"{lag.records:,} records behind" if lag is not None and lag.records else "up to date"
    level = overview.health.level
    lines = [
        f"{local_time(overview.at)}  {LEVEL_SIGNS[level]} {level}  read models {behind}",
        f"instances   {statuses}",
        f"steps       {steps}",
    ]
    lines += [f"{part.name.replace('_', ' '):<11} {visible(part.words)}" for part in overview.health.parts]
    busy = sorted(overview.workflows, key=lambda one: (-one.running - one.paused, -one.total))
    scores = {(one.workflow, one.version): one.score for one in overview.health.workflows}
    rows = [
        (
            f"{one.workflow} {one.version}", f"{one.running:,}", f"{one.paused:,}", f"{one.completed:,}",
            f"{one.failed:,}", f"{one.cancelled:,}", scores.get((one.workflow, one.version), "-"),
        )
        for one in busy[:room]
    ]  # fmt: skip
    titles = ("workflow", *WorkflowStatus, "score")
    lines += ["", *table(titles, rows, right=range(1, 7))]
    if len(busy) > room:
        lines.append(f"… {count(len(busy) - room, 'more version')}")
    lines += ["", "under way, the longest first:" if overview.work else "nothing is under way"]
    working = [
        (SIGNS[one.status][0], one.instance_id, one.step_id, seconds(age(one.started_at or one.ready_at)), one.worker)
        for one in overview.work[:room]
    ]
    lines += table([""] * 5, working)
    lines += ["", "last errors:" if overview.errors else "no errors"]
    lines += table(
        [""] * 4,
        [
            (local_time(one.at), one.instance_id, one.step_id, f"{one.kind}: {short(one.message, 100)}")
            for one in overview.errors[:room]
        ],
    )
    return [*lines, "", *alert_lines(overview.alerts)[:8]]
