"""What one can ask about all that goes on: ``client.views``; HTTP routes and the terminal's verbs ask it too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict, Unpack

from stepwell.arguments import check_numbers, check_texts, texts
from stepwell.errors import FilterError, LogClosedError

if TYPE_CHECKING:  # every client has views, and many never ask: what answers is imported with the first question
    from stepwell.projections.filters import InstanceFilter, InstancePage, Order
    from stepwell.projections.models import Lag, ReadModels
    from stepwell.projections.pending import Pending
    from stepwell.projections.queries import AuditRow, ErrorEntry, Queries, Work
    from stepwell.projections.rows import AttemptRow, InstanceRow
    from stepwell.projections.statistics import Hour, WorkerStatistics, WorkflowStatistics

Time = datetime | int
"""A time: with its zone, or as milliseconds since 1970."""

MOST_WORKERS: Final = 50  # every process that ran steps was one, each `stepwell run`, too


def milliseconds(time: Time | None) -> int | None:
    """A time as milliseconds since 1970; a datetime without a zone is taken for one of this machine's.

    Raises:
        FilterError: It is neither.
    """
    if isinstance(time, datetime):
        return int(time.timestamp() * 1000)
    if time is not None and type(time) is not int:
        raise FilterError(f"{time!r} is no time: give a datetime, or milliseconds since 1970")
    return time


def _fields(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    fields: object = given or {}
    if not isinstance(fields, Mapping):
        raise FilterError(f"takes values by the names of fields, not {fields!r:.100}", place=name)
    check_texts(FilterError, **{f"the name of a field of the {name}": key for key in fields})
    return dict(fields)


class InstanceOptions(TypedDict, total=False):
    """What ``Views.instances`` takes, which says what each means."""

    status: str | Iterable[str]
    workflow: str | None
    version: str | None
    tag: str | None
    created_after: Time | None
    created_before: Time | None
    finished_after: Time | None
    finished_before: Time | None
    priority_min: int | None
    priority_max: int | None
    input: Mapping[str, Any] | None
    output: Mapping[str, Any] | None
    error: str
    parent: str
    order: Order
    cursor: str | None
    limit: int
    exact: bool
    fresh: bool


class AskInstances(Protocol):
    """``Views.instances``, where a client has it as its own."""

    async def __call__(self, **options: Unpack[InstanceOptions]) -> tuple[InstancePage, int]:
        """A page of instances, and how many there are in all; see ``Views.instances``."""
        ...


class AskStatistics(Protocol):
    """``Views.statistics``, where a client has it as its own."""

    async def __call__(
        self, workflow: str | None = None, version: str | None = None, *, steps: bool = False, fresh: bool = True
    ) -> list[WorkflowStatistics]:
        """Statistics of each version of a definition, or of all definitions; see ``Views.statistics``."""
        ...


class Views:
    """Questions to the read models.

    Every question takes ``fresh``: True waits until all that is in the log when it is asked is in the read models,
    so that one sees what one has just done; False answers at once, with what is there (``lag`` tells how old).

    Args:
        make: Makes the read models; called with the first question.
        pending: Makes what finds instances that no engine has begun yet; None where they are not looked for.
    """

    def __init__(self, make: Callable[[], ReadModels], pending: Callable[[], Pending] | None = None) -> None:
        self._make = make
        self._make_pending = pending
        self._closed = False

    @cached_property
    def models(self) -> ReadModels:
        """The read models that are asked.

        Raises:
            LogClosedError: Nobody has asked them before the views were closed.
        """
        if self._closed:
            raise LogClosedError("the client was closed")
        return self._make()

    @cached_property
    def _pending(self) -> Pending | None:
        return None if self._make_pending is None else self._make_pending()

    async def close(self) -> None:
        """Let go of the read models for good: whatever is asked from now on ends with ``LogClosedError``."""
        self._closed = True
        if "models" in self.__dict__:
            await self.models.close(for_good=True)

    @asynccontextmanager
    async def asking(self, *, fresh: bool) -> AsyncIterator[Queries]:
        """The read models themselves, for questions that are asked together."""
        offsets = await self.models.ends() if fresh else None
        async with self.models.asking(offsets=offsets) as queries:
            yield queries

    async def instances(
        self,
        *,
        status: str | Iterable[str] = (),
        workflow: str | None = None,
        version: str | None = None,
        tag: str | None = None,
        created_after: Time | None = None,
        created_before: Time | None = None,
        finished_after: Time | None = None,
        finished_before: Time | None = None,
        priority_min: int | None = None,
        priority_max: int | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the definition
        output: Mapping[str, Any] | None = None,
        error: str = "",
        parent: str = "",
        order: Order = "-created",
        cursor: str | None = None,
        limit: int = 50,
        exact: bool = True,
        fresh: bool = True,
    ) -> tuple[InstancePage, int]:
        """A page of instances, and how many there are in all.

        Args:
            status: One of ``pending`` (no engine has decided its start), ``running``, ``paused``, ``completed``,
                ``failed`` and ``cancelled``, or several.
            workflow: Name of the definition,
            version: and its version.
            tag: A tag of the definition.
            created_after: Started (or, of pending ones, asked for) at this time or later,
            created_before: or earlier than this.
            finished_after: Finished at this time or later,
            finished_before: or earlier than this.
            priority_min: From this priority, 0 to 100,
            priority_max: to this one.
            input: Values of fields of the input by dotted name, up to three keys deep: ``{"customer.id": 17}``.
            output: The same of the output.
            error: A text in any error that it has had, three characters at least, without regard to case.
            parent: Id of the instance that has started it.
            order: ``created``, ``finished`` or ``priority``; with a minus, the latest or largest first.
            cursor: ``next`` of the page before; None for the first.
            limit: How many rows, 1 to 1,000.
            exact: Count all of them; else counting may end at 1,000, and the page's ``total_is_exact`` says so.
            fresh: See the class.

        Raises:
            FilterError: The question makes no sense.
            ReadModelsError, LogError: It cannot be answered.
        """
        from stepwell.projections.filters import InstanceFilter  # noqa: PLC0415 - with the first question

        wanted = InstanceFilter(
            status=texts(FilterError, "status", status),
            workflow=workflow or "",
            version=version or "",
            tag=tag or "",
            created_after=milliseconds(created_after),
            created_before=milliseconds(created_before),
            finished_after=milliseconds(finished_after),
            finished_before=milliseconds(finished_before),
            priority_min=priority_min,
            priority_max=priority_max,
            input=_fields("input", input),
            output=_fields("output", output),
            error=error,
            parent=parent,
        )
        return await self.find(wanted, order=order, cursor=cursor, limit=limit, exact=exact, fresh=fresh)

    async def find(
        self,
        wanted: InstanceFilter,
        *,
        order: str = "-created",
        cursor: str | None = None,
        limit: int = 50,
        exact: bool = True,
        fresh: bool = True,
    ) -> tuple[InstancePage, int]:
        """The same as ``instances``, of a filter that was put together before."""
        from stepwell.projections.filters import checked  # noqa: PLC0415 - as above

        check_texts(FilterError, order=order)
        check_texts(FilterError, none=True, cursor=cursor)
        check_numbers(FilterError, whole=True, limit=limit)
        async with self.asking(fresh=fresh) as queries:
            checked(wanted)
            waiting = await self._pending.matching(queries, wanted) if self._pending is not None else None
            page = await queries.instances(
                wanted, order=order, cursor=cursor, limit=limit, exact=exact, waiting=waiting
            )
        return page, page.total

    async def waiting(self, *, fresh: bool = True) -> int:
        """How many instances are pending: their start waits for an engine to decide it."""
        if self._pending is None:
            return 0
        async with self.asking(fresh=fresh) as queries:
            return await self._pending.count(queries)

    async def instance(self, instance_id: str, *, fresh: bool = True) -> InstanceRow | None:
        """One instance's row; None if there is none."""
        check_texts(FilterError, instance_id=instance_id)
        if not instance_id:  # a filter would take it for any
            return None
        from stepwell.projections.filters import InstanceFilter  # noqa: PLC0415 - as above

        page, _ = await self.find(InstanceFilter(id=instance_id), limit=1, fresh=fresh)
        return page[0] if page else None

    async def attempts(self, instance_id: str, *, fresh: bool = True) -> list[AttemptRow]:
        """Every attempt at every step of an instance, in the order in which they began."""
        check_texts(FilterError, instance_id=instance_id)
        async with self.asking(fresh=fresh) as queries:
            return await queries.attempts(instance_id)

    async def work(
        self, *, status: str | Sequence[str] = (), queue: str = "", limit: int = 50, fresh: bool = True
    ) -> list[Work]:
        """Attempts under way in all instances, those that have been so for the longest first.

        Args:
            status: ``ready``, ``running`` or ``waiting``, or several.
            queue: Only of this queue.
            limit: How many at most.
        """
        statuses = texts(FilterError, "status", status)
        check_texts(FilterError, queue=queue)
        check_numbers(FilterError, whole=True, limit=limit)
        async with self.asking(fresh=fresh) as queries:
            return await queries.work(status=statuses, queue=queue, limit=limit)

    async def statistics(
        self, workflow: str | None = None, version: str | None = None, *, steps: bool = False, fresh: bool = True
    ) -> list[WorkflowStatistics]:
        """Statistics of each version of a definition, or of all definitions.

        Args:
            steps: Those of their steps as well.
        """
        check_texts(FilterError, none=True, workflow=workflow, version=version)
        async with self.asking(fresh=fresh) as queries:
            return await queries.statistics(workflow, version, steps=steps)

    async def workers(
        self, *, first: Collection[str] = (), limit: int = MOST_WORKERS, fresh: bool = True
    ) -> list[WorkerStatistics]:
        """What each worker has done, live or not: those with the most runs.

        Args:
            first: Names of workers that come first, whatever they have done, such as those that are live.
            limit: How many at most. Each process that runs steps is a worker, every ``stepwell run``, too.
        """
        named = texts(FilterError, "first", first)
        check_numbers(FilterError, whole=True, limit=limit)
        async with self.asking(fresh=fresh) as queries:
            return await queries.workers(named, limit)

    async def hours(self, since: Time, workflow: str | None = None, *, fresh: bool = True) -> list[Hour]:
        """What happened in each hour from a time on; hours in which nothing happened are left out."""
        check_texts(FilterError, none=True, workflow=workflow)
        begin = milliseconds(since) or 0
        async with self.asking(fresh=fresh) as queries:
            return await queries.hours(begin, workflow)

    async def errors(
        self, instance_id: str | None = None, *, text: str = "", limit: int = 50, fresh: bool = True
    ) -> list[ErrorEntry]:
        """Errors that have happened, the newest first.

        Args:
            instance_id: Only of this instance.
            text: Only those with this text in them, three characters at least.
            limit: How many at most.
        """
        check_texts(FilterError, none=True, instance_id=instance_id)
        check_texts(FilterError, text=text)
        check_numbers(FilterError, whole=True, limit=limit)
        async with self.asking(fresh=fresh) as queries:
            return await queries.errors(instance_id, text, limit)

    async def audit(
        self,
        *,
        by: str = "",
        instance_id: str = "",
        since: Time | None = None,
        before: Time | None = None,
        limit: int = 50,
        fresh: bool = True,
    ) -> list[AuditRow]:
        """Who asked for what, when and from where, and what became of it; the newest first.

        Args:
            by: Only what they asked for.
            instance_id: Only about this instance.
            since: From this time on,
            before: and earlier than this.
            limit: How many at most.
        """
        check_texts(FilterError, by=by, instance_id=instance_id)
        check_numbers(FilterError, whole=True, limit=limit)
        begin, end = milliseconds(since), milliseconds(before)
        offsets = await self.models.ends_of_audit() if fresh else None
        async with self.models.asking(offsets=offsets) as queries:
            return await queries.audit(by, instance_id, begin, end, limit)

    async def cached(
        self,
        workflow: str,
        input: Any = None,  # noqa: A002
        *,
        version: str | None = None,
        max_age_seconds: float | None = None,
        fresh: bool = True,
    ) -> InstanceRow | None:
        """The newest instance that has completed with an equal input: its result need not be computed again.

        Args:
            input: Equal whatever the order of its keys.
            version: Of the definition; None for any.
            max_age_seconds: How long ago it may have completed.
        """
        check_texts(FilterError, workflow=workflow)
        check_texts(FilterError, none=True, version=version)
        check_numbers(FilterError, none=True, max_age_seconds=max_age_seconds)
        from stepwell.consumers.worker.failures import ReportedError  # noqa: PLC0415 - as above
        from stepwell.consumers.worker.results import plain  # noqa: PLC0415

        try:
            payload = {} if input is None else plain(input, "input")
        except (TypeError, ReportedError) as error:
            raise FilterError(str(error)) from None
        since = None if max_age_seconds is None else self.models.clock() - int(max_age_seconds * 1000)
        async with self.asking(fresh=fresh) as queries:
            return await queries.cached(workflow, payload, version, since)

    async def lag(self) -> Lag:
        """How far the read models are behind the log."""
        return await self.models.lag()

    async def rebuild(self, told: Callable[[int, int], None] | None = None) -> int:
        """Make them anew from the log, while the old ones are still asked; see ``ReadModels.rebuild``."""
        return await self.models.rebuild(told)
