"""When another attempt makes sense: what servers and handlers say, in seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any

from stepwell.schemas.definitions.model import LONGEST_SECONDS


def retry_after_seconds(header: str) -> float | None:
    """The header ``Retry-After`` in seconds from now (RFC 9110, 10.2.3); None where it says nothing of use."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 5 ms, for a date that servers hardly ever send

    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max((then - datetime.now(UTC)).total_seconds(), 0.0)


def asked_seconds(value: Any) -> float | None:
    """What an exception's ``retry_after`` asks for, in seconds, at most ``LONGEST_SECONDS``.

    Args:
        value: A number of seconds, a ``timedelta``, a time, or a text as in the header ``Retry-After``.

    Returns:
        None where it asks for nothing that can be done: anything else, what is not a number, none and less.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, datetime):
        value = (value.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    elif isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        seconds = float(value)
    except OverflowError:  # a number that is larger than any float
        seconds = float(LONGEST_SECONDS) if value > 0 else 0.0  # type: ignore[operator]
    return min(seconds, float(LONGEST_SECONDS)) if seconds > 0 else None  # not a number is not above 0


def _from_text(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return retry_after_seconds(text)
