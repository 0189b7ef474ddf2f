"""A member's place in a group; see ``port.Membership``. The shares are kept in the file (``members``)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stepwell.log.local.reader import Reader, decode_headers
from stepwell.log.local.services import Services
from stepwell.log.port import NO_HEADERS, Member


def encode_about(about: Mapping[str, str]) -> str | None:
    """What a member says about itself, as it is written in the file."""
    return msgspec.json.encode(dict(about)).decode() if about else None


async def list_members(reader: Reader, group: str) -> list[Member]:
    """The members of a group, in order of joining."""
    question = (
        "SELECT p.name, m.id, m.about FROM members m JOIN processes p ON p.id = m.process "
        "WHERE m.team = ? ORDER BY m.id"
    )
    return [
        Member(f"{process}-{number}", group, NO_HEADERS if about is None else decode_headers(about))
        for process, number, about in await reader.ask(question, (group,))
    ]


class LocalMembership:
    """One log object's place in a group.

    Args:
        log: The log.
        member: Its number.
        group: The group's name.
    """

    def __init__(self, log: Services, member: int, group: str) -> None:
        self._log = log
        self._member = member
        self._group = group
        self._left = False

    async def assignment(self) -> frozenset[int]:
        """As the port says; the dead are struck off first."""
        await self._log.bury_the_dead()
        return await self._read()

    async def _read(self) -> frozenset[int]:
        question = "SELECT partition FROM assignments WHERE team = ? AND member = ?"
        rows = await self._log.reader.ask(question, (self._group, self._member))
        return frozenset(partition for (partition,) in rows)

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """As the port says."""
        await self._log.bury_the_dead()
        while (now := await self._read()) == known:
            await self._log.groups.wait()
        return now

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """As the port says: nobody watches."""

    async def leave(self) -> None:
        """As the port says."""
        if not self._left:
            self._left = True
            await self._log.strike_off(self._member)
