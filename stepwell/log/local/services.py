"""What the parts of the log in a file are given of each other.

``log.LocalLog`` keeps the first of these interfaces, ``queue.Consumer`` the second. Nobody outside this room uses
more of a log than the port has.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Sequence
from typing import Protocol

from stepwell.log.local.reader import Reader
from stepwell.log.local.transaction import Row, Work
from stepwell.log.port import Delivery, Outgoing, TopicPartition
from stepwell.log.wake import Signal

Entry = tuple[int, int, Delivery]  # minus its priority, its token, itself: the order in which it is taken


class Services(Protocol):
    """The log, as its appends, queues and memberships see it.

    Attributes:
        loop: The event loop that everything but the writer's thread runs in.
        reader: Reads the file.
        groups: Fires when the shares of a group may have changed.
    """

    loop: AbstractEventLoop
    reader: Reader
    groups: Signal

    def submit(self, work: Work) -> None:
        """Hand work to the writer."""

    def rows_of(self, outgoing: Outgoing) -> list[Row]:
        """Check and encode records on their way into a partition.

        Raises:
            LogError: The log is closed, there is no such partition, or a record cannot be written.
        """

    def landed(self, place: TopicPartition, first: int, rows: Sequence[Row], now: int) -> None:
        """Show rows that were committed to those who wait for them or will soon read them.

        Args:
            place: Topic and partition.
            first: The offset of the first.
            now: When, in milliseconds since 1970.
        """

    def gave_back(self) -> None:
        """Let this process's workers look: entries of the queues wait."""

    async def bury_the_dead(self) -> None:
        """Strike off processes that have ended; what they had taken goes back to the queues."""

    async def strike_off(self, member: int) -> None:
        """End a membership or a worker; where the file cannot be written now, once it can."""


class Taker(Protocol):
    """A worker's end of its queues, as what is done for it sees it.

    Attributes:
        member: Its number as a member of the group ``workers``.
        reserved: How many entries are on their way to it in a commit.
    """

    member: int
    reserved: int

    @property
    def closed(self) -> bool:
        """Whether it has left."""

    def receive(self, entry: Entry) -> None:
        """Take in an entry that is claimed for it."""

    def keep(self, tokens: Sequence[int]) -> None:
        """Hold on to what could not be settled or released."""

    def forget(self, tokens: Sequence[int]) -> None:
        """Take these no more: others have settled them."""
