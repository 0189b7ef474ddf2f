"""How a workflow ends before everything is settled: once the error handlers that were started have ended.

A handler that clears up after one failure must not be cut short because another failure, its own workflow's limit or
a person ends the workflow meanwhile. So an end that comes while handlers are under way, or wait for their turn, is
noted (``workflow.ending``): everything else is given up at once, nothing else starts, and the end follows the last
handler. Of several ends that are asked for meanwhile the strongest comes: a cancellation before a rollback before a
failure; the error is the first one's. Who cancels a second time does not wait for the handlers any more.

A rollback starts steps, so one that a failure asks for while the workflow is paused is noted in the same way, and
begins when it is resumed.
"""

from __future__ import annotations

import heapq
from typing import Final

from msgspec.structs import replace

from stepwell.core.decide.decision import START_OF_HISTORY, Decision
from stepwell.core.decide.rollback import roll_back
from stepwell.schemas.records.commands import CancelWorkflow
from stepwell.schemas.records.events import ErrorInfo, WorkflowCancelled, WorkflowEnding, WorkflowFailed
from stepwell.schemas.records.statuses import UNDER_WAY, WorkflowStatus

_STRENGTH: Final = {"failed": 0, "rollback": 1, "cancelled": 2}


def end_failed(decision: Decision, error: ErrorInfo, step_id: str = "", *, undone: bool = False) -> None:
    """The workflow fails; with ``undone`` everything is rolled back before."""
    _end(decision, WorkflowEnding("rollback" if undone else "failed", error, step_id))


def end_cancelled(decision: Decision, reason: str, command_id: str) -> None:
    """The workflow is cancelled; at once if that was asked for before."""
    before = decision.instance().ending
    if before is not None and before.how == "cancelled":
        decision.emit(WorkflowCancelled(reason, command_id=command_id))
    else:
        _end(decision, WorkflowEnding("cancelled", reason=reason, command_id=command_id))


def end_by_parent(decision: Decision, command: CancelWorkflow) -> str:
    """The parent waits no longer, so the workflow is cancelled; but what is to be undone is undone.

    That is where a rollback is under way or noted, and where the error handler of a failure is under way after which
    the definition rolls back: then the instance ends by that failure, as it would have done.

    Returns:
        Why nothing changes: it comes to its end by itself. Empty where an event says what comes of it.
    """
    state, handlers = decision.instance(), decision.plan().definition.error_handlers
    if state.rollback is not None and state.rollback.then == "fail":
        return "it is being undone, and ends after that"
    if state.ending is not None and state.ending.how != "failed":
        return "it ends already, after its error handlers"
    left = _handlers_left(decision)
    for failed in state.failures:
        if failed in handlers and handlers[failed].step in left and handlers[failed].then == "rollback":
            if state.ending is not None:
                return "it ends already, after its error handlers"
            error = state.steps[failed].error or ErrorInfo(type="Error")
            _end(decision, WorkflowEnding("failed", error, failed, command.reason, command.command_id))
            return ""
    end_cancelled(decision, command.reason, command.command_id)
    return ""


def end_if_handled(decision: Decision) -> None:
    """Come to the end that is noted, if one is and no error handler is left.

    What became free meanwhile, but for error handlers, is not started any more.
    """
    ending = decision.instance().ending
    if ending is None:
        return
    left = _handlers_left(decision)
    _keep(decision, left)
    if not left and not _must_wait(decision, ending):
        _come_to_it(decision, replace(ending, command_id=""))  # the command was answered when it was noted


def _end(decision: Decision, ending: WorkflowEnding) -> None:
    before = decision.instance().ending
    if before is not None and before.error is not None and ending.how != "cancelled":
        ending = replace(ending, error=before.error, step_id=before.step_id)
    weaker = before is not None and _STRENGTH[ending.how] <= _STRENGTH[before.how]
    left = _handlers_left(decision)
    strongest = replace(before, command_id="") if weaker and before is not None else ending
    if not left and not _must_wait(decision, strongest):
        _come_to_it(decision, strongest)
    elif not weaker:
        _keep(decision, left)
        decision.emit(replace(ending, keeps=left))


def _must_wait(decision: Decision, ending: WorkflowEnding) -> bool:
    """Whether an end starts steps, to undo others, and the workflow is paused."""
    return ending.how == "rollback" and decision.instance().status is WorkflowStatus.PAUSED


def _come_to_it(decision: Decision, ending: WorkflowEnding) -> None:
    error = ending.error or ErrorInfo(type="Error")
    if ending.how == "cancelled":
        decision.emit(WorkflowCancelled(ending.reason, command_id=ending.command_id))
    elif ending.how == "rollback":
        roll_back(decision, START_OF_HISTORY, then="fail", error=error, step_id=ending.step_id)
    else:
        decision.emit(WorkflowFailed(error, step_id=ending.step_id))


def _keep(decision: Decision, handlers: tuple[str, ...]) -> None:
    decision.freed = [item for item in decision.freed if item[1] in handlers]
    heapq.heapify(decision.freed)


def _handlers_left(decision: Decision) -> tuple[str, ...]:
    """The error handlers of failures that are under way or wait for their turn."""
    state, handlers = decision.instance(), decision.plan().definition.error_handlers
    if state.rollback is not None or not state.failures or not handlers:
        return ()
    wait = {step_id for _, step_id in (*decision.freed, *state.deferred, *state.deferred_sequential)}
    found = []
    for failed in state.failures:
        handler = handlers[failed].step if failed in handlers else ""
        step = state.steps.get(handler)
        if handler in wait or (step is not None and step.status in UNDER_WAY):
            found.append(handler)
    return tuple(dict.fromkeys(found))
