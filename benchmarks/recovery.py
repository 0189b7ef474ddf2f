"""W4: a process is killed in the middle of 200 instances, and started again at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import stepwell
from benchmarks.common import must
from stepwell.consumers.worker.handlers import Handlers

INSTANCES, STEPS, SLEEP = 200, 5, 0.05
_NAP = {
    "name": "nap",
    "steps": [
        {"id": f"s{i}", "handler": "nap", "depends_on": [f"s{i - 1}"] if i else []} for i in range(STEPS)
    ],
}  # fmt: skip


async def serve(log: str, runs: Path, *, first: bool) -> None:
    """Start every instance (once: the ids are given) and wait for all; count what really ran in a file."""
    file = runs.open("a", buffering=1)

    async def nap(_data: dict[str, Any], ctx: stepwell.StepContext) -> dict[str, Any]:
        file.write(f"{ctx.instance_id} {ctx.step_id}\n")
        await asyncio.sleep(SLEEP)
        return {}

    handlers = Handlers()
    handlers.register("nap", nap)
    async with stepwell.connect(log, handlers=handlers, concurrency=100) as client:
        await client.register(_NAP)
        if first:
            await asyncio.gather(*(client.start("nap", {}, id=f"w4-{i}") for i in range(INSTANCES)))
        outcomes = await asyncio.gather(
            *(client.wait(f"w4-{i}", lambda state: not state.live) for i in range(INSTANCES))
        )
        must(all(outcome.status == "completed" for outcome in outcomes), "not all completed")
    file.close()


async def w4(folder: str) -> dict[str, Any]:
    """Recovery: SIGKILL at a third, immediate restart."""
    log, runs = f"file:{folder}/log.db", Path(folder) / "runs.txt"
    runs.touch()
    needed = INSTANCES * STEPS
    words = [sys.executable, "-m", "benchmarks.recovery", log, str(runs)]
    victim = subprocess.Popen([*words, "first"])  # noqa: ASYNC220 - it is started once, and then killed
    while len(runs.read_text().splitlines()) < needed // 3:
        await asyncio.sleep(0.002)
        must(victim.poll() is None, "the first process ended by itself")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    killed = time.perf_counter()
    before = len(runs.read_text().splitlines())
    done = await asyncio.to_thread(subprocess.run, [*words, "again"], check=False)
    took = time.perf_counter() - killed
    must(done.returncode == 0, "the second process failed")
    lines = Counter(runs.read_text().splitlines())
    must(len(lines) == needed, f"{needed - len(lines)} steps never ran")
    # What is left must sleep all the same: 100 at a time.
    left = (needed - before) / 100 * SLEEP
    return {
        "instances": INSTANCES, "seconds_from_kill_to_last_result": round(took, 2),
        "of_which_sleep_at_least": round(left, 2), "handler_runs": sum(lines.values()), "needed": needed, "lost": 0,
    }  # fmt: skip


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), first=sys.argv[3] == "first"))
