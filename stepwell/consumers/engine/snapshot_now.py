"""Snapshots taken because somebody asks for them, and not because they are due.

Only what a snapshot covers can be cleaned away. An engine that is live takes the next one in its time; whoever cannot
wait owns each partition for a moment, as an engine does, and gives it up once the snapshot counts. An engine that
had it claims it anew: that is what the fence is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.clock import Clock
from stepwell.consumers.engine.engine import live_processes
from stepwell.consumers.engine.owner import PartitionOwner
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import LogUnavailableError
from stepwell.log.port import EVENTS, Log
from stepwell.process import THIS_PROCESS, now_ms, process_name
from stepwell.tasks import cancel_and_wait

_TRIES: Final = 10  # an engine may claim the partition before the snapshot counts
_PATIENCE: Final = 30.0  # seconds for one
_PAUSE: Final = 0.2  # seconds between two tries, which leave the engine alone


async def take_snapshots(
    log: Log, definitions: Definitions, *, clock: Callable[[], int] = now_ms, name: str = ""
) -> list[int]:
    """Take a snapshot of every partition in which something has happened since its newest one.

    Args:
        clock: Milliseconds since 1970.
        name: Who takes them, for people; without one, host and process id.

    Returns:
        The partitions.

    Raises:
        LogUnavailableError: Others kept claiming a partition.
        LogError: The log cannot be used.
    """
    taken = []
    await definitions.catch_up()
    for partition in range(log.partitions):
        if await _has_news(log, partition):
            await _take(log, partition, definitions, clock, name or process_name())
            taken.append(partition)
    return taken


async def _has_news(log: Log, partition: int) -> bool:
    reader = EventReader(log, partition)
    await reader.seek_snapshot()
    before = reader.position
    end = await log.end(EVENTS, partition)
    while reader.position < end:
        if await reader.read(end=end):
            return True
        if reader.position == before:
            return False
        before = reader.position
    return False


async def _take(log: Log, partition: int, definitions: Definitions, clock: Callable[[], int], name: str) -> None:
    for _ in range(_TRIES):
        counts: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        owner = PartitionOwner(
            log,
            partition,
            definitions,
            Admission(),
            name=name,
            clock=Clock(clock),
            process=THIS_PROCESS,
            alive=partial(live_processes, log),
            snapshot=counts,
        )
        owning = asyncio.ensure_future(owner.run())
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.wait((owning, counts), return_when=asyncio.FIRST_COMPLETED)
            if counts.done():
                return
            owning.result()
        except (SurpriseError, TimeoutError):
            await asyncio.sleep(_PAUSE)
        finally:
            await cancel_and_wait(owning)
    raise LogUnavailableError(
        f"no snapshot of partition {partition} could be taken: engines kept claiming it",
        remedy="Try again while less goes on; or wait until the engines take theirs, within a day.",
    )
