"""Cleaning up: archive first, then the read models, then the log; each step leaves what the next one needs.

What goes is decided by one record a round on the topic ``cleanups``, and everybody who keeps read models follows it,
now or whenever the log is read anew. Only then does the log forget. A process that is killed anywhere leaves a log
in which some rounds are done and the others not begun; running it again goes on, with the archive that is there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell.archiving.format import Beginning, Chosen, Header
from stepwell.archiving.planning import HeldBack, PartitionPlan, needed_by_names, plan_partition, unsplit
from stepwell.archiving.reading import Archive
from stepwell.archiving.space import checkpoint, give_back, log_size, size_of
from stepwell.archiving.writing import write_archive
from stepwell.consumers.reading.cleanups import Cleanups
from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import ArchiveError, RecordTooLargeError, StepwellError
from stepwell.log.port import CONTROL, EVENTS, Log
from stepwell.projections.cleaning import began_before, counted, kept, place_of
from stepwell.projections.models import ReadModels
from stepwell.projections.queries import Queries
from stepwell.projections.store import ReadModelsError, proof_of
from stepwell.projections.tables import OFFSETS
from stepwell.schemas.records.cleanups import CleanedUp
from stepwell.schemas.records.sender import NOBODY, Sender

_ROUND: Final = 1_000  # instances of one round: a transaction of the read models, of some tenths of a second
_PAGE: Final = 2_000  # rows
_PATIENCE: Final = 60.0  # seconds that whoever writes the read models may take for a round
_CONTROL_KEPT: Final = 24 * 60 * 60 * 1000  # milliseconds; a request to stop a handler means nothing after that


class Freed(Struct, frozen=True, kw_only=True):
    """Bytes of a file, before and after."""

    before: int
    after: int


class CleanupReport(Struct, frozen=True, kw_only=True):
    """What was cleaned away, or would be.

    Attributes:
        finished_before: Instances that finished before this time may go, in milliseconds since 1970.
        dry_run: Whether nothing was done.
        archive: The file that holds what is gone; empty without one.
        resumed: Whether it was there already, and its cleanup went on.
        instances: How many are gone,
        transitions: and how many of their transitions.
        kept: How many finished before that time, but stay because of what holds their partitions back.
        partitions: What may go of each, and what holds it back.
        log: Bytes of the log's file; None in Kafka, and for a dry run.
        read_models: The same of the read models of this machine.
    """

    finished_before: int
    dry_run: bool
    archive: str = ""
    resumed: bool = False
    instances: int = 0
    transitions: int = 0
    kept: int = 0
    partitions: list[PartitionPlan] = []
    log: Freed | None = None
    read_models: Freed | None = None


class Cleaner:
    """Cleans up one log.

    Args:
        models: Its read models; they are brought up to date first.
        sender: Who asks for it.
    """

    def __init__(self, log: Log, models: ReadModels, definitions: Definitions, sender: Sender = NOBODY) -> None:
        self._log = log
        self._models = models
        self._definitions = definitions
        self._sender = sender
        self._cleanups = Cleanups(log)
        self._instances = 0
        self._transitions = 0

    async def run(self, finished_before: int, archive: Path | None, *, dry_run: bool = False) -> CleanupReport:
        """Clean up, or only tell what would be.

        Args:
            finished_before: Instances that finished before this time may go, in milliseconds since 1970.
            archive: The file that they are written to first; None to have them nowhere any more.

        Raises:
            ArchiveError: The archive cannot be written, or is another one's.
            ReadModelsError, LogError: Something cannot be read or written; what was done before is done.
        """
        await self._cleanups.catch_up()
        queries = await self._models.own()
        try:
            resumed = archive is not None and await asyncio.to_thread(archive.exists)
            if resumed and archive is not None:
                header = await self._check(archive)
                finished_before = header.chosen.finished_before
                names = await needed_by_names(self._log)
                plans = [await self._resume(queries, header, partition, names) for partition in self._everywhere]
            else:
                plans = await self._plan(queries, finished_before)
            report = CleanupReport(
                finished_before=finished_before,
                dry_run=dry_run,
                archive="" if archive is None else os.path.abspath(archive),  # noqa: PTH100, ASYNC240 - no I/O
                resumed=resumed,
                instances=sum(plan.instances for plan in plans),
                transitions=sum(plan.transitions for plan in plans),
                kept=await _kept(queries, finished_before) - sum(plan.instances for plan in plans),
                partitions=plans,
            )
            if dry_run:
                return report
            if report.instances and archive is not None and not resumed:
                await self._write_archive(queries, archive, finished_before, plans)
        finally:
            await queries.close()
        return await self._clean(report, plans)

    @property
    def _everywhere(self) -> range:
        return range(self._log.partitions)

    async def _plan(self, queries: Queries, before: int) -> list[PartitionPlan]:
        names = await needed_by_names(self._log)
        return [
            await plan_partition(self._log, queries, self._cleanups, partition, before, names)
            for partition in self._everywhere
        ]

    # --- the archive ----------------------------------------------------------------------------------------

    async def _write_archive(self, queries: Queries, path: Path, before: int, plans: list[PartitionPlan]) -> None:
        beginnings = [
            Beginning(partition=plan.partition, cut=plan.cut, upto=plan.upto, witness=plan.witness)
            for plan in plans
            if plan.instances and plan.witness is not None
        ]
        await self._definitions.catch_up()
        written = await write_archive(
            self._log, queries, self._definitions, path, Chosen(finished_before=before), beginnings=beginnings
        )
        end = await asyncio.to_thread(Archive(path).check)  # what is deleted next can be read back
        if (end.instances, end.transitions) != written:
            raise ArchiveError("the archive does not hold what was written", place=str(path))

    async def _check(self, path: Path) -> Header:
        """An archive that is there: whether it is one of this log that a cleanup has made, and is whole."""
        archive = await asyncio.to_thread(Archive, path)
        header = archive.header
        if not header.beginnings:
            raise ArchiveError(
                "this file is there already, and no cleanup has made it", place=str(path), remedy="Name another one."
            )
        same = header.partitions == self._log.partitions
        for beginning in header.beginnings:
            witness = beginning.witness
            found = await self._log.read(EVENTS, beginning.partition, witness.offset, limit=1) if same else ()
            if not found or found[0].offset < witness.offset:
                same = False
            elif found[0].offset == witness.offset:  # else it was cleaned away itself since, and so was the rest
                same = same and proof_of(found[0].timestamp, found[0].value) == witness.proof
        if not same:
            raise ArchiveError(
                "this file is there already, and is of another log", place=str(path), remedy="Name another one."
            )
        await asyncio.to_thread(archive.check)
        return header

    async def _resume(
        self, queries: Queries, header: Header, partition: int, names: Mapping[str, list[int]]
    ) -> PartitionPlan:
        """What is left to do of what an archive holds."""
        cut = done = self._cleanups.cut(partition)
        upto = 0
        for beginning in header.beginnings:
            if beginning.partition == partition and beginning.cut > done:
                cut, upto = beginning.cut, beginning.upto
        holder = None
        for name, places in names.items():  # one that has begun since
            if places[partition] < cut:
                cut, holder = max(places[partition], done), HeldBack(by="subscription", name=name)
        query = "SELECT count(DISTINCT instance), count(*) FROM history WHERE place >= ? AND place < ?"
        counts = await queries.all(query, (place_of(partition, 0), place_of(partition, cut)))
        instances, transitions = counts[0] if cut > done else (0, 0)
        return PartitionPlan(
            partition=partition, first=done, cut=cut, upto=upto, instances=instances, transitions=transitions,
            held_back=holder,
        )  # fmt: skip

    # --- cleaning -------------------------------------------------------------------------------------------

    async def _clean(self, report: CleanupReport, plans: list[PartitionPlan]) -> CleanupReport:
        views = await self._path()
        log_before, views_before = log_size(self._log), size_of(views)
        for partition in self._everywhere:  # of one who was killed
            if self._cleanups.cut(partition):
                await self._log.delete_before(EVENTS, partition, self._cleanups.cut(partition))
        for plan in plans:
            await self._clean_partition(plan, report)
        await self._forget_old_requests()
        await give_back(self._log)
        await self._given_back()
        log_after = log_size(self._log)
        both = log_before is not None and log_after is not None
        return replace(
            report,
            instances=self._instances,
            transitions=self._transitions,
            log=Freed(before=log_before or 0, after=log_after or 0) if both else None,
            read_models=Freed(before=views_before, after=size_of(await self._path())),
        )

    async def _clean_partition(self, plan: PartitionPlan, report: CleanupReport) -> None:
        most = _ROUND
        while plan.instances and self._cleanups.cut(plan.partition) < plan.cut:
            queries = await self._models.own()
            try:
                cleanup = await self._round(queries, plan, report, most)
            finally:
                await queries.close()
            if cleanup is None:
                return
            try:
                decided = await self._cleanups.decide(cleanup, self._sender)
            except RecordTooLargeError:
                if most == 1:
                    raise
                most = max(1, most // 4)
                continue
            if not decided:
                raise StepwellError(
                    "another cleanup is at work", remedy="Wait for it, then run this one again: it goes on."
                )
            await self._followed()
            await self._log.delete_before(EVENTS, plan.partition, cleanup.cut)
            self._instances += cleanup.instances
            self._transitions += cleanup.transitions

    async def _round(
        self, queries: Queries, plan: PartitionPlan, report: CleanupReport, most: int
    ) -> CleanedUp | None:
        """The next instances that go, about so many; None where no more may, because one of them was reopened."""
        numbers, ends = list[int](), False
        while not numbers and not ends:  # what was reopened goes as a whole: it may take more of them
            cut, ends = await self._furthest(queries, plan, report.finished_before, most)
            cut, _ = await unsplit(queries, plan.partition, self._cleanups.cut(plan.partition), cut)
            numbers = await began_before(queries, plan.partition, cut)
            most *= 2
        if not numbers:
            return None
        counts = await counted(queries, numbers)
        transitions = 0
        for number in numbers:
            rows = await queries.all("SELECT count(*) FROM history WHERE instance = ?", (number,))
            transitions += rows[0][0]
        return CleanedUp(
            number=self._cleanups.number + 1,
            at=self._models.clock(),
            before=report.finished_before,
            partition=plan.partition,
            cut=cut,
            upto=plan.upto,
            instances=len(numbers),
            transitions=transitions,
            archive=report.archive,
            counts=kept(counts.values()),
        )

    async def _furthest(self, queries: Queries, plan: PartitionPlan, before: int, most: int) -> tuple[int, bool]:
        """Up to where a round of so many instances goes, and whether it is the last one."""
        start, end = place_of(plan.partition, 0), place_of(plan.partition, plan.cut)
        numbers: set[int] = set()
        after = start - 1
        while page := await queries.all(_PLACES, (after, end, _PAGE)):
            for place, number in page:
                if number in numbers:
                    continue
                may_go = await self._may_go(queries, number, plan, before)
                if len(numbers) == most or not may_go:
                    return place & OFFSETS, not may_go
                numbers.add(number)
            after = page[-1][0]
        return plan.cut, True

    async def _may_go(self, queries: Queries, number: int, plan: PartitionPlan, before: int) -> bool:
        query = (
            "SELECT finished_at, (SELECT max(place) FROM history WHERE instance = i.number) "
            "FROM instances i WHERE number = ?"
        )
        ((finished_at, last),) = await queries.all(query, (number,))
        return bool(0 < finished_at < before and last < place_of(plan.partition, plan.upto))

    async def _followed(self) -> None:
        """Wait until the read models of this machine have followed the newest cleanup."""
        try:
            await self._models.catch_up(timeout=_PATIENCE)
        except TimeoutError:
            raise ReadModelsError(
                "the read models do not follow the cleanup",
                place=str(self._models.directory),
                remedy="Is the process that writes them of an older Stepwell? Update it, and run this again: "
                "it goes on.",
            ) from None

    async def _given_back(self) -> None:
        """Wait until whoever writes the read models has given the space back, or for a while."""
        before = -1
        while (free := await self._free()) and free != before:
            before = free
            await asyncio.sleep(0.5)  # another process may do it: there is nothing to wait on
        await asyncio.to_thread(checkpoint, await self._path())

    async def _free(self) -> int:
        async with self._models.asking() as queries:
            rows = await queries.all("PRAGMA freelist_count")
        return int(rows[0][0])

    async def _path(self) -> Path:
        async with self._models.asking() as queries:
            return queries.path

    async def _forget_old_requests(self) -> None:
        """Let the log forget what was asked of handlers that ran long ago; Kafka does so by itself."""
        limit, offset = self._models.clock() - _CONTROL_KEPT, 0
        while records := await self._log.read(CONTROL, 0, offset, limit=_PAGE):
            old = [record.offset + 1 for record in records if record.timestamp < limit]
            offset = max(old, default=offset)
            if len(old) < len(records):
                break
        if offset:
            await self._log.delete_before(CONTROL, 0, offset)


_PLACES: Final = "SELECT place, instance FROM history WHERE place > ? AND place < ? ORDER BY place LIMIT ?"


async def _kept(queries: Queries, before: int) -> int:
    rows = await queries.all("SELECT count(*) FROM instances WHERE finished_at > 0 AND finished_at < ?", (before,))
    return int(rows[0][0])
