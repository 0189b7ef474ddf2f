"""``stepwell stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from stepwell.cli.completion import names_and_versions
from stepwell.cli.drawing import seconds, short
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.views import caught_up, registered, table
from stepwell.schemas.records.statuses import WorkflowStatus

if TYPE_CHECKING:
    from stepwell.projections.statistics import Durations, StepStatistics, WorkflowStatistics


async def stats(
    workflow: Annotated[
        str | None,
        Argument(
            metavar="[WORKFLOW[@VERSION]]", complete=names_and_versions, help="Only of this workflow, or version."
        ),
    ] = None,
    steps: Annotated[bool, Option("--steps", help="Those of the steps, too.")] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Print statistics: totals, success rate, durations; of steps their attempts, failure rate, durations, CPU.

    \b
    stepwell stats
    stepwell stats order --steps
    """
    async with client_of(log) as client:
        workflow, version = (None, None) if workflow is None else await registered(client, workflow)
        await caught_up(client)
        found = await client.views.statistics(workflow, version, steps=steps, fresh=False)
    if as_json:
        print_json({"workflows": found})
        return 0
    if not found:
        print("nothing has run yet" + (f": {short(workflow)}" if workflow else ""))
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
