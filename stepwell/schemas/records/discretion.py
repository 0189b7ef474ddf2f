"""Tracebacks name paths and values: they are for those who operate. To others an error is its type and message.

The log holds them. What leaves it for others (the feed, webhooks, a viewer's requests) is passed through here.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell.schemas.records.events import WorkflowReopened

_FIELD: Final = "traceback"


def without_tracebacks(value: Any) -> Any:
    """The same without any traceback. What users have made is left as it is: it holds no structs of ours."""
    if isinstance(value, WorkflowReopened):
        return replace(value, state=_state(value.state))
    if isinstance(value, Struct):
        changed = {}
        for name in value.__struct_fields__:
            before = getattr(value, name)
            after = "" if name == _FIELD and isinstance(before, str) else without_tracebacks(before)
            if after is not before:
                changed[name] = after
        return replace(value, **changed) if changed else value
    if isinstance(value, (list, tuple)) and any(isinstance(item, Struct) for item in value):
        return type(value)(map(without_tracebacks, value))
    if isinstance(value, dict) and any(isinstance(item, Struct) for item in value.values()):
        return {key: without_tracebacks(item) for key, item in value.items()}
    return value


def _state(plain: Any) -> Any:
    """An instance as an event carries it: errors are where the struct has them."""
    if not isinstance(plain, dict):
        return plain
    made = {key: _error(item) if key == "error" else item for key, item in plain.items()}
    steps = made.get("steps")
    if isinstance(steps, dict):
        made["steps"] = {key: _state(step) for key, step in steps.items()}
    for name in ("rollback", "current", "ending"):
        made |= {name: _state(made[name])} if name in made else {}
    return made


def _error(plain: Any) -> Any:
    return {key: item for key, item in plain.items() if key != _FIELD} if isinstance(plain, dict) else plain
