"""Settings of built-in types under the names that other systems have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from stepwell.schemas.definitions.places import Path
from stepwell.schemas.dialects.document import MISSING, Document, Made

_CALLED: Final[Mapping[str, Mapping[str, str]]] = {
    "http_request": {"endpoint": "url", "payload": "json", "data": "json", "timeout": "timeout_seconds"},
    "file_operation": {
        "source": "path", "file_path": "path", "destination": "to", "target": "to", "data": "content",
    },
    "workflow_trigger": {
        "workflow_id": "workflow", "workflow_name": "workflow", "parameters": "input", "input_data": "input",
        "wait_for_completion": "wait",
    },
    "approval_gate": {
        "approver": "approvers", "required_approvals": "required", "request_title": "title",
        "description": "message", "timeout": "timeout_seconds", "escalation": "escalate_to",
        "escalation_approver": "escalate_to",
    },
    "condition_check": {"expression": "condition", "conditions": "condition"},
    "wait": {"duration": "seconds", "duration_seconds": "seconds"},
}  # fmt: skip
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
    called = _CALLED.get(kind, {})
    for key, value in given.items():
        name = called.get(key, key)
        if name in made:
            document.problem((*at, key), f'says the same as another setting here: "{name}"')
        made.put(name, seconds(document, value, (*at, key)) if called and name in _SECONDS else value, (*at, key))
    if kind == "approval_gate":
        for key in ("approvers", "escalate_to"):
            if isinstance(made.get(key), str) and "{{" not in made[key]:
                made[key] = [made[key]]
    if kind == "http_request" and isinstance(made.get("body"), (dict, list)) and "json" not in made:
        made.put("json", made.pop("body"), (*at, "body"))
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
