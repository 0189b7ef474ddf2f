"""PRIORITY: a start of high priority behind thousands of low ones. What counts is how many of them go first."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import stepwell
from benchmarks.common import NOOP, chain, must, noop
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.worker.handlers import Handlers
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS, STARTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import StartWorkflow
from stepwell.schemas.records.events import WorkflowStarted


async def priority(url: str, low: int = 9_000) -> dict[str, Any]:
    """Submit so many starts of priority 0, then one of priority 100, and wait for its end."""
    handlers = Handlers()
    handlers.register(NOOP, noop)
    async with stepwell.connect(url, handlers=handlers, concurrency=50) as client:
        await client.register(chain("two", 2))
        batches: dict[int, list[NewRecord]] = {}
        for number in range(low):
            name = f"low-{number}"
            command = StartWorkflow(name, workflow="two", input={"n": 0}, command_id=f"start {name}")
            partition = partition_for(name, client.log.partitions)
            batches.setdefault(partition, []).append(NewRecord(name, encode(command)))
        await asyncio.gather(*(client.log.append(STARTS, partition, batch) for partition, batch in batches.items()))
        began = time.perf_counter()
        outcome = await (await client.start("two", {"n": 0}, id="high", priority=100)).result(timeout=120)
        took = time.perf_counter() - began
        must(outcome.status == "completed", outcome.status)
        started: list[tuple[int, str]] = []
        for partition in range(client.log.partitions):
            reader = EventReader(client.log, partition)
            end = await client.log.end(EVENTS, partition)
            while reader.position < end:
                for record in await reader.read(end=end):
                    transition = reader.decode(record)
                    if any(isinstance(event, WorkflowStarted) for event in transition.events):
                        started.append((transition.at, transition.instance_id))
        at = next(at for at, name in started if name == "high")
        before = sum(one < at for one, _ in started)
    return {"low": low, "low_ones_first": before, "seconds": round(took, 3)}
