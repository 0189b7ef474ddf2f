"""How long it took from a fault until what it hit went on.

- A partition whose owner was killed or frozen, or whose broker was killed, goes on with the first transition that counts
  and that was *made* after the fault: what was on its way already proves nothing. Seen by a reader beside the system, so
  the time on the wire, and that in which a broker was down, is part of it.
- The same from the moment when that broker is ready again (``broker back``): what is left of it is ours.
- A run in the hands of a worker that was killed or frozen goes on when its outcome is seen (the handler runs once more
  for that), or when its instance has ended or was rolled back and nobody waits for it any more.

A fault that hit nothing has nothing to recover. ``slowest`` says what else went wrong meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from stepwell.schemas.records.events import RollbackStarted, WorkflowRolledBack
from tests.chaos.follower import ENDS, Seen
from tests.chaos.injector import Hit

_OUTCOMES = {"StepSucceeded", "StepFailed", "StepRetryScheduled", "StepCompensated"}


def recoveries(hits: Iterable[Hit], seen: Sequence[Seen]) -> tuple[dict[str, list[float]], int]:
    """Seconds by kind of fault, and how many hits were not followed by any progress."""
    by_partition: dict[int, list[Seen]] = defaultdict(list)
    by_instance: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        by_partition[one.partition].append(one)
        by_instance[one.transition.instance_id].append(one)
    found: dict[str, list[float]] = defaultdict(list)
    without = 0
    for hit in hits:
        firsts = [_first(hit, by_partition[partition]) for partition in hit.partitions]
        firsts += [_first(hit, by_instance[run[0]], run) for run in hit.runs]
        found[hit.kind] += [first.at - hit.at for first in firsts if first]
        without += firsts.count(None)
    return found, without


def slowest(hits: Sequence[Hit], seen: Sequence[Seen], count: int = 5) -> list[dict[str, Any]]:
    """The longest recoveries, each with the faults that came on top of it before it was over."""
    found: list[dict[str, Any]] = []
    for hit in hits:
        ends = [_first(hit, [one for one in seen if one.partition == partition]) for partition in hit.partitions]
        ends += [_first(hit, [one for one in seen if one.transition.instance_id == run[0]], run) for run in hit.runs]
        for end in filter(None, ends):
            # Faults that had begun before count where they were not over: a broker that was away, above all.
            more = [
                f"{one.kind} at {one.at - hit.at:+.1f}"
                for one in hits
                if one is not hit and -6 < one.at - hit.at < end.at - hit.at
            ]
            found.append({"kind": hit.kind, "seconds": round(end.at - hit.at, 2), "with": more})
    return sorted(found, key=lambda one: -one["seconds"])[:count]


def _first(hit: Hit, seen: Iterable[Seen], run: tuple[str, str, int] | None = None) -> Seen | None:
    """The first progress after a fault."""
    for one in seen:
        if one.created > hit.at and (run is None or any(_settles(event, run) for event in one.transition.events)):
            return one
    return None


def _settles(event: Any, run: tuple[str, str, int]) -> bool:
    if type(event) in ENDS or isinstance(event, (RollbackStarted, WorkflowRolledBack)):
        return True
    return type(event).__name__ in _OUTCOMES and (event.step_id, event.run) == run[1:]


def begun_late(notes: Iterable[Any], seen: Iterable[Seen]) -> int:
    """How many runs of handlers began after the outcome of that very run was to be read: wasted beyond doubt."""
    known: dict[tuple[str, int], float] = {}
    for one in seen:
        for event in one.transition.events:
            if type(event).__name__ in _OUTCOMES:
                known.setdefault((one.transition.instance_id, event.run), one.at)
    begins = (note for note in notes if note["what"] == "begin")
    return sum(note["at"] > known.get((note["of"][0], note["of"][2]), note["at"]) for note in begins)


def figures(seconds: Iterable[float]) -> dict[str, float]:
    """How many, the median and the 99th percentile."""
    ordered = sorted(seconds)
    if not ordered:
        return {"n": 0}

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99)}
