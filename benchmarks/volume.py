"""W5 replay, W6 many live instances, W7 growth: what happens when there is much of it."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from pathlib import Path
from typing import Any

import stepwell
from benchmarks.common import HANDLERS, chain, must, rss_mb
from benchmarks.pace import w1
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.histories import accepted_of
from stepwell.core.fold.acceptance import CLAIM, KIND, TRANSITION, Stamp, read_stamp, stamp_headers
from stepwell.core.fold.partition import PartitionState, follow
from stepwell.log.port import EVENTS, Log, NewRecord
from stepwell.log.urls import open_log
from stepwell.projections.projector import Projector
from stepwell.projections.store import Store
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import EVENTS_VERSION
from stepwell.schemas.records.partition_records import PartitionOwned

_BATCH = 5_000


async def grow(url: str, events: int) -> int:
    """Fill a log with the history of one real instance, repeated under other ids; return how many events."""
    async with stepwell.connect(url, handlers=HANDLERS) as client:
        await client.register(chain("five", 5))
        run = await client.start("five", {"n": 0}, id="model")
        await run.result()
        history = [accepted.transition for accepted in await accepted_of(client.log, "model")]
    log = await open_log(url)
    per_instance = sum(len(transition.events) for transition in history)
    instances = events // per_instance
    templates = [encode(transition) for transition in history]
    try:
        for partition in range(log.partitions):
            claim = NewRecord("", encode(PartitionOwned(EVENTS_VERSION, 0, "benchmark")), {KIND: CLAIM})
            (epoch,) = await log.append(EVENTS, partition, [claim])
            index, batch = 0, []
            for number in range(partition, instances, log.partitions):
                name = f"g{number}"
                for template in templates:
                    index += 1
                    stamp = Stamp(epoch, index, source=-1, released=epoch + index - 1)
                    value = template.replace(b'"instance_id":"model"', f'"instance_id":"{name}"'.encode())
                    batch.append(NewRecord(name, value, stamp_headers(TRANSITION, stamp)))
                if len(batch) >= _BATCH:
                    await log.append(EVENTS, partition, batch)
                    batch = []
            if batch:
                await log.append(EVENTS, partition, batch)
    finally:
        await log.close()
    return instances * per_instance


async def refold(log: Log) -> tuple[int, int]:
    """Fold every accepted transition from the first offset; return how many events, and live instances."""
    events = live = 0
    for partition in range(log.partitions):
        reader, state = EventReader(log, partition), PartitionState()
        end = await log.end(EVENTS, partition)
        while reader.position < end:
            for record in await reader.read(end=end):
                transition = reader.decode(record)
                events += len(transition.events)
                state = follow(state, transition, read_stamp(record.headers))
        live += len(state.instances)
    return events, live


async def w5(folder: str, events: int = 1_000_000) -> dict[str, Any]:
    """Replay: refold a million events from the log, and make the read models from them."""
    url = f"file:{folder}/log.db"
    written = await grow(url, events)
    log = await open_log(url)
    began = time.perf_counter()
    folded, live = await refold(log)
    took = time.perf_counter() - began
    refolded_mb = _peak_mb()
    must(folded >= written and live == 0, f"{folded} events folded of {written}, {live} instances left")
    store = await Store.open(Path(folder) / "views" / "1.db")
    projector = Projector(log, store)
    began = time.perf_counter()
    await projector.begin()
    await projector.catch_up()
    projected = time.perf_counter() - began
    rows = (await store.all("SELECT count(*), sum(sequence) FROM instances WHERE status = 'completed'"))[0]
    must(rows[1] == folded, f"{rows[1]} events projected of {folded}")
    await store.close()
    size = sum(path.stat().st_size for path in (Path(folder) / "views").iterdir())
    await log.close()
    return {
        "events": folded, "seconds": round(took, 2), "events_per_s": round(folded / took),
        "peak_memory_mb": refolded_mb, "projected_events_per_s": round(folded / projected),
        "projecting_peak_mb": _peak_mb(), "read_models_mb": round(size / 1e6),
    }  # fmt: skip


async def w6(folder: str, instances: int = 100_000) -> dict[str, Any]:
    """Many: live instances that wait; then one wakes; then a restart with all of them."""
    url = f"file:{folder}/log.db"
    waiting = {"name": "nap", "steps": [{"id": "nap", "type": "wait", "config": {"seconds": "{{ input.seconds }}"}}]}
    gc.collect()
    before = rss_mb()
    async with stepwell.connect(url, handlers=HANDLERS) as client:
        await client.register(waiting)
        slots = asyncio.Semaphore(500)

        async def one(number: int) -> None:
            async with slots:
                await client.start("nap", {"seconds": 86_400}, id=f"w6-{number}")

        began = time.perf_counter()
        for first in range(0, instances, 10_000):
            await asyncio.gather(*(one(number) for number in range(first, min(first + 10_000, instances))))
        started = time.perf_counter() - began
        gc.collect()
        memory = rss_mb()
        run = await client.start("nap", {"seconds": 0.2}, id="early")
        began = time.perf_counter()
        outcome = await run.result(timeout=60)
        woke = time.perf_counter() - began - 0.2
        must(outcome.status == "completed", outcome.status)
    began = time.perf_counter()
    async with stepwell.connect(url, handlers=HANDLERS) as client:
        run = await client.start("nap", {"seconds": 0}, id="after")
        await run.result(timeout=120)
        restarted = time.perf_counter() - began
        must((await client.get("w6-0")).status == "running", "a waiting instance is gone")
    return {
        "instances": instances, "seconds_to_start_them": round(started, 1), "memory_mb": round(memory),
        "memory_mb_before": round(before), "wake_up_ms": round(woke * 1000, 1), "restart_s": round(restarted, 2),
    }  # fmt: skip


async def w7(folder: str, events: int = 1_000_000) -> dict[str, Any]:
    """Growth: W1's rate on a new log and on one with a million events, in turn, as a ratio."""
    url = f"file:{folder}/grown.db"
    await grow(url, events)
    rates: dict[str, list[int]] = {"new": [], "grown": []}
    for turn in range(3):
        for name, log in (("new", f"file:{folder}/new{turn}.db"), ("grown", url)):
            async with stepwell.connect(log, handlers=HANDLERS, concurrency=200) as client:
                await w1(client, 200)  # warm
                rates[name].append((await w1(client, 1_000))["steps_per_s"])
    new, grown = sorted(rates["new"])[1], sorted(rates["grown"])[1]
    return {"events": events, "steps_per_s_new": new, "steps_per_s_grown": grown, "ratio": round(grown / new, 2)}


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
