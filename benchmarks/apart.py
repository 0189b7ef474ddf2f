"""Workloads with one engine and one worker in processes of their own (``--apart``), and taking a partition over.

What is measured is what users run: ``stepwell engine`` and ``stepwell worker``, and a client in this process.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any
from uuid import uuid4

import stepwell
from benchmarks.common import chain, must
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.engine.takeover import take_over
from stepwell.consumers.registry.definitions import Definitions
from stepwell.log.address import parse
from stepwell.log.partitioner import partition_for
from stepwell.log.port import STARTS, WORKERS, NewRecord
from stepwell.log.urls import open_log
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import StartWorkflow


def fresh(url: str) -> str:
    """The URL of an empty log in the same brokers; a file is empty as it is."""
    if parse(url).scheme != "kafka":
        return url
    return f"{url}{'&' if '?' in url else '?'}namespace=bench-{uuid4().hex[:8]}"


@asynccontextmanager
async def crew(url: str) -> AsyncIterator[stepwell.Client]:
    """An engine and a worker, each a process; and a client of theirs."""
    verbs = (["engine"], ["worker", "--handlers", "benchmarks.common", "--concurrency", "200"])
    async with stepwell.connect(url, embedded=False) as client:
        with tempfile.TemporaryFile() as told:
            parts = [
                subprocess.Popen([sys.executable, "-m", "stepwell", *verb, "--log", url], stderr=told, stdout=told)  # noqa: ASYNC220
                for verb in verbs
            ]
            try:
                while not (await client.engine_is_live() and await client.log.members(WORKERS)):
                    must(all(part.poll() is None for part in parts), "engine or worker ended by itself")
                    await asyncio.sleep(0.05)
                await client.register(chain("warm", 5))
                await asyncio.gather(*(_one(client, "warm") for _ in range(200)))
                yield client
            finally:
                for part in parts:
                    part.terminate()
                for part in parts:
                    await asyncio.to_thread(part.wait, 30)


async def _one(client: stepwell.Client, workflow: str) -> None:
    outcome = await (await client.start(workflow, {"n": 0})).result(timeout=60)
    must(outcome.status == "completed", outcome.status)


async def taking_over(url: str, instances: int = 10_000) -> dict[str, Any]:
    """A partition with many live instances is taken over: from the claim until it can decide."""
    async with stepwell.connect(url, embedded=False) as client:
        engine = asyncio.ensure_future(Engine(client.log).run())
        await client.register(chain("five", 5))
        names, partitions = (f"held-{number}" for number in count()), client.log.partitions
        chosen = list(islice((name for name in names if not partition_for(name, partitions)), instances))
        for first in range(0, instances, 500):
            starts = [StartWorkflow(name, workflow="five", input={"n": 0}) for name in chosen[first : first + 500]]
            await client.log.append(STARTS, 0, [NewRecord(one.instance_id, encode(one)) for one in starts])
        await client.wait(chosen[-1], lambda state: bool(state.steps), timeout=120)
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)
    log = await open_log(url)
    try:
        await Definitions(log).catch_up()
        began = time.perf_counter()
        possession = await take_over(log, 0, "benchmark", int(time.time() * 1000))
        took = time.perf_counter() - began
        must(len(possession.state.instances) == instances, f"{len(possession.state.instances)} live")
    finally:
        await log.close()
    return {"instances": instances, "seconds": round(took, 2)}
