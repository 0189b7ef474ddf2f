"""One instance, as whoever started it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stepwell.consumers.reading.views import InstanceView, Output_co
from stepwell.consumers.worker.input_types import convert, is_structured
from stepwell.errors import OutputTypeError
from stepwell.schemas.records.statuses import WorkflowStatus

if TYPE_CHECKING:
    from stepwell.client.steering import Steering


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


class Run(Generic[Output_co]):
    """One instance, for whoever started it or attached to it.

    Args:
        client: The client.
        instance_id: Its id.
        returns: The type that its output is made; ``Any`` leaves it as JSON has it.

    Attributes:
        id: Its id.
        existed: Whether the start found an instance of this id.
        decided: Whether an engine has answered the start; otherwise it is in the log, and the next one will.
        position: Where the answer is in the log, ``PARTITION@OFFSET``; empty where none has answered.
    """

    def __init__(
        self,
        client: Steering,
        instance_id: str,
        *,
        existed: bool = False,
        decided: bool = True,
        position: str = "",
        returns: Any = Any,
    ) -> None:
        self._client = client
        self._returns = returns
        self.id: str = instance_id
        self.existed: bool = existed
        self.decided: bool = decided
        self.position: str = position

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def result(self, timeout: float | None = None) -> InstanceView[Output_co]:
        """Wait for the end.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Returns:
            The finished instance, however it ended; ``raise_for_status()`` turns a failure into an exception. Where a
            workflow that is written in Python was started, ``output`` is what its function returns.

        Raises:
            TimeoutError: It has not finished yet; it goes on all the same.
            CommandRejectedError: No engine had decided the start, and then one would not start it.
            UnknownInstanceError: It existed, and was cleaned away after its end.
            OutputTypeError: It completed, and its output is not of the type that the workflow's function returns.
        """
        known = self.existed or not self.decided
        view = await self._client.wait(self.id, lambda state: not state.live, timeout=timeout, existed=known)
        return self._typed(view)

    async def status(self) -> InstanceView[Output_co]:
        """The instance as it is now; its output, once there is one, as in ``result``.

        Raises:
            UnknownInstanceError: The log holds none of this id; or its start was rejected.
            OutputTypeError: As for ``result``.
        """
        return self._typed(await self._client.get(self.id))

    def _typed(self, view: InstanceView[Any]) -> InstanceView[Output_co]:
        wanted = self._returns
        if view.status != WorkflowStatus.COMPLETED or wanted is type(None) or not is_structured(wanted):
            return view
        try:
            output = convert(view.output, wanted)
        except (msgspec.ValidationError, TypeError) as error:
            raise OutputTypeError(str(error), instance_id=self.id, workflow=view.workflow) from None
        return replace(view, output=output)

    async def cancel(self, reason: str = "") -> Steered:
        """See ``Client.cancel``."""
        return await self._client.cancel(self.id, reason)
