"""What equal inputs have in common: read models look instances up by it, starts are compared by it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="deterministic").encode


def input_hash(value: Any) -> bytes:
    """What equal inputs have in common, whatever the order of their keys, and whether 1 is written 1.0."""
    encoded = _encode(value)
    if b".0" in encoded:
        encoded = _encode(_whole(value))
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
