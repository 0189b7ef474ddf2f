"""What the read models hold of an instance and of each attempt at its steps.

An instance's row is derived from its state, and its state comes from ``core.evolve``, like everybody's: so a list can
never contradict what the engine knows. An attempt's row is folded from the events of its run (``attempts``).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from stepwell.core.fold.state import InstanceState
from stepwell.schemas.records.events import (
    ErrorInfo,
)

LONGEST_TEXT: Final = 2_000  # characters of an error's message in a row; all of it is in the history


class InstanceRow(Struct, frozen=True, gc=False):
    """An instance in a list. Times are milliseconds since 1970; None for what has not happened.

    Attributes:
        status: ``pending`` (no engine has decided its start yet), ``running``, ``paused``, ``completed``, ``failed``
            or ``cancelled``.
        definition: Hash of the definition that it is pinned to; empty while it is pending.
        updated_at: When its newest event happened; when it was asked for, while it is pending.
        sequence: How many events it has had.
        active: Steps under way.
        failed_step: The step that failed it.
        error: What failed it, as ``Type: message``.
        reason: Why it is paused or was cancelled.
        incident: Code of the problem that a person must look at.
        parent: The instance that waits for its end.
    """

    instance_id: str
    workflow: str
    version: str
    status: str
    definition: str = ""
    priority: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    updated_at: int = 0
    sequence: int = 0
    active: int = 0
    failed_step: str = ""
    error: str = ""
    reason: str = ""
    incident: str = ""
    parent: str = ""

    @property
    def finished(self) -> bool:
        """Whether it has come to an end."""
        return self.finished_at is not None


def instance_row(state: InstanceState, at: int) -> InstanceRow:
    """The row of an instance.

    Args:
        state: The instance after a transition.
        at: The transition's time.
    """
    return InstanceRow(
        state.id,
        state.workflow,
        state.version,
        state.status.value,
        state.definition,
        state.priority,
        state.started_at or None,
        None if state.live else state.finished_at or None,
        at,
        state.sequence,
        state.active,
        state.failed_step,
        "" if state.error is None else error_text(state.error),
        state.pause_reason[:LONGEST_TEXT],
        state.incident,
        "" if state.parent is None else state.parent.instance_id,
    )


def error_text(error: ErrorInfo) -> str:
    """An error in one line."""
    return f"{error.type}: {error.message}"[:LONGEST_TEXT] if error.message else error.type


class AttemptRow(Struct, frozen=True, gc=False):
    """One attempt at a step, or a step that was skipped. Times are milliseconds since 1970; None if not so.

    Attributes:
        sequence: Of the event that began it; an instance has no two with the same.
        run: Its number within the instance; 0 for a step that was skipped without running.
        attempt: Counts from 1 and starts anew after a rollback or a resume.
        purpose: ``run``, ``compensate`` or ``handle``.
        status: ``ready``, ``running``, ``waiting``, ``succeeded``, ``failed``, ``retried`` (failed, and another
            attempt follows), ``skipped``, ``cancelled`` or ``compensated``.
        waits_for: What a waiting one waits for: ``retry`` (for its time to come), ``time``, ``worker``, ``approval``
            or ``child``.
        worker: Who ran it, as far as workers say.
        started_at: When a worker took it in hand, as far as is known.
        took: Milliseconds that its handler ran, as its worker has measured.
        cpu: Milliseconds of CPU of that; 0 where nobody measured it.
        due: When its timer is due; of one that was retried, when the next attempt begins.
        error: ``Type: message``, or why it was skipped.
        output_at: Sequence of the event that holds its output, or all of its error.
        deliveries: How often it was handed out to workers that did not give it back, as far as they have reported:
            more than 1 where workers have died with it.
    """

    sequence: int
    step_id: str
    run: int
    attempt: int
    max_attempts: int
    purpose: str
    step_type: str
    handler: str
    queue: str
    status: str
    waits_for: str = ""
    worker: str = ""
    ready_at: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    took: int = 0
    cpu: int = 0
    due: int | None = None
    error: str = ""
    traceback: str = ""
    output_at: int = 0
    deliveries: int = 1

    @property
    def duration(self) -> int:
        """Milliseconds that its handler ran, or where nobody has measured that, from ready to its end."""
        return self.took or max(0, (self.finished_at or 0) - (self.started_at or self.ready_at))
