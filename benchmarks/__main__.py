"""``python -m benchmarks``: prints one JSON line a workload, and refuses to if a result is wrong.

W1 throughput, W2 latency, W3 fan-out and fan-in, CHAIN a long chain, START a whole ``stepwell run``, W4 recovery
from a kill, W5 replay and read models, W6 many live instances, W7 growth of the log, W8 look-ups, W9 HTTP, FLOOD
200,000 submissions at once, PRIORITY one that matters behind 9,000 that do not, COMPILE a definition of 10,000 steps
made ready, EXPR conditions evaluated.
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
from benchmarks import apart, flood, http, language, lookups, pace, priority, recovery, volume
from benchmarks.common import HANDLERS
from benchmarks.yardstick import yardstick
from stepwell.log.address import parse

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
    "W8": lookups.w8,
    "W9": http.w9,
    "W9-apart": lambda folder: http.w9(folder, apart=True),
    "FLOOD": lambda folder: flood.flood(f"file:{folder}/log.db", 200_000),
    "COMPILE": language.compile_large,
    "EXPR": language.conditions,
}
URL_WORKLOADS: dict[str, Callable[[str], Awaitable[dict[str, Any]]]] = {
    "PRIORITY": priority.priority,
    "TAKE-OVER": apart.taking_over,
}
APART: tuple[str, ...] = ("W1", "W2", "W3", "W3-10k", "CHAIN")
WORKLOADS = (*CLIENT_WORKLOADS, *FOLDER_WORKLOADS, *URL_WORKLOADS)


async def measure(name: str, url: str | None, *, apart_: bool = False) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = apart.fresh(url) if url else None
        if name in URL_WORKLOADS:
            return await URL_WORKLOADS[name](url or f"file:{folder}/log.db")
        if apart_:
            async with apart.crew(url or f"file:{folder}/log.db") as client:
                return await CLIENT_WORKLOADS[name](client)
        if name in FOLDER_WORKLOADS:
            return await FOLDER_WORKLOADS[name](folder)
        async with stepwell.connect(url or f"file:{folder}/log.db", handlers=HANDLERS, concurrency=200) as client:
            return await CLIENT_WORKLOADS[name](client)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WORKLOADS, action="append", help="one workload; may be repeated")
    parser.add_argument(
        "--log", help="for W1 to W3, CHAIN, PRIORITY, TAKE-OVER: the URL of brokers, or of an empty file"
    )
    parser.add_argument("--apart", action="store_true", help="engine and worker in processes of their own")
    parser.add_argument("--rival", choices=("dbos",), help="measure a rival beside us, as far as it can be compared")
    parser.add_argument("--here", action="store_true", help="in this process; by default each workload has its own")
    options = parser.parse_args()
    if options.rival:
        subprocess.run([sys.executable, "-m", f"benchmarks.rival_{options.rival}"], check=True)
        options.only = options.only or ["W1", "W2"]
    kafka = parse(options.log or "").scheme == "kafka"
    for name in options.only or ((*APART, *URL_WORKLOADS) if kafka else WORKLOADS):
        if not options.here:  # memory, caches and garbage of one must not be another's
            words = [sys.executable, "-m", "benchmarks", "--here", "--only", name]
            words += ["--log", options.log] if options.log else []
            words += ["--apart"] if options.apart and name in APART else []
            subprocess.run(words, check=True)
            continue
        load, machine = os.getloadavg()[0], yardstick()
        figures = asyncio.run(measure(name, options.log, apart_=options.apart))
        line = {
            "system": "stepwell", "version": stepwell.__version__, "log": "kafka" if kafka else "file",
            "processes": 3 if options.apart else 1, "workload": name, **figures, "python": platform.python_version(),
            "cores": os.cpu_count(), "load_before": round(load, 2), "machine": machine,
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
