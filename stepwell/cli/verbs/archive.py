"""``stepwell archive``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from stepwell.cli.archives import cutoff, day, size_of
from stepwell.cli.completion import workflow_names
from stepwell.cli.drawing import count
from stepwell.cli.exits import UsageError
from stepwell.cli.options import Age, Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Argument, Option
from stepwell.cli.views import asking
from stepwell.schemas.records.statuses import FINISHED


async def archive(
    file: Annotated[Path, Argument(metavar="FILE", help="The file to write: JSON lines, compressed by gzip.")],
    older_than: Age,
    workflow: Annotated[
        str, Option(metavar="NAME", complete=workflow_names, help="Only instances of this workflow.")
    ] = "",
    status: Annotated[Sequence[str], Option(metavar="STATUS", help="Only completed, failed or cancelled ones.")] = (),
    force: Annotated[bool, Option("--force", help="Replace FILE.")] = False,
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Write the whole histories of finished instances to a file. Nothing is deleted.

    \b
    stepwell archive orders.jsonl.gz --older-than 90d --workflow order
    """
    for one in status:
        if one not in FINISHED:
            raise UsageError(
                f"is no status of a finished one; there are {', '.join(FINISHED)}", place=f"--status {one}"
            )
    before = cutoff(older_than)
    async with asking(log) as client:
        written = await client.archive(file, finished_before=before, workflow=workflow, status=status, force=force)
    size = file.stat().st_size
    if as_json:
        print_json({
            "file": str(file), "finished_before": before, "instances": written.instances,
            "transitions": written.transitions, "bytes": size,
        })  # fmt: skip
    else:
        print(f"{file}: {count(written.instances, 'instance')} that finished before {day(before)}, {size_of(size)}")
    return 0
