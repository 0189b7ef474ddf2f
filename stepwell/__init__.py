"""Stepwell: an event-sourced workflow engine over a message log.

The public names::

    @stepwell.handler("charge_card")
    async def charge_card(order: Order, ctx: stepwell.StepContext) -> dict: ...

    async with stepwell.connect() as client:
        await client.register("order.yaml")
        run = await client.start("order", {"order_id": 1}, id="order-1")
        outcome = await run.result(timeout=30)

A name is imported when it is first used, so importing the package costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell import errors, events, steps
    from stepwell.archiving.reading import Archive
    from stepwell.builder import StepFunction, Workflow, expression, on_error, step, unless, when, workflow
    from stepwell.client import Client
    from stepwell.client.connect import connect
    from stepwell.client.run import Run, Steered
    from stepwell.consumers.reading.histories import EventRecord
    from stepwell.consumers.reading.subscriptions import Subscription
    from stepwell.consumers.reading.views import InstanceView, StepView
    from stepwell.consumers.worker.context import StepContext
    from stepwell.consumers.worker.handlers import Handlers, handler, step_type
    from stepwell.errors import (
        ArchiveDamagedError,
        ArchiveError,
        ArchiveVersionError,
        BuildError,
        CommandRejectedError,
        DefinitionConflictError,
        DefinitionError,
        EndedError,
        ExpressionError,
        FilterError,
        HandlerError,
        InactiveWorkflowError,
        LeaseLostError,
        LimitError,
        LogClosedError,
        LogCorruptedError,
        LogError,
        LogFullError,
        LogLockedError,
        LogLostError,
        LogUnavailableError,
        LogVersionError,
        OutputTypeError,
        PatternError,
        PositionError,
        PositionGoneError,
        ReadModelsDamagedError,
        ReadModelsError,
        ReadModelsVersionError,
        RecordTooLargeError,
        SenderError,
        StepTypeError,
        StepwellError,
        TooManyWorkersError,
        UnknownClaimError,
        UnknownInstanceError,
        UnknownWorkflowError,
        WorkflowFailedError,
    )
    from stepwell.schemas.definitions.dump import to_yaml
    from stepwell.schemas.definitions.model import Compensation, Definition, ErrorHandler, Retry, Step

try:
    from stepwell._version import __version__ as __version__
except ImportError:  # a source tree from which no package was built
    __version__ = "0+unknown"

__all__ = [
    "Archive",
    "ArchiveDamagedError",
    "ArchiveError",
    "ArchiveVersionError",
    "BuildError",
    "Client",
    "CommandRejectedError",
    "Compensation",
    "Definition",
    "DefinitionConflictError",
    "DefinitionError",
    "EndedError",
    "ErrorHandler",
    "EventRecord",
    "ExpressionError",
    "FilterError",
    "HandlerError",
    "Handlers",
    "InactiveWorkflowError",
    "InstanceView",
    "LeaseLostError",
    "LimitError",
    "LogClosedError",
    "LogCorruptedError",
    "LogError",
    "LogFullError",
    "LogLockedError",
    "LogLostError",
    "LogUnavailableError",
    "LogVersionError",
    "OutputTypeError",
    "PatternError",
    "PositionError",
    "PositionGoneError",
    "ReadModelsDamagedError",
    "ReadModelsError",
    "ReadModelsVersionError",
    "RecordTooLargeError",
    "Retry",
    "Run",
    "SenderError",
    "Steered",
    "Step",
    "StepContext",
    "StepFunction",
    "StepTypeError",
    "StepView",
    "StepwellError",
    "Subscription",
    "TooManyWorkersError",
    "UnknownClaimError",
    "UnknownInstanceError",
    "UnknownWorkflowError",
    "Workflow",
    "WorkflowFailedError",
    "connect",
    "errors",
    "events",
    "expression",
    "handler",
    "on_error",
    "step",
    "step_type",
    "steps",
    "to_yaml",
    "unless",
    "when",
    "workflow",
]

_HOMES = {
    "stepwell.archiving.reading": ("Archive",),
    "stepwell.builder": ("StepFunction", "Workflow", "expression", "on_error", "step", "unless", "when", "workflow"),
    "stepwell.schemas.definitions.dump": ("to_yaml",),
    "stepwell.client": ("Client",),
    "stepwell.client.connect": ("connect",),
    "stepwell.consumers.reading.histories": ("EventRecord",),
    "stepwell.client.run": ("Run", "Steered"),
    "stepwell.consumers.worker.context": ("StepContext",),
    "stepwell.consumers.worker.handlers": ("Handlers", "handler", "step_type"),
    "stepwell.consumers.reading.subscriptions": ("Subscription",),
    "stepwell.consumers.reading.views": ("InstanceView", "StepView"),
    "stepwell.schemas.definitions.model": ("Compensation", "Definition", "ErrorHandler", "Retry", "Step"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    if name in ("errors", "events", "steps"):
        return importlib.import_module(f"stepwell.{name}")
    home = next((module for module, names in _HOMES.items() if name in names), "stepwell.errors")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
