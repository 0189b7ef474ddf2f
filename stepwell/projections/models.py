"""The read models of one log: kept up to date by whichever process comes first, read by all.

They live in a directory, one file a generation: ``1.db``, and after a rebuild ``2.db``. Who holds the lock of the
directory writes; the lock is SQLite's own, so it is free the moment its holder dies. It is advice, as all locks are
here: what keeps the rows right is that they are written together with the position that they belong to.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from stepwell.consumers.definitions import Definitions
from stepwell.errors import LogClosedError, LogUnavailableError
from stepwell.log.port import DEFINITIONS, EVENTS, Log, Record
from stepwell.projections.projector import AnotherLogError, Projector
from stepwell.projections.queries import Queries
from stepwell.projections.store import Position, ReadModelsDamagedError, ReadModelsError, Store
from stepwell.projections.tables import DEFINITIONS_PARTITION
from stepwell.telling import Logger

_logger = Logger("stepwell.projections")

_BATCH: Final = 4_000  # records of one transaction
_LOOK_EVERY: Final = 0.5  # seconds between two looks at whether the lock is free, or a newer generation there
_POLL_EVERY: Final = 0.02  # seconds between two looks at where another process's projector stands
_PAUSE: Final = 1.0  # seconds before one tries again what the disk or the log refused


class Lag(Struct, frozen=True):
    """How far the read models are behind the log.

    Attributes:
        records: Records not followed yet.
        seconds: How long ago the oldest record was appended that was not followed yet; 0.0 where there is none.
        partitions: For each partition, the offset that is read next and the log's end.
        generation: Number of the file, one more with every rebuild.
        problem: Why nothing is followed; empty if all is well.
    """

    records: int
    seconds: float
    partitions: dict[int, tuple[int, int]]
    generation: int
    problem: str = ""


class ReadModels:
    """The read models of a log.

    Args:
        log: The log.
        directory: Where the files are, or are to be made.
        definitions: The registry; its content is copied.
    """

    def __init__(self, log: Log, directory: Path, definitions: Definitions) -> None:
        self._log = log
        self.directory = directory
        self._definitions = definitions
        self._queries: Queries | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()  # there is a file to be asked
        self._projector: Projector | None = None
        self._problem: BaseException | None = None
        self._looked = 0.0
        self._reopening = asyncio.Lock()

    async def start(self) -> None:
        """Begin to follow the log; whoever is first in this directory writes, the others only read."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._follow())

    async def queries(self) -> Queries:
        """What can be asked, of the newest generation.

        Raises:
            ReadModelsError: The read models cannot be used.
            LogError: The log cannot be read.
        """
        await self.start()
        await self._until(self._opened.is_set)
        now = time.monotonic()
        async with self._reopening:
            if self._queries is None or (now - self._looked >= _LOOK_EVERY and self._is_outdated(self._queries)):
                newest = self.newest()
                before, self._queries = self._queries, await Queries.open(self._path(newest))
                if before is not None:
                    await before.close()
            self._looked = now
            return self._queries

    def _is_outdated(self, queries: Queries) -> bool:
        return queries.path != self._path(self.newest()) or not queries.path.exists()

    async def catch_up(self, *, timeout: float | None = None) -> Queries:
        """Wait until everything that is in the log now is in the read models.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: It is not yet; ``lag`` says how far it is.
            ReadModelsError, LogError: It never will be.
        """
        ends = {partition: await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)}
        ends[DEFINITIONS_PARTITION] = await self._log.end(DEFINITIONS, 0)  # for tags, and who registered what
        return await self.wait_for(ends, timeout=timeout)

    async def wait_for(self, offsets: dict[int, int], *, timeout: float | None = None) -> Queries:
        """Wait until partitions were followed up to these offsets: read your own write.

        Args:
            offsets: For each partition, the offset behind the last record that must be in.
            timeout: Seconds to wait at most.
        """
        queries = await self.queries()
        async with asyncio.timeout(timeout):
            while True:
                queries = await self.queries()
                stands = await self._stands(queries)
                if all(stands.get(partition, 0) >= offset for partition, offset in offsets.items()):
                    return queries
                await self._news()

    async def _stands(self, queries: Queries) -> dict[int, int]:
        if self._projector is not None and self._projector.path == queries.path and self._projector.positions:
            return {partition: position.offset for partition, position in self._projector.positions.items()}
        return dict(await queries.all("SELECT partition, offset FROM positions"))

    async def _news(self) -> None:
        """Wait until it is worth looking again; raise what keeps us from ever getting there."""
        self._raise_problem()
        if self._projector is None:
            await asyncio.sleep(_POLL_EVERY)
            return
        progressed = asyncio.ensure_future(self._projector.progressed.wait())
        try:
            await asyncio.wait((progressed,), timeout=_LOOK_EVERY)
        finally:
            progressed.cancel()

    async def _until(self, so: Callable[[], bool]) -> None:
        while not so():
            self._raise_problem()
            await asyncio.sleep(_POLL_EVERY)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem

    async def behind(self) -> int:
        """How many records are not followed yet: what ``lag`` says, and nothing else."""
        stands = await self._stands(await self.queries())
        ends = [await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)]
        return sum(max(0, end - stands.get(partition, 0)) for partition, end in enumerate(ends))

    async def lag(self) -> Lag:
        """How far behind the read models are."""
        queries = await self.queries()
        stands = dict(await queries.all("SELECT partition, offset FROM positions"))
        partitions = {
            partition: (stands.get(partition, 0), await self._log.end(EVENTS, partition))
            for partition in range(self._log.partitions)
        }
        behind = {partition: offset for partition, (offset, end) in partitions.items() if offset < end}
        records = sum(partitions[partition][1] - offset for partition, offset in behind.items())
        oldest = [await self._log.read(EVENTS, partition, offset, limit=1) for partition, offset in behind.items()]
        appended = min((found[0].timestamp for found in oldest if found), default=0)
        seconds = max(0.0, time.time() - appended / 1000) if appended else 0.0
        problem = "" if self._problem is None else str(self._problem)
        return Lag(records, round(seconds, 3), partitions, self.newest(), problem)

    # --- generations ----------------------------------------------------------------------------------------

    def newest(self) -> int:
        """Number of the newest generation; 0 while there is none."""
        found = [int(path.stem) for path in self.directory.glob("*.db") if path.stem.isdecimal()]
        return max(found, default=0)

    def _path(self, generation: int) -> Path:
        return self.directory / f"{generation}.db"

    def _drop_older(self, than: int) -> None:
        """Delete generations that nobody needs any more; where one is in use, a later look will."""
        for path in self.directory.glob("*.db*"):
            number = path.name.partition(".")[0]
            if number.isdecimal() and int(number) < than:
                with contextlib.suppress(OSError):
                    path.unlink()

    # --- following ------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Write as soon as nobody else does; until then, let others be read."""
        pause = _PAUSE
        while True:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                if self.newest():
                    self._opened.set()
                with _lock(self.directory / "writer.lock") as held:
                    if held:
                        await self._write()
                await asyncio.sleep(_LOOK_EVERY)
            except LogClosedError as error:
                self._problem = error
                return
            except (LogUnavailableError, ReadModelsError, OSError, sqlite3.Error) as error:
                told = (
                    error
                    if isinstance(error, (LogUnavailableError, ReadModelsError))
                    else _refused(error, self.directory)
                )
                self._problem = told
                _logger.warning("read models are not kept up to date for now", reason=str(told))
                await asyncio.sleep(pause)
                self._problem = None if isinstance(told, LogUnavailableError) else self._problem
            except Exception as error:
                self._problem = error
                _logger.exception("read models are not kept up to date any more")
                return

    async def _write(self) -> None:
        """Keep the newest generation up to date until a newer one is there."""
        generation = self.newest() or 1
        while True:
            try:
                await self._write_generation(generation)
            except (AnotherLogError, ReadModelsDamagedError) as error:
                why = "they follow another log, or a former one" if isinstance(error, AnotherLogError) else str(error)
                _logger.warning("making the read models anew from the log", reason=why, directory=str(self.directory))
                generation += 1
                await asyncio.shield(self._forget_queries())
            else:
                generation = self.newest()

    async def _forget_queries(self) -> None:
        async with self._reopening:
            queries, self._queries = self._queries, None
            if queries is not None:
                await queries.close()

    async def _write_generation(self, generation: int) -> None:
        store = await Store.open(self._path(generation))
        readers: list[asyncio.Task[None]] = []
        try:
            projector = Projector(self._log, store)
            await projector.begin()
            self._projector, self._problem = projector, None
            self._opened.set()
            self._drop_older(generation)
            lock = asyncio.Lock()
            readers = [
                asyncio.ensure_future(self._read(projector, partition, lock))
                for partition in range(self._log.partitions)
            ]
            readers.append(asyncio.ensure_future(self._copy_definitions(projector, lock)))
            readers.append(asyncio.ensure_future(self._until_newer(generation)))
            done, _ = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._projector = None
            for task in readers:
                task.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            await store.close()

    async def _read(self, projector: Projector, partition: int, lock: asyncio.Lock) -> None:
        while True:
            offset = projector.positions[partition].offset
            records = await self._log.read(EVENTS, partition, offset, limit=_BATCH, wait=None)
            async with lock:
                if records and projector.positions[partition].offset == offset:
                    await projector.take(partition, records)

    async def _copy_definitions(self, projector: Projector, lock: asyncio.Lock) -> None:
        while True:
            async with lock:
                await projector.copy_definitions(self._definitions)
            copied = projector.positions.get(DEFINITIONS_PARTITION, Position()).offset
            await self._log.read(DEFINITIONS, 0, copied, limit=1, wait=None)

    async def _until_newer(self, generation: int) -> None:
        """Look now and then: it is another process that makes a newer one, or deletes this."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self.newest() > generation or not self._path(generation).exists():
                return

    async def rebuild(self, told: Callable[[int, int], None] | None = None) -> int:
        """Make the read models anew from the log, while the old ones are still asked; then put the new in place.

        Args:
            told: Told now and then how many records were followed, of how many.

        Returns:
            The number of the new generation.

        Raises:
            ReadModelsError: Somebody else is at it already, or the files cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with _lock(self.directory / "rebuild.lock") as held:
            if not held:
                raise ReadModelsError(
                    "another process is making them anew already", place=str(self.directory), remedy="Wait for it."
                )
            building = self.directory / "building"
            shutil.rmtree(building, ignore_errors=True)  # of somebody who was interrupted
            store = await Store.open(building / "0.db")
            try:
                await self._fill(store, told)
            finally:
                await store.close()
            generation = self.newest() + 1
            (building / "0.db").rename(self._path(generation))  # closed by its last user: all of it is in this file
            shutil.rmtree(building, ignore_errors=True)
        return generation

    async def _fill(self, store: Store, told: Callable[[int, int], None] | None) -> None:
        projector = Projector(self._log, store)
        await projector.begin()
        await projector.copy_definitions(self._definitions)

        async def left() -> tuple[int, int]:
            ends = [await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)]
            stands = [projector.positions[partition].offset for partition in range(self._log.partitions)]
            return sum(stands), sum(ends)

        followed, wanted = await left()
        while wanted - followed > _BATCH or followed == 0 < wanted:  # what is left, its new writer reads in no time
            for partition in range(self._log.partitions):
                records: list[Record] = list(
                    await self._log.read(EVENTS, partition, projector.positions[partition].offset, limit=_BATCH)
                )
                if records:
                    await projector.take(partition, records)
            before, (followed, wanted) = followed, await left()
            if told is not None:
                told(followed, wanted)
            if followed == before:
                break

    async def close(self) -> None:
        """Stop following, and let go of the files."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._forget_queries()


class _lock:  # noqa: N801 - used as a statement
    """Holds a lock on a file for as long as its block runs, if nobody else does.

    SQLite's exclusive lock works on every platform, and is gone with its process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> bool:
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            connection.close()
            return False
        self._connection = connection
        return True

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()


def _refused(error: BaseException, directory: Path) -> ReadModelsError:
    return ReadModelsError(
        f"the read models cannot be kept: {error}",
        place=str(directory),
        remedy="Let this user write there, or name another directory: STEPWELL_VIEWS=DIR.",
    )
