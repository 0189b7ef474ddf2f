"""What other workers can run: a step that this one lacks the handler of is theirs, if there are any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stepwell.consumers.worker.handlers import AGENT_TASK, is_agent_task
from stepwell.consumers.worker.importing import may_be_imported
from stepwell.log.port import WORKERS, Log

LEAVE_FOR: Final = 3.0  # seconds for which steps are left to others before one looks whether they are still there


class Peers:
    """The other live workers of some queues.

    Args:
        queues: Whose workers count.
        about: What our worker says about itself; who says the same can do no more than we can.
    """

    def __init__(self, log: Log, queues: Sequence[str], about: Mapping[str, str]) -> None:
        self._log = log
        self._queues = frozenset(queues)
        self._about = about
        self._left: set[str] = set()

    def is_left(self, handler: str) -> bool:
        """Whether steps of this handler are left to others for now."""
        return handler in self._left

    async def knows(self, handler: str) -> bool:
        """Whether any of them says that it has this handler."""
        for member in await self._log.members(WORKERS):
            if member.about != self._about:
                says = {key: value.split(",") for key, value in member.about.items()}
                has = says.get("handlers", ())
                able = handler in has or may_be_imported(handler, says.get("prefixes", ()))
                able = able or (is_agent_task(handler) and AGENT_TASK in has)
                if able and self._queues.intersection(says.get("queues", ())):
                    return True
        return False

    def leave(self, handler: str, look_again: Callable[[], object]) -> None:
        """Leave steps of this handler to the others; call ``look_again`` after a while."""

        def over() -> None:
            self._left.discard(handler)
            look_again()

        self._left.add(handler)
        asyncio.get_running_loop().call_later(LEAVE_FOR, over)
