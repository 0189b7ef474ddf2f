"""Runs of steps in a worker's hands."""

from __future__ import annotations

import asyncio

from stepwell.consumers.worker.calling import Call
from stepwell.consumers.worker.context import StepContext
from stepwell.log.port import Delivery
from stepwell.schemas.records.work import WorkItem


class Run:
    """A run in this worker's hands.

    Attributes:
        call: Of its handler, once that has begun.
        cancelled: Nobody waits for it any more.
        stopped: The worker stops: somebody else shall run it, unless its handler is done.
        over: Done when it has left this worker's hands.
    """

    __slots__ = ("call", "cancelled", "ctx", "delivery", "item", "over", "stopped")

    def __init__(self, item: WorkItem, delivery: Delivery) -> None:
        self.item: WorkItem = item
        self.delivery: Delivery = delivery
        self.ctx: StepContext = StepContext(item)
        self.call: Call | None = None
        self.cancelled: bool = False
        self.stopped: bool = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def give_up(self) -> None:
        """Tell its handler that nobody waits for it here."""
        self.ctx.cancel()
        if self.call is not None:
            self.call.give_up()
