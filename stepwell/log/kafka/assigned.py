"""What is before one worker: the partitions that it has, what is ready to be taken, and what it has in hand."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable

from stepwell.log.kafka.exchange import Spot, place_of
from stepwell.log.kafka.queue_state import Entry, QueueState
from stepwell.log.port import Delivery, TopicPartition
from stepwell.log.wake import Signal


class Assignment:
    """What is assigned to one worker, and what it has in hand: the state that the parts of a queue share.

    Args:
        name: The worker's name in its group.
        prefetch: How many records it may have in hand.
        accepts: Which records it can do anything with; None for all.

    Attributes:
        partitions: Its partitions, by topic and number.
        hand: What was taken and is not settled, by queue and token.
        given: What others have given to us, and is ready.
        giving: What we are about to give to others.
        passed: What we do not accept.
        arrived: Fires when something may be ready.
        room: Fires when a partition is not full any more.
    """

    def __init__(self, name: str, prefetch: int, accepts: Callable[[Delivery], bool] | None) -> None:
        self.name = name
        self.prefetch = prefetch
        self.partitions: dict[TopicPartition, QueueState] = {}
        self.hand: dict[tuple[str, int], Entry] = {}
        self.given: dict[Spot, Entry] = {}
        self.giving: dict[Spot, Entry] = {}
        self.passed: dict[Spot, Entry] = {}
        self.closed = False
        loop = asyncio.get_running_loop()
        self.arrived: Signal = Signal(loop)
        self.room: Signal = Signal(loop)
        self._accepts = accepts
        self._ready: list[Entry] = []  # a heap; an entry that somebody else has got meanwhile is skipped

    @property
    def free(self) -> int:
        """How many more records may be taken."""
        return self.prefetch - len(self.hand)

    def state_of(self, spot: Spot) -> QueueState | None:
        """The state of the partition that a record is in, if it is ours."""
        return self.partitions.get(place_of(spot))

    def waits(self, entry: Entry) -> bool:
        """Whether an entry of ours is nobody's yet."""
        state = self.state_of(entry.spot)
        return state is not None and state.waiting.get(entry.spot[2]) is entry and entry.spot not in self.giving

    def put(self, entry: Entry) -> bool:
        """Have an entry ready; or if it is not accepted, aside."""
        if self._is_accepted(entry):
            self.passed.pop(entry.spot, None)
            heapq.heappush(self._ready, entry)
            return True
        self.passed[entry.spot] = entry
        return False

    def _is_accepted(self, entry: Entry) -> bool:
        if self._accepts is None:
            return True
        try:
            return self._accepts(entry.delivery)
        except Exception:  # where the worker's own code cannot say, it gets it
            return True

    def put_given(self, entry: Entry) -> bool:
        """Have an entry ready that another has given to us; False if it is not accepted."""
        if not self._is_accepted(entry):
            return False
        self.given[entry.spot] = entry
        heapq.heappush(self._ready, entry)
        return True

    def take(self, limit: int) -> list[Delivery]:
        """Take what is to go first, as far as hands are free."""
        taken: list[Delivery] = []
        while self._ready and len(taken) < limit and self.free > 0:
            entry = heapq.heappop(self._ready)
            if self.given.get(entry.spot) is entry:
                del self.given[entry.spot]
            elif self.waits(entry):
                state = self.partitions[place_of(entry.spot)]
                state.take(entry.spot[2], self.name)
                if not state.full:
                    self.room.fire()
            else:
                continue
            self.hand[entry.delivery.queue, entry.delivery.token] = entry
            taken.append(entry.delivery)
        return taken

    def drop(self, deliveries: Iterable[Delivery]) -> list[Entry]:
        """Take out of the hand; what is not in it is passed over."""
        found = (self.hand.pop((one.queue, one.token), None) for one in deliveries)
        return [entry for entry in found if entry is not None]

    def decline(self) -> list[Delivery]:
        """Take into the hand what others have given to us, and was not taken: to be released."""
        given = list(self.given.values())
        self.given.clear()
        self.keep(given)
        return [entry.delivery for entry in given]

    def keep(self, entries: Iterable[Entry]) -> None:
        """Take back into the hand."""
        self.hand.update({(entry.delivery.queue, entry.delivery.token): entry for entry in entries})

    def look_again(self) -> None:
        """What was not accepted may be now."""
        passed, self.passed = self.passed, {}
        for entry in passed.values():
            if self.waits(entry):
                self.put(entry)

    def surplus(self) -> list[Entry]:
        """What waits here and that we cannot take: not accepted, or behind full hands; what is to go first, first."""
        found = list(self.passed.values())
        if self.free <= 0:
            found += self._ready
        return sorted(entry for entry in found if self.waits(entry))

    def clear(self) -> None:
        """The partitions are shared out anew. What is in hand stays, and what we were given."""
        self.partitions.clear()
        self.giving.clear()
        self.passed.clear()
        self._ready = [entry for entry in self._ready if entry.spot in self.given]
        heapq.heapify(self._ready)

    def busy(self) -> dict[str, list[int]]:
        """Our partitions by topic, those first that we have most of in hand."""
        counts = dict.fromkeys(self.partitions, 0)
        for entry in self.hand.values():
            place = place_of(entry.spot)
            if place in counts:
                counts[place] += 1
        found: dict[str, list[int]] = {}
        for topic, partition in sorted(counts, key=lambda place: -counts[place]):
            found.setdefault(topic, []).append(partition)
        return found
