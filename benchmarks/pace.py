"""W1 throughput, W2 latency, W3 fan-out, CHAIN and START: how fast work goes through."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import stepwell
from benchmarks.common import chain, fan, log_bytes, must

_WARM_UP = 100  # instances; Python specialises code while it runs, and a service runs for weeks


async def w1(client: stepwell.Client, instances: int) -> dict[str, Any]:
    """Throughput: instances of 5 sequential steps, at most 100 in flight."""
    await client.register(chain("five", 5))
    slots = asyncio.Semaphore(100)

    async def one() -> None:
        async with slots:
            run = await client.start("five", {"n": 0})
            outcome = await run.result(timeout=120)
            must(outcome.status == "completed" and outcome.output == 5, f"{run.id}: {outcome.output}")

    await asyncio.gather(*(one() for _ in range(_WARM_UP)))
    before, cpu = log_bytes(client), time.process_time()
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(instances)))
    took = time.perf_counter() - began
    steps = instances * 5
    return {
        "instances": instances, "in_flight": 100, "seconds": round(took, 3),
        "workflows_per_s": round(instances / took), "steps_per_s": round(steps / took),
        "cpu_ms_per_step": round((time.process_time() - cpu) / steps * 1000, 3),
        "log_bytes_per_step": round((log_bytes(client) - before) / steps),
    }  # fmt: skip


async def w2(client: stepwell.Client, instances: int = 200) -> dict[str, Any]:
    """Latency: the same instances one at a time, from start to the client's result."""
    await client.register(chain("five", 5))
    took = []
    for _ in range(_WARM_UP + instances):
        began = time.perf_counter()
        run = await client.start("five", {"n": 0})
        outcome = await run.result(timeout=30)
        took.append((time.perf_counter() - began) * 1000)
        must(outcome.output == 5, str(outcome.output))
    took = sorted(took[_WARM_UP:])
    return {
        "instances": instances, "p50_ms": round(took[instances // 2], 2),
        "p99_ms": round(took[int(instances * 0.99)], 2),
    }  # fmt: skip


async def w3(client: stepwell.Client, width: int) -> dict[str, Any]:
    """Fan-out: one instance of parallel steps and a join."""
    await client.register(fan(f"fan{width}", width))
    began = time.perf_counter()
    run = await client.start(f"fan{width}", {"n": 0})
    outcome = await run.result(timeout=300)
    took = time.perf_counter() - began
    must(outcome.output == width + 1, str(outcome.output))
    return {"width": width, "seconds": round(took, 3)}


async def long_chain(client: stepwell.Client, length: int) -> dict[str, Any]:
    """A chain: as many round trips one after the other."""
    await client.register(chain(f"chain{length}", length))
    began = time.perf_counter()
    run = await client.start(f"chain{length}", {"n": 0})
    outcome = await run.result(timeout=300)
    took = time.perf_counter() - began
    must(outcome.output == length, str(outcome.output))
    return {"length": length, "seconds": round(took, 3)}


async def start_up(_client: stepwell.Client, runs: int = 7) -> dict[str, Any]:
    """A whole ``stepwell run`` of three steps on a new log, from the shell: the median."""
    steps = [
        {"id": "a", "type": "input"},
        {"id": "b", "type": "process", "depends_on": ["a"], "config": {"rules": []}},
        {"id": "c", "type": "output", "depends_on": ["b"]},
    ]
    took = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "three.json"
            file.write_text(json.dumps({"name": "three", "steps": steps}))
            words = [sys.executable, "-m", "stepwell", "run", str(file), "--json", "--log", f"file:{folder}/log.db"]
            began = time.perf_counter()
            done = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=False)
            took.append(time.perf_counter() - began)
            must(json.loads(done.stdout)["status"] == "completed", done.stderr.decode())
    return {"runs": runs, "median_s": round(sorted(took)[runs // 2], 3)}
