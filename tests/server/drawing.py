"""What is changed in requests that are drawn from the description."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import schemathesis

POSITION = re.compile("[0-9]{1,5}@[0-9]{1,15}(,[0-9]{1,5}@[0-9]{1,15}){0,9}")  # as the description has it


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """To JSON Schema 4.0 is an integer; to this server it is a number of another kind."""
    return whole(body)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Wait for minutes in no request, and for no position that will never come."""
    if isinstance(case.body, dict) and "wait_seconds" in case.body:
        case.body = {**case.body, "wait_seconds": shortened(case.body["wait_seconds"], 60)}
    if case.query and "wait" in case.query:
        case.query["wait"] = shortened(case.query["wait"], 300)
    if case.query and POSITION.fullmatch(str(case.query.get("after"))):
        case.query["after"] = "0@0"


def shortened(seconds: Any, most: float) -> Any:
    """A time that one may wait for, made short; what is no such time stays as it is."""
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(seconds, (int, float, str)) and not isinstance(seconds, bool) and 0.1 < float(seconds) <= most:
            return 0.1
    return seconds


def whole(value: Any) -> Any:
    """The same with 4 for 4.0."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
