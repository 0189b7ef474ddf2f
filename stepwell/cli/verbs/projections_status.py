"""``stepwell projections status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.cli.drawing import count, seconds
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of

if TYPE_CHECKING:
    from pathlib import Path


async def projections_status(as_json: Json = False, log: LogUrl = None) -> int:
    """Print where the read models are, which generation, and how far they are behind the log.

    \b
    stepwell projections status
    """
    async with client_of(log) as client:
        models = client.views.models
        lag, directory = await models.lag(), models.directory
    files = [
        {"file": str(path), "bytes": path.stat().st_size}
        for path in sorted(directory.glob("*.db*"))
        if path.name.partition(".")[0].isdecimal() and path.exists()
    ]
    if as_json:
        print_json({
            "directory": str(directory), "generation": lag.generation, "records_behind": lag.records,
            "seconds_behind": lag.seconds, "problem": lag.problem, "files": files,
            "partitions": [
                {"partition": partition, "next": offset, "end": end}
                for partition, (offset, end) in sorted(lag.partitions.items())
            ],
        })  # fmt: skip
        return 0
    size = sum(int(str(file["bytes"])) for file in files)
    whole = sum(end for _, end in lag.partitions.values())
    print(f"directory   {directory}")
    print(f"generation  {lag.generation}, {_main_file(directory, lag.generation)}, {size / 1_000_000:.1f} MB")
    if lag.records:
        print(f"lag         {lag.records:,} of {count(whole, 'record')}, {seconds(lag.seconds)}")
    else:
        print(f"lag         none: {count(whole, 'record')} followed")
    for partition, (offset, end) in sorted(lag.partitions.items()):
        print(f"            partition {partition}: {offset:,} of {end:,}")
    if lag.problem:
        print(f"problem     {' '.join(lag.problem.split())}")
    return 0


def _main_file(directory: Path, generation: int) -> str:
    return str(directory / f"{generation}.db")
