"""Outcomes on their way into the log, each together with the settlement of its step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from stepwell.consumers.worker.reports import Outcome
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, Delivery, Log, NewRecord, Outgoing, WorkQueue


class Outbox:
    """What one worker reports: all outcomes of one turn of the loop go together.

    Args:
        queue: Where the steps came from.
        reported: Called with every future of what was sent.
    """

    def __init__(self, log: Log, queue: WorkQueue, reported: Callable[[asyncio.Future[Any]], object]) -> None:
        self._log = log
        self._queue = queue
        self._reported = reported
        self._waiting: list[tuple[Delivery, Outcome | None]] = []
        self._sent: asyncio.Future[None]  # of what is waiting
        # Deliveries whose outcomes are on their way; and the repeat of one, to be settled once they are safe.
        self._reporting: dict[tuple[str, int], Delivery | None] = {}

    def settle(self, delivery: Delivery, outcome: Outcome | None) -> asyncio.Future[None]:
        """Report an outcome, together with all others of the same turn of the loop.

        Args:
            outcome: None where nobody waits for one.

        Returns:
            Done when outcome and settlement are in the log.
        """
        if not self._waiting:
            loop = asyncio.get_running_loop()
            loop.call_soon(self.flush)
            self._sent = loop.create_future()
            self._sent.add_done_callback(self._reported)
        self._waiting.append((delivery, outcome))
        self._reporting[place(delivery)] = None
        return self._sent

    def is_repeat(self, delivery: Delivery) -> bool:
        """Whether the outcome of this very record is on its way; if so, the repeat is settled behind it."""
        if place(delivery) not in self._reporting:
            return False
        self._reporting[place(delivery)] = delivery
        return True

    def flush(self) -> None:
        """Send what waits, without waiting for the end of the turn."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        records: dict[int, list[NewRecord]] = {}
        for _, outcome in waiting:
            if outcome is not None:
                command, value = outcome
                partition = partition_for(command.instance_id, self._log.partitions)
                records.setdefault(partition, []).append(NewRecord(command.instance_id, value))
        outgoing = [Outgoing(COMMANDS, partition, batch) for partition, batch in records.items()]
        deliveries = [delivery for delivery, _ in waiting]
        sent = self._sent
        self._queue.settle(deliveries, outgoing).add_done_callback(lambda done: self._landed(deliveries, sent, done))

    def _landed(self, deliveries: list[Delivery], sent: asyncio.Future[None], done: asyncio.Future[None]) -> None:
        repeats = [self._reporting.pop(place(delivery), None) for delivery in deliveries]
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            if isinstance(error, asyncio.CancelledError):
                sent.cancel()
            else:
                sent.set_exception(error)
            return
        sent.set_result(None)
        for repeat in repeats:
            if repeat is not None:
                self.settle(repeat, None)


def place(delivery: Delivery) -> tuple[str, int]:
    """What a queue's record is known by."""
    return delivery.queue, delivery.token
