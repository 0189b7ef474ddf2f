"""How far a reader has come in all partitions of a log, as a short text: fit for a header, a URL, a file.

One part a partition, in order, joined by ``-``:

- ``x``: nothing has been read of it;
- ``OFFSET``: everything up to that record of ``events``, and all of its events;
- ``OFFSET.NUMBER``: the same, but of that record's events only those up to ``NUMBER``, counted from 0.

``12-30.2-x-5`` is a position of a log with four partitions. Each offset is that of a record that counts (an accepted
transition, or a claim), so whoever goes on behind it learns from the record itself what the acceptance rule knew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from stepwell.errors import PositionError

START: Final = "start"
"""Instead of a position: the oldest event that the log holds."""

WHOLE: Final = 1 << 62
"""The number behind all events of a record."""

_PART: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.(0|[1-9][0-9]{0,8}))?")  # ASCII digits, and within 63 bits
_SHOWN: Final = 60  # characters of a wrong position that a message quotes


class PartitionPosition(NamedTuple):
    """How far a reader has come in one partition; compares as events are ordered.

    Attributes:
        offset: Of the newest record that was read and counts; -1 for none.
        number: Of the newest of its events, from 0; ``WHOLE`` for all.
    """

    offset: int = -1
    number: int = WHOLE

    def __str__(self) -> str:
        if self.offset < 0:
            return "x"
        return str(self.offset) if self.number == WHOLE else f"{self.offset}.{self.number}"


def position_text(positions: Iterable[PartitionPosition]) -> str:
    """The position of a reader that has come so far in each partition."""
    return "-".join(map(str, positions))


def read_position(text: str, partitions: int) -> list[PartitionPosition]:
    """Read a position.

    Args:
        partitions: How many the log has.

    Raises:
        PositionError: It is none, or one of a log with another number of partitions.
    """
    parts = text.split("-")
    found = [_read_part(part) for part in parts]
    if None in found:
        raise PositionError(
            "is no position",
            place=repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…"),
            remedy=f'A position is what an event carries ("12-30.2-x-5"), or "{START}" for the oldest event.',
        )
    if len(parts) != partitions:
        raise PositionError(
            f"is a position of a log with {len(parts)} partitions, and this one has {partitions}",
            place=repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…"),
            remedy="Is it the log that the position came from?",
        )
    return [one for one in found if one is not None]


def _read_part(part: str) -> PartitionPosition | None:
    if part == "x":
        return PartitionPosition()
    found = _PART.fullmatch(part)
    if found is None:
        return None
    return PartitionPosition(int(found[1]), WHOLE if found[2] is None else int(found[2]))
