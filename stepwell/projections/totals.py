"""What was counted, as monitoring systems want it: numbers by version, and histograms of durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from stepwell.projections.counting import OF_WORKERS, bucket_of
from stepwell.projections.queries import Queries
from stepwell.schemas.records.statuses import FINISHED, WorkflowStatus

BOUNDS: Final = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
)  # fmt: skip
"""Upper bounds of a histogram of durations, in seconds."""

_slots = msgspec.json.Decoder(dict[int, int]).decode


class Totals(Struct, frozen=True, kw_only=True):
    """What was counted of one version of a definition.

    Attributes:
        statuses: How many instances are so, by status; those that were cleaned away count, too.
        started: How many were ever started.
        attempts: At steps, by how they ended: ``succeeded``, ``failed``, ``retried``, ``skipped``, ``cancelled``,
            ``compensated``.
        durations: How many of the completed instances took no longer than each of ``BOUNDS``, and last all of them.
        seconds: What they took together.
    """

    workflow: str
    version: str
    statuses: dict[str, int]
    started: int
    attempts: dict[str, int]
    durations: list[int]
    seconds: float


async def totals(queries: Queries) -> list[Totals]:
    """What was counted of every version: as much work as there are versions and steps, however many instances."""
    found: dict[tuple[str, str], dict[str, dict[int, int]]] = {}
    counted = await queries.all(
        "SELECT workflow, version, measure, json_group_object(slot, count) FROM counts "
        "WHERE step_id = '' AND workflow <> ? GROUP BY workflow, version, measure",
        (OF_WORKERS,),
    )
    for workflow, version, measure, slots in counted:
        found.setdefault((workflow, version), {})[measure] = _slots(slots)
    attempts: dict[tuple[str, str], dict[str, int]] = {}
    of_steps = await queries.all(
        "SELECT workflow, version, measure, sum(count) FROM counts WHERE step_id <> '' AND measure IN "
        "('succeeded', 'failed', 'retried', 'skipped', 'cancelled', 'compensated') "
        "GROUP BY workflow, version, measure"
    )
    for workflow, version, measure, count in of_steps:
        attempts.setdefault((workflow, version), {})[measure] = count
    return [_totals(*key, measures, attempts.get(key, {})) for key, measures in sorted(found.items())]


async def work_by_queue(queries: Queries) -> list[tuple[str, str, int]]:
    """How many attempts are under way: queue, status, number. As much work as there are such attempts."""
    rows = await queries.all(
        "SELECT queue, status, count(*) FROM attempts WHERE finished_at = 0 GROUP BY queue, status ORDER BY 1, 2"
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _totals(
    workflow: str, version: str, measures: Mapping[str, Mapping[int, int]], attempts: dict[str, int]
) -> Totals:
    def count(measure: str) -> int:
        return measures.get(measure, {}).get(0, 0)

    gone = {status.value: count(f"archived:{status}") for status in FINISHED}
    statuses = {status.value: count(f"status:{status}") + gone.get(status, 0) for status in WorkflowStatus}
    return Totals(
        workflow=workflow,
        version=version,
        statuses=statuses,
        started=count("total") + sum(gone.values()),
        attempts=attempts,
        durations=cumulated(measures.get("duration", {}), BOUNDS),
        seconds=count("milliseconds") / 1000,
    )


def cumulated(buckets: Mapping[int, int], bounds: Sequence[float]) -> list[int]:
    """How many durations lie at each bound, in seconds, or below, and last how many there are at all."""
    limits = [bucket_of(round(bound * 1000)) for bound in bounds]
    return [*(sum(n for bucket, n in buckets.items() if bucket <= limit) for limit in limits), sum(buckets.values())]
