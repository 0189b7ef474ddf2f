"""Effects on their way out of a partition, and how far all of them are known to have arrived."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from stepwell.core.decide.effects import Effect, Message
from stepwell.core.fold.acceptance import Acceptance
from stepwell.core.fold.partition import PartitionState
from stepwell.log.partitioner import partition_for
from stepwell.log.port import AGAIN, COMMANDS, CONTROL, ID, Log, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.work import CancelRuns, WorkItem


class _Sending:
    """The effects of some transitions.

    Attributes:
        at: Once they have arrived, everything up to this transition is delivered,
        state: and adds up to this.
        outstanding: How many sends are still to come or under way.
    """

    __slots__ = ("at", "outstanding", "state")

    def __init__(self, at: Acceptance, state: PartitionState, outstanding: int = 0) -> None:
        self.at = at
        self.state = state
        self.outstanding = outstanding


class Deliveries:
    """What one owner sends out.

    Args:
        epoch: The owner's first.
        state: What it has taken over.
        released: Offset of the last transition whose effects the owners before have delivered.
        failed: Told of each send that has ended; says whether it failed.
        moved: Told whenever more is known to have arrived.

    Attributes:
        at: Everything up to this transition of the owner is delivered,
        state: and adds up to this; None until what the owners before may not have delivered has arrived.
        released: Offset of that transition.
    """

    def __init__(
        self,
        log: Log,
        epoch: int,
        state: PartitionState,
        released: int,
        failed: Callable[[asyncio.Future[Any]], bool],
        moved: Callable[[], None] | None = None,
    ) -> None:
        self._moved = moved
        self._log = log
        self._failed = failed
        # Everything up to the claim is delivered once this is: the claim stands for it.
        self.at: Acceptance = Acceptance(epoch)
        self._first = _Sending(self.at, state, outstanding=1)
        self._sendings = deque([self._first])
        self.state: PartitionState | None = None
        self.released: int = released
        # What instances tell each other keeps its order: until what the owners before have told is told again,
        # nothing new is. A child would be cancelled before it is started otherwise, and run on for nobody.
        self._kept: list[tuple[list[Effect], _Sending]] | None = []

    @property
    def under_way(self) -> bool:
        """Whether anything has not arrived yet."""
        return bool(self._sendings)

    def send(self, found: Sequence[Effect], at: Acceptance, state: PartitionState) -> None:
        """Send the effects of the transitions up to ``at``, which add up to ``state``."""
        sending = _Sending(at, state)
        self._sendings.append(sending)
        if self._kept is not None:
            messages: list[Effect] = [effect for effect in found if isinstance(effect, Message)]
            if messages:
                sending.outstanding += 1
                self._kept.append((messages, sending))
                found = [effect for effect in found if not isinstance(effect, Message)]
        self._send(found, sending, again=False)

    def send_again(self, found: Sequence[Effect]) -> None:
        """Send, once, what the owners before may not have delivered.

        They may have arrived before, and be settled by the time that a worker meets the repeat.
        """
        kept, self._kept = self._kept or [], None
        self._first.outstanding -= 1
        self._send(found, self._first, again=True)
        for messages, sending in kept:
            sending.outstanding -= 1
            self._send(messages, sending, again=False)

    def _send(self, found: Sequence[Effect], sending: _Sending, *, again: bool) -> None:
        work: dict[str, list[NewRecord]] = {}
        cancels = []
        told: dict[int, list[NewRecord]] = {}
        for effect in found:
            if isinstance(effect, WorkItem):
                headers = {ID: effect.delivery_id, "handler": effect.step.handler or effect.step.step_type}
                if again:
                    headers[AGAIN] = "1"
                if effect.priority:
                    headers["priority"] = str(effect.priority)
                record = NewRecord(effect.instance_id, encode(effect), headers)
                work.setdefault(effect.step.queue, []).append(record)
            elif isinstance(effect, CancelRuns):
                cancels.append(NewRecord(effect.instance_id, encode(effect)))
            else:
                # Starts of children, too, go to ``commands``: what is said of a child later comes behind them there,
                # and a parent that waits does not wait behind workflows that have not begun.
                partition = partition_for(effect.instance_id, self._log.partitions)
                told.setdefault(partition, []).append(NewRecord(effect.instance_id, encode(effect)))
        sending.outstanding += len(work) + bool(cancels) + len(told)

        def arrived(future: asyncio.Future[Any]) -> None:
            if not self._failed(future):
                sending.outstanding -= 1
                self._settle()

        if cancels:
            self._log.append(CONTROL, 0, cancels).add_done_callback(arrived)
        for partition, records in told.items():
            self._log.append(COMMANDS, partition, records).add_done_callback(arrived)
        for queue, records in work.items():
            self._log.enqueue(queue, records).add_done_callback(arrived)
        self._settle()

    def _settle(self) -> None:
        """Note how far everything has arrived; a send that went to several queues may be overtaken."""
        while self._sendings and not self._sendings[0].outstanding:
            sending = self._sendings.popleft()
            self.state, self.at = sending.state, sending.at
            self.released = sending.at.offset
        if self._moved is not None:
            self._moved()
