"""The verbs of what is old and finished: archive, archived, cleanup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from stepwell.cli.options import Json, Log, check_id
from stepwell.cli.signature import Argument, Option

Age = Annotated[
    str,
    Option("--older-than", metavar="AGE", help="What finished longer ago, 90d, 12h, 2w; or before 2026-08-01."),
]


def archive(
    file: Annotated[Path, Argument(metavar="FILE", help="The file to write: JSON lines, compressed by gzip.")],
    older_than: Age,
    workflow: Annotated[str, Option(metavar="NAME", help="Only instances of this workflow.")] = "",
    status: Annotated[
        list[str] | None, Option(metavar="STATUS", help="Only completed, failed or cancelled ones.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace FILE.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Write the whole histories of finished instances to a file. Nothing is deleted.

    \b
    stepwell archive orders.jsonl.gz --older-than 90d --workflow order
    """
    from stepwell.cli.verbs import archiving  # noqa: PLC0415 - start-up time

    return archiving.archive(
        file, older_than, workflow=workflow, status=status or [], force=force, as_json=as_json, log=log
    )


def archived(
    file: Annotated[Path, Argument(metavar="FILE", help="What `archive` or `cleanup` has written.")],
    instance_id: Annotated[
        str | None, Argument(metavar="[ID]", check=check_id, help="Show this instance; list all without.")
    ] = None,
    history: Annotated[bool, Option("--history", help="Print its events, one a line.")] = False,
    to: Annotated[int | None, Option("--to", metavar="N", help="Show it as it was after event N.")] = None,
    as_json: Json = False,
) -> Any:
    """Read an archive back: list it, or show an instance of it as `status`, `history` and `replay` would.

    \b
    stepwell archived orders.jsonl.gz
    stepwell archived orders.jsonl.gz order-1 --to 7
    """
    from stepwell.cli.verbs import archiving  # noqa: PLC0415 - start-up time

    return archiving.archived(file, instance_id, history=history, to=to, as_json=as_json)


def cleanup(
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
    log: Log = None,
) -> Any:
    """Delete finished instances that are old, from the log and the read models, and make the files smaller.

    Killed at any moment, it has done no harm: the same command again goes on. Exit status 1 where old ones are there,
    and none of them can go yet: it says what holds them back.

    \b
    stepwell cleanup --older-than 90d --dry-run
    stepwell cleanup --older-than 90d --archive 2026-11.jsonl.gz --yes
    """
    from stepwell.cli.verbs import archiving  # noqa: PLC0415 - start-up time

    return archiving.cleanup(
        older_than,
        archive,
        no_archive=no_archive,
        dry_run=dry_run,
        yes=yes,
        snapshot_now=snapshot_now,
        as_json=as_json,
        log=log,
    )
