"""How much room files take, and giving back what a local log no longer needs."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from stepwell.log.port import Log


def size_of(path: Path) -> int:
    """Bytes of an SQLite file and of what is still to be written into it; 0 where there is none."""
    found = 0
    for name in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            found += name.stat().st_size
    return found


def log_size(log: Log) -> int | None:
    """Bytes of a log's file; None for a log that has none."""
    path = log.describe().path
    return None if path is None else size_of(path)


async def give_back(log: Log) -> None:
    """Have a log take no more room than it needs: also its file, where it has one.

    Raises:
        LogError: It cannot be written.
    """
    await log.free_space()
    path = log.describe().path
    if path is not None:
        await asyncio.to_thread(checkpoint, path)


def checkpoint(path: Path) -> None:
    """Have an SQLite file take in its write-ahead log, and get as small as its content.

    First without being in anybody's way; the rest only where nobody else is at it right now.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
