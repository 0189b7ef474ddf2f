"""A lock among processes that ends with its holder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stepwell.private_files import make_file


@contextmanager
def lock_of(path: Path) -> Iterator[bool]:
    """Hold a lock for as long as the block runs, if nobody else does; gives whether it is held.

    SQLite's exclusive lock works on every platform, and is gone with its process, however that ends.

    Args:
        path: A file for the lock alone.

    Raises:
        sqlite3.OperationalError: The file cannot be made.
    """
    with suppress(OSError):  # SQLite says it better
        make_file(path)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            held = True
        except sqlite3.DatabaseError as error:
            code = error.sqlite_errorcode & 0xFF
            if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                path.unlink(missing_ok=True)  # nobody holds what is no lock; the next look makes one
            elif code not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise
            held = False
        yield held
    finally:
        connection.close()
