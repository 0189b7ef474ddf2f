"""Workflows written in Python: steps as functions, dependencies by passing results, types checked by mypy.

What is built is a ``Definition`` like any other: ``order.definition``, ``order.to_yaml()``.
"""

from stepwell.builder.functions import StepFunction, step
from stepwell.builder.recording import StepOptions, on_error, unless, when
from stepwell.builder.references import Reference, UnknownFieldError, expression
from stepwell.builder.workflows import Workflow, workflow

__all__ = [
    "Reference",
    "StepFunction",
    "StepOptions",
    "UnknownFieldError",
    "Workflow",
    "expression",
    "on_error",
    "step",
    "unless",
    "when",
    "workflow",
]
