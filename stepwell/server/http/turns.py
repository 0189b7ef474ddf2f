"""Whose definition is read now: a few at once, one of each sender, and how large one may be.

Reading and compiling a large definition takes seconds of a processor, in a thread beside the engine of this process.
Whoever only looks at workflows may check what people write by hand; who registers, all that can be registered.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from stepwell.schemas.definitions.bounds import MOST_BYTES
from stepwell.server.access import Actor, Role
from stepwell.server.http.problems import RefusedError

AT_ONCE: Final = 2
"""Definitions that one server reads at once."""
MOST_WAITING: Final = 32
"""Those of one sender that wait for their turn."""
MOST_TO_CHECK: Final = 1024 * 1024
"""Bytes of a definition from somebody who may not register it: some thousand steps."""


class Turns:
    """Gives senders of definitions their turns; one for each application."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._senders: dict[str, asyncio.Lock] = {}
        self._asked: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def turn(self, actor: Actor) -> AsyncIterator[None]:
        """Wait until this sender may have a definition read; it is their turn while the context lasts.

        Raises:
            RefusedError: 429, where many of theirs wait already.
        """
        name = actor.name
        if self._asked[name] > MOST_WAITING:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{MOST_WAITING} definitions of {name} wait to be read",
                remedy="Send the next one when the others are answered.",
                headers={"Retry-After": "1"},
            )
        self._asked[name] += 1
        try:
            async with self._senders.setdefault(name, asyncio.Lock()), self._places:
                yield
        finally:
            self._asked[name] -= 1
            if not self._asked[name]:
                del self._asked[name], self._senders[name]


def check_size(actor: Actor, size: int) -> None:
    """Refuse a definition that is larger than its sender may have read.

    Raises:
        RefusedError: 413.
    """
    most = MOST_BYTES if actor.role.covers(Role.OPERATOR) else MOST_TO_CHECK
    if size > most:
        others = "" if most == MOST_BYTES else f"; who may register it may send {MOST_BYTES:,}"
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"a definition of {size:,} bytes; {most:,} are allowed{others}",
            remedy="Split the workflow, or check it with `stepwell validate FILE`.",
        )
