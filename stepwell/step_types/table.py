"""The table of built-in step types, in the order in which messages list them.

`just generate` adds the name of a file that is new here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from stepwell.schemas.definitions.step_type import StepTypes

NAMES: Final = (
    "python",
    "input",
    "output",
    "process",
    "http_request",
    "llm",
    "email",
    "file_operation",
    "agent_task",
    "approval_gate",
    "workflow_trigger",
    "wait",
    "condition_check",
)

BUILT_IN: Final = StepTypes(import_module(f"stepwell.step_types.{name}").TYPE for name in NAMES)
"""Each is the ``TYPE`` of the module of its name."""
