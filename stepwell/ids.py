"""Identifiers: the type that bounds them, and the function that makes new ids."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated

from msgspec import Meta

from stepwell.process import now_ms

Identifier = Annotated[str, Meta(min_length=1, max_length=200)]
"""The name of an instance, a workflow, a step or a queue: 1 to 200 characters."""


def new_id() -> str:
    """Make a new id: a UUID of version 7 (RFC 9562), so that ids made later sort later."""
    milliseconds = now_ms()
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
