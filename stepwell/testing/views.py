"""Read models in virtual time: SQLite is called in the loop itself, and the log is followed only while somebody asks.

Elsewhere the read models are kept up to date all the time, in threads, and look around twice a second. In virtual
time a thread would never answer, and three days would be half a million looks; nor could it ever be told that
everybody waits for somebody, since there would always be one more look to come.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from stepwell.consumers.registry.definitions import Definitions
from stepwell.log.port import Log
from stepwell.own_files import disclaim
from stepwell.projections.models import ReadModels
from stepwell.projections.queries import Queries


class Connection:
    """A connection whose calls are made at once, in the thread that makes them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None, /) -> sqlite3.Cursor:
        """Execute a statement."""
        return self._connection.execute(sql, tuple(parameters or ()))

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]], /) -> None:
        """Execute a statement for each row of parameters."""
        self._connection.executemany(sql, map(tuple, parameters))

    async def executescript(self, sql_script: str, /) -> None:
        """Execute several statements, each to its end."""
        self._connection.executescript(sql_script)

    async def execute_fetchall(self, sql: str, parameters: Iterable[Any] | None = None, /) -> list[Any]:
        """Every row of a query."""
        return self._connection.execute(sql, tuple(parameters or ())).fetchall()

    def stop(self) -> None:
        """Let go of the file."""
        self._connection.close()

    async def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


async def in_loop(target: str) -> Connection:
    """Opens a file for the calls of this loop. Nobody is waited for: who holds the file is of this loop, too.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    return Connection(sqlite3.connect(target, uri=True, isolation_level=None, timeout=0))


class MomentaryReadModels(ReadModels):
    """Read models that follow the log for as long as somebody asks them; each question sees what is in the log then.

    Args:
        log: The log.
        directory: Nobody else's, and there already.
        definitions: The registry.
        clock: Virtual milliseconds since 1970.
    """

    def __init__(self, log: Log, directory: Path, definitions: Definitions, *, clock: Callable[[], int]) -> None:
        super().__init__(log, directory, definitions, connecting=in_loop, clock=clock)
        self._asked_by = 0
        self._turn = asyncio.Lock()  # who begins to ask waits until the last one before has ended the following

    @asynccontextmanager
    async def asking(
        self, *, offsets: Mapping[int, int] | None = None, timeout: float | None = None
    ) -> AsyncIterator[Queries]:
        """As elsewhere; without offsets it waits for all that is in the log now, since nobody has followed it yet."""
        async with self._turn:
            self._asked_by += 1
        try:
            async with super().asking(offsets=offsets or await self.ends(), timeout=timeout) as queries:
                yield queries
        finally:
            self._asked_by -= 1
            async with self._turn:
                if not self._asked_by:
                    await self.close()


@contextmanager
def own_directory() -> Iterator[Path]:
    """A directory for read models, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="stepwell-testing-") as made:
        try:
            yield Path(made)
        finally:
            disclaim(made)
