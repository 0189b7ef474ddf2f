"""How a worker takes steps from its queues: how many it has at once, and when it takes the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from stepwell.log.port import Delivery, WorkQueue


class Intake(Protocol):
    """What a worker asks for its next steps, and tells when one has begun and has ended.

    Attributes:
        prefetch: How many records may be at hand when the worker opens its queues.
    """

    prefetch: int

    def open(self, queue: WorkQueue) -> None:
        """Take from this queue from now on."""

    async def take(self) -> Sequence[Delivery]:
        """Wait until there are a step and room for it; give as many as there is room for."""

    def begin(self) -> None:
        """Note that a step has begun."""

    def end(self) -> None:
        """Note that the code of a step has ended: a thread that was given up keeps its room until then."""


class Slots:
    """Room for a fixed number of steps: what an ordinary worker has.

    Args:
        count: How many steps at once.

    Attributes:
        busy: How many there are now: runs, and threads that were given up and go on.
    """

    def __init__(self, count: int) -> None:
        # What is at hand already goes before what is more urgent, so a worker of one step has nothing at hand.
        self.prefetch: int = count + count // 2
        self._count = count
        self.busy: int = 0
        self._freed = asyncio.Event()
        self._queue: WorkQueue

    def open(self, queue: WorkQueue) -> None:
        """As ``Intake`` says."""
        self._queue = queue

    async def take(self) -> Sequence[Delivery]:
        """As ``Intake`` says."""
        while self.busy >= self._count:
            self._freed.clear()
            await self._freed.wait()
        return await self._queue.take(self._count - self.busy)

    def begin(self) -> None:
        """As ``Intake`` says."""
        self.busy += 1

    def end(self) -> None:
        """As ``Intake`` says."""
        self.busy -= 1
        self._freed.set()
