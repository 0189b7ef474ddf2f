"""Which fields of inputs and outputs instances can be looked up by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

DEEPEST: Final = 3  # keys from the top: ``input.order.customer.id``
MOST_FIELDS: Final = 20  # of one input or output, the first ones in its own order
LONGEST_VALUE: Final = 200  # characters; longer texts are for reading, not for looking up
LONGEST_NAME: Final = 200

_encode = msgspec.json.Encoder().encode


def fields_of(payload: Any, root: str) -> dict[str, str]:
    """The fields of a payload by dotted name: numbers, texts, truth values and nulls, as JSON.

    Args:
        root: What the names begin with: ``input`` or ``output``.
    """
    found: dict[str, str] = {}
    if type(payload) is not dict:
        scalar = field_value(payload)
        return {} if scalar is None else {root: scalar}
    for name, scalar in _scalars(payload, root, 1):
        found[name] = scalar
        if len(found) == MOST_FIELDS:
            break
    return found


def _scalars(payload: dict[str, Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, value in payload.items():
        name = f"{path}.{key}"
        if len(name) > LONGEST_NAME:
            continue
        if type(value) is dict:
            if depth < DEEPEST:
                yield from _scalars(value, name, depth + 1)
            continue
        scalar = field_value(value)
        if scalar is not None:
            yield name, scalar


def field_value(value: Any) -> str | None:
    """A value as it is looked up: JSON, where 2.0 is 2; None for what cannot be."""
    if type(value) is str:
        return None if len(value) > LONGEST_VALUE or not _is_text(value) else _encode(value).decode()
    if type(value) is float and not math.isfinite(value):
        return None  # JSON would have it be null
    if type(value) is float and value.is_integer() and math.fabs(value) < 2**53:
        return str(int(value))
    if value is None or type(value) in (bool, int, float):
        return _encode(value).decode()
    return None


def _is_text(value: str) -> bool:
    """Whether it holds whole characters; halves of them (surrogates) come from arguments that are no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
