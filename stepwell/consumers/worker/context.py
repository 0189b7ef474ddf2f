"""What a handler is told about the run that it works on, and what it can say besides its result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from stepwell.logs import logger
from stepwell.schemas.records.work import WorkItem


class StepContext:
    """One run of a step, as its handler sees it.

    Attributes:
        instance_id: The workflow instance.
        workflow: Name of its definition.
        version: The definition's version.
        step_id: The step.
        type: Its type: ``python``, as a rule.
        handler: What its definition calls the handler; empty for a built-in type.
        run: Number of this run, unique within the instance.
        attempt: 1 for the first attempt.
        max_attempts: How many there may be.
        priority: The instance's, 0 to 100.
        config: The step's ``config``, with its templates filled in; for a step type with a class for it, an instance.
        timeout_seconds: For this attempt; None without a limit.
        purpose: ``run``, or ``compensate`` when the step is being undone, or ``handle`` for an error handler.
        log: A structlog logger that names the run.
    """

    def __init__(self, item: WorkItem) -> None:
        step = item.step
        self.instance_id: str = item.instance_id
        self.workflow: str = item.workflow
        self.version: str = item.version
        self.step_id: str = step.step_id
        self.type: str = step.step_type
        self.handler: str = step.handler
        self.run: int = step.run
        self.attempt: int = step.attempt
        self.max_attempts: int = step.max_attempts
        self.priority: int = item.priority
        self.config: dict[str, Any] = step.config
        self.timeout_seconds: float | None = step.timeout_seconds
        self.purpose = step.purpose
        self.idempotency_key = item.idempotency_key
        self._updates: dict[str, Any] = {}
        self._progress: Callable[[Any], object] | None = None
        self._cancelled = False  # set in the loop, read in threads: no lock needed for that

    idempotency_key: str
    """``instance:step:run``, the run of the first attempt. Handlers run at least once, and an attempt that failed may
    have done its work all the same: pass it on, so that a repeat does nothing twice. After a rollback or a resume the
    step is done anew, under a new key.
    """

    @property
    def log(self) -> Any:
        """A structlog logger bound to this run."""
        return logger("stepwell.handler", logging.INFO).bind(
            instance_id=self.instance_id, step_id=self.step_id, run=self.run
        )

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for this run any more. Coroutines are cancelled; functions in threads ask here."""
        return self._cancelled

    @property
    def updates(self) -> dict[str, Any]:
        """What this run has set in the shared context so far."""
        return self._updates

    def set(self, key: str, value: Any) -> None:
        """Set a value of the workflow's shared ``context``; written when the step succeeds.

        The last writer in event order wins.
        """
        self._updates[key] = value

    def heartbeat(self, progress: Any = None) -> None:
        """Show that a long step lives, and how far it is. Cheap: what is said more often than once a second is
        thinned out. May be called from a thread.
        """
        if self._progress is not None:
            self._progress(progress)

    def report_to(self, progress: Callable[[Any], object]) -> None:
        """Where heartbeats go. Called by the worker."""
        self._progress = progress

    def cancel(self) -> None:
        """Make ``cancelled`` true. Called by the worker."""
        self._cancelled = True
