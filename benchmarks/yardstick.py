"""How fast this machine is right now, beside each figure: shared cores and disks vary twofold within the hour."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

_COMMITS: Final = 200
_BYTES: Final = 600  # about what a step's outcome or transition takes


def _timed(act: Callable[[], object]) -> float:
    """Milliseconds that a call took."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _work() -> int:
    """Some of what Python does most of the time: small objects made, looked up and let go."""
    table: dict[str, tuple[int, str]] = {}
    for number in range(20_000):
        key = f"step-{number % 500}"
        table[key] = (number + len(table), key)
    return sum(number for number, _ in table.values())


def yardstick() -> dict[str, float]:
    """What a fixed piece of pure Python takes, and one durable commit of SQLite, in milliseconds (medians)."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        connection = sqlite3.connect(Path(folder) / "commits.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, value BLOB)")
        commit = median(
            _timed(lambda: connection.execute("INSERT INTO t(value) VALUES (?)", (b"x" * _BYTES,)))
            for _ in range(_COMMITS)
        )
        connection.close()
    return {"python_ms": round(median(_timed(_work) for _ in range(7)), 2), "commit_ms": round(commit, 3)}
