"""FLOOD: far more starts are submitted than an engine can decide at once.

What it does to those who have begun (how long an outcome, and a cancellation of the last one submitted, take) and to
memory. A short look alone: ``python -m benchmarks.flood LOG_URL SUBMISSIONS SECONDS``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import stepwell
from benchmarks.common import NOOP, chain, must, noop, rss_mb
from benchmarks.volume import refold
from stepwell.consumers.worker.handlers import Handlers
from stepwell.log.partitioner import partition_for
from stepwell.log.port import STARTS, NewRecord
from stepwell.log.urls import open_log
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import StartWorkflow

_BATCH = 2_000


async def flood(url: str, submissions: int, seconds: float | None = None) -> dict[str, Any]:
    """Submit so many; look for so many seconds, or until all are done."""
    gate = asyncio.Event()
    handlers = Handlers()
    handlers.register(NOOP, noop)

    async def wait() -> None:
        await gate.wait()

    handlers.register("held", wait)
    async with stepwell.connect(url, handlers=handlers, concurrency=200) as client:
        await client.register(chain("two", 2))
        await client.register({"name": "held", "steps": [{"id": "a", "handler": "held"}]})
        held = await client.start("held")
        await (await client.start("two", {"n": 0})).result(timeout=10)
        before = rss_mb()
        began = time.perf_counter()
        await _submit(client, submissions)
        submitted = time.perf_counter() - began

        asked = time.perf_counter()
        gate.set()
        outcome = await held.result(timeout=30)
        answered = time.perf_counter() - asked
        must(outcome.status == "completed", outcome.status)
        last = f"flood-{submissions - 1}"
        asked = time.perf_counter()
        await client.cancel(last)
        cancelled = time.perf_counter() - asked
        must((await client.get(last)).status == "cancelled", "the last one is not cancelled")

        grown = 0.0
        while (seconds is None or time.perf_counter() - began < seconds) and not await _is_done(client, submissions):
            grown = max(grown, rss_mb() - before)
            await asyncio.sleep(0.2)
        took = time.perf_counter() - began
    figures = {
        "submissions": submissions, "submit_s": round(submitted, 2), "outcome_s": round(answered, 3),
        "cancel_s": round(cancelled, 3), "seconds": round(took, 1), "memory_mb_before": round(before),
        "memory_mb_grown": round(grown),
    }  # fmt: skip
    if seconds is None:
        log = await open_log(url)
        events, live = await refold(log)
        await log.close()
        must(live == 0, f"{live} instances left")
        figures |= {"events": events, "workflows_per_s": round(submissions / took)}
    return figures


async def _submit(client: stepwell.Client, submissions: int) -> None:
    """As any number of clients would that do not wait for answers."""
    for first in range(0, submissions, _BATCH):
        batches: dict[int, list[NewRecord]] = {}
        for name in (f"flood-{number}" for number in range(first, min(first + _BATCH, submissions))):
            command = StartWorkflow(name, workflow="two", input={"n": 0}, command_id=f"start {name}")
            partition = partition_for(name, client.log.partitions)
            batches.setdefault(partition, []).append(NewRecord(name, encode(command)))
        await asyncio.gather(*(client.log.append(STARTS, partition, batch) for partition, batch in batches.items()))


async def _is_done(client: stepwell.Client, submissions: int) -> bool:
    for name in (f"flood-{submissions - number}" for number in range(1, 9)):
        try:
            if (await client.get(name)).status == "running":
                return False
        except stepwell.StepwellError:  # not started
            return False
    return True


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
