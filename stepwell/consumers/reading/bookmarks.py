"""How far each durable name has come: a fold over the topic ``subscriptions``, one small record a second at most.

The newest record of a name counts. So that the topic does not grow, whoever has stored a position now and then
appends all names' positions once more and has the log forget what lies before. Another process may store a newer one
at that very moment, and a copy must not undo it: **a copy names the offset of the record that was first, its origin,
and of a name's records the one with the highest origin counts.** What is deleted lies before what counts of every
name. This needs no compaction by a broker, which would leave holes between offsets (docs/kafka.md), and a local log
does the same.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from stepwell.errors import PositionError
from stepwell.log.port import EVENTS, SUBSCRIPTIONS, Log, NewRecord, Record
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.positions import read_position

LONGEST_NAME: Final = 200  # characters, as of an instance's id

_ORIGIN: Final = "origin"
_SPARE: Final = 500  # records more than there are names, before the topic is tidied
_FORGOTTEN_FOR: Final = 86_400_000  # milliseconds after which no copy of a forgotten name can still be on its way
_BATCH: Final = 1_000


class Bookmark(Struct, frozen=True, omit_defaults=True):
    """The value of a record on ``subscriptions``; its key is the name.

    Attributes:
        position: Everything up to here has been processed; empty once the name is forgotten.
        at: When it was stored, in milliseconds since 1970.
    """

    position: str = ""
    at: int = 0


class SubscriptionInfo(Struct, frozen=True):
    """A durable name, for people and programs that look after them.

    Attributes:
        position: Everything up to here has been processed.
        lag: How many records of the log's events lie behind the position, wanted or not.
        at: When the position was stored, in milliseconds since 1970.
    """

    name: str
    position: str
    lag: int
    at: int


_UNREADABLE: Final = Bookmark("?")  # no position: who goes on behind it is told so, and it can be forgotten
_decode: Final = msgspec.json.Decoder(Bookmark).decode


class _Newest(NamedTuple):
    """What counts of a name: the offset of the record, of the one that it is a copy of, and what it says."""

    offset: int
    origin: int
    mark: Bookmark


class Bookmarks:
    """The positions of a log's durable names."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position = 0
        self._start = 0
        self._newest: dict[str, _Newest] = {}

    async def of(self, name: str) -> str | None:
        """Where a name has come to; None where there is none such."""
        await self._catch_up()
        found = self._newest.get(name)
        return None if found is None or not found.mark.position else found.mark.position

    async def all(self) -> list[SubscriptionInfo]:
        """All names that there are, in order."""
        await self._catch_up()
        partitions = range(self._log.partitions)
        ends = [await self._log.end(EVENTS, partition) for partition in partitions]
        return [
            SubscriptionInfo(name, mark.position, _lag(mark.position, ends), mark.at)
            for name, (_, _, mark) in sorted(self._newest.items())
            if mark.position
        ]

    async def store(self, name: str, position: str, at: int) -> None:
        """Store where a name has come to; an empty position forgets it.

        Raises:
            LogError: Nothing is known about whether it is stored.
        """
        (offset,) = await self._log.append(SUBSCRIPTIONS, 0, [NewRecord(name, encode(Bookmark(position, at)))])
        if offset - self._start > _SPARE + 2 * len(self._newest):
            await self._tidy(at)

    async def _catch_up(self) -> None:
        end = await self._log.end(SUBSCRIPTIONS, 0)
        while self._position < end:
            records = await self._log.read(SUBSCRIPTIONS, 0, self._position, limit=_BATCH)
            if not records:
                return
            if records[0].offset > self._position:  # forgotten before we read it: what counts was copied
                self._newest.clear()
            for record in records:
                if record.offset >= self._position:  # two that read at once
                    self._position = record.offset + 1
                    self._take(record)

    def _take(self, record: Record) -> None:
        known = self._newest.get(record.key)
        copied = record.headers.get(_ORIGIN, "")
        origin = int(copied) if copied.isdecimal() else record.offset
        if known is None or origin >= known.origin:
            try:
                mark = _decode(record.value)
            except msgspec.DecodeError:
                mark = _UNREADABLE
            self._newest[record.key] = _Newest(record.offset, origin, mark)

    async def _tidy(self, now: int) -> None:
        """Copy what counts to the end of the topic, and have the log forget what lies before."""
        await self._catch_up()
        first = await self._log.read(SUBSCRIPTIONS, 0, 0, limit=1)
        self._start = first[0].offset if first else self._position
        if self._position - self._start <= _SPARE + 2 * len(self._newest):
            return  # somebody else has done it
        for name, known in tuple(self._newest.items()):
            if not known.mark.position and known.mark.at < now - _FORGOTTEN_FOR:
                del self._newest[name]
        copies = [
            NewRecord(name, encode(known.mark), {_ORIGIN: str(known.origin)})
            for name, known in sorted(self._newest.items())
        ]
        for begin in range(0, len(copies), _BATCH):
            await self._log.append(SUBSCRIPTIONS, 0, copies[begin : begin + _BATCH])
        await self._catch_up()
        self._start = min((known.offset for known in self._newest.values()), default=self._start)
        await self._log.delete_before(SUBSCRIPTIONS, 0, self._start)


def _lag(position: str, ends: list[int]) -> int:
    try:
        places = read_position(position, len(ends))
    except PositionError:  # of a log that was restored with other partitions: all of it is to be read
        return sum(ends)
    return sum(max(end - place.offset - 1, 0) for place, end in zip(places, ends, strict=True))
