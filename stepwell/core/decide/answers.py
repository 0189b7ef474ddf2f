"""How a command is answered that leads to no change."""

from __future__ import annotations

from typing import Any, Final

from stepwell.core.decide.decision import Decision
from stepwell.schemas.records.commands import CancelWorkflow, PauseWorkflow, QuarantineInstance, StartWorkflow
from stepwell.schemas.records.events import CommandNoted, CommandRejected
from stepwell.schemas.records.statuses import WorkflowStatus

ALREADY_FINISHED: Final = "already_finished"

# Messages quote what they answer. The answer to a command that only just fitted a record must fit one, too.
_LONGEST_MESSAGE: Final = 2_000
LONGEST_REASON: Final = 10_000  # characters


def reject(decision: Decision, command: Any, code: str, message: str, *, name: str = "") -> None:
    """Answer that a command cannot be followed, and why.

    Args:
        name: The command's, where ``command`` only stands for it.
    """
    name = name or type(command).__name__
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + " …"
    parent = command.parent if isinstance(command, (StartWorkflow, QuarantineInstance)) else None
    event = CommandRejected(name, code, message, command_id=getattr(command, "command_id", ""), parent=parent)
    _answer(decision, event)


def note(decision: Decision, command: Any, message: str) -> None:
    """Answer a command that asks for what is so already."""
    _answer(decision, CommandNoted(type(command).__name__, message, command_id=command.command_id))


def _answer(decision: Decision, event: CommandRejected | CommandNoted) -> None:
    """Answer the sender. For an instance that is not in memory the answer is no part of its history."""
    if decision.state is None:
        decision.events.append(event)
    else:
        decision.emit(event)


def is_too_long(decision: Decision, command: CancelWorkflow | PauseWorkflow) -> bool:
    """Answer that a reason is longer than what is kept, if it is: its event might not fit a record."""
    found = len(command.reason)
    if found > LONGEST_REASON:
        message = f"a reason of {found:,} characters; at most {LONGEST_REASON:,} are kept"
        reject(decision, command, "too_long", message)
    return found > LONGEST_REASON


def reject_not_live(decision: Decision, command: Any, wanted: WorkflowStatus | None = None) -> None:
    """Answer what asks something of an instance that is not live: there is none, or it has finished.

    Args:
        wanted: The status that the command asks for, if it asks for one.
    """
    finished = decision.circumstances.finished
    archived = decision.circumstances.archived
    status = finished.status if finished else archived.status if archived else None
    if status is None:
        reject(decision, command, "unknown_instance", f'there is no instance "{command.instance_id}"')
    elif status is wanted:
        note(decision, command, f"it is {status} already")
    else:
        reject(decision, command, ALREADY_FINISHED, f"it has finished: {status}")
