"""``python``: calls a handler. Its ``config`` is the handler's."""

from __future__ import annotations

from typing import Final

from stepwell.schemas.definitions.step_type import StepType

TYPE: Final = StepType(name="python", takes_handler=True, text="Call `handler`.", gives="what the handler returns")
