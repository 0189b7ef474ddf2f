"""The Python client: registers, starts, watches and controls workflows.

The terminal and the HTTP server do everything through ``Client``.
"""

from __future__ import annotations

import asyncio
import copy
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from stepwell.arguments import check_texts, path_of, rejected, texts
from stepwell.client.refusals import Refusals
from stepwell.client.requests import Asking
from stepwell.client.starting import Starting
from stepwell.consumers.reading.pending import PendingInstances
from stepwell.consumers.reading.subscriber import Subscriber
from stepwell.consumers.reading.subscriptions import Subscription
from stepwell.consumers.registry.children import tell_children
from stepwell.consumers.registry.definitions import Definitions, RegisteredVersion
from stepwell.errors import ArchiveError, FilterError
from stepwell.ids import new_id
from stepwell.language import compile_loaded, read_definition
from stepwell.log.port import Log
from stepwell.own_files import claim
from stepwell.process import now_ms
from stepwell.projections.places import views_directory
from stepwell.projections.views import AskInstances, AskStatistics, Time, Views, milliseconds
from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.records.sender import Sender, sender

if TYPE_CHECKING:
    from stepwell.archiving.cleaning import CleanupReport
    from stepwell.archiving.writing import Written
    from stepwell.builder.workflows import Workflow
    from stepwell.projections.models import ReadModels
    from stepwell.projections.pending import Pending

Registrable: TypeAlias = "Definition | Workflow[..., Any] | Mapping[str, Any] | str | Path"
"""The types of ``source`` of ``Client.register``."""

MOST_UNANSWERED = 1_000  # starts without an answer at once; further starts wait, so that nothing piles up


class Client(Starting):
    """Sends commands to the engines of one log, and reads what happened. ``connect`` makes one.

    Args:
        log: The log.
        by: The person or program that the commands come from, at most 200 characters; the engines record it.
        via: Where the commands come from, such as ``http 10.0.0.7``, at most 200 characters; the engines record it.
        views: The directory of the read models; by default beside the log's file.
        make_id: Makes the ids of instances and commands.
        clock: Returns the time in milliseconds since 1970.
        models: Makes the read models from a log, a directory and the registered definitions; None for ``ReadModels``.

    Attributes:
        log: The log.
        registry: The registered definitions that the client has read so far.
        views: Answers questions about all instances. The first question makes the read models behind it; from then
            on they are kept up to date.
        instances: ``views.instances``: pages of instances by status, workflow, tag, time, priority, fields, errors.
        statistics: ``views.statistics``: the statistics of each version of a definition, or of all.
        sender: Who sends the commands, and from where.
        refusals: Records for the audit which requests were refused before they reached an engine.
        pending: Finds instances whose start no engine has decided yet.

    Raises:
        SenderError: ``by`` or ``via`` is not a valid name.
    """

    def __init__(
        self,
        log: Log,
        *,
        by: str = "",
        via: str = "",
        views: Path | None = None,
        make_id: Callable[[], str] = new_id,
        clock: Callable[[], int] = now_ms,
        models: Callable[[Log, Path, Definitions], ReadModels] | None = None,
    ) -> None:
        self.sender: Sender = sender(by, via)
        self.log = log
        self._make_id = make_id
        self.clock = clock
        self.registry: Definitions = Definitions(log)
        self.subscriber: Subscriber = Subscriber(log)
        self.pending: PendingInstances = PendingInstances(log, self.registry)
        self.refusals: Refusals = Refusals(log, clock=clock)
        self._asking = Asking(log, self.subscriber)
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._starting = asyncio.Semaphore(MOST_UNANSWERED)
        path = log.describe().path
        directory = views or (Path(f"{path}.views") if path else views_directory(None))
        claim(directory)  # at once, even before the read models exist: steps must not touch files in this directory
        self.views: Views = _views_of(log, directory, self.registry, self.pending, models)
        self.instances: AskInstances = self.views.instances
        self.statistics: AskStatistics = self.views.statistics

    def acting(self, *, by: str | None = None, via: str | None = None) -> Client:
        """Return this client with another sender. It takes microseconds.

        The two clients share everything else. Closing one of them closes both.

        Args:
            by: Who sends the commands; None for the ``by`` of this client, empty for nobody.
            via: Where the commands come from; None for the ``via`` of this client, empty for nowhere.

        Raises:
            SenderError: ``by`` or ``via`` is longer than 200 characters, or is not a text of one line.
        """
        view = copy.copy(self)
        view.sender = sender(self.sender.by if by is None else by, self.sender.via if via is None else via)
        return view

    # --- definitions ----------------------------------------------------------------------------------------

    async def register(
        self,
        source: Registrable,
        *,
        activate: bool = True,
        dialect: str | None = None,
        name: str = "",
    ) -> Definition:
        """Register a definition. Registering the same definition again changes nothing.

        Args:
            source: A path, a YAML or JSON text, plain data, a ``Definition``, or a workflow that is written
                in Python. The workflows that a Python workflow calls are registered with it.
            activate: Whether a new version can be started at once; if not, ``Client.activate`` permits it later.
            dialect: The notation of the definition, if it cannot be recognised; see docs/dialects.md.
            name: The name of the definition if it does not contain one; by default the file's name.

        Returns:
            The registered definition.

        Raises:
            DefinitionError: The definition is not valid; the error lists all problems.
            DefinitionConflictError: Another definition is registered under this name and version.
        """
        from stepwell.builder.workflows import Workflow  # noqa: PLC0415 - most programs write no workflow in Python

        if isinstance(source, Workflow):
            definition = source.definition  # first: a mistake raises before anything is registered
            for child in source.children:
                await self.registry.register(child.definition, activate=activate, sender=self.sender)
            source = definition
        plan = compile_loaded(read_definition(source, dialect=dialect, name=name))
        plan = await self.registry.register(plan.definition, plan, activate=activate, sender=self.sender)
        tell_children([plan.definition], self.registry)
        return plan.definition

    async def workflows(self) -> list[Definition]:
        """Return every registered definition. Versions of one name are in the order of their registration."""
        await self.registry.catch_up()
        return self.registry.all()

    async def definitions(self, *, workflow: str | None = None, tag: str | None = None) -> list[RegisteredVersion]:
        """Return summaries of the registered versions. Versions of one name are in the order of their registration.

        Args:
            workflow: Only the versions of this workflow.
            tag: Only the versions that have this tag.

        Raises:
            FilterError: ``workflow`` or ``tag`` is not a text.
        """
        check_texts(FilterError, none=True, workflow=workflow, tag=tag)
        await self.registry.catch_up()
        return [
            found
            for found in self.registry.summaries()
            if (workflow is None or found.name == workflow) and (tag is None or tag in found.tags)
        ]

    async def activate(self, workflow: str, version: str, *, reason: str = "") -> bool:
        """Permit starts of a version again. Every start after this call has returned may use the version.

        Args:
            workflow: The name of the workflow.
            version: The version.
            reason: The reason, for the audit.

        Returns:
            Whether the version was inactive before.

        Raises:
            UnknownWorkflowError: No such version is registered.
            CommandRejectedError: An argument is not a text.
        """
        check_texts(rejected, workflow=workflow, version=version, reason=reason)
        return await self.registry.switch(workflow, version, active=True, reason=reason, sender=self.sender)

    async def deactivate(self, workflow: str, version: str, *, reason: str = "") -> bool:
        """Forbid further starts of a version. Instances that run continue with it.

        Args:
            workflow: The name of the workflow.
            version: The version.
            reason: The reason, for the audit.

        Returns:
            Whether the version was active before.

        Raises:
            UnknownWorkflowError: No such version is registered.
            CommandRejectedError: An argument is not a text.
        """
        check_texts(rejected, workflow=workflow, version=version, reason=reason)
        return await self.registry.switch(workflow, version, active=False, reason=reason, sender=self.sender)

    # --- old instances --------------------------------------------------------------------------------------

    async def archive(
        self,
        path: str | Path,
        *,
        finished_before: Time,
        workflow: str = "",
        status: str | Iterable[str] = (),
        force: bool = False,
    ) -> Written:
        """Write the histories and definitions of finished instances to a file. ``Archive`` reads the file.

        This deletes nothing; ``cleanup`` does.

        Args:
            path: The file. It appears under this name only when it is complete.
            finished_before: Only instances that finished before this time: a datetime with a time zone, or
                milliseconds since 1970.
            workflow: Only instances of this workflow.
            status: Only instances with one of these statuses: ``completed``, ``failed``, ``cancelled``.
            force: Whether to replace an existing file.

        Returns:
            The numbers of instances and transitions in the file.

        Raises:
            ArchiveError: The file exists, or cannot be written.
            FilterError: ``finished_before``, ``workflow`` or ``status`` is of a wrong type.
            ReadModelsError, LogError: The read models or the log cannot be read.
        """
        from stepwell.archiving.format import Chosen  # noqa: PLC0415 - a fifth of what importing the client costs
        from stepwell.archiving.writing import write_archive  # noqa: PLC0415

        file = path_of(ArchiveError, "path", path)
        before = milliseconds(finished_before) or 0
        chosen = texts(FilterError, "status", status)
        check_texts(FilterError, workflow=workflow)
        queries = await self.views.models.own()
        try:
            await self.registry.catch_up()
            what = Chosen(finished_before=before, workflow=workflow, status=chosen)
            return await write_archive(self.log, queries, self.registry, file, what, force=force)
        finally:
            await queries.close()

    async def cleanup(
        self,
        *,
        finished_before: Time,
        archive: str | Path | None,
        dry_run: bool = False,
        snapshot_now: bool = False,
    ) -> CleanupReport:
        """Delete old finished instances from the log, up to the oldest record that a live instance needs.

        It may be killed at any moment without harm. A call with the same file continues the work.

        Args:
            finished_before: Only instances that finished before this time: a datetime with a time zone, or
                milliseconds since 1970.
            archive: The file to which the instances are written, and from which they are read back for a check,
                before anything is deleted. If an earlier cleanup made the file, this one continues it. None deletes
                the instances without an archive.
            dry_run: Delete and write nothing; only report what would be deleted.
            snapshot_now: Take snapshots first, so that instances which finished just now can be deleted, too.
                Without it, engines take snapshots at their own times. This owns each partition for a moment; a live
                engine claims it again. Not possible with ``dry_run``.

        Returns:
            What was deleted, or would be.

        Raises:
            ValueError: ``snapshot_now`` was given with ``dry_run``.
            ArchiveError: The archive cannot be written, belongs to another log, or was not made by a cleanup.
            ReadModelsError, LogError: The read models or the log cannot be read or written.
        """
        from stepwell.archiving.cleaning import Cleaner  # noqa: PLC0415 - as above

        path = None if archive is None else path_of(ArchiveError, "archive", archive)
        before = milliseconds(finished_before) or 0
        if snapshot_now:
            if dry_run:
                raise ValueError("snapshot_now writes, and dry_run writes nothing")
            from stepwell.consumers.engine.snapshot_now import take_snapshots  # noqa: PLC0415 - it needs the owner

            await take_snapshots(self.log, self.registry)
        cleaner = Cleaner(self.log, self.views.models, self.registry, self.sender)
        return await cleaner.run(before, path, dry_run=dry_run)

    def lost(self, failed: asyncio.Future[None]) -> None:
        """Pass on the error with which the embedded engine or worker stopped: everything that waits raises it."""
        error = None if failed.cancelled() else failed.exception()
        if error is not None:
            self.subscriber.fail(error)

    async def close(self) -> None:
        """Store the positions of the durable subscriptions, then close the log."""
        await self.detach()
        await self.log.close()

    async def detach(self) -> None:
        """Do what ``close`` does, but leave the log open."""
        await asyncio.gather(*(one.settle() for one in self._subscriptions), return_exceptions=True)
        await self.refusals.close()
        await self.views.close()
        await self.subscriber.close()


def _views_of(
    log: Log,
    directory: Path,
    definitions: Definitions,
    waiting: PendingInstances,
    models: Callable[[Log, Path, Definitions], ReadModels] | None,
) -> Views:
    """Make the views of a log. The first question imports the read models: many clients ask none."""

    def make() -> ReadModels:
        from stepwell.projections.models import ReadModels  # noqa: PLC0415 - half of what importing a client costs

        return (models or ReadModels)(log, directory, definitions)

    def pending() -> Pending:
        from stepwell.projections.pending import Pending  # noqa: PLC0415 - as above

        return Pending(log, waiting.starts)

    return Views(make, pending)
