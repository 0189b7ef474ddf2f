"""Starting and steering instances: what a client asks of the engines, and what became of it."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Literal

from stepwell.client.queries import Looking
from stepwell.client.refusals import Refusals
from stepwell.client.requests import ANSWER_TIMEOUT, Asking
from stepwell.client.run import Run, Steered
from stepwell.client.same_start import check_same
from stepwell.consumers.reading.live_members import LiveMembers, live_members
from stepwell.consumers.reading.subscriber import Answer
from stepwell.consumers.worker.failures import ReportedError
from stepwell.consumers.worker.results import plain
from stepwell.core.decide.requests import INACTIVE_VERSION
from stepwell.errors import (
    NOT_PLAIN,
    CommandRejectedError,
    StepwellError,
    UnknownInstanceError,
    is_plain,
    visible,
)
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    Command,
    PauseWorkflow,
    RejectStep,
    RescheduleTimers,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.records.events import CommandNoted, Event
from stepwell.schemas.records.sender import Sender


class Steering(Looking):
    """What a client can ask for. Part of ``Client``."""

    sender: Sender
    refusals: Refusals
    _asking: Asking
    _make_id: Callable[[], str]
    _starting: asyncio.Semaphore

    async def start(
        self,
        workflow: str,
        input: Any = None,  # noqa: A002 - the word of the definition
        *,
        id: str | None = None,  # noqa: A002
        version: str | None = None,
        priority: int = 0,
        timeout_seconds: float | None = None,
        watch: bool = True,
        if_exists: Literal["refuse", "use"] = "refuse",
    ) -> Run:
        """Start an instance.

        Args:
            workflow: Name of a registered definition.
            input: Its input, any JSON-able value; a mapping as a rule.
            id: What it is to be called. Starting the same again under the same id gives the instance that exists
                (``run.existed``), so a retry never starts a second one. Without one, a UUID.
            version: Of the definition; without one, the active version that was registered last.
            priority: 0 to 100; higher runs first under load.
            timeout_seconds: For the whole instance; without one, what the definition says.
            watch: Follow it from its first event on, so that ``run.result`` has nothing to read anew. False costs
                less, for who does not wait for its end.
            if_exists: What to do where the id belongs to an instance that was started for something else: of another
                workflow, of another version than the one named here, with another input than the one given here.
                ``refuse`` it, or ``use`` the one that exists.

        Returns:
            Once an engine has answered; or at once, where no engine is live: the start is in the log then, and
            will be decided by the next one. An engine takes starts only while workers keep up, and a client has
            1,000 of them on their way at most: so whoever starts too much at once is slowed down.

        Raises:
            UnknownWorkflowError: No such definition is registered.
            InactiveWorkflowError: This version is inactive, or, where none was named, every one is.
            CommandRejectedError: The engine will not start it, for instance because the input does not fit
                (``invalid_input``), or because the id is that of another instance (``instance_exists``).
            TimeoutError: No answer yet: other starts come first. It is in the log and will have its turn.
        """
        if if_exists not in ("refuse", "use"):
            raise CommandRejectedError("invalid_command", f'if_exists is "refuse" or "use", not {if_exists!r:.100}')
        try:
            input = None if input is None else plain(input, "input")  # noqa: A001
        except (TypeError, ReportedError) as error:
            raise CommandRejectedError(
                "invalid_command", str(error).replace("; return ", "; give "), instance_id=id or ""
            ) from None
        run = await self._run(
            workflow, input, id, version, priority=priority, timeout_seconds=timeout_seconds, watch=watch
        )
        if run.existed and if_exists == "refuse":
            await check_same(self.pending, run.id, workflow, version, input)
        return run

    async def _run(
        self,
        workflow: str,
        input: Any,  # noqa: A002
        id: Any,  # noqa: A002
        version: str | None,
        *,
        priority: int,
        timeout_seconds: float | None,
        watch: bool,
    ) -> Run:
        if id is not None and (not isinstance(id, str) or not id):  # a new instance each time is not what is meant
            raise CommandRejectedError(
                "invalid_command", f"an id is a text of one character at least, not {id!r:.100}"
            )
        if id is not None and not is_plain(id) and not await self._exists(id):  # before it is in the log
            raise CommandRejectedError("invalid_command", f"the id {NOT_PLAIN}", instance_id=visible(id[:200]))
        while True:
            plan = await self.registry.to_start(workflow, version)
            if isinstance(plan, StepwellError):
                if id is not None and await self._exists(id):
                    return Run(self, id, existed=True)  # started while it was active; this is the same start again
                self.refusals.note("StartWorkflow", plan.message, self.sender)
                raise plan
            command = StartWorkflow(
                id or self._make_id(),
                workflow=workflow,
                version=plan.definition.version,
                input={} if input is None else input,
                priority=priority,
                timeout_seconds=timeout_seconds,
                command_id=self._make_id(),
            )
            try:
                run = await self._started(command, watch=watch)
            except CommandRejectedError as refused:
                if version is not None or refused.code != INACTIVE_VERSION:
                    raise  # else it was deactivated meanwhile: choose again
            else:
                if id is not None and not run.decided:
                    run.existed = not await self.pending.is_first(id, command.command_id)
                return run

    async def _started(self, command: StartWorkflow, *, watch: bool) -> Run:
        instance_id = command.instance_id
        async with self._starting:
            # Watched from its first event on for as long as the caller keeps the run: its end is no question then.
            watched = await self.subscriber.watch(instance_id, history=False) if watch else None
            try:
                answer = await self._ask_first(command)
            except BaseException:
                if watched is not None:
                    self.subscriber.unwatch(watched)
                raise
        run = Run(self, instance_id, decided=False)
        if answer is not None:
            existed = isinstance(answer.event, CommandNoted)
            run = Run(self, instance_id, existed=existed, position=answer.position)
        if watched is not None:
            weakref.finalize(run, self.subscriber.unwatch, watched).atexit = False
        return run

    async def _exists(self, instance_id: str) -> bool:
        try:
            await self.get(instance_id)
        except UnknownInstanceError:
            return False
        return True

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
