"""What is changed in requests that are drawn from the description."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import schemathesis

POSITION = re.compile("[0-9]{1,5}@[0-9]{1,15}(,[0-9]{1,5}@[0-9]{1,15})*")  # as the description has it


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """To JSON Schema 4.0 is an integer; to this server it is a number of another kind."""
    return whole(body)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Wait for minutes in no request, and for no position that will never come."""
    if isinstance(query, dict) and POSITION.fullmatch(str(query.get("after"))):
        query = {**query, "after": "0@0"}
    if isinstance(query, dict) and "wait" in query:
        with contextlib.suppress(TypeError, ValueError):
            if float(query["wait"]) > 0.1:
                return {**query, "wait": 0.1 if float(query["wait"]) <= 300 else 301}
    return query


@schemathesis.hook
def map_headers(context: Any, headers: Any) -> Any:
    """Likewise."""
    if isinstance(headers, dict) and POSITION.fullmatch(str(headers.get("Stepwell-Position"))):
        return {**headers, "Stepwell-Position": "0@0"}
    return headers


def whole(value: Any) -> Any:
    """The same with 4 for 4.0."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
