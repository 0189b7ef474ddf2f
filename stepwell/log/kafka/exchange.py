"""What workers say to each other about records, in the topic ``hands``: one partition, read by every worker.

A consumer group gives partitions to workers, not records. So a worker with a free hand asks (*want*); one that has
more waiting than it can take gives (*give*); what was given is settled (*done*) or handed back (*back*) through the
same topic. Everybody reads these in one order, so everybody agrees on who has what: if two give to one who has one
free hand, the first gift counts and the second is void.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from stepwell.log.port import NewRecord, Record, TopicPartition

Spot = tuple[str, int, int]  # topic, partition and offset of a record in a queue


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``hands``.

    Attributes:
        by: Who says it.
        want: How many free hands; replaces what was wanted before.
        topics: For records of which queues.
        give: Records that the one in ``to`` shall have.
        done: Records that were given, and are settled.
        back: Records that were given, and are handed back unsettled.
        times: How often each of those in ``give`` was lost with its worker, where one was.
        lost: Whether those in ``back`` were lost with whoever had them.
    """

    by: str
    want: int = -1
    topics: Sequence[str] = ()
    to: str = ""
    give: Sequence[Spot] = ()
    done: Sequence[Spot] = ()
    back: Sequence[Spot] = ()
    times: Sequence[int] = ()
    lost: bool = False


_decode = msgspec.json.Decoder(Note).decode


def encode(note: Note) -> NewRecord:
    """A note on its way."""
    return NewRecord(note.by, msgspec.json.encode(note))


def decode(record: Record) -> Note:
    """A note that was read; one that makes no sense says nothing."""
    try:
        return _decode(record.value)
    except ValueError:
        return Note("")


class _Want(NamedTuple):
    left: int
    topics: frozenset[str]


class Wants:
    """Who has free hands, by what was said so far."""

    def __init__(self) -> None:
        self._wants: dict[str, _Want] = {}

    def follow(self, note: Note) -> Sequence[Spot]:
        """Take in a note; of a gift, return what of it counts."""
        if note.want >= 0:
            self._wants[note.by] = _Want(note.want, frozenset(note.topics))
        if not note.give:
            return ()
        want = self._wants.get(note.to)
        if want is None:
            return note.give  # said before we began to listen: those two know better
        counts = note.give[: want.left]
        self._wants[note.to] = want._replace(left=want.left - len(counts))
        return counts

    def left(self, name: str) -> int:
        """How many more records one would take."""
        want = self._wants.get(name)
        return 0 if want is None else want.left

    def of(self, topic: str, besides: str) -> list[tuple[str, int]]:
        """Who would take records of a topic, and how many; the freest first."""
        found = [
            (name, want.left)
            for name, want in self._wants.items()
            if want.left > 0 and topic in want.topics and name != besides
        ]
        return sorted(found, key=lambda one: -one[1])

    def keep(self, names: frozenset[str]) -> None:
        """Forget all others: they are gone."""
        self._wants = {name: want for name, want in self._wants.items() if name in names}


def place_of(spot: Spot) -> TopicPartition:
    """The partition of a record."""
    return spot[0], spot[1]
