"""The call of a built-in step type, as the functions of ``stepwell.steps`` make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.builder.recording import OPTIONS, StepOptions, needed
from stepwell.builder.references import source_of
from stepwell.consumers.worker.parameters import refuse_unknown
from stepwell.schemas.definitions.step_type import fields_of
from stepwell.step_types.table import BUILT_IN


def add_step(kind: str, given: Mapping[str, Any], options: StepOptions) -> Any:
    """Add a step of a built-in type; return what its result will be.

    Args:
        kind: The name of the type.
        given: The arguments by parameter, in the order of the signature; None for one that was left out.
        options: What the step is told besides.

    Raises:
        BuildError: There is no such option, the call is not within a workflow function, or something in it cannot be
            written into a definition.
    """
    where = f"stepwell.steps.{kind}"
    refuse_unknown(where, (name for name in options if name not in OPTIONS), (*given, *OPTIONS))
    declared = BUILT_IN[kind]
    fields = fields_of(declared)
    config = {field.name: given[field.parameter] for field in fields if given[field.parameter] is not None}
    if declared.way == "condition":
        config = {name: source_of(value) for name, value in config.items()}
    step: dict[str, Any] = {"type": kind}
    if config:
        step["config"] = config
    if given.get("data") is not None and all(field.parameter != "data" for field in fields):
        step["input"] = given["data"]
    if declared.call is not None and declared.call.queue:
        options = {"queue": given[declared.call.queue], **options}
    hint = None if declared.result is Any else declared.result
    return needed(where).add(kind, step, options, hint)
