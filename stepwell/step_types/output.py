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
    text="Gather results, as what the workflow returns.",
    takes="outputs by id, see above",
    gives="its input",
    call=Call(
        positional=("data",),
        needed=("data",),
    ),
)
