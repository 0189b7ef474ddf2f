"""The Python front door: register, start, watch and steer workflows.

Everything that the terminal (and later HTTP) does goes through ``Client``.
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
"""What ``Client.register`` takes."""

MOST_UNANSWERED = 1_000  # starts on their way at once; whoever asks for more waits, so that nothing piles up


class Client(Starting):
    """Talks to the engines of one log. Made by ``connect``.

    Args:
        by: Who asks for what it sends, and
        via: from where, such as ``http 10.0.0.7``; recorded with every answer. At most 200 characters each.
        views: Directory of the read models; by default beside the log's file.
        make_id: Makes the ids of instances and commands.
        clock: Milliseconds since 1970.
        models: Makes the read models of a log, in a directory, with what is registered; None for ``ReadModels``.

    Attributes:
        log: The log.
        registry: The registered definitions, as far as they were read.
        views: What one can ask about all that goes on. The read models behind it are made, and kept up to date,
            from the first question on.
        instances: ``views.instances``: pages of instances by status, workflow, tag, time, priority, fields, errors.
        statistics: ``views.statistics``: of each version of a definition, or of all.
        sender: Who asks, and from where.
        refusals: Notes for the audit what is refused before it reaches an engine.
        pending: Finds instances whose start no engine has decided yet.

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
        claim(directory)  # before anybody asks: steps on files stay away from what another process keeps there
        self.views: Views = _views_of(log, directory, self.registry, self.pending, models)
        self.instances: AskInstances = self.views.instances
        self.statistics: AskStatistics = self.views.statistics

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
        source: Registrable,
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
        from stepwell.builder.workflows import Workflow  # noqa: PLC0415 - programs of other processes write none

        if isinstance(source, Workflow):
            definition = source.definition  # first of all: a mistake is told before anything is registered
            for child in source.children:
                await self.registry.register(child.definition, activate=activate, sender=self.sender)
            source = definition
        plan = compile_loaded(read_definition(source, dialect=dialect, name=name))
        plan = await self.registry.register(plan.definition, plan, activate=activate, sender=self.sender)
        tell_children([plan.definition], self.registry)
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

        Raises:
            FilterError: One of them is no text.
        """
        check_texts(FilterError, none=True, workflow=workflow, tag=tag)
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
            CommandRejectedError: An argument is no text.
        """
        check_texts(rejected, workflow=workflow, version=version, reason=reason)
        return await self.registry.switch(workflow, version, active=True, reason=reason, sender=self.sender)

    async def deactivate(self, workflow: str, version: str, *, reason: str = "") -> bool:
        """Let no further start take a version; instances that run keep it.

        Returns:
            Whether it was active before.

        Raises:
            UnknownWorkflowError: No such version is registered.
            CommandRejectedError: An argument is no text.
        """
        check_texts(rejected, workflow=workflow, version=version, reason=reason)
        return await self.registry.switch(workflow, version, active=False, reason=reason, sender=self.sender)

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
            FilterError: ``finished_before``, ``workflow`` or ``status`` is of a wrong type.
            ReadModelsError, LogError: Something cannot be read.
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
        """Delete what nobody needs any more: finished instances that are old, where nothing live lies before them.

        Killed anywhere, it has done no harm; called again with the same file, it goes on.

        Args:
            finished_before: Only what had finished before this time: with its zone, or milliseconds since 1970.
            archive: The file that they are written to first, and read back from, before anything is deleted. One
                that an earlier cleanup has made is gone on with. None: they are to be nowhere any more.
            dry_run: Delete nothing, write nothing; only tell.
            snapshot_now: Take snapshots first, so that also what has just finished may go; else engines take them in
                their time. For that each partition is owned for a moment: a live engine claims it anew. Not with
                ``dry_run``.

        Raises:
            ValueError: ``snapshot_now`` with ``dry_run``.
            ArchiveError: The archive cannot be written, or is another one's.
            ReadModelsError, LogError: Something cannot be read or written.
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
        """The engine or worker of this process has stopped by itself: whoever waits for it is told why."""
        error = None if failed.cancelled() else failed.exception()
        if error is not None:
            self.subscriber.fail(error)

    async def close(self) -> None:
        """Let go of the log. Durable names' positions are stored first."""
        await self.detach()
        await self.log.close()

    async def detach(self) -> None:
        """As ``close``, but for the log, which stays open for whoever opened it."""
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
    """The views of a log. What answers is imported with the first question: many clients ask none."""

    def make() -> ReadModels:
        from stepwell.projections.models import ReadModels  # noqa: PLC0415 - half of what importing a client costs

        return (models or ReadModels)(log, directory, definitions)

    def pending() -> Pending:
        from stepwell.projections.pending import Pending  # noqa: PLC0415 - as above

        return Pending(log, waiting.starts)

    return Views(make, pending)
