"""Groups of a simulated log, and their lies: membership is advice, so nothing may hang on its being true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from stepwell.log.port import Member
from stepwell.log.sharing import share_out

if TYPE_CHECKING:
    from stepwell.log.simulated.log import SimulatedLog
    from stepwell.log.simulated.process import SimulatedProcess


Lie = Callable[[int, frozenset[int]], frozenset[int]]
"""What a member (by its number) is told instead of the truth."""


class _Seat:
    """A membership.

    Attributes:
        shares: Whether it takes part in sharing out the partitions.
        expelled: Whether the group believes it dead.
        stale: What it still believes to be its partitions, where nobody has told it that it was expelled.
    """

    __slots__ = ("about", "expelled", "group", "log", "shares", "stale")

    def __init__(self, log: SimulatedProcess, group: str, about: Mapping[str, str], *, shares: bool) -> None:
        self.log = log
        self.group = group
        self.about = dict(about)
        self.shares = shares
        self.expelled = False
        self.stale: frozenset[int] | None = None


class Groups:
    """Who is in which group, and which partitions the group gives to whom."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._seats: dict[int, _Seat] = {}  # in order of joining
        self._given: dict[str, dict[int, int]] = {}  # group -> partition -> member
        self._number = 0
        self.lie: Lie | None = None

    def enter(self, log: SimulatedProcess, group: str, about: Mapping[str, str], *, shares: bool) -> int:
        """Let a process join; gives the member's number."""
        self._number += 1
        self._seats[self._number] = _Seat(log, group, about, shares=shares)
        self._share(group)
        return self._number

    def leave(self, member: int) -> None:
        """End a membership."""
        seat = self._seats.pop(member, None)
        if seat is not None:
            self._share(seat.group)

    def bury(self, log: SimulatedProcess) -> None:
        """End all memberships of a process."""
        for member in [number for number, seat in self._seats.items() if seat.log is log]:
            self.leave(member)

    def expel(self, log: SimulatedProcess, *, expelled: bool, told: bool = True) -> None:
        """Take a process for dead, or see that it is not."""
        for member, seat in self._seats.items():
            if seat.log is log:
                seat.stale = self.told(member) if expelled and not told else None
                seat.expelled = expelled
                self._share(seat.group)

    def _share(self, group: str) -> None:
        members = [
            number
            for number, seat in self._seats.items()
            if seat.group == group and seat.shares and not seat.expelled
        ]
        self._given[group] = share_out(self._partitions, members, self._given.get(group, {}))

    def told(self, member: int) -> frozenset[int]:
        """The partitions that a member is told to take."""
        seat = self._seats.get(member)
        if seat is not None and seat.stale is not None:
            return seat.stale
        given = self._given.get(seat.group, {}) if seat is not None else {}
        truth = frozenset(partition for partition, number in given.items() if number == member)
        return truth if self.lie is None or seat is None or not seat.shares else self.lie(member, truth)

    def members(self, group: str) -> list[Member]:
        """The members of a group, as far as it knows."""
        return [
            Member(f"{seat.log.name}-{number}", group, dict(seat.about))
            for number, seat in self._seats.items()
            if seat.group == group and not seat.expelled
        ]


class SimulatedMembership:
    """One log object's place in a group; see ``port.Membership``."""

    def __init__(self, log: SimulatedLog, member: int) -> None:
        self._log = log
        self._member = member

    async def assignment(self) -> frozenset[int]:
        """As the port says."""
        await self._log.travel()
        return self._log.storage.groups.told(self._member)

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """As the port says."""
        await self._log.travel()
        while (told := self._log.storage.groups.told(self._member)) == known:
            await self._log.wait(self._log.storage.regrouped)
            await self._log.travel()
        return told

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """As the port says: nobody watches."""

    async def leave(self) -> None:
        """As the port says."""
        if not self._log.closed:
            await self._log.travel()
            self._log.storage.leave(self._member)
