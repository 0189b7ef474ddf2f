"""Steering instances: what a client asks of the engines, and what became of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from stepwell.client.queries import Looking
from stepwell.client.requests import ANSWER_TIMEOUT, Asking
from stepwell.client.run import Steered
from stepwell.consumers.reading.live_members import LiveMembers, live_members
from stepwell.consumers.reading.subscriber import Answer
from stepwell.errors import CommandRejectedError
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    Command,
    PauseWorkflow,
    RejectStep,
    RescheduleTimers,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import CommandNoted, Event
from stepwell.schemas.records.sender import Sender


class Steering(Looking):
    """What a client can ask of instances. Part of ``Client``."""

    sender: Sender
    _asking: Asking
    _make_id: Callable[[], str]

    async def cancel(self, instance_id: str, reason: str = "") -> Steered:
        """End an instance; handlers that run are cancelled.

        Returns:
            Whether an engine has decided it; where none is live, the next one will.

        Raises:
            CommandRejectedError: There is no such instance, or it has finished otherwise.
        """
        return await self._steer(CancelWorkflow(instance_id, reason, command_id=self._make_id()))

    async def pause(self, instance_id: str, reason: str = "") -> Steered:
        """Start no further step; what runs may finish.

        Returns:
            Whether an engine has decided it; where none is live, the next one will.

        Raises:
            CommandRejectedError: There is no such live instance.
        """
        return await self._steer(PauseWorkflow(instance_id, reason, command_id=self._make_id()))

    async def resume(self, instance_id: str, *, skip_failed: bool = False) -> Steered:
        """Go on with a paused instance; or, at the step that failed, with a failed or cancelled one.

        Args:
            skip_failed: Go on without the steps that failed instead of running them anew. A gate that was rejected or
                not decided in time asks anew all the same.

        Returns:
            Whether an engine has decided it; where none is live, the next one will.

        Raises:
            CommandRejectedError: There is no such instance, or it has completed.
        """
        failed_steps: Any = "skip" if skip_failed else "retry"
        return await self._steer(ResumeWorkflow(instance_id, failed_steps, command_id=self._make_id()))

    async def reschedule(self, instance_id: str, step_id: str = "", *, delay_seconds: float | None = None) -> Steered:
        """Move timers: mend those that are due absurdly late because a clock was wrong, or move one to another time.

        Args:
            step_id: The step whose timer is meant: of a retry, a wait, a gate, a child or an attempt. Empty for all.
            delay_seconds: From now until that timer is due; 0 at once. Without it a timer is moved only if it is due
                later than if its wait began now, and then to there.

        Returns:
            Whether an engine has decided it; where none is live, the next one will. ``noted`` says so where no timer
            was due too late.

        Raises:
            CommandRejectedError: There is no such live instance, the step has no timer, or ``delay_seconds`` is
                negative, more than ten years, or names no step's.
        """
        if isinstance(delay_seconds, (int, float)) and not delay_seconds >= 0:  # NaN, too; other types are told below
            raise CommandRejectedError("invalid_command", "delay_seconds: is 0 or more", instance_id=instance_id)
        command = RescheduleTimers(instance_id, step_id, delay_seconds, command_id=self._make_id())
        return await self._steer(command)

    async def rollback(self, instance_id: str, to: int | str | None = None, *, pause: bool = False) -> Steered:
        """Return to an earlier point and run on from there; what has a compensation is undone in reverse order.

        Args:
            to: An int is an event's sequence. A text is a checkpoint's name or a settled step's id; where nothing has
                that name, ``latest``, ``start`` or an event's number. Without one, the step that was settled last.
            pause: Stay paused there.

        Returns:
            Whether an engine has decided it; where none is live, the next one will.

        Raises:
            CommandRejectedError: There is no such point or instance.
        """
        return await self._steer(RollbackWorkflow(instance_id, to, pause, command_id=self._make_id()))

    async def approve(self, instance_id: str, step_id: str = "", *, by: str = "", comment: str = "") -> Steered:
        """Approve what a step waits for.

        Args:
            step_id: The step; may be left out where only one waits.
            by: Who approves; one of the approvers, where the step names some. Without one, whom the client acts for.

        Returns:
            Whether an engine has decided it; where none is live, the next one will.

        Raises:
            CommandRejectedError: No such step waits for approval, or not for theirs.
        """
        by = by or self.sender.by
        return await self._steer(ApproveStep(instance_id, step_id, by, comment, command_id=self._make_id()))

    async def reject(self, instance_id: str, step_id: str = "", *, by: str = "", comment: str = "") -> Steered:
        """Reject what a step waits for; arguments, result and errors as in ``approve``."""
        by = by or self.sender.by
        return await self._steer(RejectStep(instance_id, step_id, by, comment, command_id=self._make_id()))

    async def _steer(self, command: Command) -> Steered:
        answer = await self._ask_first(command)
        if answer is None:
            return Steered(command.instance_id, decided=False)
        noted = answer.event.message if isinstance(answer.event, CommandNoted) else ""
        return Steered(command.instance_id, decided=True, noted=noted, position=answer.position)

    async def send(self, command: Command, *, timeout: float = ANSWER_TIMEOUT) -> Event | None:
        """Send a command and wait for its answer.

        Returns:
            The event that answers it; None where no engine is live to answer.

        Raises:
            CommandRejectedError: The engine will not follow it, or could not even read it.
            TimeoutError: No answer yet; the command is in the log and will be decided.
        """
        answer = await self.ask(command, timeout=timeout)
        return None if answer is None else answer.event

    async def ask(self, command: Command, *, timeout: float = ANSWER_TIMEOUT) -> Answer | None:
        """The same as ``send``; the answer says where it is in the log."""
        return await self._asking.send(command, sender=self.sender, timeout=timeout)

    async def _ask_first(self, command: Command) -> Answer | None:
        """The same for a command that was made here, under an id of its own."""
        return await self._asking.send(command, sender=self.sender, first=True)

    async def engine_is_live(self) -> bool:
        """Whether any engine works on this log right now."""
        return await self._asking.engine_is_live()

    async def live_members(self) -> LiveMembers:
        """The engines and workers that are live on this log, with what they say of themselves."""
        return await live_members(self.log)

    async def crew(self) -> LiveMembers:
        """Deprecated: the former name of ``live_members``."""
        warnings.warn("client.crew() is called client.live_members() now", DeprecationWarning, stacklevel=2)
        return await self.live_members()
