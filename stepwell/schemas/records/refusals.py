"""What was refused before it reached an engine: records of the topic ``refusals``.

Each stands for one refusal or for many of the same kind, and says how many. They are for people alone: nothing is
decided by them, and the oldest are deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from stepwell.schemas.records.sender import tidy

KEPT: Final = 10_000  # records; older ones are deleted from the log, and from what is read from it
_TOKEN: Final = re.compile(r"stepwell_\S+")  # what access tokens look like, wherever somebody has put one


class Refusal(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Requests that were refused: of the same sender, for the same thing, for the same reason.

    Attributes:
        at: When the last of them was, in milliseconds since 1970.
        since: When the first was.
        by: The name of who asked, where it is known.
        via: From where.
        command: What was asked for: a command's type, or a route of the server, such as ``GET /v1/audit``.
        why: Why it was refused.
        times: How many they are.
    """

    at: int
    since: int
    command: str
    why: str
    by: str = ""
    via: str = ""
    times: int = 1


encode_refusal: Callable[[Any], bytes] = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Refusal)


def decode_refusal(value: bytes) -> Refusal:
    """Read what ``encode_refusal`` wrote.

    Raises:
        msgspec.DecodeError: It is no such record.
    """
    return _decoder.decode(value)


def discreet(text: str) -> str:
    """A stranger's words, in one line, at most 200 characters, and without what looks like an access token."""
    return _TOKEN.sub("stepwell_…", tidy(text))
