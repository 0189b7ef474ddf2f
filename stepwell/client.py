"""The Python front door: register, start, watch and steer workflows.

Everything that the terminal (and later HTTP) does goes through ``Client``.
"""

from __future__ import annotations

import asyncio
import copy
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from stepwell.archiving.cleaning import Cleaner, CleanupReport
from stepwell.archiving.format import Chosen
from stepwell.archiving.writing import Written, write_archive
from stepwell.builder.workflows import Workflow
from stepwell.consumers.asking import ANSWER_TIMEOUT, Asking
from stepwell.consumers.bookmarks import Bookmarks, SubscriptionInfo
from stepwell.consumers.crew import Crew, live_crew
from stepwell.consumers.definitions import Definitions, RegisteredVersion
from stepwell.consumers.histories import EventRecord, events_of, state_of
from stepwell.consumers.subscriber import Answer, Subscriber
from stepwell.consumers.subscriptions import Subscription
from stepwell.consumers.views import InstanceView, view
from stepwell.core.checked import compile_loaded
from stepwell.core.requests import INACTIVE_VERSION
from stepwell.core.state import InstanceState
from stepwell.errors import (
    CommandRejectedError,
    StepwellError,
    UnknownInstanceError,
)
from stepwell.ids import new_id
from stepwell.log.port import Log
from stepwell.projections.models import ReadModels
from stepwell.projections.places import views_directory
from stepwell.projections.views import Time, Views, milliseconds
from stepwell.run import Run
from stepwell.schemas.commands import (
    ApproveStep,
    CancelWorkflow,
    Command,
    PauseWorkflow,
    RejectStep,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.definitions import Definition
from stepwell.schemas.events import CommandNoted, Event
from stepwell.schemas.load import read_definition
from stepwell.schemas.sender import Sender, sender

MOST_UNANSWERED = 1_000  # starts on their way at once; whoever asks for more waits, so that nothing piles up


class Client:
    """Talks to the engines of one log. Made by ``connect``.

    Args:
        by: Who asks for what it sends, and
        via: from where, such as ``http 10.0.0.7``; recorded with every answer. At most 200 characters each.
        views: Directory of the read models; by default beside the log's file.

    Attributes:
        log: The log.
        registry: The registered definitions, as far as they were read.
        views: What one can ask about all that goes on. The read models behind it are made, and kept up to date,
            from the first question on.
        instances: ``views.instances``: pages of instances by status, workflow, tag, time, priority, fields, errors.
        statistics: ``views.statistics``: of each version of a definition, or of all.
        sender: Who asks, and from where.

    Raises:
        SenderError: ``by`` or ``via`` is no name.
    """

    def __init__(
        self,
        log: Log,
        *,
        by: str = "",
        via: str = "",
        views: Path | None = None,
        make_id: Callable[[], str] = new_id,
    ) -> None:
        self.sender: Sender = sender(by, via)
        self.log = log
        self._make_id = make_id
        self.registry = Definitions(log)
        self.subscriber = Subscriber(log)
        self._asking = Asking(log, self.subscriber)
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._starting = asyncio.Semaphore(MOST_UNANSWERED)
        path = getattr(log, "path", None)
        directory = views or (Path(f"{path}.views") if path else views_directory(None))
        self.views = Views(ReadModels(log, directory, self.registry))
        self.instances = self.views.instances
        self.statistics = self.views.statistics

    def acting(self, *, by: str | None = None, via: str | None = None) -> Client:
        """The same client, as used by somebody else: what it sends is recorded as theirs. Costs microseconds.

        It shares everything else with this client, also its end: who closes one closes both.

        Args:
            by: Who asks; None for whom this client acts, empty for nobody.
            via: From where; likewise.

        Raises:
            SenderError: One of them is longer than 200 characters, or is not a text in one line.
        """
        view = copy.copy(self)
        view.sender = sender(self.sender.by if by is None else by, self.sender.via if via is None else via)
        return view

    # --- definitions ----------------------------------------------------------------------------------------

    async def register(
        self,
        source: Definition | Workflow[Any, Any] | Mapping[str, Any] | str | Path,
        *,
        activate: bool = True,
        dialect: str | None = None,
        name: str = "",
    ) -> Definition:
        """Register a definition. What is registered already stays as it is.

        Args:
            source: A path, YAML or JSON text, plain data, a ``Definition``, or a workflow that is written
                in Python; those that it calls are registered with it.
            activate: Whether a new version may be started at once; otherwise ``activate`` lets it.
            dialect: How it is written, where its shape does not tell; see docs/dialects.md.
            name: What it is called if it does not say so itself; by default the file's name.

        Raises:
            DefinitionError: It is not valid; all problems at once.
            DefinitionConflictError: Its name and version belong to another definition.
        """
        if isinstance(source, Workflow):
            definition = source.definition  # first of all: a mistake is told before anything is registered
            for child in source.children:
                await self.registry.register(child.definition, activate=activate, sender=self.sender)
            source = definition
        plan = compile_loaded(read_definition(source, dialect=dialect, name=name))
        plan = await self.registry.register(plan.definition, plan, activate=activate, sender=self.sender)
        return plan.definition

    async def workflows(self) -> list[Definition]:
        """Every registered definition, the versions of one name in the order of registration."""
        await self.registry.catch_up()
        return self.registry.all()

    async def definitions(self, *, workflow: str | None = None, tag: str | None = None) -> list[RegisteredVersion]:
        """What is registered, the versions of one name in the order of registration.

        Args:
            workflow: Only this one's versions.
            tag: Only those that have this tag.
        """
        await self.registry.catch_up()
        return [
            found
            for found in self.registry.summaries()
            if (workflow is None or found.name == workflow) and (tag is None or tag in found.tags)
        ]

    async def activate(self, workflow: str, version: str, *, reason: str = "") -> bool:
        """Let starts take a version again. Whoever starts after this has returned can rely on it.

        Returns:
            Whether it was inactive before.

        Raises:
            UnknownWorkflowError: No such version is registered.
        """
        return await self.registry.switch(workflow, version, active=True, reason=reason, sender=self.sender)

    async def deactivate(self, workflow: str, version: str, *, reason: str = "") -> bool:
        """Let no further start take a version; instances that run keep it.

        Returns:
            Whether it was active before.

        Raises:
            UnknownWorkflowError: No such version is registered.
        """
        return await self.registry.switch(workflow, version, active=False, reason=reason, sender=self.sender)

    # --- steering -------------------------------------------------------------------------------------------

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
    ) -> Run:
        """Start an instance.

        Args:
            workflow: Name of a registered definition.
            input: Its input, any JSON-able value; a mapping as a rule.
            id: What it is to be called. Starting the same id again gives the instance that exists
                (``run.existed``), so a retry never starts a second one. Without one, a UUID.
            version: Of the definition; without one, the active version that was registered last.
            priority: 0 to 100; higher runs first under load.
            timeout_seconds: For the whole instance; without one, what the definition says.
            watch: Follow it from its first event on, so that ``run.result`` has nothing to read anew. False costs
                less, for who does not wait for its end.

        Returns:
            Once an engine has answered; or at once, where no engine is live: the start is in the log then, and
            will be decided by the next one. An engine takes starts only while workers keep up, and a client has
            1,000 of them on their way at most: so whoever starts too much at once is slowed down.

        Raises:
            UnknownWorkflowError: No such definition is registered.
            InactiveWorkflowError: This version is inactive, or, where none was named, every one is.
            CommandRejectedError: The engine will not start it, for instance because the input does not fit.
            TimeoutError: No answer yet: other starts come first. It is in the log and will have its turn.
        """
        while True:
            plan = await self.registry.to_start(workflow, version)
            if isinstance(plan, StepwellError):
                if id is not None and await self._exists(id):
                    return Run(self, id, existed=True)  # started while it was active; this is the same start again
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
                return await self._started(command, watch=watch)
            except CommandRejectedError as refused:
                if version is not None or refused.code != INACTIVE_VERSION:
                    raise  # else it was deactivated meanwhile: choose again

    async def _started(self, command: StartWorkflow, *, watch: bool) -> Run:
        instance_id = command.instance_id
        async with self._starting:
            # Watched from its first event on for as long as the caller keeps the run: its end is no question then.
            watched = await self.subscriber.watch(instance_id, history=False) if watch else None
            try:
                answer = await self.ask(command)
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

    async def cancel(self, instance_id: str, reason: str = "") -> None:
        """End an instance; handlers that run are cancelled.

        Raises:
            CommandRejectedError: There is no such instance, or it has finished otherwise.
        """
        await self.send(CancelWorkflow(instance_id, reason, command_id=self._make_id()))

    async def pause(self, instance_id: str, reason: str = "") -> None:
        """Start no further step; what runs may finish.

        Raises:
            CommandRejectedError: There is no such live instance.
        """
        await self.send(PauseWorkflow(instance_id, reason, command_id=self._make_id()))

    async def resume(self, instance_id: str, *, skip_failed: bool = False) -> None:
        """Go on with a paused instance; or, at the step that failed, with a failed or cancelled one.

        Args:
            skip_failed: Go on without the steps that failed instead of running them anew. A gate that was rejected or
                not decided in time asks anew all the same.

        Raises:
            CommandRejectedError: There is no such instance, or it has completed.
        """
        failed_steps: Any = "skip" if skip_failed else "retry"
        await self.send(ResumeWorkflow(instance_id, failed_steps, command_id=self._make_id()))

    async def rollback(self, instance_id: str, to: int | str = "latest", *, pause: bool = False) -> None:
        """Return to an earlier point and run on from there; what has a compensation is undone in reverse order.

        Args:
            to: An event's sequence, a checkpoint's name, a settled step's id, ``latest`` or ``start``.
            pause: Stay paused there.

        Raises:
            CommandRejectedError: There is no such point or instance.
        """
        await self.send(RollbackWorkflow(instance_id, to, pause, command_id=self._make_id()))

    async def approve(self, instance_id: str, step_id: str = "", *, by: str = "", comment: str = "") -> None:
        """Approve what a step waits for.

        Args:
            step_id: The step; may be left out where only one waits.
            by: Who approves; one of the approvers, where the step names some. Without one, whom the client acts for.

        Raises:
            CommandRejectedError: No such step waits for approval, or not for theirs.
        """
        by = by or self.sender.by
        await self.send(ApproveStep(instance_id, step_id, by, comment, command_id=self._make_id()))

    async def reject(self, instance_id: str, step_id: str = "", *, by: str = "", comment: str = "") -> None:
        """Reject what a step waits for; arguments and errors as in ``approve``."""
        by = by or self.sender.by
        await self.send(RejectStep(instance_id, step_id, by, comment, command_id=self._make_id()))

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

    async def engine_is_live(self) -> bool:
        """Whether any engine works on this log right now."""
        return await self._asking.engine_is_live()

    async def crew(self) -> Crew:
        """The engines and workers that are live on this log, with what they say of themselves."""
        return await live_crew(self.log)

    # --- looking --------------------------------------------------------------------------------------------

    async def wait(
        self,
        instance_id: str,
        until: Callable[[InstanceState], bool],
        *,
        timeout: float | None = None,
        existed: bool = False,
    ) -> InstanceView:
        """Wait until an instance's state is as wanted.

        Args:
            existed: Whether it is known to have been started: then it may be gone, and is not waited for.

        Raises:
            TimeoutError: It was not within ``timeout`` seconds.
            UnknownInstanceError: It existed, and was cleaned away since.
        """
        watch = await self.subscriber.watch(instance_id)
        try:
            if existed and watch.state is None:
                await state_of(self.log, instance_id)
            async with asyncio.timeout(timeout):
                while watch.state is None or not until(watch.state):
                    problem = self.subscriber.failed(instance_id)
                    if problem is not None:
                        raise problem
                    await watch.moved(until)
            return await self._view(watch.state)
        finally:
            self.subscriber.unwatch(watch)

    async def get(self, instance_id: str) -> InstanceView:
        """An instance as it is now.

        Raises:
            UnknownInstanceError: The log holds none of this id.
        """
        return await self._view(await state_of(self.log, instance_id))

    async def replay(self, instance_id: str, to: int | None = None) -> InstanceView:
        """An instance as it was right after an event: folded from its history, nothing else.

        Args:
            to: The event's sequence; None for the newest.

        Raises:
            UnknownInstanceError: The log holds none of this id.
        """
        return await self._view(await state_of(self.log, instance_id, to))

    async def _view(self, state: InstanceState) -> InstanceView:
        if self.registry.by_hash(state.definition) is None:
            await self.registry.catch_up()
        return view(state, self.registry.by_hash(state.definition))

    async def history(self, instance_id: str) -> list[EventRecord]:
        """Everything that ever happened to an instance, in order.

        Raises:
            UnknownInstanceError: The log holds none of this id.
        """
        return await events_of(self.log, instance_id)

    def subscribe(
        self,
        types: Iterable[str] = ("*",),
        *,
        instance_id: str | None = None,
        workflow: str | None = None,
        since: str | None = None,
        name: str | None = None,
    ) -> Subscription:
        """Events as they are accepted, one after the other: ``async for event in client.subscribe(…)``.

        Args:
            types: Types of events, with wildcards: ``workflow.*``. ``task.*`` means ``step.*``.
            instance_id: Only events of this instance.
            workflow: Only events of instances of this definition.
            since: ``start``, or the ``position`` that an event carried, to go on behind it; without it, from now.
            name: A durable name: go on behind what this name has processed, at least once for each event. Where the
                name is new, it begins where ``since`` says. Let one reader at a time use it.

        Returns:
            Begins with the first event that is asked for, or on entering it with ``async with``.

        Raises:
            PatternError: A pattern matches no type of event.
            PositionError: Once it begins: ``since`` is no position of this log.
            PositionGoneError: Retention has deleted what comes next.
            LogError: No more can be read, or the engine of this process has stopped.
        """
        subscription = Subscription(
            self.log,
            types,
            instance_id=instance_id,
            workflow=workflow,
            since=since,
            name=name,
            endings=self.subscriber.when_ended,
        )
        self._subscriptions.add(subscription)
        return subscription

    async def subscriptions(self) -> list[SubscriptionInfo]:
        """All durable names, with how far each has come and how many records it is behind."""
        return await Bookmarks(self.log).all()

    async def forget_subscription(self, name: str) -> bool:
        """Forget how far a durable name has come; who uses it next begins anew.

        Returns:
            Whether there was such a name.
        """
        bookmarks = Bookmarks(self.log)
        if await bookmarks.of(name) is None:
            return False
        await bookmarks.store(name, "", time.time_ns() // 1_000_000)
        return True

    # --- what is old ----------------------------------------------------------------------------------------

    async def archive(
        self,
        path: str | Path,
        *,
        finished_before: Time,
        workflow: str = "",
        status: str | Iterable[str] = (),
        force: bool = False,
    ) -> Written:
        """Write the histories of finished instances, and their definitions, to a file; ``Archive`` reads it.

        Nothing is deleted: that is what ``cleanup`` does.

        Args:
            path: The file. It is there whole, or not at all.
            finished_before: Only what had finished before this time: with its zone, or milliseconds since 1970.
            workflow: Only instances of this one.
            status: Only ``completed``, ``failed`` or ``cancelled`` ones.
            force: Replace a file that is there.

        Returns:
            How many instances and transitions are in it.

        Raises:
            ArchiveError: The file is there, or cannot be written.
            ReadModelsError, LogError: Something cannot be read.
        """
        before = milliseconds(finished_before) or 0
        chosen = (status,) if isinstance(status, str) else tuple(status)
        queries = await self.views.models.own()
        try:
            await self.registry.catch_up()
            what = Chosen(finished_before=before, workflow=workflow, status=chosen)
            return await write_archive(self.log, queries, self.registry, Path(path), what, force=force)
        finally:
            await queries.close()

    async def cleanup(
        self, *, finished_before: Time, archive: str | Path | None, dry_run: bool = False
    ) -> CleanupReport:
        """Delete what nobody needs any more: finished instances that are old, where nothing live lies before them.

        Killed anywhere, it has done no harm; called again with the same file, it goes on.

        Args:
            finished_before: Only what had finished before this time: with its zone, or milliseconds since 1970.
            archive: The file that they are written to first, and read back from, before anything is deleted. One
                that an earlier cleanup has made is gone on with. None: they are to be nowhere any more.
            dry_run: Delete nothing, write nothing; only tell.

        Raises:
            ArchiveError: The archive cannot be written, or is another one's.
            ReadModelsError, LogError: Something cannot be read or written.
        """
        cleaner = Cleaner(self.log, self.views.models, self.registry, self.sender)
        path = None if archive is None else Path(archive)
        return await cleaner.run(milliseconds(finished_before) or 0, path, dry_run=dry_run)

    def lost(self, failed: asyncio.Future[None]) -> None:
        """The engine or worker of this process has stopped by itself: whoever waits for it is told why."""
        error = None if failed.cancelled() else failed.exception()
        if error is not None:
            self.subscriber.fail(error)

    async def close(self) -> None:
        """Let go of the log. Durable names' positions are stored first."""
        await asyncio.gather(*(one.settle() for one in self._subscriptions), return_exceptions=True)
        await self.views.models.close(for_good=True)
        await self.subscriber.close()
        await self.log.close()
