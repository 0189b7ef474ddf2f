"""Identifiers: what they may be, and new ones of instances."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated

from msgspec import Meta

from stepwell.process import now_ms

Identifier = Annotated[str, Meta(min_length=1, max_length=200)]
"""A name of anything: of an instance, a workflow, a step, a queue."""


def new_id() -> str:
    """A fresh id of an instance: a UUID of version 7 (RFC 9562), so that ids made later sort later."""
    milliseconds = now_ms()
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
