"""What is changed in requests that are drawn from the description."""

from __future__ import annotations

import contextlib
from typing import Any

import schemathesis


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """To JSON Schema 4.0 is an integer; to this server it is a number of another kind."""
    return whole(body)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Wait for steps in no claim: here, and not in ``map_body``, also for values at the edge of what is allowed."""
    waits = case.body.get("wait_seconds") if isinstance(case.body, dict) else None
    if isinstance(waits, (int, float)) and 0.1 < waits <= 60:
        case.body["wait_seconds"] = 0.1


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Wait for minutes in no request."""
    if isinstance(query, dict) and "wait" in query:
        with contextlib.suppress(TypeError, ValueError):
            if float(query["wait"]) > 0.1:
                return {**query, "wait": 0.1 if float(query["wait"]) <= 300 else 301}
    return query


def whole(value: Any) -> Any:
    """The same with 4 for 4.0."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
