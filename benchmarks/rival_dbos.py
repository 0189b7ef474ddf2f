"""The same W1 and W2 on DBOS with its durable embedded default (SQLite), as far as the two can be compared.

A DBOS workflow of five no-op steps, each step recorded; engine and client in one process, as with ours. Needs the
``rivals`` group: ``uv run --group rivals python -m benchmarks --rival dbos``.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from typing import Any

from benchmarks.common import must


async def measure(folder: str, instances: int = 200) -> list[dict[str, Any]]:
    from dbos import DBOS  # noqa: PLC0415 - only who compares has it

    DBOS(config={"name": "benchmark", "system_database_url": f"sqlite:///{folder}/dbos.sqlite", "log_level": "ERROR"})

    @DBOS.step()
    async def noop(number: int) -> int:
        return number + 1

    @DBOS.workflow()
    async def five(number: int) -> int:
        for _ in range(5):
            number = await noop(number)
        return number

    async def one() -> None:
        handle = await DBOS.start_workflow_async(five, 0)
        must(await handle.get_result() == 5, "DBOS: wrong result")

    DBOS.launch()
    try:
        await one()
        slots = asyncio.Semaphore(100)

        async def limited() -> None:
            async with slots:
                await one()

        began = time.perf_counter()
        await asyncio.gather(*(limited() for _ in range(instances)))
        steps_per_s = instances * 5 / (time.perf_counter() - began)
        took = []
        for _ in range(50):
            began = time.perf_counter()
            await one()
            took.append((time.perf_counter() - began) * 1000)
        took.sort()
    finally:
        DBOS.destroy()
    return [
        {"workload": "W1", "instances": instances, "steps_per_s": round(steps_per_s)},
        {"workload": "W2", "instances": 50, "p50_ms": round(took[25], 2), "p99_ms": round(took[49], 2)},
    ]


def main() -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for figures in asyncio.run(measure(folder)):
            line = {
                "system": "dbos", "version": importlib.metadata.version("dbos"), "log": "sqlite", **figures,
                "python": platform.python_version(), "cores": os.cpu_count(), "load_before": round(load, 2),
            }  # fmt: skip
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
