"""Which partition a key belongs to: Kafka's own rule, so that any Kafka client in any language agrees with us."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash as Kafka's Java client computes it (``Utils.murmur2``), as an unsigned number.

    Args:
        data: What to hash: a record's key in UTF-8.
    """
    length = len(data)
    value = _SEED ^ length
    whole = length - length % 4
    for index in range(0, whole, 4):
        word = int.from_bytes(data[index : index + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        value = value * _MULTIPLIER & _MASK ^ word
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15


@lru_cache(maxsize=65_536)  # the instances in flight: a key comes back with each of its steps, a hash costs 10 µs
def partition_for(key: str, partitions: int) -> int:
    """The partition of ``key`` among ``partitions``: ``toPositive(murmur2(key)) % partitions``.

    Args:
        key: A record's key: an instance id.
        partitions: How many partitions the topic has; at least 1.
    """
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
