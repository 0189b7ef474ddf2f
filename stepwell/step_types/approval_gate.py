"""``approval_gate``: waits until people approve or reject. The core decides it, from ``GateConfig``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from stepwell.core.plan.gate_config import GateConfig, read_gate
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.step_type import Call, StepType
from stepwell.step_types.base import in_lists


class Approval(Struct, frozen=True):
    """What ``approval_gate`` gives.

    Attributes:
        by: Who decided; empty where the time to decide was over.
        at: Milliseconds since 1970.
        level: 1, and one more with each escalation.
        approvals: Everybody who approved: ``by`` and ``comment``.
    """

    approved: bool
    decision: Literal["approved", "rejected"]
    by: str
    comment: str
    at: int
    level: int
    approvals: list[dict[str, str]]


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    known = {key: value for key, value in config.items() if key in TYPE.keys}  # others are told already
    literal = {key: value for key, value in known.items() if not in_lists(value)}
    try:
        read_gate(literal, whole=len(literal) == len(known))
    except ExpressionError as error:
        yield f"{at}{error.message.removeprefix('config')}"


def _adopt(settings: Any) -> None:
    """Elsewhere a name is written where several may stand."""
    for key in ("approvers", "escalate_to"):
        if isinstance(settings.get(key), str) and "{{" not in settings[key]:
            settings[key] = [settings[key]]


TYPE: Final = StepType(
    name="approval_gate",
    config=GateConfig,
    result=Approval,
    way="gate",
    attempts=False,
    check=_check,
    adopt=_adopt,
    together={
        "dependentRequired": {"on_timeout": ["timeout_seconds"], "escalate_to": ["timeout_seconds"]},
        "if": {"required": ["on_timeout"], "properties": {"on_timeout": {"const": "escalate"}}},
        "then": {
            "required": ["escalate_to"],
            "properties": {"escalate_to": {"not": {"maxItems": 0, "type": "array"}}},
        },
    },
    text="Wait until people approve or reject.",
    takes="what they decide on",
    gives="the decision",
    call=Call(positional=("title",)),
)
