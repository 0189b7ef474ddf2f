"""Credentials that are written out in a definition, where everybody who may read it sees them."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.definitions.step_type import StepTypes


def literal_credentials(definition: Definition, types: StepTypes) -> list[str]:
    """The places of credentials that steps of a definition hold as they are; a template is none.

    Args:
        types: The step types there are; each says where its settings hold credentials.

    Returns:
        Such as ``steps[2] ("pay").config.headers.Authorization``.
    """
    found: list[str] = []
    for number, step in enumerate(definition.steps):
        declared = types.get(step.type)
        if declared is not None and declared.credentials is not None and isinstance(step.config, Mapping):
            at = f'steps[{number}] ("{step.id}")'
            found += [f"{at}.config.{place}" for place in declared.credentials(step.config)]
    return found
