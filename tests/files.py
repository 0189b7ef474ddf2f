"""Another program's look at a SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection within one transaction, closed afterwards: ``with sqlite3.connect(…)`` leaves it open."""
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        yield connection
