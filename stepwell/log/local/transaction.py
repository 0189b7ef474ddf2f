"""A transaction of the log's writer, and the works that are done in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from stepwell.errors import LogError, RecordTooLargeError
from stepwell.log.local.store import EVENTS_NUMBER, MAX_TOPICS, OFFSET_MASK, TOPIC_SHIFT, base_of, encode_rowids
from stepwell.log.port import NewRecord
from stepwell.process import now_ms

_CHUNK: Final = 1024  # rows of one INSERT statement; above _EXACT always a power of two, so that a handful of …
_EXACT: Final = 64  # … prepared statements serves every count, and up to here each count has its own


class Row(NamedTuple):
    """A record, checked and encoded in the event loop's thread."""

    key: str
    headers: str | None
    value: bytes
    priority: int = 0
    effect: str = ""  # its id, where it is for a queue and has one


class Work(Protocol):
    """Something to be done within a transaction.

    Attributes:
        durable: Whether its commit has to wait for the disk. Claims and memberships need not: after a power
            failure nobody holds them any more. Nor need what is settled: a step whose outcome is lost together
            with its settlement is run again.
        size: About how many bytes it writes.
    """

    durable: bool
    size: int

    def apply(self, tx: Transaction) -> None:
        """Do it; in the writer's thread."""

    def done(self) -> None:
        """It is committed; in the loop's thread."""

    def failed(self, error: LogError) -> None:
        """It is not, as far as we know; in the loop's thread."""


def make_row(record: NewRecord, path: str, limit: int, priority: int = 0, effect: str = "") -> Row:
    """Check and encode a record.

    Raises:
        RecordTooLargeError: Its value is larger than ``limit`` bytes, or key and headers together are.
        TypeError, UnicodeError: It is not what it should be.
    """
    key, value, headers = record
    text, size = None, len(value)
    if headers:
        plain = dict(headers)
        "".join(plain.values())  # a TypeError here, rather than when somebody reads it
        text = msgspec.json.encode(plain).decode()
        size = max(size, len(text))
    if max(size, len(key)) > limit:
        size = max(size, len(key))
        raise RecordTooLargeError(
            f"a record of {size:,} bytes is larger than the log takes ({limit:,})",
            size=size,
            limit=limit,
            place=path,
            remedy="Keep large payloads elsewhere and put a reference to them into the record.",
        )
    return Row(key, text, value if type(value) is bytes else bytes(value), priority, effect)


@lru_cache(maxsize=256)
def _insert(into: str, width: int, rows: int) -> str:
    marks = f"({','.join('?' * width)})"
    return f"INSERT INTO {into} VALUES {','.join([marks] * rows)}"  # noqa: S608 - constants and marks


class Transaction:
    """What works see of the transaction they run in.

    Appends, queue entries and settlements are collected, and written in few statements at its end (or before any
    other statement).
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.now: int = 0
        self.peers: list[int] | None = None  # the ports of all processes; None: to be read again
        self.shrinks: bool = False  # whether pages became free, which can be given back to the file system
        self.repeats: int | None = None  # when work was last sent again; None: to be looked up
        self._topics: dict[str, int] = {}
        self._recent: dict[int, int] = {}  # by base: the id that the next record gets
        self._next_token: int | None = None
        self._records: list[Any] = []
        self._queue: list[Any] = []
        self._settled: list[int] = []

    def begin(self) -> None:
        """Start afresh, in a transaction that has begun."""
        self.now = now_ms()
        self.shrinks = False
        self._records.clear()
        self._queue.clear()
        self._settled.clear()

    def forget(self) -> None:
        """Forget what was remembered of the file: someone else has written, or our own writes were undone."""
        self._topics.clear()
        self._recent.clear()
        self._next_token = None
        self.peers = None
        self.repeats = None

    def base(self, topic: str, partition: int) -> int:
        """The id of offset 0 of this partition; makes the topic if need be."""
        number = self._topics.get(topic)
        if number is None:
            found = self.connection.execute("SELECT number FROM topics WHERE name = ?", (topic,)).fetchone()
            if found is None:
                found = self.connection.execute("SELECT max(number) + 1 FROM topics").fetchone()
                if found[0] > MAX_TOPICS:
                    raise LogError(
                        f"the log already has {MAX_TOPICS} topics", place=topic, remedy="Use fewer topics."
                    )
                self.connection.execute("INSERT INTO topics VALUES (?, ?)", (found[0], topic))
            number = self._topics[topic] = found[0]
        return base_of(number, partition)

    def end(self, base: int) -> int:
        """The id that the next record of this partition will get."""
        end = self._recent.get(base)
        if end is None:
            newest = self.connection.execute(
                "SELECT max(id) FROM records WHERE id >= ? AND id <= ?", (base, base | OFFSET_MASK)
            ).fetchone()[0]
            end = self._recent[base] = base if newest is None else newest + 1
        return end

    def append(self, topic: str, partition: int, rows: Sequence[Row]) -> int:
        """Append to a partition; return the offset of the first."""
        base = self.base(topic, partition)
        first = place = self.end(base)
        records, now = self._records, self.now
        for row in rows:
            records += (place, row.key, row.headers, row.value, now)
            place += 1
        self._recent[base] = place
        return first - base

    def enqueue(self, queue: str, rows: Sequence[Row], claims: Sequence[int | None]) -> int:
        """Put rows into a queue, each claimed by a member or by none; return the token of the first."""
        if self._next_token is None:
            last = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'queue'").fetchone()
            self._next_token = last[0] + 1 if last else 1
        first = token = self._next_token
        entries, now = self._queue, self.now
        for row, claim in zip(rows, claims, strict=True):
            entries += (token, queue, row.priority, row.key, row.headers, row.value, now, claim)
            token += 1
        self._next_token = token
        return first

    def settle(self, tokens: Sequence[int]) -> None:
        """Forget entries of the queues."""
        self._settled += tokens

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run any other statement, after all that was asked for before."""
        self.flush()
        return self.connection.execute(sql, parameters)

    def flush(self) -> None:
        """Write what was collected."""
        if self._records:
            self._write("records(id, key, headers, value, timestamp)", 5, self._records)
        if self._queue:
            self._write("queue(id, queue, priority, key, headers, value, timestamp, claimed_by)", 8, self._queue)
        if self._settled:
            self.connection.execute(
                "DELETE FROM queue WHERE id IN (SELECT value FROM json_each(?))",
                (encode_rowids(self._settled),),
            )
            self._settled.clear()

    def _write(self, into: str, width: int, values: list[Any]) -> None:
        left, at, chunk = len(values) // width, 0, _CHUNK
        while left:
            if left <= _EXACT:
                chunk = left
            while chunk > left:
                chunk //= 2
            self.connection.execute(_insert(into, width, chunk), values[at : at + chunk * width])
            at += chunk * width
            left -= chunk
        values.clear()

    def events_ends(self) -> list[tuple[int, int]]:
        """The partitions of ``events`` that were appended to: base and end."""
        return [(base, end) for base, end in self._recent.items() if base >> TOPIC_SHIFT == EVENTS_NUMBER]
