"""W8 look-ups: pages, totals and statistics over a million instances."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import must
from stepwell.projections.filters import InstanceFilter
from stepwell.projections.folding import Changes, Tracked, project
from stepwell.projections.queries import Queries
from stepwell.projections.store import Position, Store
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import (
    EVENTS_VERSION,
    ErrorInfo,
    Event,
    StepFailed,
    StepReady,
    StepSucceeded,
    Transition,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
)

_BEGAN = 1_790_000_000_000  # milliseconds since 1970
_BATCH = 5_000
_ERRORS = ("ConnectionError: refused by the warehouse", "ValueError: no such article", "TimeoutError: too late")


def transitions(number: int, random_: random.Random) -> Iterator[Transition]:
    """What happened to one instance: one step; most complete, some fail, some are cancelled, some still run."""
    name, at = f"order-{number:07}", _BEGAN + number * 50
    sequence = 1

    def told(*events: Event) -> Transition:
        nonlocal sequence, at
        transition = Transition(EVENTS_VERSION, at, name, sequence, events)
        sequence += len(events)
        at += random_.randrange(5, 5_000)
        return transition

    payload = {
        "customer": random_.randrange(100_000),
        "country": random_.choice(("de", "fr", "it", "ch")),
        "total": round(random_.random() * 900, 2),
    }
    ready = StepReady(step_id="charge", run=1, handler="shop.charge", input=payload)
    priority = min(100, int(random_.expovariate(0.12)))
    kind = f"order-{random_.randrange(10)}"
    started = WorkflowStarted(workflow=kind, version="1", definition="d" * 64, input=payload, priority=priority)
    yield told(started, ready)
    lot = random_.random()
    if lot < 0.02:
        return
    if lot < 0.05:
        yield told(WorkflowCancelled("ordered twice"))
    elif lot < 0.10:
        text = random_.choice(_ERRORS) if number % 1000 else f"LookupError: article {number} is gone"
        error = ErrorInfo(*text.split(": "))
        yield told(StepFailed("charge", 1, error), WorkflowFailed(error, "charge"))
    else:
        output = {"receipt": f"r{number}", "ok": True}
        yield told(StepSucceeded("charge", 1, output), WorkflowCompleted(output))


async def fill(store: Store, instances: int) -> int:
    """Fill the read models as the projector does; return how many events."""
    random_, place, events, position = random.Random(1), 0, 0, Position()
    for first in range(0, instances, _BATCH):
        changes = Changes()
        for number in range(first, min(first + _BATCH, instances)):
            tracked = Tracked(store.new_number())
            for transition in transitions(number, random_):
                project(changes, tracked, transition, place, encode(transition))
                place += 1
                events += len(transition.events)
        after = Position(place, 0, place)
        async with store.transaction():
            await store.write(changes, 0, position, after)
        position = after
    return events


QUESTIONS: dict[str, dict[str, Any]] = {
    "newest": {},
    "oldest": {"order": "created"},
    "failed": {"status": ("failed",)},
    "live": {"status": ("running", "paused")},
    "of a workflow": {"workflow": "order-3"},
    "failed, of a workflow": {"workflow": "order-3", "status": ("failed",)},
    "of an hour": {"created_after": _BEGAN + 20_000_000, "created_before": _BEGAN + 23_600_000},
    "finished in an hour": {"finished_after": _BEGAN + 20_000_000, "finished_before": _BEGAN + 23_600_000},
    "finished last": {"order": "-finished"},
    "urgent": {"priority_min": 60},
    "rather urgent": {"priority_min": 10},
    "by priority": {"order": "-priority"},
    "urgent and failed": {"priority_min": 20, "status": ("failed",)},
    "of a customer": {"input": {"customer": 4711}},
    "of a country": {"input": {"country": "it"}},
    "of a country, failed": {"input": {"country": "it"}, "status": ("failed",)},
    "by its output": {"output": {"receipt": "r4711"}},
    "a rare error": {"error": "article 12000 is gone"},
    "a common error": {"error": "warehouse"},
    "no such error": {"error": "no such words"},
    "everything at once": {
        "workflow": "order-3", "status": ("failed",), "priority_min": 5, "created_after": _BEGAN + 10_000_000,
        "error": "too late", "input": {"country": "fr"},
    },
}  # fmt: skip


async def w8(folder: str, instances: int = 1_000_000, rounds: int = 20) -> dict[str, Any]:
    """Look-ups: p95 of pages, with the second page of each, and of statistics."""
    store = await Store.open(Path(folder) / "views" / "1.db")
    began = time.perf_counter()
    if not await store.positions():
        await fill(store, instances)
    filled = time.perf_counter() - began
    queries = await Queries.open(store.path)
    slowest: dict[str, float] = {}
    for name, question in QUESTIONS.items():
        asked = dict(question)
        order = asked.pop("order", "-created")
        times = []
        cursor = None
        for _ in range(rounds):
            began = time.perf_counter()
            page = await queries.instances(InstanceFilter(**asked), order=order, cursor=cursor, limit=50)
            times.append((time.perf_counter() - began) * 1000)
            cursor = page.next or None
        slowest[name] = sorted(times)[int(len(times) * 0.95) - 1]
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        statistics = await queries.statistics()
        times.append((time.perf_counter() - began) * 1000)
    must(sum(one.total for one in statistics) == instances, "instances are missing in the statistics")
    await queries.close()
    await store.close()
    worst = max(slowest, key=lambda name: slowest[name])
    return {
        "instances": instances, "filled_s": round(filled, 1), "page_p95_ms_worst": round(slowest[worst], 1),
        "worst": worst, "statistics_p95_ms": round(sorted(times)[int(rounds * 0.95) - 1], 2),
        "pages_p95_ms": {name: round(took, 1) for name, took in slowest.items()},
    }  # fmt: skip
