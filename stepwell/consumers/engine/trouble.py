"""What operators are told of instances: one line for each that has failed, or that a person must look at."""

from __future__ import annotations

from typing import Final

from stepwell.core.fold.state import InstanceState
from stepwell.logs import Logger
from stepwell.schemas.records.statuses import WorkflowStatus

_LONGEST: Final = 200  # characters of an error

_logger = Logger("stepwell.engine")


def tell_trouble(before: InstanceState | None, after: InstanceState | None) -> None:
    """Tell what a transition has made of an instance, if that is trouble."""
    if after is None:
        return
    if after.status is WorkflowStatus.FAILED:
        if before is not None and not before.live:
            return
        error = after.error
        words = "" if error is None else f"{error.type}: {error.message}"[:_LONGEST]
        _logger.info("failed", instance_id=after.id, workflow=after.workflow, step=after.failed_step, error=words)
    elif after.incident and (before is None or before.incident != after.incident):
        _logger.info(
            "needs a person",
            instance_id=after.id,
            workflow=after.workflow,
            incident=after.incident,
            reason=after.pause_reason[:_LONGEST],
        )
