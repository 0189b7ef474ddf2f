"""Asking the read models: one connection that only reads."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, Self, get_args

import msgspec
from msgspec import Struct

from stepwell.projections import tables
from stepwell.projections.connections import Connecting, Connection, connect, in_thread, told
from stepwell.projections.counting import HOUR, OF_WORKERS
from stepwell.projections.filters import (
    MOST_ON_A_PAGE,
    Cursor,
    FilterError,
    InstanceFilter,
    InstancePage,
    checked,
    checked_order,
    read_cursor,
    write_cursor,
)
from stepwell.projections.finding import Finder, FoundRows, phrase
from stepwell.projections.input_hash import input_hash
from stepwell.projections.pending import Waiting
from stepwell.projections.rows import AttemptRow, InstanceRow
from stepwell.projections.statistics import Hour, WorkerStatistics, WorkflowStatistics, statistics_of
from stepwell.projections.store import check_version
from stepwell.projections.views import MOST_WORKERS
from stepwell.schemas.records.statuses import PENDING, WorkStatus
from stepwell.suggest import suggest

_slots = msgspec.json.Decoder(dict[int, int]).decode
_ATTEMPTS: Final = tables.columns_of(tables.ATTEMPT_COLUMNS, "a")


WORK: Final[tuple[str, ...]] = get_args(WorkStatus)
"""The statuses of what is under way."""


class Work(AttemptRow, frozen=True, gc=False, kw_only=True):
    """An attempt under way, and the instance that it belongs to."""

    instance_id: str
    workflow: str
    priority: int = 0


class ErrorEntry(Struct, frozen=True):
    """An error that has happened.

    Attributes:
        at: Milliseconds since 1970.
        step_id: Whose it was; empty for the workflow's own.
        run: Of the step.
        kind: Its type, such as ``ConnectionError``; for incidents, their code.
    """

    instance_id: str
    workflow: str
    at: int
    step_id: str
    run: int
    kind: str
    message: str


class AuditRow(Struct, frozen=True):
    """Somebody's request, and what became of it.

    Attributes:
        at: Milliseconds since 1970.
        instance_id: Of whom it was asked; empty where it was about a definition.
        by: Who asked, and
        via: from where.
        command: Type of the command.
        outcome: ``followed``, ``noted`` (it was so already), ``rejected`` by an engine or ``refused`` before it.
        definition: ``NAME@VERSION`` of a definition that was registered or switched.
    """

    at: int
    instance_id: str
    by: str
    via: str
    command: str
    command_id: str
    outcome: str
    message: str
    definition: str


class Queries:
    """Reads one file of read models. Queries that come at once wait for each other.

    Attributes:
        path: The file.
        users: How many are asking.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.users = 0
        self._connection = connection
        self._finder = Finder(connection)

    @classmethod
    async def open(cls, path: Path, connecting: Connecting = in_thread) -> Self:
        """Open a file that is there.

        Args:
            connecting: How SQLite opens it.

        Raises:
            ReadModelsVersionError: It is of a newer Stepwell.
            ReadModelsError: It cannot be read.
        """
        queries = cls(path, await connect(path, read_only=True, connecting=connecting))
        try:
            check_version((await queries.all("PRAGMA user_version"))[0][0], path)
        except BaseException:
            await queries.close()
            raise
        return queries

    async def all(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Every row of a query.

        Raises:
            FilterError: A parameter is none that SQLite knows.
            ReadModelsError: The file cannot be read.
        """
        try:
            return list(await self._connection.execute_fetchall(query, parameters))
        except _ODD:
            raise _refused() from None
        except sqlite3.Error as error:
            raise told(error, self.path) from error

    async def instances(
        self,
        wanted: InstanceFilter,
        *,
        order: str = "-created",
        cursor: str | None = None,
        limit: int = 50,
        exact: bool = False,
        waiting: Waiting | None = None,
    ) -> InstancePage:
        """A page of instances.

        Args:
            wanted: Which.
            waiting: Those that have no rows yet, as ``Pending`` has found them for the same filter; None for none.
            order: One of ``ORDERS``.
            cursor: ``next`` of the page before.
            limit: How many at most, up to 1,000.
            exact: Count them all; else counting ends at 1,000.

        Raises:
            FilterError: The question makes no sense.
        """
        wanted, order = checked(wanted), checked_order(order)
        _check_limit(limit)
        behind = read_cursor(cursor, order) if cursor else None
        found = await self._find(wanted, order, behind, limit, exact=exact)
        names = dict(await self.all("SELECT number, name FROM workflows"))
        rows = [(row[0], row[1], InstanceRow(row[2], names[row[3]], *row[4:])) for row in found.rows]
        if waiting is None or order.lstrip("-") == "finished":  # what waits has no end
            waiting = Waiting()
        begun = {row.instance_id for _, _, row in rows}  # some of them since we looked what waits
        rows += [one for one in waiting.page(order, behind, limit + 1) if one[2].instance_id not in begun]
        rows.sort(key=lambda one: one[:2], reverse=order.startswith("-"))
        page = rows[:limit]
        following = ""
        if len(rows) > limit:
            following = write_cursor(Cursor(order, page[-1][0], page[-1][1]))
        total = found.total + len(waiting.starts)
        return InstancePage([row for _, _, row in page], following, total, exact=found.exact and waiting.exact)

    async def _find(
        self, wanted: InstanceFilter, order: str, cursor: Cursor | None, limit: int, *, exact: bool
    ) -> FoundRows:
        if wanted.status:
            begun = tuple(status for status in wanted.status if status != PENDING)
            if not begun:
                return FoundRows([], 0, True)
            wanted = msgspec.structs.replace(wanted, status=begun)
        try:
            return await self._finder.find(wanted, order, cursor, limit, exact=exact)
        except _ODD:
            raise _refused() from None
        except sqlite3.Error as error:
            raise told(error, self.path) from error

    async def instance(self, instance_id: str) -> InstanceRow | None:
        """One instance's row; None if there is none."""
        if not instance_id:  # a filter would take it for any
            return None
        page = await self.instances(InstanceFilter(id=instance_id), limit=1)
        return page[0] if page else None

    async def attempts(self, instance_id: str) -> list[AttemptRow]:
        """Every attempt at every step of an instance, in the order in which they began."""
        query = (
            f"SELECT {_ATTEMPTS} FROM attempts a WHERE a.instance = "
            "(SELECT max(number) FROM instances WHERE id = ?) ORDER BY a.sequence"
        )
        return [AttemptRow(*row) for row in await self.all(query, (instance_id,))]

    async def work(self, *, status: Sequence[str] = (), queue: str = "", limit: int = 50) -> list[Work]:
        """Attempts that are ready, running or waiting, those that have been so for the longest first.

        Raises:
            FilterError: The question makes no sense.
        """
        for one in status:
            if one not in WORK:
                raise FilterError(
                    f"nothing under way has the status {one!r}{suggest(one, WORK)}",
                    place="status",
                    remedy=f"They are {', '.join(WORK)}.",
                )
        _check_limit(limit)
        conditions, parameters = ["a.finished_at = 0"], list[Any]()
        if status:
            conditions.append(f"a.status IN ({', '.join('?' * len(status))})")
            parameters += status
        if queue:
            conditions.append("a.queue = ?")
            parameters.append(queue)
        query = (
            f"SELECT {_ATTEMPTS}, i.id, w.name, i.priority FROM attempts a "
            "JOIN instances i ON i.number = a.instance JOIN workflows w ON w.number = i.workflow "
            f"WHERE {' AND '.join(conditions)} ORDER BY a.ready_at LIMIT ?"
        )
        width = len(tables.ATTEMPT_COLUMNS)
        return [
            Work(*row[:width], instance_id=row[width], workflow=row[width + 1], priority=row[width + 2])
            for row in await self.all(query, (*parameters, limit))
        ]

    async def statistics(
        self, workflow: str | None = None, version: str | None = None, *, steps: bool = False
    ) -> list[WorkflowStatistics]:
        """Statistics of every version of a definition, or of all.

        Args:
            steps: Those of their steps as well.
        """
        conditions, parameters = ["workflow <> ?"], list[Any]([OF_WORKERS])
        for column, value in (("workflow", workflow), ("version", version)):
            if value is not None:
                conditions.append(f"{column} = ?")
                parameters.append(value)
        if not steps:
            conditions.append("step_id = ''")
        query = (
            "SELECT workflow, version, step_id, measure, json_group_object(slot, count) FROM counts "
            f"WHERE {' AND '.join(conditions)} GROUP BY workflow, version, step_id, measure"
        )
        rows = await self.all(query, parameters)
        return statistics_of((*row[:4], _slots(row[4])) for row in rows)

    async def workers(self, first: Collection[str] = (), limit: int = MOST_WORKERS) -> list[WorkerStatistics]:
        """What each worker has done: some first, then those with the most runs.

        Args:
            first: Names of workers that come first, such as the live ones.
            limit: How many at most.
        """
        _check_limit(limit)
        query = (
            "SELECT version, sum(iif(measure = 'runs', count, 0)) AS runs, sum(iif(measure = 'failures', count, 0)), "
            "sum(iif(measure = 'busy', count, 0)) FROM counts WHERE workflow = ? AND step_id = '' GROUP BY version "
            "ORDER BY version IN (SELECT value FROM json_each(?)) DESC, runs DESC, version LIMIT ?"
        )
        return [
            WorkerStatistics(worker=worker, runs=runs, failures=failures, busy_seconds=busy / 1000)
            for worker, runs, failures, busy in await self.all(query, (OF_WORKERS, json.dumps(list(first)), limit))
        ]

    async def hours(self, since: int, workflow: str | None = None) -> list[Hour]:
        """What happened in each hour from a time on, in milliseconds since 1970; none where nothing happened."""
        query = "SELECT hour, measure, sum(count) FROM hours WHERE hour >= ?"
        parameters: list[Any] = [since // HOUR]
        if workflow is not None:
            query += " AND workflow = ?"
            parameters.append(workflow)
        found: dict[int, dict[str, int]] = {}
        for hour, measure, count in await self.all(query + " GROUP BY hour, measure", parameters):
            found.setdefault(hour, {})[measure] = count
        return [Hour(hour=hour * HOUR, **found[hour]) for hour in sorted(found)]

    async def errors(self, instance_id: str | None, text: str, limit: int) -> list[ErrorEntry]:
        """Errors, the newest first.

        Raises:
            FilterError: The text is too short to be looked for, or the limit is none.
        """
        _check_limit(limit)
        conditions, parameters = ["1"], list[Any]()
        if instance_id is not None:
            conditions.append("e.instance IN (SELECT number FROM instances WHERE id = ?)")
            parameters.append(instance_id)
        if text:
            checked(InstanceFilter(error=text))
            conditions.append("e.number IN (SELECT rowid FROM error_texts WHERE error_texts MATCH ?)")
            parameters.append(phrase(text))
        query = (
            "SELECT i.id, w.name, e.at, e.step_id, e.run, e.kind, e.message FROM errors e "
            "JOIN instances i ON i.number = e.instance JOIN workflows w ON w.number = i.workflow "
            f"WHERE {' AND '.join(conditions)} ORDER BY e.at DESC, e.number DESC LIMIT ?"
        )
        return [ErrorEntry(*row) for row in await self.all(query, (*parameters, limit))]

    async def audit(
        self, by: str, instance_id: str, since: int | None, before: int | None, limit: int
    ) -> list[AuditRow]:
        """Who asked for what, the newest first.

        Raises:
            FilterError: The limit is none.
        """
        _check_limit(limit)
        conditions, parameters = ["1"], list[Any]()
        for condition, value in (
            ("by = ?", by or None), ("instance_id = ?", instance_id or None), ("at >= ?", since), ("at < ?", before),
        ):  # fmt: skip
            if value is not None:
                conditions.append(condition)
                parameters.append(value)
        query = (
            "SELECT at, instance_id, by, via, command, command_id, outcome, message, definition FROM audit "
            f"WHERE {' AND '.join(conditions)} ORDER BY at DESC, place DESC LIMIT ?"
        )
        return [AuditRow(*row) for row in await self.all(query, (*parameters, limit))]

    async def cached(self, workflow: str, payload: Any, version: str | None, since: int | None) -> InstanceRow | None:
        """The newest instance that has completed with an equal input, at ``since`` (in milliseconds) or later."""
        query = (
            f"SELECT {tables.columns_of(tables.INSTANCE_COLUMNS)} FROM instances "
            "WHERE input_hash = ? AND status = 'completed' "
            "AND workflow = (SELECT number FROM workflows WHERE name = ?)"
        )
        parameters: list[Any] = [input_hash(payload), workflow]
        if version is not None:
            query += " AND version = ?"
            parameters.append(version)
        if since is not None:
            query += " AND finished_at >= ?"
            parameters.append(since)
        rows = await self.all(query + " ORDER BY finished_at DESC LIMIT 1", parameters)
        return InstanceRow(rows[0][0], workflow, *rows[0][2:]) if rows else None

    async def close(self) -> None:
        """Let go of the file."""
        await self._connection.close()


_ODD: Final = (UnicodeEncodeError, OverflowError)
"""What binding a parameter raises: it holds halves of characters (surrogates), or is beyond 64 bits."""


def _refused() -> FilterError:
    return FilterError("a text that is no Unicode, or a number beyond 64 bits, cannot be looked for")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_ON_A_PAGE:
        raise FilterError(f"a page has 1 to {MOST_ON_A_PAGE:,} rows", place="limit")
