"""The requests of a client that control instances: cancel, pause, resume, reschedule, roll back, approve, reject."""

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
    """The part of ``Client`` that controls instances."""

    sender: Sender
    _asking: Asking
    _make_id: Callable[[], str]

    async def cancel(self, instance_id: str, reason: str = "") -> Steered:
        """Cancel an instance. Its running handlers are cancelled.

        Returns:
            Whether an engine has decided the request; if none is live, the next engine decides it.

        Raises:
            CommandRejectedError: There is no such instance, or it has completed or failed.
        """
        return await self._steer(CancelWorkflow(instance_id, reason, command_id=self._make_id()))

    async def pause(self, instance_id: str, reason: str = "") -> Steered:
        """Pause an instance: no further step starts, and running steps may finish.

        Returns:
            Whether an engine has decided the request; if none is live, the next engine decides it.

        Raises:
            CommandRejectedError: There is no such live instance.
        """
        return await self._steer(PauseWorkflow(instance_id, reason, command_id=self._make_id()))

    async def resume(self, instance_id: str, *, skip_failed: bool = False) -> Steered:
        """Resume a paused instance; or resume a failed or cancelled one at the step that failed.

        Args:
            instance_id: Its id.
            skip_failed: Whether to skip the failed steps instead of running them again. A gate that was rejected or
                not decided in time asks again in both cases.

        Returns:
            Whether an engine has decided the request; if none is live, the next engine decides it.

        Raises:
            CommandRejectedError: There is no such instance, or it has completed.
        """
        failed_steps: Any = "skip" if skip_failed else "retry"
        return await self._steer(ResumeWorkflow(instance_id, failed_steps, command_id=self._make_id()))

    async def reschedule(self, instance_id: str, step_id: str = "", *, delay_seconds: float | None = None) -> Steered:
        """Move timers: correct those that are due far too late because a clock was wrong, or set another time.

        Args:
            instance_id: The id of the instance.
            step_id: The step whose timer is moved: a retry, a wait, a gate, a child or an attempt. Empty for all.
            delay_seconds: The seconds from now until the timer is due; 0 for at once. By default, a timer is moved
                only if it is due later than it would be if its wait began now, and then to that time.

        Returns:
            Whether an engine has decided the request; if none is live, the next engine decides it. ``noted`` is set
            if no timer was due too late.

        Raises:
            CommandRejectedError: There is no such live instance, the step has no timer, or ``delay_seconds`` is
                negative, longer than ten years, or was given without a step.
        """
        if isinstance(delay_seconds, (int, float)) and not delay_seconds >= 0:  # NaN, too; other types are told below
            raise CommandRejectedError("invalid_command", "delay_seconds: is 0 or more", instance_id=instance_id)
        command = RescheduleTimers(instance_id, step_id, delay_seconds, command_id=self._make_id())
        return await self._steer(command)

    async def rollback(self, instance_id: str, to: int | str | None = None, *, pause: bool = False) -> Steered:
        """Return an instance to an earlier point, and continue from there. Compensations run in reverse order.

        Args:
            instance_id: Its id.
            to: The point. An int is the sequence of an event. A text is the name of a checkpoint or the id of a
                settled step; if nothing has this name, it is ``latest``, ``start`` or the sequence of an event. By
                default, the step that was settled last.
            pause: Whether the instance stays paused at that point.

        Returns:
            Whether an engine has decided the request; if none is live, the next engine decides it.

        Raises:
            CommandRejectedError: There is no such instance, or no such point in it.
        """
        return await self._steer(RollbackWorkflow(instance_id, to, pause, command_id=self._make_id()))

    async def approve(self, instance_id: str, step_id: str = "", *, by: str = "", comment: str = "") -> Steered:
        """Approve a step that waits for approval.

        Args:
            instance_id: The id of the instance.
            step_id: The step; not needed if only one step waits.
            by: The person who approves, one of the approvers if the step names any; by default the client's ``by``.
            comment: A comment, for the history.

        Returns:
            Whether an engine has decided the request; if none is live, the next engine decides it.

        Raises:
            CommandRejectedError: No such step waits for approval, or this person is not one of its approvers.
        """
        by = by or self.sender.by
        return await self._steer(ApproveStep(instance_id, step_id, by, comment, command_id=self._make_id()))

    async def reject(self, instance_id: str, step_id: str = "", *, by: str = "", comment: str = "") -> Steered:
        """Reject a step that waits for approval. Arguments, result and errors are those of ``approve``."""
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
            The event that answers it; None if no engine is live.

        Raises:
            CommandRejectedError: The engine rejected or could not read the command, or it cannot be encoded.
            TimeoutError: There is no answer after ``timeout`` seconds; the command is in the log and will be decided.
        """
        answer = await self.ask(command, timeout=timeout)
        return None if answer is None else answer.event

    async def ask(self, command: Command, *, timeout: float = ANSWER_TIMEOUT) -> Answer | None:
        """Do what ``send`` does, but return the answer with its position in the log."""
        return await self._asking.send(command, sender=self.sender, timeout=timeout)

    async def _ask_first(self, command: Command) -> Answer | None:
        """Send a command that was made here and has a new id."""
        return await self._asking.send(command, sender=self.sender, first=True)

    async def engine_is_live(self) -> bool:
        """Return whether an engine works on this log right now."""
        return await self._asking.engine_is_live()

    async def live_members(self) -> LiveMembers:
        """Return the engines and workers that are live on this log, with what they report about themselves."""
        return await live_members(self.log)

    async def crew(self) -> LiveMembers:
        """Deprecated: the former name of ``live_members``."""
        warnings.warn("client.crew() is called client.live_members() now", DeprecationWarning, stacklevel=2)
        return await self.live_members()
