"""The verbs that tell how all is going: stats, health, alerts, and the state of the read models."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from stepwell.cli.drawing import count, seconds, short
from stepwell.cli.output import print, print_raw
from stepwell.cli.session import client_of
from stepwell.cli.verbs.listing import registered
from stepwell.cli.verbs.show import print_json
from stepwell.cli.views import asking, caught_up, table
from stepwell.schemas.records.statuses import WorkflowStatus

if TYPE_CHECKING:
    from pathlib import Path

    from stepwell.diagnosis.overview import Report
    from stepwell.projections.alerts import Alert
    from stepwell.projections.statistics import Durations, StepStatistics, WorkflowStatistics

CRITICAL = 1  # exit status of `health` and `alerts` where something is critical
LEVEL_SIGNS = {"healthy": "✔", "warning": "!", "critical": "✘"}


# --- statistics ---------------------------------------------------------------------------------------------


async def stats(name: str | None, *, steps: bool, as_json: bool, log: str | None) -> int:
    """Print statistics of workflows, and of their steps."""
    async with client_of(log) as client:
        workflow, version = (None, None) if name is None else await registered(client, name)
        await caught_up(client)
        found = await client.views.statistics(workflow, version, steps=steps, fresh=False)
    if as_json:
        print_json({"workflows": found})
        return 0
    if not found:
        print("nothing has run yet" + (f": {short(name)}" if name else ""))
        return 0
    print("\n".join(_workflow_table(found)))
    if steps:
        for one in found:
            print(f"\n{short(one.workflow)} {short(one.version)}, by step:")
            print("\n".join(_step_table(one.steps)))
    return 0


def _workflow_table(found: list[WorkflowStatistics]) -> list[str]:
    titles = (
        "workflow", "total", *WorkflowStatus, "success",
        "average", "p50", "p95", "p99",
    )  # fmt: skip
    rows = [
        (
            f"{one.workflow} {one.version}", *_numbers(one.total, one.running, one.paused, one.completed, one.failed,
            one.cancelled), "-" if one.success_rate is None else f"{one.success_rate:g} %", *_durations(one.duration),
        )
        for one in found
    ]  # fmt: skip
    return table(titles, rows, right=range(1, len(titles)))


def _step_table(found: list[StepStatistics]) -> list[str]:
    titles = (
        "step", "attempts", "succeeded", "failed", "retried", "skipped", "failure rate", "average", "p50", "p95",
        "p99", "cpu in all",
    )  # fmt: skip
    rows = [
        (
            one.step_id, *_numbers(one.attempts, one.succeeded, one.failed, one.retried, one.skipped),
            "-" if one.failure_rate is None else f"{one.failure_rate:.1%}", *_durations(one.duration),
            seconds(one.cpu_seconds) if one.cpu_seconds else "-",
        )
        for one in found
    ]  # fmt: skip
    return table(titles, rows, right=range(1, len(titles)), indent=2) if rows else ["  no step has run yet"]


def _numbers(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]


def _durations(took: Durations) -> list[str]:
    values = (took.average, took.p50, took.p95, took.p99)
    return ["-" if value is None else seconds(value) for value in values]


# --- health -------------------------------------------------------------------------------------------------


async def health(*, as_json: bool, log: str | None) -> int:
    """Print how all is going; return whether anything is critical."""
    from stepwell.diagnosis.overview import health_of  # noqa: PLC0415 - start-up time

    async with asking(log) as client:
        report = await health_of(client)
    if as_json:
        print_json(report)
    else:
        print("\n".join(health_lines(report)))
    return CRITICAL if report.level == "critical" else 0


def health_lines(report: Report, most: int = 1_000) -> list[str]:
    """A report as a table.

    Args:
        most: Workflows that are shown, those with the lowest scores.
    """
    rows: list[tuple[str, ...]] = [
        (LEVEL_SIGNS[part.level], part.name.replace("_", " "), part.level, part.words) for part in report.parts
    ]
    rows += [
        (LEVEL_SIGNS[one.level], f"{one.workflow} {one.version}", f"{one.score} {one.level}", one.words)
        for one in report.workflows[:most]
    ]
    lines = table(("", "", "", ""), rows)
    if len(report.workflows) > most:
        lines.append(f"… and {count(len(report.workflows) - most, 'more workflow')}, none with a lower score")
    lines += [f"  {part.name.replace('_', ' ')}: {part.remedy}" for part in report.parts if part.remedy]
    return lines


async def alerts(*, as_json: bool, log: str | None) -> int:
    """Print what somebody should look at; return whether any of it is critical."""
    from stepwell.diagnosis.overview import alerts_of  # noqa: PLC0415 - start-up time

    async with asking(log) as client:
        found = await alerts_of(client)
    if as_json:
        print_json({"alerts": found})
    else:
        print("\n".join(alert_lines(found)) if found else "no alerts")
    return CRITICAL if any(alert.level == "critical" for alert in found) else 0


def alert_lines(found: list[Alert]) -> list[str]:
    """Alerts, each with what to do."""
    lines = []
    for alert in found:
        where = f"{alert.workflow} {alert.version}: " if alert.workflow else ""
        lines += [
            f"{LEVEL_SIGNS[alert.level]} {alert.level:<8}  {alert.code:<20}  {short(where + alert.message, 200)}",
            f"  {alert.remedy}",
        ]
    return lines


# --- the read models themselves -----------------------------------------------------------------------------


async def models_status(*, as_json: bool, log: str | None) -> int:
    """Print where the read models are, and how far behind."""
    async with client_of(log) as client:
        models = client.views.models
        lag, directory = await models.lag(), models.directory
    files = [
        {"file": str(path), "bytes": path.stat().st_size}
        for path in sorted(directory.glob("*.db*"))
        if path.name.partition(".")[0].isdecimal() and path.exists()
    ]
    if as_json:
        print_json({
            "directory": str(directory), "generation": lag.generation, "records_behind": lag.records,
            "seconds_behind": lag.seconds, "problem": lag.problem, "files": files,
            "partitions": [
                {"partition": partition, "next": offset, "end": end}
                for partition, (offset, end) in sorted(lag.partitions.items())
            ],
        })  # fmt: skip
        return 0
    size = sum(int(str(file["bytes"])) for file in files)
    whole = sum(end for _, end in lag.partitions.values())
    print(f"directory   {directory}")
    print(f"generation  {lag.generation}, {_main_file(directory, lag.generation)}, {size / 1_000_000:.1f} MB")
    if lag.records:
        print(f"lag         {lag.records:,} of {count(whole, 'record')}, {seconds(lag.seconds)}")
    else:
        print(f"lag         none: {count(whole, 'record')} followed")
    for partition, (offset, end) in sorted(lag.partitions.items()):
        print(f"            partition {partition}: {offset:,} of {end:,}")
    if lag.problem:
        print(f"problem     {' '.join(lag.problem.split())}")
    return 0


def _main_file(directory: Path, generation: int) -> str:
    return str(directory / f"{generation}.db")


async def models_rebuild(*, as_json: bool, log: str | None) -> int:
    """Make the read models anew, while the old ones serve."""
    began = time.monotonic()
    terminal = sys.stderr.isatty()
    last = began

    def told(followed: int, wanted: int) -> None:
        nonlocal last
        if as_json or time.monotonic() - last < (0.2 if terminal else 2.0):
            return
        last = time.monotonic()
        words = f"{followed / max(1, wanted):.0%} of {count(wanted, 'record')}"
        if terminal:
            print_raw(f"\r{words}\x1b[K", end="", file=sys.stderr)
        else:
            print(words, file=sys.stderr, flush=True)

    async with client_of(log) as client:
        generation = await client.views.models.rebuild(told)
        if terminal and not as_json:
            print_raw("\r\x1b[K", end="", file=sys.stderr)
        await caught_up(client)
        lag = await client.views.models.lag()
    took = time.monotonic() - began
    records = sum(end for _, end in lag.partitions.values())
    if as_json:
        print_json({"generation": generation, "records": records, "seconds": round(took, 3)})
    else:
        print(f"generation {generation} is in place: {count(records, 'record')} in {seconds(took)}")
    return 0
