"""``input``: names and completes the workflow's input, and checks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.core.expressions.values import kind
from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import is_template

_CHECKS: Final = ("schema", "required")


class InputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``input`` step."""

    data: Annotated[dict[str, Any] | None, Setting("Laid over the workflow's input.")] = None
    schema: Annotated[dict[str, Any] | None, Setting("JSON Schema that the result must fit.")] = None
    required: Annotated[
        tuple[str, ...] | str,
        Setting("Keys that the result must have.", schema={"type": "array", "items": {"type": "string"}}),
    ] = ()


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    data = config.get("data", {})
    if not is_template(data) and not isinstance(data, dict):
        yield f"{at}.data: a mapping is needed, not {kind(data)}"


def _planned(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Checks are compiled with the definition, and hold no templates."""
    return {key: value for key, value in config.items() if key not in _CHECKS}


TYPE: Final = StepType(
    name="input",
    config=InputConfig,
    way="input",
    attempts=False,
    check=_check,
    planned=_planned,
    call=Call("Give the workflow's input, with ``data`` laid over it, as a step of its own.", positional=("data",)),
)
