"""``python -m benchmarks``: prints one JSON line a workload, and refuses to if a result is wrong.

W1 throughput, W2 latency, W3 fan-out and fan-in, CHAIN a long chain, START a whole ``stepwell run``, W4 recovery
from a kill, W5 replay, W6 many live instances, W7 growth of the log, FLOOD
200,000 submissions at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import stepwell
from benchmarks import flood, pace, recovery, volume
from benchmarks.common import HANDLERS

OnClient = Callable[[stepwell.Client], Awaitable[dict[str, Any]]]
OnFolder = Callable[[str], Awaitable[dict[str, Any]]]

CLIENT_WORKLOADS: dict[str, OnClient] = {
    "W1": lambda c: pace.w1(c, 1_000),
    "W1-20k": lambda c: pace.w1(c, 20_000),
    "W2": pace.w2,
    "W3": lambda c: pace.w3(c, 200),
    "W3-10k": lambda c: pace.w3(c, 10_000),
    "CHAIN": lambda c: pace.long_chain(c, 1_000),
    "START": pace.start_up,
}
FOLDER_WORKLOADS: dict[str, OnFolder] = {
    "W4": recovery.w4,
    "W5": volume.w5,
    "W6": volume.w6,
    "W7": volume.w7,
    "FLOOD": lambda folder: flood.flood(f"file:{folder}/log.db", 200_000),
}
WORKLOADS = (*CLIENT_WORKLOADS, *FOLDER_WORKLOADS)


async def measure(name: str, url: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        if name in FOLDER_WORKLOADS:
            return await FOLDER_WORKLOADS[name](folder)
        async with stepwell.connect(url or f"file:{folder}/log.db", handlers=HANDLERS, concurrency=200) as client:
            return await CLIENT_WORKLOADS[name](client)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WORKLOADS, action="append", help="one workload; may be repeated")
    parser.add_argument("--log", help="URL of an empty log for W1 to W3; a temporary file by default")
    parser.add_argument("--rival", choices=("dbos",), help="measure a rival beside us, as far as it can be compared")
    parser.add_argument("--here", action="store_true", help="in this process; by default each workload has its own")
    options = parser.parse_args()
    if options.rival:
        subprocess.run([sys.executable, "-m", f"benchmarks.rival_{options.rival}"], check=True)
        options.only = options.only or ["W1", "W2"]
    for name in options.only or WORKLOADS:
        if not options.here:  # memory, caches and garbage of one must not be another's
            words = [sys.executable, "-m", "benchmarks", "--here", "--only", name]
            subprocess.run(words + (["--log", options.log] if options.log else []), check=True)
            continue
        load = os.getloadavg()[0]
        figures = asyncio.run(measure(name, options.log))
        line = {
            "system": "stepwell", "version": stepwell.__version__, "log": "file", "synchronous": "full",
            "processes": 1, "workload": name, **figures, "python": platform.python_version(),
            "cores": os.cpu_count(), "load_before": round(load, 2),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
