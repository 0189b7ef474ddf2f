"""A place in a group that shares out the log's partitions."""

from __future__ import annotations

import asyncio
from asyncio import Task
from typing import Final

from stepwell.errors import LogClosedError, LogError
from stepwell.log.kafka.group import GroupDirectory, GroupMember
from stepwell.log.port import COMMANDS, TopicPartition
from stepwell.logs import Logger
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.log.kafka")

_ASK_AGAIN: Final = 0.05  # seconds, while a group is being shared out
_NOTE_AFTER: Final = 1.0  # seconds in which what was reached is gathered, to be noted at once


class KafkaMembership:
    """A place in a group that shares out the log's partitions; see ``port.Membership``.

    Attributes:
        left: Whether it was given up.
    """

    def __init__(self, member: GroupMember, directory: GroupDirectory, place: str) -> None:
        self._member = member
        self._directory = directory
        self._place = place
        self._reached: dict[TopicPartition, int] = {}
        self._noting: Task[None] | None = None
        self._has_warned = False
        self.left: bool = False

    async def assignment(self) -> frozenset[int]:
        """As the port says: the broker itself is asked."""
        while not self.left:
            found = await self._directory.share(self._member.group, self._member.name, COMMANDS)
            if found is not None:
                return found
            await self._member.moved.wait(_ASK_AGAIN)  # it is being shared out
        return frozenset()

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """As the port says."""
        while (now := frozenset(number for _, number in self._member.places)) == known and not self.left:
            await self._member.moved.wait()
        return now

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """As the port says: noted in the group a moment later, for tools that watch a group's lag."""
        self._reached[topic, partition] = offset
        if (self._noting is None or self._noting.done()) and not self.left:
            self._noting = asyncio.get_running_loop().create_task(self._note(), name="stepwell-positions")

    async def _note(self) -> None:
        while self._reached:
            await asyncio.sleep(_NOTE_AFTER)
            await self._note_now()

    async def _note_now(self) -> None:
        reached, self._reached = self._reached, {}
        try:
            await self._member.note(reached)
        except LogError as error:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning("positions for lag monitors cannot be noted; trying again", error=str(error))
        else:
            self._has_warned = False

    async def leave(self) -> None:
        """As the port says."""
        if not self.left:
            self.left = True
            await self._stop_noting()
            if self._reached:
                await self._note_now()
        await self._member.leave()

    async def _stop_noting(self) -> None:
        if self._noting is not None:
            await cancel_and_wait(self._noting, report=True)

    async def shut(self, *, tidy: bool) -> None:
        """The log closes."""
        self._member.moved.fire(LogClosedError("the log was closed", place=self._place))
        await self._stop_noting()
        await self._member.leave(tidy=tidy)
