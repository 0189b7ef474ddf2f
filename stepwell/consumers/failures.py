"""Errors of handlers as data."""

from __future__ import annotations

import traceback
from typing import Final

from msgspec.structs import replace

from stepwell.core.retry import PAYLOAD_TOO_LARGE
from stepwell.errors import StepwellError
from stepwell.schemas.codec import MOST_NESTED
from stepwell.schemas.definitions import LONGEST_SECONDS
from stepwell.schemas.events import ErrorInfo

TRACEBACK_CHARACTERS: Final = 4_000  # the end of a traceback says most; a record has room for better things
MESSAGE_CHARACTERS: Final = 2_000
NAME_CHARACTERS: Final = 200  # of a class; only generated ones are longer
MOST_KINDS: Final = 50


class ReportedError(Exception):
    """A failure that was told to us as data, by a worker in another process.

    Args:
        info: What is recorded of it.
    """

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(info.message)


def describe(error: BaseException) -> ErrorInfo:
    """What is recorded of an exception that a handler raised.

    An exception with a boolean attribute ``retryable`` says itself whether another attempt makes sense, one with
    a number ``retry_after`` how many seconds to wait before it.
    """
    if isinstance(error, ReportedError):
        return _bounded(error.info)
    kinds = tuple(kind.__name__ for kind in type(error).__mro__[1:] if kind not in (Exception, BaseException, object))
    try:
        message = error.sentence if isinstance(error, StepwellError) else str(error)
        retryable, after = getattr(error, "retryable", None), getattr(error, "retry_after", None)
        trace = "".join(traceback.format_exception(error))
    except Exception as problem:  # its own methods may fail as well
        message, retryable, after, trace = f"(it cannot be shown: {type(problem).__name__})", None, None, ""
    return _bounded(
        ErrorInfo(
            type=type(error).__name__,
            message=message,
            kinds=kinds,
            traceback=trace,
            retryable=retryable if isinstance(retryable, bool) else None,
            retry_after=float(after) if isinstance(after, (int, float)) else None,
        )
    )


def _bounded(info: ErrorInfo) -> ErrorInfo:
    """An error that fits a record and can be written, whatever foreign code has put into it."""
    after = info.retry_after
    return replace(
        info,
        type=_encodable(info.type[:NAME_CHARACTERS]),
        kinds=tuple(_encodable(kind[:NAME_CHARACTERS]) for kind in info.kinds[:MOST_KINDS]),
        message=_encodable(_shortened(info.message, MESSAGE_CHARACTERS)),
        traceback=_encodable(info.traceback[-TRACEBACK_CHARACTERS:]),
        retry_after=after if after is not None and 0 < after <= LONGEST_SECONDS else None,
    )


def too_large(size: int, limit: int) -> ErrorInfo:
    """The error of a step whose output does not fit a record."""
    message = f"the output has {size:,} bytes, the log takes {limit:,}; write it to a file and pass its path"
    return ErrorInfo(type=PAYLOAD_TOO_LARGE, message=message)


def too_deep() -> ErrorInfo:
    """The error of a step whose output nobody could read."""
    message = f"the output is nested more than {MOST_NESTED} deep; write it to a file and pass its path"
    return ErrorInfo(type=PAYLOAD_TOO_LARGE, message=message)


def _encodable(text: str) -> str:
    """A text that UTF-8 has bytes for: names of files may hold others, and errors name files."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"
