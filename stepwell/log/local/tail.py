"""The newest records that this process itself has appended, in memory: who reads at the end asks no disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stepwell.log.local.reader import decode_headers
from stepwell.log.local.transaction import Row
from stepwell.log.port import NO_HEADERS, Record

_MOST_RECORDS: Final = 1024  # of one partition
_MOST_BYTES: Final = 1024 * 1024  # both may double for a moment


class Tail:
    """A contiguous run of one partition's newest records.

    Attributes:
        whole: Whether the file is known to hold nothing behind it. Other processes ring when they have written.
    """

    __slots__ = ("_bytes", "_records", "_start", "whole")

    def __init__(self) -> None:
        self._start = 0
        self._records: list[Record] = []
        self._bytes = 0
        self.whole: bool = False

    def add(self, first: int, rows: Sequence[Row], timestamp: int) -> None:
        """Take in what was just committed. Where another process has written in between, begin anew."""
        records = self._records
        if first != self._start + len(records):
            records.clear()
            self._start, self._bytes = first, 0
        for offset, (key, headers, value, *_) in enumerate(rows, first):
            # Decoded again rather than kept: the caller may change its mapping, and a reader may change ours.
            plain = NO_HEADERS if headers is None else decode_headers(headers)
            records.append(Record(offset, key, value, plain, timestamp))
            self._bytes += len(value)
        if len(records) > 2 * _MOST_RECORDS:  # seldom, so that it costs nothing a record
            self._drop(len(records) - _MOST_RECORDS)
        while self._bytes > 2 * _MOST_BYTES:
            self._drop((len(records) + 1) // 2)

    def _drop(self, count: int) -> None:
        self._bytes -= sum(len(record.value) for record in self._records[:count])
        del self._records[:count]
        self._start += count

    def read(self, offset: int, limit: int) -> list[Record]:
        """Records from exactly ``offset`` on; none if they are not here."""
        at = offset - self._start
        return self._records[at : at + limit] if 0 <= at < len(self._records) else []

    def ends_at(self, offset: int) -> bool:
        """Whether nothing is at ``offset`` yet, as far as this process has heard."""
        return self.whole and offset == self._start + len(self._records)

    def found_end(self, offset: int) -> None:
        """The file was looked at, and holds nothing at ``offset``."""
        if not self._records:
            self._start = offset
        self.whole = offset == self._start + len(self._records)
