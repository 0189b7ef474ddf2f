"""Which of the starts that wait is taken next: by priority, as far as one looks ahead.

The topic ``starts`` is read in order, and while workers have enough to do thousands of starts wait there. Of those
only the priorities and places are kept. A start of higher priority than the one whose turn it is, is taken out of
turn; the transition that it leads to names its place (``Stamp.ahead``), so that whoever takes over knows.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from stepwell.log.partitioner import partition_for
from stepwell.log.port import STARTS, Log, Record

WINDOW: Final = 20_000
"""How many starts one looks ahead."""

TURN_EVERY: Final = 10
"""Of so many starts one is the oldest, whatever its priority: so each has its turn some day."""

MOST_AHEAD: Final = 1_000
"""How many may be ahead of their turn at once: each transition and snapshot carries what that costs."""

_OFFSET_BITS: Final = 48
_OFFSET: Final = (1 << _OFFSET_BITS) - 1
_LOOK: Final = 2_000  # records of one look: some milliseconds


class _Wanted(msgspec.Struct, gc=False):
    instance_id: str
    priority: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


_decode = msgspec.json.Decoder(_Wanted).decode


def _entry(priority: int, offset: int) -> int:
    """Priority and place as one number, which takes a fifth of the memory: the smallest is taken first."""
    return (100 - priority) << _OFFSET_BITS | offset


class NextStarts(NamedTuple):
    """What is taken next.

    Attributes:
        in_turn: How many of those whose turn it is,
        ahead: and the places of others.
    """

    in_turn: int
    ahead: list[int]


class StartOrder:
    """In which order the starts of one partition are taken: the priorities of those that wait.

    Args:
        position: Offset of the one whose turn it is.
    """

    def __init__(self, log: Log, partition: int, position: int) -> None:
        self._log = log
        self._partition = partition
        self._heap: list[int] = []  # see _entry
        self._seen = position
        self._taken = 0
        self._up_to_date = False

    async def look(self, position: int) -> bool:
        """Look further ahead; whether everything was seen that there is, or as much as is looked at.

        Args:
            position: Offset of the one whose turn it is.
        """
        self._seen = max(self._seen, position)
        most = min(_LOOK, position + WINDOW - self._seen)
        if most <= 0:
            return True
        records = await self._log.read(STARTS, self._partition, self._seen, limit=most)
        for record in records:
            self._note(record)
        return len(records) < most

    def _note(self, record: Record) -> None:
        self._seen = record.offset + 1
        try:
            wanted = _decode(record.value)
        except ValueError:  # it is put aside in its turn
            return
        # Misrouted ones have time, too: where they belong they are put in order.
        if partition_for(wanted.instance_id, self._log.partitions) == self._partition:
            heapq.heappush(self._heap, _entry(wanted.priority, record.offset))

    def choose(self, most: int, in_turn: Sequence[int], ahead: int) -> NextStarts:
        """Choose what is taken next.

        Args:
            most: How many at most.
            in_turn: Offsets of those whose turn it is, as far as they have been read.
            ahead: How many may be taken out of turn.
        """
        found = NextStarts(0, [])
        turn = 0
        while turn < len(in_turn) and turn + len(found.ahead) < most:
            head = in_turn[turn]
            while self._heap and self._heap[0] & _OFFSET < head:
                heapq.heappop(self._heap)  # it has had its turn
            self._taken += 1
            first = self._heap[0] & _OFFSET if self._heap else head
            if first <= head or self._taken % TURN_EVERY == 0 or len(found.ahead) >= ahead:
                turn += 1
            else:
                found.ahead.append(heapq.heappop(self._heap) & _OFFSET)
        return found._replace(in_turn=turn)
