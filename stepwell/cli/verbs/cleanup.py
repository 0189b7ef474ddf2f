"""``stepwell cleanup``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from stepwell.cli.archives import cutoff, day, size_of
from stepwell.cli.drawing import count
from stepwell.cli.exits import UsageError
from stepwell.cli.options import Age, Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Option
from stepwell.cli.views import asking, caught_up
from stepwell.consumers.engine.snapshot_now import take_snapshots

if TYPE_CHECKING:
    from stepwell.archiving.cleaning import CleanupReport
    from stepwell.archiving.planning import HeldBack, PartitionPlan


HELD_BACK = 1  # exit status of a cleanup that has found old ones, none of which can go yet


async def cleanup(
    older_than: Age,
    archive: Annotated[
        Path | None, Option("--archive", metavar="FILE", help="Write what is deleted to FILE first.")
    ] = None,
    no_archive: Annotated[bool, Option("--no-archive", help="Delete without an archive.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only tell what would be deleted.")] = False,
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
    snapshot_now: Annotated[
        bool,
        Option("--snapshot-now", help="Take snapshots first, so that what has just finished can go, too."),
    ] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Delete finished instances that are old, from the log and the read models, and make the files smaller.

    Killed at any moment, it has done no harm: the same command again goes on. Exit status 1 where old ones are there,
    and none of them can go yet: it says what holds them back.

    \b
    stepwell cleanup --older-than 90d --dry-run
    stepwell cleanup --older-than 90d --archive 2026-11.jsonl.gz --yes
    """
    if snapshot_now and dry_run:
        raise UsageError("writes, and --dry-run writes nothing", place="--snapshot-now", remedy="Choose one.")
    if archive is not None and no_archive:
        raise UsageError("--archive and --no-archive exclude each other", remedy="Choose one.")
    if archive is None and not no_archive and not dry_run:
        raise UsageError(
            "what is deleted is gone for good",
            remedy="Say where to keep it, --archive FILE, or that nobody needs it, --no-archive; --dry-run tells.",
        )
    asks = not yes and not dry_run
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here", remedy="Say --yes; --dry-run shows beforehand what would go.")
    before = cutoff(older_than)
    async with asking(log) as client:
        if snapshot_now and asks:  # before the plan that is shown, which rests on them
            await take_snapshots(client.log, client.registry)
            await caught_up(client)
        if dry_run or asks:
            report = await client.cleanup(finished_before=before, archive=archive, dry_run=True)
            if not as_json:
                _print_plan(report)
            if dry_run or not report.instances or not _confirmed(report):
                if as_json:
                    print_json(report)
                return 0 if dry_run else _status(report)
        report = await client.cleanup(finished_before=before, archive=archive, snapshot_now=snapshot_now and not asks)
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    return _status(report)


def _status(report: CleanupReport) -> int:
    """``HELD_BACK`` where something was to be deleted and nothing may be yet; an archive may be done with."""
    held = report.kept and any(plan.held_back is not None for plan in report.partitions)
    return HELD_BACK if held and not report.instances else 0


def _confirmed(report: CleanupReport) -> bool:
    where = f" after they are in {report.archive}" if report.archive else " without an archive"
    print(f"Delete {count(report.instances, 'instance')}{where}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print_plan(report: CleanupReport) -> None:
    if report.resumed:
        print(f"{report.archive} is there: going on with what it holds")
    print(
        f"{count(report.instances, 'instance')} that finished before {day(report.finished_before)} can go, with "
        f"{count(report.transitions, 'event record')}"
    )
    _print_held(report)


def _print_report(report: CleanupReport) -> None:
    if report.resumed:
        print(f"went on with what {report.archive} holds; name another file for what finishes later")
    kept_in = f"; they are in {report.archive}" if report.archive and report.instances else ""
    none = "" if report.instances or report.kept else f": none has finished before {day(report.finished_before)}"
    print(f"deleted {count(report.instances, 'instance')}{none}{kept_in}")
    for name, freed in (("the log's file", report.log), ("the read models", report.read_models)):
        if freed is not None:
            print(f"{name}: {size_of(freed.before)} before, {size_of(freed.after)} now")
    _print_held(report)


def _print_held(report: CleanupReport) -> None:
    if report.kept:
        print(f"{count(report.kept, 'older one')} cannot go yet:")
    for plan in report.partitions:
        if plan.held_back is not None and report.kept:
            print(f"  partition {plan.partition} is {held_words(plan.held_back, report, plan)}")


def held_words(held: HeldBack, report: CleanupReport, plan: PartitionPlan) -> str:
    """Why a partition is not cleaned any further, in words."""
    if held.by == "snapshot":
        if plan.upto:
            return (
                "clean up to its newest snapshot; engines take the next one after a day, or sooner under load; "
                "--snapshot-now takes it now"
            )
        return "in no snapshot yet; engines take one after a day, or sooner under load; --snapshot-now takes it now"
    if held.by == "subscription":
        return f"held back by the reader {held.name}, which has not come any further (`stepwell subscriptions`)"
    if held.by == "feed":
        return "held back by the feed, which has not come any further"
    if not held.finished_at:
        return f"held back by {held.name}, {held.status} since {day(held.since or 0)}"
    if held.finished_at >= report.finished_before:
        return f"held back by {held.name}, which finished on {day(held.finished_at)}"
    return f"held back by {held.name}, which was reopened later on: it goes as a whole"
