"""What a worker reports as a step's outcome: each as a command, together with its encoding."""

from __future__ import annotations

from typing import Any, Final

from stepwell.consumers.worker.failures import too_deep, too_large
from stepwell.core.decide.retry import STEP_TIMEOUT
from stepwell.core.fold.attempts import LONGEST_WORKER, Effort
from stepwell.logs import Logger
from stepwell.schemas.records.codec import encode, is_nested_too_deeply
from stepwell.schemas.records.commands import Command, CompleteStep, FailStep, ReturnStep
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.work import WorkItem

# What an outcome may be smaller than the log's limit: the transition that it leads to wraps it once more.
OUTCOME_SHARE: Final = 0.9

Outcome = tuple[Command, bytes]

_LONGEST_TOLD: Final = 200  # characters of an error

_logger = Logger("stepwell.worker")


def effort(worker: str, seconds: float, cpu: float) -> Effort:
    """What an attempt took.

    Args:
        worker: Who made it.
        seconds: From its beginning to its end.
        cpu: Seconds of CPU of a function that ran in a thread; 0 where that is not known.
    """
    return Effort(worker[:LONGEST_WORKER], round(seconds * 1000), round(cpu * 1000))


def completed(item: WorkItem, output: Any, context: dict[str, Any], effort: Effort, limit: int) -> Outcome:
    """A handler has returned; what it returned may still be no output, which is a failure.

    Args:
        output: What it returned, as plain JSON data.
        context: What it wants in the instance's context, as such.
        effort: Who ran it, and for how long.
        limit: The most bytes that an outcome may have.
    """
    step = item.step
    outcome = CompleteStep(item.instance_id, step.step_id, step.run, output, context, *effort)
    value = encode(outcome)
    if len(value) > limit:
        return failed(item, too_large(len(value), limit), effort)
    if is_nested_too_deeply(outcome, value):
        return failed(item, too_deep(), effort)
    return outcome, value


def failed(item: WorkItem, error: ErrorInfo, effort: Effort) -> Outcome:
    """A handler has raised, or what it returned is no output. Tells whoever runs the worker, too."""
    step = item.step
    words = f"{error.type}: {error.message}"[:_LONGEST_TOLD]
    _logger.info("attempt failed", instance_id=item.instance_id, step=step.step_id, attempt=step.attempt, error=words)
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
