"""``workflow_trigger``: starts another workflow. The core decides it, from ``ChildConfig``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from stepwell.core.plan.gate_config import ChildConfig, read_child
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.step_type import Call, StepType
from stepwell.step_types.base import in_lists


class Triggered(Struct, frozen=True):
    """What ``workflow_trigger`` gives; without waiting, the ``instance_id`` alone."""

    instance_id: str
    status: str
    output: Any


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    known = {key: value for key, value in config.items() if key in TYPE.keys}  # others are told already
    literal = {key: value for key, value in known.items() if key == "input" or not in_lists(value)}
    if "workflow" not in literal:  # it is missing, which is told elsewhere, or a template
        return
    try:
        read_child(literal)
    except ExpressionError as error:
        yield f"{at}{error.message.removeprefix('config')}"


TYPE: Final = StepType(
    name="workflow_trigger",
    config=ChildConfig,
    result=Triggered,
    way="child",
    check=_check,
    text="Start another workflow by name, and wait for it unless `wait` is false.",
    takes="the child's input",
    gives="the child's end",
    call=Call(positional=("workflow", "data")),
)
