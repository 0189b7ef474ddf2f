"""Errors of handlers as data."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from stepwell.consumers.worker.retry_after import asked_seconds
from stepwell.core.decide.retry import PAYLOAD_TOO_LARGE, WORKER_LOST
from stepwell.errors import StepwellError, visible
from stepwell.schemas.records.codec import MOST_NESTED
from stepwell.schemas.records.events import ErrorInfo

TRACEBACK_CHARACTERS: Final = 4_000  # the end of a traceback says most; a record has room for better things
MESSAGE_CHARACTERS: Final = 2_000
NAME_CHARACTERS: Final = 200  # of a class; only generated ones are longer
MOST_KINDS: Final = 50
MOST_LEAVES: Final = 100  # errors of a group that are looked at
LEAVES_SHOWN: Final = 5  # of those, in its message
LEAF_CHARACTERS: Final = 300
MOST_RELATED: Final = 1_000  # causes, contexts and errors of groups that a traceback shows; more take seconds


class ReportedError(Exception):
    """A failure that was told to us as data, by a worker in another process.

    Args:
        info: What is recorded of it.
    """

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(info.message)


def describe(error: BaseException) -> ErrorInfo:
    """What is recorded of an exception that a handler raised. Never raises, whatever the exception's methods do.

    An exception with a boolean attribute ``retryable`` says itself whether another attempt makes sense, one with
    ``retry_after`` how long to wait before it (see ``asked_seconds``). A group says what all of its errors say: it is
    of all their kinds, a repeat makes sense if it does for each, and the longest wait counts.
    """
    try:
        return _bounded(_told(error))
    except BaseException as problem:  # its class may answer even for what it is
        return _bounded(ErrorInfo(type=_name(error), message=_unshown(problem), kinds=tuple(_kinds(error))))


def _told(error: BaseException) -> ErrorInfo:
    if isinstance(error, ReportedError):
        return error.info
    leaves = list(islice(_leaves(error), MOST_LEAVES))
    told = [error, *leaves]
    trace = _asked(partial(_traceback, error))
    opinions = [_asked(partial(getattr, one, "retryable", None)) for one in told]
    waits = [_asked(partial(_wait, one)) for one in told]
    kinds = dict.fromkeys(name for one in told for name in _kinds(one) if one is not error or name != _name(error))
    return ErrorInfo(
        type=_name(error),
        message=_message(error, leaves),
        kinds=tuple(kinds),
        traceback=trace or "",
        retryable=_agreed(opinions, len(leaves)),
        retry_after=max((wait for wait in waits if wait is not None), default=None),
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, and in the groups in it; none of an error that is no group."""
    waiting = [error] if isinstance(error, BaseExceptionGroup) else []
    while waiting:
        group = waiting.pop()
        if isinstance(group, BaseExceptionGroup):
            waiting.extend(reversed(BaseExceptionGroup.exceptions.__get__(group)))
        else:
            yield group


def _related(error: BaseException) -> Iterator[BaseException]:
    """The errors that a traceback shows: an error's causes, and the errors in a group as often as they are in it."""
    waiting, chained = [error], {id(error)}
    while waiting:
        one = waiting.pop()
        yield one
        for before in (one.__cause__, one.__context__):
            if before is not None and id(before) not in chained:
                chained.add(id(before))
                waiting.append(before)
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)  # as the traceback asks for them


def _traceback(error: BaseException) -> str:
    """Its traceback, with those of all related errors unless these are too many to be shown."""
    if sum(1 for _ in islice(_related(error), MOST_RELATED + 1)) <= MOST_RELATED:
        return "".join(traceback.format_exception(error))
    return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__)])


def _asked(question: Callable[[], Any]) -> Any:
    """What an exception says of itself; None where it has nothing to say, or fails over it."""
    try:
        return question()
    except BaseException:  # foreign code: what it raises here is no more than another way to say nothing
        return None


def _wait(error: BaseException) -> float | None:
    return asked_seconds(getattr(error, "retry_after", None))


def _name(error: BaseException) -> str:
    return str(type.__dict__["__name__"].__get__(type(error)))


def _kinds(error: BaseException) -> Iterator[str]:
    for kind in type.__dict__["__mro__"].__get__(type(error)):
        if kind not in (Exception, BaseException, object):
            yield type.__dict__["__name__"].__get__(kind)


def _message(error: BaseException, leaves: Sequence[BaseException]) -> str:
    try:
        own = str.__str__(error.sentence if isinstance(error, StepwellError) else str(error))
    except BaseException as problem:  # its own methods may fail as well
        own = _unshown(problem)
    if not leaves:
        return own
    shown = [f"{_name(leaf)}: {_shortened(_message(leaf, ()), LEAF_CHARACTERS)}" for leaf in leaves[:LEAVES_SHOWN]]
    more = [f"and {len(leaves) - LEAVES_SHOWN} more"] if len(leaves) > LEAVES_SHOWN else []
    return f"{own}: {'; '.join([*shown, *more])}"


def _unshown(problem: BaseException) -> str:
    return f"(it cannot be shown: {_name(problem)})"


def _agreed(opinions: Sequence[Any], leaves: int) -> bool | None:
    """Whether a repeat makes sense, as an error and all errors in it say; None leaves it to their kinds.

    Args:
        opinions: The error's own, and then those in it.
    """
    own, inner = opinions[0], opinions[1:]
    if isinstance(own, bool):
        return own
    if any(opinion is False for opinion in inner):
        return False
    return True if leaves and all(opinion is True for opinion in inner) else None


def _bounded(info: ErrorInfo) -> ErrorInfo:
    """An error that fits a record and can be written, whatever foreign code has put into it."""
    return replace(
        info,
        type=_plain(info.type),
        kinds=tuple(_plain(kind) for kind in info.kinds[:MOST_KINDS]),
        message=_encodable(_shortened(info.message, MESSAGE_CHARACTERS)),
        traceback=_encodable(info.traceback[-TRACEBACK_CHARACTERS:]),
        retry_after=asked_seconds(info.retry_after),
    )


def _plain(name: str) -> str:
    """The name of a class, which may have been made of anything, as a name."""
    return " ".join(visible(name[:NAME_CHARACTERS]).split())[:NAME_CHARACTERS]


def too_large(size: int, limit: int) -> ErrorInfo:
    """The error of a step whose output does not fit a record."""
    message = f"the output has {size:,} bytes, the log takes {limit:,}; write it to a file and pass its path"
    return ErrorInfo(type=PAYLOAD_TOO_LARGE, message=message)


def too_deep() -> ErrorInfo:
    """The error of a step whose output nobody could read."""
    message = f"the output is nested more than {MOST_NESTED} deep; write it to a file and pass its path"
    return ErrorInfo(type=PAYLOAD_TOO_LARGE, message=message)


def worker_lost(times: int) -> ErrorInfo:
    """The error of a run that no worker has told the end of, however often it was handed out.

    Args:
        times: How often that was.
    """
    message = (
        f"handed out {times:,} times without an outcome: each time its worker ended, or was cut off. A crash of the "
        "whole process does that: os._exit, a fault in native code, the memory that ran out"
    )
    return ErrorInfo(type=WORKER_LOST, message=message)


def _encodable(text: str) -> str:
    """A text that UTF-8 has bytes for: names of files may hold others, and errors name files."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"
