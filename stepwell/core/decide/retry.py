"""Whether a failed attempt is followed by another, and when."""

from __future__ import annotations

import math
import zlib
from typing import Final

from stepwell.core.fold.state import StepState
from stepwell.errors import ExpressionError, LimitError
from stepwell.schemas.definitions.model import LONGEST_SECONDS, MAX_DELAY, Retry
from stepwell.schemas.records.events import ErrorInfo

WORKER_LOST: Final = "WorkerLost"  # handed out too often without an outcome
CHILD_NOT_STARTED: Final = "ChildNotStarted"  # a kind of the error of a step whose workflow was refused
STEP_TIMEOUT: Final = "StepTimeout"
WORKFLOW_TIMEOUT: Final = "WorkflowTimeout"
PAYLOAD_TOO_LARGE: Final = "PayloadTooLarge"

# Kinds of error that the next attempt would meet again: data that does not fit, and code that is wrong. Anything
# else (connections, timeouts, the unknown) may pass, and is retried as long as there are attempts.
NEVER_BY_DEFAULT: Final = frozenset({
    "ValidationError",
    "ExpressionError",
    "HandlerError",
    PAYLOAD_TOO_LARGE,
    "TypeError",
    "AttributeError",
    "NameError",
    "ImportError",
    "SyntaxError",
    "NotImplementedError",
})  # fmt: skip


def is_retryable(retry: Retry, error: ErrorInfo) -> bool:
    """Whether an error of this kind may be retried at all.

    What the definition says comes first, then what the handler said, then the kind of the error.
    """
    kinds = {error.type, *error.kinds}
    if error.type == STEP_TIMEOUT and not retry.retry_on_timeout:
        return False
    if kinds.intersection(retry.non_retryable):
        return False
    if kinds.intersection(retry.retryable):
        return True
    if error.retryable is not None:
        return error.retryable
    return not kinds & NEVER_BY_DEFAULT


def delay_seconds(retry: Retry, attempt: int, seed: str, asked: float | None = None) -> float:
    """How long to wait after a failed attempt.

    Args:
        asked: How long the other side has asked for; no attempt comes sooner, up to a ``max_delay_seconds`` that is
            written.
        attempt: The attempt that failed, from 1.
        seed: What the jitter is drawn from. The same seed draws the same, so that deciding stays a function of
            its arguments; instances and runs differ, so a crowd of them still spreads out.
    """
    initial, written = retry.initial_delay_seconds, retry.max_delay_seconds
    most = max(MAX_DELAY, initial) if written is None else written
    try:
        delay = min(initial * retry.multiplier ** (attempt - 1), most)
    except OverflowError:
        delay = most if initial else 0.0
    draw = zlib.crc32(seed.encode()) / 2**32
    asked = min(asked or 0.0, LONGEST_SECONDS if written is None else written)
    return max(delay * (1 - retry.jitter * draw), asked)


def wait_ms(instance_id: str, step_id: str, step: StepState, retry: Retry, asked: float | None) -> int:
    """How long a step waits for its next attempt, in milliseconds.

    Args:
        step: The run that failed.
        asked: As of ``delay_seconds``.
    """
    return math.ceil(delay_seconds(retry, step.attempt, f"{instance_id}:{step_id}:{step.run}", asked) * 1000)


def within(error: ExpressionError, part: str) -> ExpressionError:
    """An error with the part of a step in which too much was asked for; others name the text that is wrong."""
    if not isinstance(error, LimitError):
        return error
    place = f"{part}.{error.place}" if error.place else part
    return error.said(error.message, place=place, remedy=error.remedy)


def evaluation_failed(error: ExpressionError, place: str = "") -> ErrorInfo:
    """What is recorded of an expression, a template or a merge that has no value.

    Args:
        place: What comes before the message.
    """
    kinds = tuple(kind.__name__ for kind in type(error).__mro__ if issubclass(kind, ExpressionError))
    return ErrorInfo(type=kinds[0], message=f"{place}{error.sentence}", kinds=kinds[1:])
