"""What is found by its hash: by the whole hash, or by a beginning of it that fits one alone."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SHORTEST: Final = 15
"""Digits of the shortest beginning that names anything. Instances that an earlier Stepwell started are pinned by 16
digits, and the id of a submitted graph has room for 15; a start of today pins all 64."""


class ByHash(Generic[T]):
    """Things by their hashes in hexadecimal digits: the one place where a hash is looked for.

    A beginning that fits several names none of them: which one was meant could only be guessed.
    """

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._sorted: list[str] = []

    def put(self, digest: str, value: T) -> None:
        """Keep something under its whole hash."""
        if digest not in self._values:
            insort(self._sorted, digest)
        self._values[digest] = value

    def get(self, digest: str) -> T | None:
        """What a hash or a beginning of one means; None where nothing has it, or several things do."""
        whole = self.whole(digest)
        return None if whole is None else self._values[whole]

    def whole(self, digest: str) -> str | None:
        """The whole hash that a hash or a beginning of one means; None where that is none, or several."""
        if digest in self._values:
            return digest
        found = self.beginning(digest)
        return found[0] if len(found) == 1 else None

    def beginning(self, digest: str) -> list[str]:
        """All hashes that begin so, the whole one among them; none where it is too short to name anything."""
        if len(digest) < SHORTEST:
            return []
        first = last = bisect_left(self._sorted, digest)
        while last < len(self._sorted) and self._sorted[last].startswith(digest):
            last += 1
        return self._sorted[first:last]

    def __getitem__(self, digest: str) -> T:
        """What has this whole hash."""
        return self._values[digest]
