"""Definitions that are larger than a record: compressed, and marked so by a header."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

ENCODING: Final = "content-encoding"
DEFLATE: Final = "deflate"  # as HTTP calls it: a zlib stream
MOST_UNPACKED: Final = 16 * 1024 * 1024
"""Bytes that a packed value may grow to: twice what a definition's file may have."""


def pack(value: bytes, limit: int) -> tuple[bytes, dict[str, str]]:
    """A value and headers: the value as it is, where it is no larger than ``limit`` bytes, else compressed."""
    return (value, {}) if len(value) <= limit else (zlib.compress(value, 9), {ENCODING: DEFLATE})


def unpack(value: bytes, headers: Mapping[str, str]) -> bytes:
    """What was packed.

    Raises:
        ValueError: It cannot be unpacked, or is larger than ``MOST_UNPACKED``.
    """
    encoding = headers.get(ENCODING)
    if encoding is None:
        return value
    if encoding != DEFLATE:
        raise ValueError(f"its {ENCODING} {encoding!r} is not known")
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(value, MOST_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked: {error}") from None
    if not stream.eof:
        raise ValueError(f"it is cut off, or has more than {MOST_UNPACKED:,} bytes")
    return unpacked
