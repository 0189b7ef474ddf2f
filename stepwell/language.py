"""Definitions as people write them, read and compiled with the built-in step types.

What reads, checks and compiles definitions (``stepwell.schemas``, ``stepwell.core``) is handed the declarations of
step types and imports none of them. Here they are handed over, for everybody above.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.core.expressions.meter import Meter
from stepwell.core.plan import checked
from stepwell.core.plan import compile as compiling
from stepwell.core.plan import literal_credentials as credentials
from stepwell.core.plan.compile import Plan
from stepwell.schemas.definitions import editor_schema, load
from stepwell.schemas.definitions.load import Source
from stepwell.schemas.definitions.loaded import Loaded
from stepwell.schemas.definitions.model import Definition
from stepwell.step_types.table import BUILT_IN


def load_definition(source: Source, *, place: str = "", dialect: str | None = None, name: str = "") -> Definition:
    """Read a definition, in whichever dialect it is written; ``stepwell.schemas.definitions.load`` says more."""
    return load.load_definition(source, BUILT_IN, place=place, dialect=dialect, name=name)


def read_definition(source: Source, *, place: str = "", dialect: str | None = None, name: str = "") -> Loaded:
    """Read a definition, and keep what tells where everything came from."""
    return load.read_definition(source, BUILT_IN, place=place, dialect=dialect, name=name)


def from_plain(data: Any, *, place: str) -> Definition:
    """Check plain data and make a definition of it."""
    return load.from_plain(data, BUILT_IN, place=place)


def compile_plan(definition: Definition, schemas: Meter | None = None) -> Plan:
    """Check a definition whole and compile it; ``stepwell.core.plan.compile`` says more."""
    return compiling.compile_plan(definition, BUILT_IN, schemas)


def compile_loaded(loaded: Loaded) -> Plan:
    """Compile what ``read_definition`` has read."""
    return checked.compile_loaded(loaded, BUILT_IN)


def definition_schema(types: Iterable[str] = ()) -> dict[str, Any]:
    """JSON Schema (2020-12) of what ``load_definition`` reads, for editors.

    Args:
        types: Names of step types of one's own; others than these and the built-in ones do not fit.
    """
    return editor_schema.definition_schema(BUILT_IN, types)


def literal_credentials(definition: Definition) -> list[str]:
    """The places of credentials that are written out in a definition."""
    return credentials.literal_credentials(definition, BUILT_IN)
