"""One instance, as whoever started it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from stepwell.client.steering import Steering
    from stepwell.consumers.reading.views import InstanceView


class Steered(Struct, frozen=True):
    """What became of a request to cancel, pause, resume, roll back, approve or reject.

    Attributes:
        decided: Whether an engine has followed it. Otherwise it is in the log, and the next engine will follow it, or
            reject it: nobody is told then, ``Client.history`` shows it.
        noted: Why nothing had to be done, where it was so already.
        position: Where the answer is in the log, ``PARTITION@OFFSET``; empty where none has answered.
    """

    instance_id: str
    decided: bool
    noted: str = ""
    position: str = ""


class Run:
    """One instance, for whoever started it or attached to it.

    Attributes:
        existed: Whether the start found an instance of this id.
        decided: Whether an engine has answered the start; otherwise it is in the log, and the next one will.
        position: Where the answer is in the log, ``PARTITION@OFFSET``; empty where none has answered.
    """

    def __init__(
        self, client: Steering, instance_id: str, *, existed: bool = False, decided: bool = True, position: str = ""
    ) -> None:
        self._client = client
        self.id = instance_id
        self.existed = existed
        self.decided = decided
        self.position = position

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def result(self, timeout: float | None = None) -> InstanceView:
        """Wait for the end.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Returns:
            The finished instance, however it ended; ``raise_for_status()`` turns a failure into an exception.

        Raises:
            TimeoutError: It has not finished yet; it goes on all the same.
            CommandRejectedError: No engine had decided the start, and then one would not start it.
            UnknownInstanceError: It existed, and was cleaned away after its end.
        """
        known = self.existed or not self.decided
        return await self._client.wait(self.id, lambda state: not state.live, timeout=timeout, existed=known)

    async def status(self) -> InstanceView:
        """The instance as it is now."""
        return await self._client.get(self.id)

    async def cancel(self, reason: str = "") -> Steered:
        """See ``Client.cancel``."""
        return await self._client.cancel(self.id, reason)
