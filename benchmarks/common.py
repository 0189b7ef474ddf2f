"""What the workloads share: definitions, handlers, and the refusal to report a wrong result."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import stepwell
from stepwell.consumers.worker.handlers import Handlers

NOOP = "benchmarks.common.noop"  # by dotted path, so that workers in processes of their own find it too


async def noop(data: dict[str, Any]) -> dict[str, Any]:
    return {"n": data.get("n", 0) + 1}


HANDLERS = Handlers()
HANDLERS.register(NOOP, noop)


def chain(name: str, length: int) -> dict[str, Any]:
    steps = [{"id": f"s{i}", "handler": NOOP, "depends_on": [f"s{i - 1}"] if i else []} for i in range(length)]
    return {"name": name, "steps": steps, "output": f"{{{{ step_outputs.s{length - 1}.n }}}}"}


def fan(name: str, width: int) -> dict[str, Any]:
    branches = [{"id": f"b{i}", "handler": NOOP, "depends_on": ["root"]} for i in range(width)]
    join = {"id": "join", "handler": NOOP, "depends_on": [b["id"] for b in branches], "input": {"n": width}}
    return {"name": name, "steps": [{"id": "root", "handler": NOOP}, *branches, join],
            "output": "{{ step_outputs.join.n }}"}  # fmt: skip


def must(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"wrong result, nothing reported: {what}")


def log_bytes(client: stepwell.Client) -> int:
    path = client.log.describe().path
    if path is None:
        return 0  # in Kafka: the brokers'
    return sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())


def rss_mb() -> float:
    with Path("/proc/self/statm").open() as file:  # Linux only, as the figures are
        return int(file.read().split()[1]) * resource.getpagesize() / 1024 / 1024
