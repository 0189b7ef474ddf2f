"""Statistics without a scan: every row counts somewhere, and a row that changes moves its counts.

``counts_of`` says where an instance counts, ``step_counts_of`` where an attempt does. What a change adds is the
counts of the row after less those of the row before, so the sums are always those of all rows, in whatever order they
came.

Durations are counted in buckets two per cent wide: percentiles of any number of runs from some hundred numbers, none
off by more than one per cent. (The idea of HdrHistogram and DDSketch: relative error, unbounded range.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from stepwell.projections.rows import AttemptRow, InstanceRow
from stepwell.schemas.records.statuses import RAN, WENT_WRONG, WorkflowStatus

HOUR: Final = 3_600_000  # milliseconds
HOURLY: Final = "hour:"  # measures whose slot is an hour
OF_WORKERS: Final = ""  # stands for the workflow, which has a name, in counts of a worker; the version is its name
_WIDTH: Final = 1.02
_LOG: Final = math.log(_WIDTH)


class Count(NamedTuple):
    """Something that is counted.

    Attributes:
        step_id: Empty for what is counted of instances.
        measure: What is counted, such as ``status:failed``.
        slot: Its bucket or hour; 0 where it has none.
    """

    workflow: str
    version: str
    step_id: str
    measure: str
    slot: int = 0


Counts = dict[Count, int]


def counts_of(row: InstanceRow) -> Counts:
    """Where an instance counts, and how much."""
    workflow, version, status = row.workflow, row.version, row.status
    started_at = row.started_at or 0
    counts = {
        Count(workflow, version, "", "total"): 1,
        Count(workflow, version, "", f"status:{status}"): 1,
        Count(workflow, version, "", f"{HOURLY}started", started_at // HOUR): 1,
    }
    if row.incident:
        counts[Count(workflow, version, "", "incidents")] = 1
    if row.finished_at:
        counts[Count(workflow, version, "", f"{HOURLY}{status}", row.finished_at // HOUR)] = 1
        if status == WorkflowStatus.COMPLETED:
            took = max(0, row.finished_at - started_at)
            counts[Count(workflow, version, "", "duration", bucket_of(took))] = 1
            counts[Count(workflow, version, "", "milliseconds")] = took
            counts[Count(workflow, version, "", f"{HOURLY}milliseconds", row.finished_at // HOUR)] = took
    return counts


def step_counts_of(instance: InstanceRow, row: AttemptRow) -> Counts:
    """Where an attempt counts, and how much: only once it has ended."""
    if not row.finished_at:
        return {}
    workflow, version, step_id = instance.workflow, instance.version, row.step_id
    counts = {Count(workflow, version, step_id, row.status): 1}
    if row.status in RAN:
        took = row.duration
        counts[Count(workflow, version, step_id, "duration", bucket_of(took))] = 1
        counts[Count(workflow, version, step_id, "milliseconds")] = took
        if row.cpu:
            counts[Count(workflow, version, step_id, "cpu")] = row.cpu
        counts[Count(workflow, version, "", f"{HOURLY}attempts", row.finished_at // HOUR)] = 1
        if row.worker:
            counts[Count(OF_WORKERS, row.worker, "", "runs")] = 1
            counts[Count(OF_WORKERS, row.worker, "", "busy")] = row.took
            if row.status in WENT_WRONG:
                counts[Count(OF_WORKERS, row.worker, "", "failures")] = 1
    if row.status in WENT_WRONG:
        counts[Count(workflow, version, "", f"{HOURLY}errors", row.finished_at // HOUR)] = 1
    return counts


def move(counts: Counts, before: Counts, after: Counts) -> None:
    """Add what a change of rows means to ``counts``."""
    for count, amount in before.items():
        counts[count] = counts.get(count, 0) - amount
    for count, amount in after.items():
        counts[count] = counts.get(count, 0) + amount


def bucket_of(milliseconds: int) -> int:
    """The bucket of a duration: 0 for none at all, then one for each two per cent."""
    return 0 if milliseconds <= 0 else 1 + int(math.log(milliseconds) / _LOG)


def of_bucket(bucket: int) -> float:
    """The duration that stands for a bucket, in milliseconds."""
    return 0.0 if bucket <= 0 else _WIDTH ** (bucket - 0.5)


def percentiles(buckets: Iterable[tuple[int, int]], wanted: Sequence[float]) -> list[float | None]:
    """Percentiles of counted durations, in milliseconds; None of nothing.

    Args:
        buckets: Each bucket and how many it holds.
        wanted: Shares, such as 0.95, in ascending order.
    """
    filled = sorted((bucket, count) for bucket, count in buckets if count > 0)
    total = sum(count for _, count in filled)
    found: list[float | None] = []
    at, seen = 0, 0
    for share in wanted:
        rank = max(1, math.ceil(share * total))
        while at < len(filled) and seen + filled[at][1] < rank:
            seen += filled[at][1]
            at += 1
        found.append(of_bucket(filled[at][0]) if at < len(filled) else None)
    return found
