"""How a command is answered that leads to no change."""

from __future__ import annotations

from typing import Any, Final

from stepwell.core.decide.decision import Decision
from stepwell.schemas.records.events import CommandNoted, CommandRejected

ALREADY_FINISHED: Final = "already_finished"

# Messages quote what they answer. The answer to a command that only just fitted a record must fit one, too.
_LONGEST_MESSAGE: Final = 2_000


def reject(decision: Decision, command: Any, code: str, message: str, *, name: str = "") -> None:
    """Answer that a command cannot be followed, and why.

    Args:
        name: The command's, where ``command`` only stands for it.
    """
    name = name or type(command).__name__
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + " …"
    parent = getattr(command, "parent", None)
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
