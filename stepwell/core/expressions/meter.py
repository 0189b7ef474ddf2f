"""What a definition and an input can make Stepwell compute is paid from one meter, before it is done or made.

It counts two things. *Work* is counted in units of an element: one element of a list or a mapping that is looked at,
sixteen characters of a text, one part of an expression, a fifth of a keyword of a JSON Schema; a unit takes a quarter
of a microsecond, or less. *Bytes* are those of what is made, as JSON: a text counts in full each time that it stands
in a result, although Python holds it once, since it is written as often.

One meter pays for all that belongs together: the condition, the input, the mapping and the config of a step that
starts; a workflow's output; the check of an input by its schema; all rules of a ``process`` step. What one of them
evaluates within itself pays from the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepwell.errors import LimitError

MAX_WORK: Final = 2_000_000
"""Units of work: half a second, and several times what a record of 1 MB can hold."""
MAX_MADE: Final = 8 * 1024 * 1024
"""Bytes that are made: eight times what a log takes as one record, unless it says otherwise."""

_encode: Final = msgspec.json.Encoder().encode


class Meter:
    """How much may still be computed.

    Args:
        work: Units of work that may be done.
        made: Bytes that may be made.

    Attributes:
        left: Units of work that are left.
        room: Bytes that are left.
    """

    __slots__ = ("_made", "_work", "left", "room")

    def __init__(self, work: int = MAX_WORK, made: int = MAX_MADE) -> None:
        self.left: int = work
        self.room: int = made
        self._work = work
        self._made = made

    def spend(self, work: int) -> None:
        """Pay for work about to be done, or just done in small parts.

        Raises:
            LimitError: It is more than is left.
        """
        self.left -= work
        if self.left < 0:
            raise self.exceeded()

    def make(self, size: int) -> None:
        """Pay for bytes about to be made.

        Raises:
            LimitError: They are more than are left.
        """
        self.room -= size
        if self.room < 0:
            raise self.exceeded()

    def weigh(self, value: Any) -> None:
        """Pay for a value as it stands in a result: its size as JSON, which is made to be measured.

        Args:
            value: What is known to be small enough to be written, as inputs and outputs of steps are; for what may
                be of any size there is ``measure``.

        Raises:
            LimitError: It is larger than what is left.
        """
        self.make(len(_encode(value)))

    def measure(self, value: Any) -> None:
        """Pay for a value of any size as it stands in a result, each part as often as it is part of it.

        Args:
            value: JSON-like data, nested however deep.

        Raises:
            LimitError: It takes more work than is left to go through it, or more bytes than are left to write it.
        """
        left = [value]
        while left:
            part = left.pop()
            if isinstance(part, str):
                self.room -= len(part) + 2
            elif isinstance(part, Mapping):
                self.room -= sum(map(len, part)) + 4 * len(part)
                left.extend(part.values())
                self.spend(len(part) + 1)
            elif isinstance(part, (list, tuple)):
                self.room -= len(part)
                left.extend(part)
                self.spend(len(part) + 1)
            else:
                self.room -= 2
            if self.room < 0:
                raise self.exceeded()

    @property
    def used(self) -> float:
        """Which part of it is used, of whichever there is less left: 0 to 1, or more where it was exceeded."""
        return max(1 - self.left / self._work, 1 - self.room / self._made)

    def exceeded(self, what: str = "there is too much data") -> LimitError:
        """The error of who has asked for more than is left.

        Args:
            what: What is wrong, in the words of whoever asked.
        """
        if self.room < 0:
            used, limit, unit = self._made - self.room, self._made, "bytes"
        else:
            used, limit, unit = self._work - self.left, self._work, "units of work"
        message = f"{what}: {used:,} {unit}, {limit:,} are allowed"
        return LimitError(message, used=used, limit=limit, remedy="Let a handler work on large data.")
