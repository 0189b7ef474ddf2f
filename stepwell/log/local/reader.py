"""Reading the file in the event loop's thread: in slices, so that the loop goes on turning.

It is not done in a thread of its own because SQLite gives and takes Python's interpreter lock for each row: beside
a busy loop such a thread gets one row every few milliseconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from stepwell.log.local.store import (
    EVENTS_NUMBER,
    OFFSET_MASK,
    TOPIC_SHIFT,
    base_of,
    encode_rowids,
    explain,
    is_busy,
    open_readable,
)
from stepwell.log.port import NO_HEADERS, Record

_SLICE_ROWS: Final = 500  # 1 to 2 ms
_COURTESY: Final = 100  # records; after that many a read lets others have a turn, however it is called
_SLICE_BYTES: Final = 1024 * 1024
_READ_BYTES: Final = 32 * 1024 * 1024  # a read returns before that, whatever its limit: memory stays bounded
_KEY_WINDOW: Final = 4096  # records that one statement searches for a key where there is no index

_FIELDS: Final = f"id & {OFFSET_MASK}, key, value, headers, timestamp"
_AFTER: Final = f"SELECT {_FIELDS} FROM records WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608
_OF_KEY: Final = f"SELECT {_FIELDS} FROM records WHERE id >= ? AND id < ? AND key = ? ORDER BY id"  # noqa: S608
_BY_INDEX: Final = "SELECT k.id FROM by_key k WHERE k.key = ? AND k.id >= ? AND k.id < ? ORDER BY k.id LIMIT ?"
_BY_IDS: Final = f"SELECT {_FIELDS} FROM records WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608

_KNOWN: Final = (
    "SELECT value FROM json_each(?) AS wanted WHERE EXISTS "
    "(SELECT 1 FROM by_key WHERE key = wanted.value AND id >= ? AND id < ?)"
)
_KEYS_FROM: Final = "SELECT DISTINCT key FROM records WHERE id >= ? AND id <= ?"
_AFTER_ANY: Final = "SELECT 1 FROM records WHERE id >= ? AND id <= ? LIMIT 1"

decode_headers: Final = msgspec.json.Decoder(dict[str, str]).decode

P = ParamSpec("P")
T = TypeVar("T")


def _records(rows: list[Any]) -> list[Record]:
    return [
        Record(offset, key, value, NO_HEADERS if headers is None else decode_headers(headers), timestamp)
        for offset, key, value, headers, timestamp in rows
    ]


class Reader:
    """The reading end of a log file.

    Args:
        path: The file.
        patience: How many seconds to wait for another program's lock.
    """

    def __init__(self, path: str, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._connection = open_readable(path)
        self._topics: dict[str, int] = {}

    def close(self) -> None:
        """Close the connection."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a small query; raises SQLite's own errors."""
        return self._connection.execute(sql, parameters).fetchall()

    async def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a small query; waits for locks, and raises errors for users."""
        return await self.patiently(self.rows, sql, parameters)

    def version(self) -> int:
        """A number that changes when any other connection commits."""
        found: int = self.rows("PRAGMA data_version")[0][0]
        return found

    async def patiently(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read; where a lock is in the way, try again without holding up the loop.

        Raises:
            LogError: As ``explain`` says.
        """
        give_up = time.monotonic() + self._patience
        while True:
            try:
                return read(*args, **kwargs)
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() > give_up:
                    raise explain(error, self._path) from error
            await asyncio.sleep(0.005)

    def base(self, topic: str, partition: int) -> int | None:
        """The id of a partition's offset 0; None while nobody has appended to the topic."""
        number = self._topics.get(topic)
        if number is None:
            found = self.rows("SELECT number FROM topics WHERE name = ?", (topic,))
            if not found:
                return None
            number = self._topics[topic] = found[0][0]
        return base_of(number, partition)

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next record gets."""
        base = self.base(topic, partition)
        if base is None:
            return 0
        newest = self.rows("SELECT max(id) FROM records WHERE id >= ? AND id <= ?", (base, base | OFFSET_MASK))[0][0]
        return 0 if newest is None else newest + 1 - base

    def _slice(self, base: int, offset: int, limit: int) -> tuple[list[Record], bool]:
        """Some records from ``offset`` on, and whether there may be more."""
        cursor = self._connection.execute(_AFTER, (base + offset, base | OFFSET_MASK, limit))
        rows: list[Any] = []
        size = 0
        for row in cursor:
            rows.append(row)
            size += len(row[2])
            if size > _SLICE_BYTES:
                cursor.close()
                return _records(rows), True
        return _records(rows), len(rows) == limit

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> list[Record]:
        """Records from ``offset`` on, as many as there are up to ``limit`` and to a number of bytes."""
        base = await self.patiently(self.base, topic, partition)
        if base is None:
            return []
        found: list[Record] = []
        size = 0
        more = True
        while more and len(found) < limit and size < _READ_BYTES:
            part, more = await self.patiently(self._slice, base, offset, min(limit - len(found), _SLICE_ROWS))
            found = found + part if found else part
            if more:
                offset = part[-1].offset + 1
                size += sum(len(record.value) for record in part)
            if len(part) >= _COURTESY:
                await asyncio.sleep(0)
        return found

    async def known_keys(self, topic: str, partition: int, keys: Collection[str]) -> set[str]:
        """Those of some keys of which a partition holds records."""
        base = await self.patiently(self.base, topic, partition)
        if base is None:
            return set()
        listed, at, last = msgspec.json.encode(list(keys)).decode(), base, base | OFFSET_MASK
        found: set[str] = set()
        if base >> TOPIC_SHIFT == EVENTS_NUMBER:
            done = await self.ask("SELECT upto FROM indexed WHERE base = ?", (base,))
            at = done[0][0] if done else base
            found = {key for (key,) in await self.ask(_KNOWN, (listed, base, at))}
        while at <= last:
            rows = await self.ask(_KEYS_FROM, (at, min(at + _KEY_WINDOW - 1, last)))
            if not rows and not await self.ask(_AFTER_ANY, (at, last)):
                break
            found |= {key for (key,) in rows} & set(keys)
            at += _KEY_WINDOW
            await asyncio.sleep(0)
        return found

    async def read_key(self, topic: str, partition: int, key: str, offset: int) -> list[Record]:
        """All records of a key from ``offset`` on."""
        base = await self.patiently(self.base, topic, partition)
        if base is None:
            return []
        at, last = base + offset, base | OFFSET_MASK
        found: list[Record] = []
        if base >> TOPIC_SHIFT == EVENTS_NUMBER:
            done = await self.ask("SELECT upto FROM indexed WHERE base = ?", (base,))
            upto = done[0][0] if done else base
            while at < upto:
                ids = [number for (number,) in await self.ask(_BY_INDEX, (key, at, upto, _SLICE_ROWS))]
                found += _records(await self.ask(_BY_IDS, (encode_rowids(ids),)))
                if len(ids) < _SLICE_ROWS:
                    at = upto
                else:
                    at = ids[-1] + 1
                    await asyncio.sleep(0)
        first = (await self.ask("SELECT min(id) FROM records WHERE id >= ? AND id <= ?", (at, last)))[0][0]
        newest = (await self.ask("SELECT max(id) FROM records WHERE id >= ? AND id <= ?", (at, last)))[0][0]
        while first is not None and first <= newest:
            found += _records(await self.ask(_OF_KEY, (first, first + _KEY_WINDOW, key)))
            first += _KEY_WINDOW
            await asyncio.sleep(0)
        return found
