"""What stands on the ``definitions`` topic besides definitions: which versions new starts may take.

A definition's own record says how it begins (``ACTIVE_HEADER``, ``false`` for one that is not to be started yet); a
``VersionActivation`` changes that later, as often as one likes. A header tells the two apart. A reader that is older
than this finds a definition that it cannot decode, says so, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from stepwell.ids import Identifier

KIND: Final = "kind"
ACTIVATION: Final = "activation"  # the value of the header that tells this record from a definition
ACTIVE_HEADER: Final = "active"


class VersionActivation(Struct, frozen=True, gc=False, omit_defaults=True):
    """From here on a version of a workflow may be started, or may not. Instances that run keep theirs.

    Attributes:
        workflow: Name of a registered definition.
        version: One of its versions.
        active: Whether new starts may take it.
        reason: Why, for people.
    """

    workflow: Identifier
    version: Identifier
    active: bool
    reason: str = ""


_decoder = msgspec.json.Decoder(VersionActivation)
encode_activation: Callable[[Any], bytes] = msgspec.json.Encoder(order="deterministic").encode


def decode_activation(value: bytes) -> VersionActivation:
    """Read what switches a version on or off.

    Raises:
        msgspec.DecodeError: It is no such record.
    """
    return _decoder.decode(value)


def is_activation(headers: Mapping[str, str]) -> bool:
    """Whether a record of the topic is one of these, and not a definition."""
    return headers.get(KIND) == ACTIVATION
