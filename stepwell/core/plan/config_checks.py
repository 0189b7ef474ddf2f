"""What is wrong with the literal settings of built-in steps. What a template fills in is checked when it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stepwell.core.expressions.meter import Meter
from stepwell.schemas.definitions.model import Step
from stepwell.schemas.definitions.step_type import StepType
from stepwell.suggest import choice


def config_problems(step: Step, declared: StepType, at: str, schemas: Meter | None = None) -> Iterator[str]:
    """Each problem of a step's ``config``, as ``place: message``.

    Args:
        declared: The declaration of the step's type.
        schemas: What pays for seeing whether its schemas are any; as for ``compile_schema``.
    """
    missing = [key for key in declared.required if key not in step.config]
    if missing:
        yield f'{at}: type "{declared.name}" needs "{missing[0]}"'
    unknown = list(unknown_keys(step.config, declared.keys, at)) if declared.closed else []
    if not declared.unknown_keys_last:
        yield from unknown
    if declared.check is not None:
        yield from declared.check(step.config, at, schemas)
    if declared.unknown_keys_last:
        yield from unknown


def unknown_keys(given: Iterable[str], known: tuple[str, ...], at: str) -> Iterator[str]:
    """Each key that is none of those known, with what it may stand for."""
    for key in given:
        if key not in known:
            yield f'{at}: unknown key "{key}"{choice(key, known) if known else "; there are none"}'
