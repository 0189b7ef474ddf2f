"""What a partition's owner is asked: its commands, and behind them the starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.start_order import StartOrder
from stepwell.core.fold.partition import Progress
from stepwell.log.port import COMMANDS, STARTS, Log, Record

# Records of one topic decided before the owner looks at acknowledgements and timers again: some milliseconds of work.
BATCH: Final = 200


class _Lane:
    """One topic of the partition, read in order: a read is always under way, and wakes when there is something."""

    def __init__(self, log: Log, topic: str, partition: int, position: int, arrived: Callable[..., None]) -> None:
        self._log = log
        self._arrived = arrived
        self._topic = topic
        self._partition = partition
        self._reading: asyncio.Future[Sequence[Record]] | None = None
        self.position = position
        self._fresh = False

    def arrival(self) -> asyncio.Future[Sequence[Record]]:
        if self._reading is None:
            read = self._log.read(self._topic, self._partition, self.position, limit=BATCH, wait=None)
            self._reading = asyncio.ensure_future(read)
            self._reading.add_done_callback(self._arrived)
            self._fresh = True
        return self._reading

    def read(self) -> Sequence[Record]:
        """What has been read and not taken."""
        return self._reading.result() if self._reading is not None and self._reading.done() else ()

    def is_all(self) -> bool:
        """Whether nothing waited but what has been read."""
        return self._fresh and len(self.read()) < BATCH

    def take(self, most: int) -> Sequence[Record]:
        if self._reading is None or not self._reading.done() or not most:
            return ()
        records, self._reading = self._reading.result(), None
        if len(records) > most:
            records, left = records[:most], records[most:]
            self._reading = asyncio.get_running_loop().create_future()
            self._reading.set_result(left)
            self._fresh = False
        if records:
            self.position = records[-1].offset + 1
        return records

    def stop(self) -> None:
        if self._reading is not None and not self._reading.cancel() and not self._reading.cancelled():
            self._reading.exception()  # asked for, so that asyncio does not complain


class Arrived(NamedTuple):
    """What is to be decided next.

    Attributes:
        ahead: Records of ``starts`` that are taken out of turn.
    """

    commands: Sequence[Record]
    ahead: Sequence[Record]
    starts: Sequence[Record]


class Inbox:
    """Both topics of one partition.

    Args:
        progress: Where to go on.
        admission: Says when starts are taken.
    """

    def __init__(self, log: Log, partition: int, progress: Progress, admission: Admission) -> None:
        self._loop = asyncio.get_running_loop()
        self._admission = admission
        self._commands = _Lane(log, COMMANDS, partition, progress.command, self._wake)
        self._starts = _Lane(log, STARTS, partition, progress.start, self._wake)
        self._waiting = StartOrder(log, partition, progress.start)
        self._log = log
        self._partition = partition
        self._waiter: asyncio.Future[None] | None = None
        self._opening: asyncio.Future[None] | None = None

    @property
    def position(self) -> int:
        """Offset of the next record of ``commands``."""
        return self._commands.position

    async def next(self, wait: float | None, ahead: int) -> Arrived:
        """Wait for records of ``commands``, or of ``starts`` where there is room for them.

        Args:
            wait: How many seconds at most; None for as long as it takes.
            ahead: How many starts may be taken out of turn.

        Returns:
            Those of either; of ``starts`` only where all of ``commands`` that had arrived are among the others.
        """
        admission = self._admission
        if admission.room():
            other: asyncio.Future[Any] = self._starts.arrival()
        else:
            other = admission.opening()
            if other is not self._opening:
                self._opening = other
                other.add_done_callback(self._wake)
        if not self._commands.arrival().done():
            # Not asyncio.wait: it costs as much again as deciding a step.
            self._waiter = self._loop.create_future()
            wait = 0.0 if other.done() else wait  # one turn of the loop, in which commands at hand are read
            timer = None if wait is None else self._loop.call_later(wait, self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        commands = self._commands.take(BATCH)
        room = admission.room() if len(commands) < BATCH else 0
        waiting = self._starts.read()
        if not room or not waiting:
            return Arrived(commands, (), ())
        if self._starts.is_all() and len(waiting) <= room:
            return Arrived(commands, (), self._starts.take(room))  # no priority changes that
        if not await self._waiting.look(self._starts.position):
            return Arrived(commands, (), ())
        chosen = self._waiting.choose(min(room, BATCH), [record.offset for record in waiting], ahead)
        reads = (self._log.read(STARTS, self._partition, offset, limit=1) for offset in chosen.ahead)
        found = await asyncio.gather(*reads)
        first = [one[0] for one, offset in zip(found, chosen.ahead, strict=True) if one and one[0].offset == offset]
        return Arrived(commands, first, self._starts.take(chosen.in_turn))

    def _wake(self, _: asyncio.Future[Any] | None = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop(self) -> None:
        """Stop reading."""
        self._commands.stop()
        self._starts.stop()
