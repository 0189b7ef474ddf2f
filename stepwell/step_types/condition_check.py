"""``condition_check``: evaluates a condition once, so that several steps can depend on it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.schemas.definitions.step_type import Call, Setting, StepType


class ConditionCheckConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of a ``condition_check`` step."""

    condition: Annotated[
        Any,  # compiled as an expression with the definition's others
        Setting(
            "An expression; `result` of the output says whether it holds.",
            parameter="check",
            called=("expression", "conditions"),
        ),
    ]


class Check(Struct, frozen=True):
    """What ``condition_check`` gives."""

    result: bool


TYPE: Final = StepType(
    name="condition_check",
    config=ConditionCheckConfig,
    result=Check,
    way="condition",
    attempts=False,
    text="Evaluate a condition once, so that several steps can depend on it.",
    takes="not used",
    gives='`{"result": true}` or `{"result": false}`',
    call=Call(positional=("check",)),
)
