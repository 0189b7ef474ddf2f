"""``Run``: one instance, for the program that started it; ``Steered``: the answer to a request."""

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
    """The answer to a request to cancel, pause, resume, reschedule, roll back, approve or reject.

    Attributes:
        instance_id: The id of the instance.
        decided: Whether an engine has carried out the request. If not, the request is in the log, and the next
            engine will carry it out or reject it: no caller is told then, but ``Client.history`` shows which.
        noted: Why the request changed nothing, if the instance was already as requested.
        position: The position of the answer in the log, ``PARTITION@OFFSET``; empty if no engine has answered.
    """

    instance_id: str
    decided: bool
    noted: str = ""
    position: str = ""


class Run(Generic[Output_co]):
    """One instance, for the program that started it or attached to it.

    Args:
        client: The client.
        instance_id: The id of the instance.
        returns: The type to which its output is converted; ``Any`` leaves the output as JSON data.

    Attributes:
        id: The id of the instance.
        existed: Whether the start found an existing instance with this id.
        decided: Whether an engine has answered the start. If not, the start is in the log for the next engine.
        position: The position of the answer in the log, ``PARTITION@OFFSET``; empty if no engine has answered.
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
        """Wait until the instance has finished.

        Args:
            timeout: Seconds; None waits without a limit.

        Returns:
            The finished instance, whether it completed, failed or was cancelled; ``raise_for_status()`` raises unless
            it completed. If the workflow is written in Python, ``output`` has the type that its function returns.

        Raises:
            TimeoutError: The instance has not finished yet; it continues.
            CommandRejectedError: The start was not decided yet, and an engine then rejected it.
            UnknownInstanceError: The instance existed, and was cleaned away after its end.
            OutputTypeError: The output of the completed instance is not of the type that the workflow's function
                returns.
        """
        known = self.existed or not self.decided
        view = await self._client.wait(self.id, lambda state: not state.live, timeout=timeout, existed=known)
        return self._typed(view)

    async def status(self) -> InstanceView[Output_co]:
        """Return the instance as it is now. Once it has an output, the output is typed as in ``result``.

        Raises:
            UnknownInstanceError: The log has no instance with this id, or its start was rejected.
            OutputTypeError: As in ``result``.
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
        """Cancel the instance; see ``Client.cancel``."""
        return await self._client.cancel(self.id, reason)
