"""What was cleaned away, as the topic ``cleanups`` tells it to whoever keeps read models.

A cleanup takes the beginning of one partition: **an instance is gone where its first event was deleted, and it is
there where that is still in the log.** So whoever reads the log anew comes to what is left by itself, but for one
thing: what the statistics have counted of the instances that are gone. That stands here, and is kept for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from stepwell.errors import UNREADABLE, LogCorruptedError, LogVersionError
from stepwell.schemas.records.packing import pack, unpack

CLEANUPS_VERSION: Final = 1

CountRow = tuple[str, str, str, str, int, int]
"""Workflow, version, step, measure, slot and how many: see ``projections.counting``."""


class CleanedUp(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The beginning of a partition was cleaned away. The value of a record on ``cleanups``.

    Attributes:
        number: Which cleanup of this log it is, from 1. One counts if its number is the next: of two that were
            decided at once, everybody ignores the later.
        at: When it was decided, in milliseconds since 1970.
        before: All of its instances had finished before this time.
        cut: Everything on ``events`` below this offset goes, and with it every instance that began there.
        upto: All that had happened to these instances lies below this offset.
        instances: How many they are,
        transitions: and how many of their transitions there were, behind the cut too.
        archive: The file that holds their histories; empty where nobody wanted one.
        counts: What the statistics keep of them.
    """

    version: int = CLEANUPS_VERSION
    number: int
    at: int
    before: int
    partition: int
    cut: int
    upto: int
    instances: int
    transitions: int = 0
    archive: str = ""
    counts: tuple[CountRow, ...] = ()


class _Versioned(Struct):
    version: int = 1


_decode = msgspec.json.Decoder(CleanedUp).decode
_version_of = msgspec.json.Decoder(_Versioned).decode


def encode_cleanup(cleanup: CleanedUp, limit: int) -> tuple[bytes, dict[str, str]]:
    """Value and headers of its record; compressed where it is larger than ``limit`` bytes."""
    return pack(msgspec.json.encode(cleanup), limit)


def decode_cleanup(value: bytes, headers: Mapping[str, str], place: str) -> CleanedUp:
    """Read one.

    Args:
        place: Where it was read, for messages.

    Raises:
        LogVersionError: It is of a newer version.
        LogCorruptedError: It is none.
    """
    try:
        value = unpack(value, headers)
        version = _version_of(value).version
        if version <= CLEANUPS_VERSION:
            return _decode(value)
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise LogCorruptedError(f"a record that is no cleanup: {error}", place=place, remedy=UNREADABLE) from error
    raise LogVersionError(
        f"a cleanup of version {version}; this Stepwell knows versions up to {CLEANUPS_VERSION}",
        place=place,
        remedy="Update Stepwell (pip install --upgrade stepwell) and start it again.",
    )
