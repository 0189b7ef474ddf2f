"""The statuses of instances, steps and attempts, and the sets of them that code asks for.

The texts are in logs, in read models, in answers of HTTP and in what users compare with: none of them ever changes.
A member is a ``str``: it equals its text, is found under it in sets and mappings, and is encoded and printed as it.
What is shown or stored takes the text itself (``status.value``), so that it is plain data.

The cost, by ``timeit``: comparing a member with ``==`` or ``is``, or looking it up in one of the sets, takes as long
as comparing texts (about 0.02 µs). Getting a member from its class takes 0.09 µs more on Python 3.11. So what asks
this of many steps or events takes one of the sets, or a constant that was made once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

PENDING: Final = "pending"
"""The status that is shown of an instance whose start is in the log, and which no engine has decided yet.

No event leads to it, so it is none of ``WorkflowStatus``.
"""


class WorkflowStatus(StrEnum):
    """Where an instance is."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE: Final = frozenset({WorkflowStatus.RUNNING, WorkflowStatus.PAUSED})
"""The instance can still change without being reopened."""

FINISHED: Final = (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED)
"""The instance has come to an end; in the order in which people are shown them."""

UNSUCCESSFUL: Final = frozenset({WorkflowStatus.FAILED, WorkflowStatus.CANCELLED})
"""The instance has come to an end without an output."""

InstanceStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
"""All that an instance can be shown as, as a type for descriptions of interfaces: ``PENDING``, ``WorkflowStatus``."""


class StepStatus(StrEnum):
    """Where a step is."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


UNDER_WAY: Final = frozenset({StepStatus.READY, StepStatus.RUNNING, StepStatus.WAITING})
"""The step has a run that has not ended."""

WITH_WORKERS: Final = frozenset({StepStatus.READY, StepStatus.RUNNING})
"""The step's run is with a worker, or on its way to one."""

DONE: Final = frozenset({StepStatus.SUCCEEDED, StepStatus.SKIPPED})
"""The steps that depend on it may go on."""

NOT_RUN: Final = frozenset({StepStatus.SKIPPED, StepStatus.CANCELLED})
"""The step ended without an outcome of its own."""

WorkStatus = Literal["ready", "running", "waiting"]
"""``UNDER_WAY`` as a type for descriptions of interfaces."""


class AttemptStatus(StrEnum):
    """Where one attempt at a step is, in the read models: those of a step under way, and how it ended."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"


WENT_WRONG: Final = frozenset({AttemptStatus.FAILED, AttemptStatus.RETRIED})
"""The attempt ended with an error."""

RAN: Final = WENT_WRONG | {AttemptStatus.SUCCEEDED}
"""The attempt ended with an outcome of the step's own."""
