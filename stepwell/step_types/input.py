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

    data: Annotated[
        dict[str, Any] | None, Setting("A mapping that is laid over the step's input; templates allowed.")
    ] = None
    schema: Annotated[
        dict[str, Any] | None,
        Setting(
            "A JSON Schema (2020-12, unless `$schema` says otherwise) that the result must fit, without templates."
        ),
    ] = None
    required: Annotated[
        tuple[str, ...] | str,
        Setting(
            "A field or a list of them, as dotted paths; each must be there and not null.",
            schema={"type": "array", "items": {"type": "string"}},
        ),
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
    text="Name and complete the workflow's input, as a step of its own.",
    gives="its input, with `config.data` laid over it",
    call=Call(positional=("data",)),
)
