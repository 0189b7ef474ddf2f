"""Stepwell: an event-sourced workflow engine over a message log.

The public face::

    @stepwell.handler("charge_card")
    async def charge_card(order: Order, ctx: stepwell.StepContext) -> dict: ...

    async with stepwell.connect() as client:
        await client.register("order.yaml")
        run = await client.start("order", {"order_id": 1}, id="order-1")
        outcome = await run.result(timeout=30)

Names are looked up when they are used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.client import Client, EventRecord, Run, connect
    from stepwell.consumers.context import StepContext
    from stepwell.consumers.handlers import Handlers, handler, step_type
    from stepwell.consumers.views import InstanceView, StepView
    from stepwell.errors import (
        CommandRejectedError,
        DefinitionConflictError,
        DefinitionError,
        ExpressionError,
        HandlerError,
        LogError,
        StepTypeError,
        StepwellError,
        UnknownInstanceError,
        UnknownWorkflowError,
        WorkflowFailedError,
    )
    from stepwell.schemas.definitions import Compensation, Definition, ErrorHandler, Retry, Step

__version__ = "0.1.0"

__all__ = [
    "Client",
    "CommandRejectedError",
    "Compensation",
    "Definition",
    "DefinitionConflictError",
    "DefinitionError",
    "ErrorHandler",
    "EventRecord",
    "ExpressionError",
    "HandlerError",
    "Handlers",
    "InstanceView",
    "LogError",
    "Retry",
    "Run",
    "Step",
    "StepContext",
    "StepTypeError",
    "StepView",
    "StepwellError",
    "UnknownInstanceError",
    "UnknownWorkflowError",
    "WorkflowFailedError",
    "connect",
    "handler",
    "step_type",
]

_HOMES = {
    "stepwell.client": ("Client", "EventRecord", "Run", "connect"),
    "stepwell.consumers.context": ("StepContext",),
    "stepwell.consumers.handlers": ("Handlers", "handler", "step_type"),
    "stepwell.consumers.views": ("InstanceView", "StepView"),
    "stepwell.schemas.definitions": ("Compensation", "Definition", "ErrorHandler", "Retry", "Step"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "stepwell.errors")
    return getattr(importlib.import_module(home), name)
