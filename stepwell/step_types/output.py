"""``output``: gathers what the workflow returns."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from stepwell.schemas.definitions.step_type import Call, StepType


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``output`` step: there are no settings."""


TYPE: Final = StepType(
    name="output",
    config=OutputConfig,
    way="output",
    attempts=False,
    call=Call(
        "Name what the workflow returns; the same as returning it from the workflow function.",
        positional=("data",),
        needed=("data",),
    ),
)
