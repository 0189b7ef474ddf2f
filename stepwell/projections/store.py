"""The file of the read models: opening and making it, and writing what a batch of events led to.

Rows and the position up to which the log was followed are written in one transaction (law 7), and only where nobody
else has written since: so however many write the same file, and whenever this process dies, every event counts once.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from stepwell import errors
from stepwell.consumers.registry.definitions import RegisteredVersion
from stepwell.core.fold.partition import Progress
from stepwell.core.fold.state import decode_instance, encode_instance
from stepwell.private_files import make_directory, make_file, tell_if_open
from stepwell.projections import tables
from stepwell.projections.attempts import attempts_of
from stepwell.projections.connections import Connecting, Connection, connect, in_thread, told
from stepwell.projections.counting import HOURLY
from stepwell.projections.folding import Changes, Tracked, refold
from stepwell.projections.rows import instance_row
from stepwell.schemas.records.audit import AuditEntry
from stepwell.schemas.records.codec import decode_transition

_PAGES_GIVEN_BACK: Final = 2_000  # at once: queries and events go between


ReadModelsError = errors.ReadModelsError
ReadModelsVersionError = errors.ReadModelsVersionError
ReadModelsDamagedError = errors.ReadModelsDamagedError


class OvertakenError(Exception):
    """Somebody else has written the file meanwhile: look again where it stands."""


class Position(NamedTuple):
    """Up to where a partition was followed.

    Attributes:
        offset: Of the next record to read.
        epoch: What the acceptance rule knows there,
        number: and the index.
        at: Time of the newest transition, in milliseconds; 0 before the first.
        proof: What the record before looked like, to tell another log from this one.
    """

    offset: int = 0
    epoch: int = -1
    number: int = 0
    at: int = 0
    proof: str = ""


PROGRESS: Final = "SELECT name, value FROM meta WHERE name >= 'place:' AND name < 'place;'"
"""What ``read_progress`` reads."""

encode_progress: Final = msgspec.json.Encoder().encode
_decode_progress: Final = msgspec.json.Decoder(Progress).decode


def progress_key(partition: int) -> str:
    """Under which name a partition's progress is noted; older files have it, too."""
    return f"place:{partition}"


def read_progress(rows: Iterable[tuple[str, bytes]]) -> dict[int, Progress]:
    """The progress of each partition, from rows of ``PROGRESS``."""
    return {int(name.partition(":")[2]): _decode_progress(value) for name, value in rows}


class Store:
    """An open file. Not for two tasks at once: whoever writes, or loads, does it alone."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.connection = connection
        self._turn = 0  # how many transactions there have been
        self._next_instance = 1
        self._next_error = 1
        self._workflows: dict[str, int] = {}
        self._names: dict[str, int] = {}

    @classmethod
    async def open(cls, path: Path, connecting: Connecting = in_thread) -> Store:
        """Open the file, or make it.

        Args:
            connecting: How SQLite opens it.

        Raises:
            ReadModelsVersionError: It is of a newer Stepwell.
            ReadModelsDamagedError: It must be made anew.
        """
        make_directory(path.parent)
        with suppress(OSError):  # SQLite says it better
            make_file(path)
        tell_if_open(path)
        connection = await connect(path, connecting=connecting)
        try:
            await _prepare(connection, path)
            store = cls(path, connection)
            await store.refresh()
        except BaseException as error:
            await connection.close()
            raise told(error, path) from error
        return store

    async def refresh(self) -> None:
        """Learn what others may have written: the numbers given out so far."""
        self._turn = await self._number("SELECT value FROM meta WHERE name = 'turn'")
        self._next_instance = 1 + await self._number("SELECT max(number) FROM instances")
        self._next_error = 1 + await self._number("SELECT max(number) FROM errors")
        self._workflows = dict(await self.all("SELECT name, number FROM workflows"))
        self._names = dict(await self.all("SELECT name, number FROM names"))

    async def _number(self, query: str) -> int:
        rows = await self.all(query)
        return int(rows[0][0] or 0) if rows else 0

    async def all(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Every row of a query."""
        return list(await self.connection.execute_fetchall(query, parameters))

    async def positions(self) -> dict[int, Position]:
        """Where each partition stands."""
        rows = await self.all("SELECT partition, offset, epoch, number, at, proof FROM positions")
        return {row[0]: Position(*row[1:]) for row in rows}

    async def progress(self) -> dict[int, Progress]:
        """How far the engines of each partition had come there, as far as that was noted."""
        return read_progress(await self.all(PROGRESS))

    def new_number(self) -> int:
        """The number of an instance that is new."""
        number = self._next_instance
        self._next_instance += 1
        return number

    async def load(self, ids: Sequence[str]) -> dict[str, Tracked]:
        """Instances as their histories say, those of ``ids`` that are known."""
        found: dict[str, Tracked] = {}
        for instance_id in ids:
            rows = await self.all("SELECT max(number) FROM instances WHERE id = ?", (instance_id,))
            if rows[0][0] is not None:
                found[instance_id] = await self.load_number(rows[0][0])
        return found

    async def load_number(self, number: int) -> Tracked:
        """One of them by its number: an id may have been used several times."""
        tracked = Tracked(number)
        for at, state in await self.all("SELECT at, state FROM bases WHERE instance = ?", (number,)):
            tracked.state = decode_instance(state)
            tracked.row = instance_row(tracked.state, at)
            tracked.attempts = attempts_of(tracked.state)
        query = "SELECT value, place FROM history WHERE instance = ? ORDER BY place"
        values = await self.all(query, (number,))
        return refold(tracked, (decode_transition(value, f"history {place}") for value, place in values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A transaction for whoever wrote last: nobody else writes meanwhile, and all of it counts or nothing.

        Raises:
            OvertakenError: Somebody else has written meanwhile; nothing is written.
            ReadModelsError: The file cannot be written.
        """
        try:
            await self.connection.execute("BEGIN IMMEDIATE")
            try:
                await self._take_turn()
                yield
                await self.connection.execute("COMMIT")
                self._turn += 1
            except BaseException:
                with suppress(sqlite3.Error):
                    await asyncio.shield(self.connection.execute("ROLLBACK"))
                raise
        except Exception as error:
            with suppress(sqlite3.Error):
                await self.refresh()  # numbers given out in vain
            raise told(error, self.path) from error

    async def _take_turn(self) -> None:
        """Refuse where anybody has written since we looked: what is at hand here may be old."""
        if await self._number("SELECT value FROM meta WHERE name = 'turn'") != self._turn:
            raise OvertakenError
        await self.connection.execute(
            "INSERT OR REPLACE INTO meta(name, value) VALUES ('turn', ?)", (self._turn + 1,)
        )

    async def write(
        self,
        changes: Changes,
        partition: int,
        before: Position,
        after: Position,
        definitions: Iterable[RegisteredVersion] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write, within a transaction, what a batch changes, and where its partition stands afterwards.

        Args:
            before: Where it stood.
            progress: How far the partition's engines had come there, where that has changed.
            definitions: All that are registered, where that has changed.

        Raises:
            OvertakenError: It stands elsewhere.
        """
        if (await self.positions()).get(partition, Position()) != before:
            raise OvertakenError
        await self.connection.execute(
            "INSERT OR REPLACE INTO positions(partition, offset, epoch, number, at, proof) VALUES (?, ?, ?, ?, ?, ?)",
            (partition, *after),
        )
        if progress is not None:
            value = encode_progress(progress)
            await self.connection.execute(
                "INSERT OR REPLACE INTO meta(name, value) VALUES (?, ?)", (progress_key(partition), value)
            )
        await self._put(changes)
        if definitions is not None:
            await self._put_definitions(definitions)

    async def forget_refusals(self, before: int) -> None:
        """Delete, within a transaction, the entries of refusals whose records are before an offset."""
        bounds = (tables.refusal_place(0), tables.refusal_place(max(0, before)))
        await self.connection.execute(tables.FORGET_REFUSALS, bounds)

    async def _put_definitions(self, versions: Iterable[RegisteredVersion]) -> None:
        rows = [
            (
                one.name, one.version, one.hash, one.active, one.current, json.dumps(one.tags), one.description,
                one.steps, one.registered_at,
            )
            for one in versions
        ]  # fmt: skip
        await self.connection.execute("DELETE FROM definitions")
        await self._many(tables.PUT_DEFINITION, rows)

    async def _put(self, changes: Changes) -> None:
        fresh, known = [], []
        for number, row in changes.instances.items():
            if number in changes.fresh:
                workflow = await self._workflow(row.workflow)
                fresh.append(tables.new_instance(number, workflow, row, changes.inputs.get(number)))
            else:
                known.append(tables.changed_instance(number, row))
        await self._many(tables.INSERT_INSTANCE, fresh)
        await self._many(tables.UPDATE_INSTANCE, known)
        columns = tables.ATTEMPT_COLUMNS
        attempts = [
            (number, *[getattr(row, column) for column in columns]) for (number, _), row in changes.attempts.items()
        ]
        await self._many(tables.PUT_ATTEMPT, attempts)
        await self._many(tables.PUT_HISTORY, changes.history)
        bases = [(number, at, encode_instance(state)) for number, (at, state) in changes.bases.items()]
        await self._many(tables.PUT_BASE, bases)
        await self._put_fields(changes)
        errors = [(number, *error) for number, error in enumerate(changes.errors, self._next_error)]
        self._next_error += len(errors)
        await self._many(tables.PUT_ERROR, errors)
        await self._many(tables.PUT_ERROR_TEXT, [(row[0], row[5], row[6]) for row in errors])
        await self._put_counts(changes)
        await self._many(tables.PUT_AUDIT, [_audit_row(entry) for entry in changes.audit])

    async def _put_counts(self, changes: Changes) -> None:
        moved = [(count, amount) for count, amount in changes.counts.items() if amount]
        hours = [
            (count.slot, count.workflow, count.version, count.measure.removeprefix(HOURLY), amount)
            for count, amount in moved
            if count.measure.startswith(HOURLY)
        ]
        sums = [(*count, amount) for count, amount in moved if not count.measure.startswith(HOURLY)]
        await self._many(tables.ADD_TO_HOUR, hours)
        await self._many(tables.ADD_COUNT, sums)

    async def _put_fields(self, changes: Changes) -> None:
        held: list[tuple[int, str, int]] = []
        dropped: list[tuple[int, str, int]] = []
        for (number, name, value), holds in changes.fields.items():
            (held if holds else dropped).append((await self._name(name), value, number))
        await self._many(tables.DROP_FIELD, dropped)
        await self._many(tables.PUT_FIELD, held)

    async def _many(self, statement: str, rows: Sequence[Any]) -> None:
        if rows:
            await self.connection.executemany(statement, rows)

    async def _workflow(self, name: str) -> int:
        return await self._interned(self._workflows, "workflows", name)

    async def _name(self, name: str) -> int:
        return await self._interned(self._names, "names", name)

    async def _interned(self, known: dict[str, int], table: str, name: str) -> int:
        number = known.get(name)
        if number is None:
            cursor = await self.connection.execute(f"INSERT INTO {table}(name) VALUES (?)", (name,))
            number = known[name] = int(cursor.lastrowid or 0)
        return number

    async def give_back(self) -> bool:
        """Give some pages that became free back to the file system; whether there may be more.

        Raises:
            ReadModelsError: The file cannot be written.
        """
        try:
            free = await self._number("PRAGMA freelist_count")
            if not await self._number("PRAGMA auto_vacuum"):  # made before files could shrink
                if free > await self._number("PRAGMA page_count") // 4:
                    await self.connection.execute("VACUUM")  # once, all of it
            elif free:
                # Only executescript() steps through it to its end.
                await self.connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})")
            await self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return 0 < await self._number("PRAGMA freelist_count") < free
        except sqlite3.Error as error:
            raise told(error, self.path) from error

    async def close(self) -> None:
        """Let go of the file."""
        await self.connection.close()


def _audit_row(entry: AuditEntry) -> tuple[object, ...]:
    if entry.outcome == "refused":
        place = tables.refusal_place(entry.offset)
    else:
        place = -1 - entry.offset if entry.definition else entry.partition << tables.OFFSET_BITS | entry.offset
    return (
        place, entry.at, entry.instance_id, entry.by, entry.via, entry.command, entry.command_id, entry.outcome,
        entry.message, entry.definition,
    )  # fmt: skip


async def _prepare(connection: Connection, path: Path) -> None:
    """Make the tables of a new file, or bring those of an older one up to date."""
    await connection.execute("BEGIN IMMEDIATE")
    application = (await _all(connection, "PRAGMA application_id"))[0][0]
    version = (await _all(connection, "PRAGMA user_version"))[0][0]
    if application == 0 and not await _all(connection, "SELECT 1 FROM sqlite_master LIMIT 1"):
        await _script(connection, tables.SCHEMA)
        await connection.execute(f"PRAGMA application_id = {tables.APPLICATION_ID}")
        version = tables.SCHEMA_VERSION
    elif application != tables.APPLICATION_ID:
        raise ReadModelsDamagedError("this SQLite file holds no read models of Stepwell", place=str(path))
    check_version(version, path)
    while version < tables.SCHEMA_VERSION:
        if version not in tables.MIGRATIONS:
            raise ReadModelsDamagedError(f"read models of version {version} must be made anew", place=str(path))
        await _script(connection, tables.MIGRATIONS[version])
        version += 1
    await connection.execute(f"PRAGMA user_version = {version}")
    await connection.execute("COMMIT")


def check_version(version: int, path: Path) -> None:
    """Refuse a file that only a newer Stepwell can read.

    Raises:
        ReadModelsVersionError: It is one.
    """
    if version > tables.SCHEMA_VERSION:
        raise ReadModelsVersionError(
            f"read models of version {version}; this Stepwell knows versions up to {tables.SCHEMA_VERSION}",
            place=str(path),
            remedy="Update Stepwell (pip install --upgrade stepwell), or let this one keep its own: "
            "STEPWELL_VIEWS=DIR.",
        )


async def _script(connection: Connection, text: str) -> None:
    """Run statements one by one: ``executescript`` would end the transaction first."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            await connection.execute(statement)
            statement = ""


async def _all(connection: Connection, query: str) -> list[Any]:
    return list(await connection.execute_fetchall(query))


def proof_of(timestamp: int, value: bytes) -> str:
    """What a record is known by again."""
    import zlib  # noqa: PLC0415 - a small thing, used once a batch

    return json.dumps([timestamp, zlib.crc32(value)])
