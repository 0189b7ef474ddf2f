"""One partition of a workers' queue, as its worker sees it: what waits, who holds what, and what is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from stepwell.log.kafka.exchange import Spot
from stepwell.log.kafka.positions import QueuePosition, encode
from stepwell.log.port import Delivery, Record, TopicPartition
from stepwell.log.sharing import priority_of

MOST_WAITING: Final = 2000  # records of a partition that are looked at ahead of need: what priorities can order


class Entry:
    """A record of a queue.

    Attributes:
        order: What goes before what: higher priority, then older.
        refused: Who has handed it back, and until when (in the loop's time) it is not given to them again.
    """

    __slots__ = ("delivery", "order", "refused", "spot")

    def __init__(self, place: TopicPartition, record: Record, queue: str, partitions: int) -> None:
        topic, partition = place
        token = record.offset * partitions + partition
        self.spot: Spot = (topic, partition, record.offset)
        self.delivery: Delivery = Delivery(queue, token, record.key, record.value, record.headers)
        priority = priority_of(record.headers.get("priority"))
        self.order: tuple[int, int, int, int] = (-priority, record.timestamp, record.offset, partition)
        self.refused: dict[str, float] = {}

    def count(self, lost: int) -> None:
        """Note how often it was in the hands of workers that have died."""
        if self.delivery.deliveries != 1 + lost:
            self.delivery = self.delivery._replace(deliveries=1 + lost)

    def __lt__(self, other: Entry) -> bool:
        return self.order < other.order


class QueueState:
    """One partition of a queue, as far as its worker knows.

    Attributes:
        position: Offset of the next record to read.
        waiting: What nobody has, by offset.
        dirty: Whether there is something to commit.
        trimmed: Up to where it was deleted, as far as we have asked for that.
        noting: Below this offset, who takes a record is noted before he gets it: so that it is known how often it
            was lost, should that be what workers die of.
    """

    def __init__(self, place: TopicPartition, position: QueuePosition) -> None:
        self.place = place
        self.low: int = position.low
        self.position: int = position.low
        self.trimmed: int = position.low
        self.heard: int = position.heard
        self.waiting: dict[int, Entry] = {}
        self.dirty: bool = False
        self._done = {offset for offset in position.done if offset >= position.low}
        self._held = dict(position.held)
        self._lost = dict(position.lost)
        self.noting = 0
        self._away: dict[int, Entry] = {}  # what others hold, for when it comes back

    @property
    def full(self) -> bool:
        """Whether enough is waiting."""
        return len(self.waiting) >= MOST_WAITING

    def settled(self, offset: int) -> bool:
        """Whether a record is settled."""
        return offset < self.low or offset in self._done

    def read(self, entries: Iterable[Entry], start: int, end: int) -> list[Entry]:
        """Take in records as they were read; return those that wait.

        Args:
            start: Offset that was asked for; what is missing behind it was deleted.
            end: Offset of the next record to read.
        """
        fresh = []
        at = start
        for entry in entries:
            offset = entry.spot[2]
            entry.count(self._lost.get(offset, 0))
            if at <= self.low:
                self.low = max(self.low, offset)
            else:
                self._done.update(range(at, offset))
            at = offset + 1
            if offset in self._held:
                self._away[offset] = entry
            elif not self.settled(offset) and offset not in self.waiting:
                self.waiting[offset] = entry
                fresh.append(entry)
        self.position = end
        self._advance()
        return fresh

    def take(self, offset: int, name: str) -> None:
        """One has it now."""
        entry = self.waiting.pop(offset, None)
        if entry is not None:
            self._away[offset] = entry
        if not self.settled(offset):
            self._held[offset] = name

    def settle(self, offset: int) -> None:
        """It is settled, whoever had it."""
        self.waiting.pop(offset, None)
        self._held.pop(offset, None)
        self._away.pop(offset, None)
        self._lost.pop(offset, None)
        if not self.settled(offset):
            self._done.add(offset)
            self._advance()
            self.dirty = True

    def put_back(self, offset: int) -> Entry | None:
        """It waits again; None if it is settled, or not read yet."""
        self._held.pop(offset, None)
        entry = self._away.pop(offset, None)
        if entry is None or self.settled(offset):
            return None
        self.waiting[offset] = entry
        return entry

    def lose(self, offset: int) -> None:
        """It was in the hands of somebody who has died."""
        self._lost[offset] = self._lost.get(offset, 0) + 1
        self.dirty = True
        for entries in (self.waiting, self._away):
            if offset in entries:
                entries[offset].count(self._lost[offset])

    def holder(self, offset: int) -> str:
        """Who has it; empty where nobody has."""
        return self._held.get(offset, "")

    def free(self, lost: Callable[[int, str], bool], died: Callable[[str], bool]) -> None:
        """What is lost, by its offset and who had it, is nobody's. Only before the first record is read.

        Args:
            died: Whether somebody is gone who had records in hand.
        """
        for offset, name in self._held.items():
            if died(name):
                self.lose(offset)
        self._held = {offset: name for offset, name in self._held.items() if not lost(offset, name)}

    def _advance(self) -> None:
        while self.low in self._done and self.low < self.position:
            self._done.remove(self.low)
            self.low += 1

    def commit(self, heard: int) -> tuple[tuple[int, str], int]:
        """What to note in Kafka: position and text; and the offset below which all that is settled stands in it.

        Args:
            heard: Up to where ``hands`` was followed.
        """
        text, covered = encode(self.low, self._done, self._held, heard, self._lost)
        self.dirty = False
        return (self.low, text), covered
