"""Settings of built-in types under the names that other systems have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from stepwell.schemas.definitions.places import Path
from stepwell.schemas.dialects.document import MISSING, Document, Made

_SECONDS: Final = ("seconds", "timeout_seconds")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def settings_of(document: Document, kind: str, given: Mapping[str, Any], at: Path, path: Path) -> Made:
    """The ``config`` of a type from the settings that were written.

    Args:
        kind: The canonical type. Names are changed only for built-in types that have such settings.
        given: What was written, at this place in the document.
        path: The place of the ``config`` in the canonical form.
    """
    made = Made(document, path, at)
    declared = document.types.get(kind)
    called = document.types.renamed(kind)
    for key, value in given.items():
        name = called.get(key, key)
        if name in made:
            document.problem((*at, key), f'says the same as another setting here: "{name}"')
        made.put(name, seconds(document, value, (*at, key)) if called and name in _SECONDS else value, (*at, key))
    if declared is not None and declared.adopt is not None:
        declared.adopt(made)
    return made


def seconds(document: Document, value: Any, path: Path) -> Any:
    """A duration such as ``90s``, ``15m``, ``2h`` or ``3d`` in seconds; a template or what is no text as it is."""
    if not isinstance(value, str) or "{{" in value:
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        document.problem(path, f'"{value}" is no duration; write seconds, or a text such as 90s, 15m, 2h or 3d')
        return MISSING
    return float(found[1]) * _UNITS[found[2]]
