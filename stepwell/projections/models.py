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
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import LogClosedError, LogLostError, LogUnavailableError
from stepwell.log.port import CLEANUPS, DEFINITIONS, EVENTS, REFUSALS, Log
from stepwell.logs import Logger
from stepwell.own_files import claim
from stepwell.private_files import make_directory
from stepwell.process import now_ms
from stepwell.projections.connections import Connecting, in_thread
from stepwell.projections.following import Follower
from stepwell.projections.locking import lock_of
from stepwell.projections.projector import AnotherLogError, Projector
from stepwell.projections.queries import Queries
from stepwell.projections.store import ReadModelsDamagedError, ReadModelsError, Store
from stepwell.projections.tables import CLEANUPS_PARTITION, DEFINITIONS_PARTITION, REFUSALS_PARTITION
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.projections")

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
        connecting: How SQLite opens the files.
        clock: Milliseconds since 1970.
    """

    def __init__(
        self,
        log: Log,
        directory: Path,
        definitions: Definitions,
        *,
        connecting: Connecting = in_thread,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        claim(directory)
        self.clock = clock
        self._connecting = connecting
        self._log = log
        self.directory = directory
        self._definitions = definitions
        self._queries: Queries | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()  # there is a file to be asked
        self._projector: Projector | None = None
        self._problem: BaseException | None = None
        self._looked = 0.0
        self._closed = False
        self._reopening = asyncio.Lock()

    async def start(self) -> None:
        """Begin to follow the log; whoever is first in this directory writes, the others only read.

        Raises:
            LogClosedError: They were closed for good.
        """
        self._check_open()
        if self._task is None:
            self._task = asyncio.ensure_future(self._follow())

    @asynccontextmanager
    async def asking(
        self, *, offsets: Mapping[int, int] | None = None, timeout: float | None = None
    ) -> AsyncIterator[Queries]:
        """What can be asked, of the newest generation, for as long as the block runs.

        Args:
            offsets: For each partition, the offset behind the last record that must be in: read your own write.
            timeout: Seconds to wait for that at most.

        Raises:
            TimeoutError: It is not yet; ``lag`` says how far it is.
            ReadModelsError: The read models cannot be used.
            LogError: The log cannot be read.
        """
        async with asyncio.timeout(timeout):
            queries = await self._hold()
            while not await self._has(queries, offsets or {}):
                await self._release(queries)
                await self._news()
                queries = await self._hold()
        try:
            yield queries
        except ReadModelsDamagedError:
            queries.path.with_suffix(".damaged").touch()  # whoever writes will see it
            raise
        finally:
            await self._release(queries)

    async def _hold(self) -> Queries:
        await self.start()
        await self._until(self._opened.is_set)
        now = time.monotonic()
        async with self._reopening:
            self._check_open()
            if self._queries is None or (now - self._looked >= _LOOK_EVERY and self._is_outdated(self._queries)):
                newest = await Queries.open(self._path(self.newest()), self._connecting)
                await self._retire()
                self._queries = newest
            self._looked = now
            self._queries.users += 1
            return self._queries

    async def _release(self, queries: Queries) -> None:
        queries.users -= 1
        if not queries.users and queries is not self._queries:
            await queries.close()

    async def _retire(self) -> None:
        """Let nobody else ask what was opened last; the last who does closes it."""
        queries, self._queries = self._queries, None
        if queries is not None and not queries.users:
            await queries.close()

    def _is_outdated(self, queries: Queries) -> bool:
        return queries.path != self._path(self.newest()) or not queries.path.exists()

    async def ends(self) -> dict[int, int]:
        """Where the log ends now, as offsets to wait for."""
        ends = {partition: await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)}
        ends[CLEANUPS_PARTITION] = await self._log.end(CLEANUPS, 0)
        return {**ends, DEFINITIONS_PARTITION: await self._log.end(DEFINITIONS, 0)}  # tags are looked up there

    async def ends_of_audit(self) -> dict[int, int]:
        """Where the log ends now, as offsets to wait for, for those who ask for what was refused, too."""
        return {**await self.ends(), REFUSALS_PARTITION: await self._log.end(REFUSALS, 0)}

    async def catch_up(self, *, timeout: float | None = None) -> None:
        """Wait until everything that is in the log now is in the read models; errors as of ``asking``."""
        async with self.asking(offsets=await self.ends(), timeout=timeout):
            pass

    async def own(self) -> Queries:
        """A connection of one's own to the newest generation, with all in it that is in the log now.

        Whoever asks for it closes it; it stays what it is though a newer generation may come.
        """
        async with self.asking(offsets=await self.ends()) as queries:
            return await Queries.open(queries.path, self._connecting)

    async def _has(self, queries: Queries, offsets: Mapping[int, int]) -> bool:
        if not offsets:
            return True
        try:
            stands = await self._stands(queries)
        except BaseException:
            await self._release(queries)
            raise
        return all(stands.get(partition, 0) >= offset for partition, offset in offsets.items())

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

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError("the client was closed")

    def _raise_problem(self) -> None:
        self._check_open()
        if self._problem is not None:
            raise self._problem

    async def behind(self) -> int:
        """How many records are not followed yet: what ``lag`` says, and nothing else."""
        async with self.asking() as queries:
            stands = await self._stands(queries)
        ends = [await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)]
        return sum(max(0, end - stands.get(partition, 0)) for partition, end in enumerate(ends))

    async def lag(self) -> Lag:
        """How far behind the read models are."""
        async with self.asking() as queries:
            stands = dict(await queries.all("SELECT partition, offset FROM positions"))
        partitions = {
            partition: (stands.get(partition, 0), await self._log.end(EVENTS, partition))
            for partition in range(self._log.partitions)
        }
        behind = {partition: offset for partition, (offset, end) in partitions.items() if offset < end}
        records = sum(partitions[partition][1] - offset for partition, offset in behind.items())
        oldest = [await self._log.read(EVENTS, partition, offset, limit=1) for partition, offset in behind.items()]
        appended = min((found[0].timestamp for found in oldest if found), default=0)
        seconds = max(0, self.clock() - appended) / 1000 if appended else 0.0
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
        for path in self.directory.glob("*.d*"):
            number = path.name.partition(".")[0]
            if number.isdecimal() and int(number) < than:
                with contextlib.suppress(OSError):
                    path.unlink()

    # --- following ------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Write as soon as nobody else does; until then, let others be read."""
        while True:
            try:
                make_directory(self.directory)
                with lock_of(self.directory / "writer.lock") as held:
                    if held:
                        await self._write()
                    elif self.newest():
                        self._problem = None  # whoever writes has none, or tells it
                        self._opened.set()
                await asyncio.sleep(_LOOK_EVERY)
            except (LogClosedError, LogLostError) as error:
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
                await asyncio.sleep(_PAUSE)
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
                self._opened.clear()
                async with self._reopening:
                    await self._retire()
            else:
                generation = self.newest()

    async def _write_generation(self, generation: int) -> None:
        store = await Store.open(self._path(generation), self._connecting)
        try:
            projector = Projector(self._log, store)
            await projector.begin()
            self._projector, self._problem = projector, None
            self._opened.set()
            self._drop_older(generation)
            await Follower(self._log, self._definitions, store, projector).follow(self._until_newer(generation))
        finally:
            self._projector = None
            await store.close()

    async def _until_newer(self, generation: int) -> None:
        """Look now and then: it is another process that makes a newer one, or deletes this."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self._path(generation).with_suffix(".damaged").exists():
                raise ReadModelsDamagedError("the file is damaged", place=str(self._path(generation)))
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
        make_directory(self.directory)
        with lock_of(self.directory / "rebuild.lock") as held:
            if not held:
                raise ReadModelsError(
                    "another process is making them anew already", place=str(self.directory), remedy="Wait for it."
                )
            building = self.directory / "building"
            shutil.rmtree(building, ignore_errors=True)  # of somebody who was interrupted
            store = await Store.open(building / "0.db", self._connecting)
            try:
                projector = Projector(self._log, store)
                await projector.begin()
                await Follower(self._log, self._definitions, store, projector).fill(told)
            finally:
                await store.close()
            generation = self.newest() + 1
            (building / "0.db").rename(self._path(generation))  # closed by its last user: all of it is in this file
            shutil.rmtree(building, ignore_errors=True)
        return generation

    async def close(self, *, for_good: bool = False) -> None:
        """Stop following, and let go of the files.

        Args:
            for_good: Answer nobody any more, those included who wait; else the next question begins anew.
        """
        self._closed = self._closed or for_good
        if self._task is not None:
            task, self._task = self._task, None
            await cancel_and_wait(task)
        self._opened.clear()
        async with self._reopening:  # whoever opens a file at this moment leaves none open
            await self._retire()


def _refused(error: BaseException, directory: Path) -> ReadModelsError:
    return ReadModelsError(
        f"the read models cannot be kept: {error}",
        place=str(directory),
        remedy="Let this user write there, or name another directory: STEPWELL_VIEWS=DIR.",
    )
