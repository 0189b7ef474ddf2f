"""``stepwell projections rebuild``."""

from __future__ import annotations

import sys
import time

from stepwell.cli.drawing import count, seconds
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json, print_raw
from stepwell.cli.session import client_of
from stepwell.cli.views import caught_up


async def projections_rebuild(as_json: Json = False, log: LogUrl = None) -> int:
    """Make the read models anew from the log, while the old ones are still asked.

    \b
    stepwell projections rebuild
    """
    began = time.monotonic()
    terminal = sys.stderr.isatty()
    last = began

    def told(followed: int, wanted: int) -> None:
        nonlocal last
        if as_json or time.monotonic() - last < (0.2 if terminal else 2.0):
            return
        last = time.monotonic()
        words = f"{followed / max(1, wanted):.0%} of {count(wanted, 'record')}"
        if terminal:
            print_raw(f"\r{words}\x1b[K", end="", file=sys.stderr)
        else:
            print(words, file=sys.stderr, flush=True)

    async with client_of(log) as client:
        generation = await client.views.models.rebuild(told)
        if terminal and not as_json:
            print_raw("\r\x1b[K", end="", file=sys.stderr)
        await caught_up(client)
        lag = await client.views.models.lag()
    took = time.monotonic() - began
    records = sum(end for _, end in lag.partitions.values())
    if as_json:
        print_json({"generation": generation, "records": records, "seconds": round(took, 3)})
    else:
        print(f"generation {generation} is in place: {count(records, 'record')} in {seconds(took)}")
    return 0
