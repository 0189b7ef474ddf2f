"""What the verbs of archives do: archive, archived, cleanup."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from stepwell.cli.drawing import SIGNS, count, seconds
from stepwell.cli.output import print
from stepwell.cli.session import UsageError
from stepwell.cli.verbs.histories import print_events
from stepwell.cli.verbs.show import print_instance, print_json
from stepwell.cli.views import asking, caught_up, local_time, time_of
from stepwell.process import now_ms
from stepwell.schemas.records.statuses import FINISHED

if TYPE_CHECKING:
    from stepwell.archiving.cleaning import CleanupReport
    from stepwell.archiving.planning import HeldBack, PartitionPlan
    from stepwell.archiving.reading import Archive, ArchivedInstance

HELD_BACK = 1  # exit status of a cleanup that has found old ones, none of which can go yet


def _before(older_than: str) -> int:
    before = time_of(older_than, "--older-than")
    if before is None or before > now_ms():
        raise UsageError("is in the future", place="--older-than", remedy="Give an age, 90d, or a time that is over.")
    return before


async def archive(
    file: Path,
    older_than: str,
    *,
    workflow: str,
    status: Sequence[str],
    force: bool,
    as_json: bool,
    log: str | None,
) -> int:
    """Write finished instances to a file."""
    for one in status:
        if one not in FINISHED:
            raise UsageError(
                f"is no status of a finished one; there are {', '.join(FINISHED)}", place=f"--status {one}"
            )
    before = _before(older_than)
    async with asking(log) as client:
        written = await client.archive(file, finished_before=before, workflow=workflow, status=status, force=force)
    size = file.stat().st_size
    if as_json:
        print_json({
            "file": str(file), "finished_before": before, "instances": written.instances,
            "transitions": written.transitions, "bytes": size,
        })  # fmt: skip
    else:
        print(f"{file}: {count(written.instances, 'instance')} that finished before {_day(before)}, {_bytes(size)}")
    return 0


async def archived(file: Path, instance_id: str | None, *, history: bool, to: int | None, as_json: bool) -> int:
    """List what is in a file, or show one instance of it."""
    from stepwell.archiving.reading import Archive  # noqa: PLC0415 - start-up time

    if instance_id is None and (history or to is not None):
        raise UsageError("--history and --to are about one instance", remedy="Name its ID behind FILE.")
    if history and to is not None:
        raise UsageError("--history and --to are two questions", remedy="Ask one of them.")
    opened = Archive(file)
    if instance_id is None:
        return _list(opened, as_json=as_json)
    return _show(opened.get(instance_id), history=history, to=to, as_json=as_json)


def _list(opened: Archive, *, as_json: bool) -> int:
    from stepwell.archiving.reading import summary_of  # noqa: PLC0415 - start-up time

    if as_json:  # one at a time: an archive may be larger than memory
        opened.check()  # first: half an object is none
        header = msgspec.to_builtins(opened.header)
        first = True
        for one in opened.summaries():
            print(f'{{"archive": {json.dumps(header)}, "instances": [' if first else ",")
            print(json.dumps(summary_of(one), ensure_ascii=False), end="")
            first = False
        print("\n]}" if not first else f'{{"archive": {json.dumps(header)}, "instances": []}}')
        return 0
    found = 0
    for one in opened.summaries():
        line = one.summary
        started = local_time(line.started_at)
        took = seconds((line.finished_at - line.started_at) / 1000)
        sign = SIGNS.get(line.status, ("▶", ""))[0]
        print(f"{sign} {line.id:<36}  {line.workflow} {line.version}  {line.status:<9}  {started}  {took}".rstrip())
        found += 1
    chosen = opened.header.chosen
    print(
        f"{count(found, 'instance')} of {opened.header.log} that finished before {_day(chosen.finished_before)}; "
        f"archived on {_day(opened.header.made_at)}"
    )
    return 0


def _show(one: ArchivedInstance, *, history: bool, to: int | None, as_json: bool) -> int:
    if history:
        print_events(one.id, one.history(), as_json=as_json)
        return 0
    shown = one.view(to)
    if as_json:
        print_json(shown)
        return 0
    if to is not None:
        print(f"as of event {shown.sequence}:")
    print_instance(shown, one.plan())
    return 0


async def cleanup(
    older_than: str,
    file: Path | None,
    *,
    no_archive: bool,
    dry_run: bool,
    yes: bool,
    snapshot_now: bool = False,
    as_json: bool,
    log: str | None,
) -> int:
    """Delete what is old and finished; return the exit status."""
    if snapshot_now and dry_run:
        raise UsageError("writes, and --dry-run writes nothing", place="--snapshot-now", remedy="Choose one.")
    if file is not None and no_archive:
        raise UsageError("--archive and --no-archive exclude each other", remedy="Choose one.")
    if file is None and not no_archive and not dry_run:
        raise UsageError(
            "what is deleted is gone for good",
            remedy="Say where to keep it, --archive FILE, or that nobody needs it, --no-archive; --dry-run tells.",
        )
    asks = not yes and not dry_run
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here", remedy="Say --yes; --dry-run shows beforehand what would go.")
    before = _before(older_than)
    async with asking(log) as client:
        from stepwell.consumers.engine.snapshot_now import take_snapshots  # noqa: PLC0415 - start-up time

        if snapshot_now and asks:  # before the plan that is shown, which rests on them
            await take_snapshots(client.log, client.registry)
            await caught_up(client)
        if dry_run or asks:
            report = await client.cleanup(finished_before=before, archive=file, dry_run=True)
            if not as_json:
                _print_plan(report)
            if dry_run or not report.instances or not _confirmed(report):
                if as_json:
                    print_json(report)
                return 0 if dry_run else _status(report)
        report = await client.cleanup(finished_before=before, archive=file, snapshot_now=snapshot_now and not asks)
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
        f"{count(report.instances, 'instance')} that finished before {_day(report.finished_before)} can go, with "
        f"{count(report.transitions, 'event record')}"
    )
    _print_held(report)


def _print_report(report: CleanupReport) -> None:
    if report.resumed:
        print(f"went on with what {report.archive} holds; name another file for what finishes later")
    kept_in = f"; they are in {report.archive}" if report.archive and report.instances else ""
    none = "" if report.instances or report.kept else f": none has finished before {_day(report.finished_before)}"
    print(f"deleted {count(report.instances, 'instance')}{none}{kept_in}")
    for name, freed in (("the log's file", report.log), ("the read models", report.read_models)):
        if freed is not None:
            print(f"{name}: {_bytes(freed.before)} before, {_bytes(freed.after)} now")
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
        return f"held back by {held.name}, {held.status} since {_day(held.since or 0)}"
    if held.finished_at >= report.finished_before:
        return f"held back by {held.name}, which finished on {_day(held.finished_at)}"
    return f"held back by {held.name}, which was reopened later on: it goes as a whole"


def _day(at: int) -> str:
    """A time as it is shown: long before and long after 2026, too."""
    return local_time(at)


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
