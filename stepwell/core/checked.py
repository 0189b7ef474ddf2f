"""A definition that was read, compiled: what is wrong with its shape, its graph or its expressions, told at once."""

from __future__ import annotations

from stepwell.core.plan import Plan, compile_plan
from stepwell.errors import DefinitionError
from stepwell.schemas.loaded import Loaded


def compile_loaded(loaded: Loaded) -> Plan:
    """Compile what was read.

    Args:
        loaded: From ``stepwell.schemas.load.read_definition``.

    Raises:
        DefinitionError: With every problem, each with its place in the document as it was written.
    """
    if loaded.definition is None:
        raise loaded.everything(None)
    try:
        plan = compile_plan(loaded.definition)
    except DefinitionError as error:
        raise (loaded.everything(error) if loaded.problems else loaded.explained(error)) from None
    if loaded.problems:
        raise loaded.everything(None)
    return plan
