"""What a worker reports as a step's outcome: each as a command, together with its encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepwell.consumers.failures import too_deep, too_large
from stepwell.core.attempts import Effort
from stepwell.core.retry import STEP_TIMEOUT
from stepwell.schemas.codec import encode, is_nested_too_deeply
from stepwell.schemas.commands import Command, CompleteStep, FailStep, ReturnStep
from stepwell.schemas.events import ErrorInfo
from stepwell.schemas.work import WorkItem

# What an outcome may be smaller than the log's limit: the transition that it leads to wraps it once more.
OUTCOME_SHARE: Final = 0.9

Outcome = tuple[Command, bytes]


def completed(item: WorkItem, result: Any, updates: Mapping[str, Any], effort: Effort, limit: int) -> Outcome:
    """A handler has returned; what it returned may still be no output, which is a failure.

    Args:
        updates: What it wants in the instance's context.
        effort: Who ran it, and for how long.
        limit: The most bytes that an outcome may have.

    Raises:
        TypeError: The result is no JSON.
    """
    step = item.step
    try:
        output = msgspec.to_builtins(result)
    except TypeError as error:
        raise TypeError(f"the output is no JSON: {error}") from None
    context = msgspec.to_builtins(updates)
    outcome = CompleteStep(item.instance_id, step.step_id, step.run, output, context, *effort)
    value = encode(outcome)
    if len(value) > limit:
        return failed(item, too_large(len(value), limit), effort)
    if is_nested_too_deeply(outcome, value):
        return failed(item, too_deep(), effort)
    return outcome, value


def failed(item: WorkItem, error: ErrorInfo, effort: Effort) -> Outcome:
    """A handler has raised, or what it returned is no output."""
    return _encoded(FailStep(item.instance_id, item.step.step_id, item.step.run, error, *effort))


def timed_out(item: WorkItem, effort: Effort) -> Outcome:
    """A handler was not done in time."""
    message = f"not done within {item.step.timeout_seconds:g} s"
    return failed(item, ErrorInfo(type=STEP_TIMEOUT, message=message, kinds=("TimeoutError",)), effort)


def returned(item: WorkItem, reason: str) -> Outcome:
    """No worker has its handler."""
    return _encoded(ReturnStep(item.instance_id, item.step.step_id, item.step.run, reason))


def _encoded(command: Command) -> Outcome:
    return command, encode(command)
