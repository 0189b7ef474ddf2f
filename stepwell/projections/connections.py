"""How the file of the read models is opened: by one function, in a thread of its own or in another way.

SQLite's calls block, so a process that serves others makes them in a thread (aiosqlite). A loop that knows no
threads, as that of the testing kit, brings a function of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import aiosqlite

from stepwell.errors import ReadModelsDamagedError, ReadModelsError

_PATIENCE: Final = 10.0  # seconds to wait for another process's transaction
_CHECKPOINT: Final = 4_000  # pages of the WAL between two checkpoints: 16 MB


class Inserted(Protocol):
    """What is known of a statement that was executed."""

    @property
    def lastrowid(self) -> int | None:
        """Number of the row that it has inserted."""


class Connection(Protocol):
    """What the read models need of a connection: the part of aiosqlite's that they use. It commits by itself."""

    def execute(self, sql: str, parameters: Iterable[Any] | None = None, /) -> Awaitable[Inserted]:
        """Execute a statement."""

    def executemany(self, sql: str, parameters: Iterable[Iterable[Any]], /) -> Awaitable[Any]:
        """Execute a statement for each row of parameters."""

    def executescript(self, sql_script: str, /) -> Awaitable[Any]:
        """Execute several statements, each to its end."""

    def execute_fetchall(self, sql: str, parameters: Iterable[Any] | None = None, /) -> Awaitable[Iterable[Any]]:
        """Every row of a query."""

    def stop(self) -> Any:
        """Let go of the file, soon, without waiting for it."""

    async def close(self) -> None:
        """Let go of the file."""


class Queryable(Protocol):
    """Anything that answers queries: an open file of the read models, or one's own connection to it."""

    async def all(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Every row of a query."""


Connecting = Callable[[str], Awaitable[Connection]]
"""Opens a file by its URI, in SQLite's autocommit mode."""


async def in_thread(target: str) -> Connection:
    """A connection whose calls are made in a thread of its own, one after the other.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    connection = aiosqlite.connect(target, uri=True, isolation_level=None, timeout=_PATIENCE)
    try:
        await connection
    except BaseException:
        connection.stop()  # its thread, too, where we are cancelled: the process would never end
        raise
    return connection


async def connect(path: Path, *, read_only: bool = False, connecting: Connecting = in_thread) -> Connection:
    """A connection with the settings that all of them have.

    Args:
        read_only: Refuse to write.
        connecting: How SQLite opens it.

    Raises:
        ReadModelsError: The file cannot be opened.
    """
    target = f"file:{quote(str(path))}?mode={'ro' if read_only else 'rwc'}"
    connection = None
    try:
        connection = await connecting(target)
        await _set_up(connection, read_only=read_only)
    except BaseException as error:
        if connection is not None:
            connection.stop()  # its thread, too, where we are cancelled: the process would never end
        raise told(error, path) from error
    return connection


async def _set_up(connection: Connection, *, read_only: bool) -> None:
    await connection.execute("PRAGMA mmap_size = 268435456")
    await connection.execute("PRAGMA cache_size = -32000")
    if read_only:
        await connection.execute("PRAGMA query_only = 1")
    else:
        await connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a file that is about to be made
        await connection.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes is read from the log again; the file stays whole (sqlite.org/wal.html).
        await connection.execute("PRAGMA synchronous = NORMAL")
        await connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")


def told(error: BaseException, path: Path) -> BaseException:
    """What an error of SQLite means for the read models; any other error as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ReadModelsDamagedError(
            f"the file is damaged: {error}",
            place=str(path),
            remedy="Ask again in a moment: it is made anew from the log.",
        )
    remedy = {
        sqlite3.SQLITE_FULL: "Make room on the disk; nothing is lost, the log has everything.",
        sqlite3.SQLITE_READONLY: "Let this user write there, or name another directory: STEPWELL_VIEWS=DIR.",
        sqlite3.SQLITE_CANTOPEN: "Let this user write there, or name another directory: STEPWELL_VIEWS=DIR.",
        sqlite3.SQLITE_BUSY: "Another process holds the file's lock: end it, or try again.",
    }.get(code, "It can be deleted: it is made anew from the log.")
    return ReadModelsError(f"the read models cannot be used: {error}", place=str(path), remedy=remedy)
