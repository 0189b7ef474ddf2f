"""Finding instances: a filter as SQL, whichever index serves it best.

SQLite chooses among indexes by averages; what matters here is the one value that was asked for. So conditions that
may hold for few instances (a field, a text in errors, a priority) are asked first, and not to the end: those that
hold for few give the candidates, and the rest is checked on them. Where none is rare, instances are walked through
in the wanted order until the page is full, which is soon, as what is wanted is common.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from stepwell.projections.connections import Connection
from stepwell.projections.filters import Cursor, InstanceFilter
from stepwell.projections.tables import INSTANCE_COLUMNS, columns_of

FEW: Final = 2_000  # candidates that are looked through one by one
COUNTED: Final = 1_000  # up to where a total is counted, unless it is to be exact,
_COUNTED_SLOWLY: Final = 100  # and where every row costs a look elsewhere
_MOST_ARMS: Final = 40  # orderly walks that are merged for one page

KEYS: Final = {"created": "started_at", "finished": "finished_at", "priority": "priority"}


class FoundRows(NamedTuple):
    """Rows as SQLite gives them, with key and number first; how many there are in all, and whether that is exact."""

    rows: list[Any]
    total: int
    exact: bool


class _Conditions:
    """Conditions that must all hold, and their parameters."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.parameters: list[Any] = []

    def add(self, text: str, *parameters: Any) -> None:
        self.texts.append(text)
        self.parameters += parameters

    def __str__(self) -> str:
        return " AND ".join(self.texts) or "1"


class _Rare(NamedTuple):
    """A condition that may hold for few: a query for their numbers, and how to check it on one."""

    numbers: str
    check: str
    parameters: tuple[Any, ...]
    checked_with: tuple[Any, ...]


class Finder:
    """Looks for instances by one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(
        self, wanted: InstanceFilter, order: str, cursor: Cursor | None, limit: int, *, exact: bool
    ) -> FoundRows:
        """A page of instances.

        Args:
            wanted: Checked.
            order: One of ``ORDERS``.
            cursor: Behind which row it begins.
            limit: How many rows.
            exact: Count them all, however long that takes.
        """
        workflows = await self._workflows(wanted)
        rare = await self._rare(wanted, order)
        if workflows == [] or rare is None:
            return FoundRows([], 0, True)
        plain = _plain(wanted, order)
        candidates: list[int] | None = None
        for condition in rare:
            numbers = await self._all(
                f"SELECT number FROM ({condition.numbers}) LIMIT {FEW + 1}", condition.parameters
            )
            if len(numbers) <= FEW and (candidates is None or len(numbers) < len(candidates)):
                candidates = [row[0] for row in numbers]
        for condition in rare:
            plain.add(condition.check, *condition.checked_with)
        if candidates is not None:
            listed = ",".join(map(str, candidates))
            plain.add(f"number IN ({listed})")
        arms = _arms(wanted, workflows, walk=candidates is None)
        rows = await self._page(arms, plain, order, cursor, limit)
        if cursor is None and len(rows) <= limit:
            return FoundRows(rows, len(rows), True)
        most = None if exact or candidates is not None else _COUNTED_SLOWLY if rare else COUNTED
        total, is_exact = await self._total(wanted, workflows, arms, plain, order, most)
        return FoundRows(rows, total, is_exact)

    async def _workflows(self, wanted: InstanceFilter) -> list[int] | None:
        """Numbers of the workflows that are wanted; None for whichever."""
        if not wanted.workflow and not wanted.tag:
            return None
        query, parameters = "SELECT number FROM workflows WHERE 1", list[Any]()
        if wanted.workflow:
            query += " AND name = ?"
            parameters.append(wanted.workflow)
        if wanted.tag:
            query += (
                " AND name IN (SELECT workflow FROM definitions, json_each(definitions.tags) AS tag"
                " WHERE tag.value = ?)"
            )
            parameters.append(wanted.tag)
        return [row[0] for row in await self._all(query, parameters)]

    async def _rare(self, wanted: InstanceFilter, order: str) -> list[_Rare] | None:
        """Conditions that may hold for few; None where one of them holds for none."""
        found: list[_Rare] = []
        for name, value in wanted.fields():
            known = await self._all("SELECT number FROM names WHERE name = ?", (name,))
            if not known:
                return None
            key = (known[0][0], value)
            found.append(
                _Rare(
                    "SELECT instance AS number FROM fields WHERE name = ? AND value = ?",
                    "EXISTS (SELECT 1 FROM fields WHERE name = ? AND value = ? AND instance = instances.number)",
                    key,
                    key,
                )
            )
        if wanted.error:
            found.append(_text(wanted.error))
        for column, low, high in (
            ("priority", wanted.priority_min, wanted.priority_max),
            ("finished_at", wanted.finished_after, wanted.finished_before),
        ):
            if low is not None or high is not None:
                found.append(_range(column, low, high, walked=KEYS[order.lstrip("-")] == column))
        for column, value in (("parent", wanted.parent), ("id", wanted.id)):
            if value:
                same = f"SELECT number FROM instances WHERE {column} = ?"
                found.append(_Rare(same, f"{column} = ?", (value,), (value,)))
        return found

    async def _page(
        self, arms: list[_Conditions], plain: _Conditions, order: str, cursor: Cursor | None, limit: int
    ) -> list[Any]:
        """The first rows of all arms, merged. Each arm is one walk along an index, already in order."""
        direction, key = ("DESC", "<") if order.startswith("-") else ("ASC", ">")
        column = KEYS[order.lstrip("-")]
        behind = "" if cursor is None else f" AND ({column}, number) {key} (?, ?)"
        one = (
            f"SELECT * FROM (SELECT {column} AS key, number, {columns_of(INSTANCE_COLUMNS)} FROM instances WHERE "
            "{conditions}" + f"{behind} ORDER BY {_by(order)} LIMIT {limit + 1})"
        )
        texts, parameters = [], list[Any]()
        for arm in arms:
            texts.append(one.format(conditions=f"{arm} AND {plain}"))
            parameters += [*arm.parameters, *plain.parameters]
            parameters += [] if cursor is None else [cursor.key, cursor.number]
        query = " UNION ALL ".join(texts) + f" ORDER BY 1 {direction}, 2 {direction} LIMIT {limit + 1}"
        return await self._all(query, parameters)

    async def _total(
        self,
        wanted: InstanceFilter,
        workflows: list[int] | None,
        arms: list[_Conditions],
        plain: _Conditions,
        order: str,
        most: int | None,
    ) -> tuple[int, bool]:
        if not plain.texts:
            return await self._counted(wanted, workflows), True
        total = 0
        for arm in arms:
            # Counted in the order of the page: that is the way on which enough of them were just found.
            limit = "" if most is None else f" ORDER BY {_by(order)} LIMIT {most + 1 - total}"
            query = f"SELECT count(*) FROM (SELECT 1 FROM instances WHERE {arm} AND {plain}{limit})"
            total += (await self._all(query, [*arm.parameters, *plain.parameters]))[0][0]
            if most is not None and total > most:
                return most, False
        return total, True

    async def _counted(self, wanted: InstanceFilter, workflows: list[int] | None) -> int:
        """How many there are, by the statistics: nothing is looked through."""
        measures = [f"status:{status}" for status in wanted.status] or ["total"]
        query = f"SELECT sum(count) FROM counts WHERE step_id = '' AND measure IN ({_marks(measures)})"
        parameters: list[Any] = [*measures]
        if workflows is not None:
            query += f" AND workflow IN (SELECT name FROM workflows WHERE number IN ({_marks(workflows)}))"
            parameters += workflows
        return int((await self._all(query, parameters))[0][0] or 0)

    async def _all(self, query: str, parameters: Any = ()) -> list[Any]:
        return list(await self._connection.execute_fetchall(query, parameters))


def _by(order: str) -> str:
    column, direction = KEYS[order.lstrip("-")], "DESC" if order.startswith("-") else "ASC"
    return f"{column} {direction}, number {direction}"


def phrase(text: str) -> str:
    """A text as FTS5 looks for it: as it stands, without any operators."""
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> _Rare:
    """A text in errors, without regard to case."""
    numbers = (
        "SELECT DISTINCT instance AS number FROM error_texts JOIN errors ON errors.number = "
        "error_texts.rowid WHERE error_texts MATCH ?"
    )
    if not text.isascii():  # LIKE knows the case of ASCII only
        return _Rare(numbers, f"number IN ({numbers})", (phrase(text),), (phrase(text),))
    pattern = f"%{_escaped(text)}%"
    return _Rare(
        numbers,
        "EXISTS (SELECT 1 FROM errors WHERE errors.instance = instances.number AND "
        "(message LIKE ? ESCAPE '\\' OR kind LIKE ? ESCAPE '\\'))",
        (phrase(text),),
        (pattern, pattern),
    )


def _plain(wanted: InstanceFilter, order: str) -> _Conditions:
    """Conditions on the rows themselves."""
    conditions = _Conditions()
    if wanted.version:
        conditions.add("version = ?", wanted.version)
    if wanted.created_after is not None:
        conditions.add("started_at >= ?", wanted.created_after)
    before = [time for time in (wanted.created_before, wanted.finished_before) if time is not None]
    if before:  # nothing ends before it has begun
        conditions.add("started_at < ?", min(before))
    if order.lstrip("-") == "finished":
        conditions.add("finished_at > 0")
    return conditions


def _range(column: str, low: int | None, high: int | None, *, walked: bool) -> _Rare:
    """A condition on a column that has an index of its own.

    Args:
        walked: Whether this is the index that is walked along; else it is hidden from SQLite while another is.
    """
    texts, parameters = [], list[int]()
    if low is None and column == "finished_at":
        texts.append(f"{column} > 0")  # those that go on have 0 there
    if low is not None:
        texts.append(f"{column} >= ?")
        parameters.append(max(low, 1) if column == "finished_at" else low)
    if high is not None:
        texts.append(f"{column} {'<' if column == 'finished_at' else '<='} ?")
        parameters.append(high)
    check = " AND ".join(texts)
    hidden = check if walked else " AND ".join(f"+{text}" for text in texts)
    return _Rare(f"SELECT number FROM instances WHERE {check}", hidden, tuple(parameters), tuple(parameters))


def _arms(wanted: InstanceFilter, workflows: list[int] | None, *, walk: bool) -> list[_Conditions]:
    """What to walk through: one walk for each status and workflow, along the index that has both and the order.

    Args:
        walk: Whether anything is walked through; else candidates are known, and one query checks them.
    """
    statuses: list[str | None] = [*dict.fromkeys(wanted.status)] or [None]
    numbers: list[int | None] = [*workflows] if workflows is not None else [None]
    if not walk or len(statuses) * len(numbers) > _MOST_ARMS:
        arm = _Conditions()
        if wanted.status:
            arm.add(f"status IN ({_marks(wanted.status)})", *wanted.status)
        if workflows is not None:
            arm.add(f"workflow IN ({_marks(workflows)})", *workflows)
        return [arm]
    arms = []
    for number in numbers:
        for status in statuses:
            arm = _Conditions()
            if number is not None:
                arm.add("workflow = ?", number)
            if status is not None:
                arm.add("status = ?", status)
            arms.append(arm)
    return arms


def _marks(values: Any) -> str:
    return ", ".join("?" * len(values))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
