"""How one file of read models is kept up to date with the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from stepwell.consumers.registry.definitions import Definitions
from stepwell.log.port import CLEANUPS, DEFINITIONS, EVENTS, REFUSALS, Log, Record
from stepwell.projections.projector import Projector
from stepwell.projections.store import Position, Store
from stepwell.projections.tables import CLEANUPS_PARTITION, DEFINITIONS_PARTITION, REFUSALS_PARTITION
from stepwell.tasks import cancel_and_wait

_BATCH: Final = 4_000  # records of one transaction
_LOOK_EVERY: Final = 0.5  # seconds after which a cleanup is looked at again that is about what was not read yet


class Follower:
    """Follows a log on behalf of one file.

    Args:
        log: The log.
        definitions: The registry; its content is copied.
        store: The file.
        projector: Its writer; it has begun.
    """

    def __init__(self, log: Log, definitions: Definitions, store: Store, projector: Projector) -> None:
        self._log = log
        self._definitions = definitions
        self._store = store
        self._projector = projector
        self._lock = asyncio.Lock()  # one transaction at a time
        self._gives_back = True  # whether there may be pages to give back: one who was killed may have left some

    async def follow(self, until: Coroutine[Any, Any, None]) -> None:
        """Write what comes, until something is over: ``until``, or with an error any part of it."""
        parts = [
            *(self._read(partition) for partition in range(self._log.partitions)),
            self._copy_definitions(), self._copy_refusals(), self._clean_up(), until,
        ]  # fmt: skip
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel_and_wait(*tasks)

    async def fill(self, told: Callable[[int, int], None] | None) -> None:
        """Read what there is, until there is little left: whoever follows the log then has that in no time.

        Args:
            told: Told now and then how many records were followed, of how many.
        """
        projector = self._projector
        await projector.copy_definitions(self._definitions)
        await projector.copy_refusals()

        async def left() -> tuple[int, int]:
            ends = [await self._log.end(EVENTS, partition) for partition in range(self._log.partitions)]
            stands = [projector.positions[partition].offset for partition in range(self._log.partitions)]
            return sum(stands), sum(ends)

        followed, wanted = await left()
        while wanted - followed > _BATCH or followed == 0 < wanted:  # what is left, its new writer reads in no time
            for partition in range(self._log.partitions):
                records: list[Record] = list(
                    await self._log.read(EVENTS, partition, projector.positions[partition].offset, limit=_BATCH)
                )
                if records:
                    await projector.take(partition, records)
            before, (followed, wanted) = followed, await left()
            if told is not None:
                told(followed, wanted)
            if followed == before:
                break
        while await projector.clean_up():
            pass

    async def _read(self, partition: int) -> None:
        while True:
            offset = self._projector.positions[partition].offset
            records = await self._log.read(EVENTS, partition, offset, limit=_BATCH, wait=None)
            async with self._lock:
                if records and self._projector.positions[partition].offset == offset:
                    await self._projector.take(partition, records)

    async def _copy_definitions(self) -> None:
        while True:
            async with self._lock:
                await self._projector.copy_definitions(self._definitions)
            copied = self._projector.positions.get(DEFINITIONS_PARTITION, Position()).offset
            await self._log.read(DEFINITIONS, 0, copied, limit=1, wait=None)

    async def _copy_refusals(self) -> None:
        while True:
            async with self._lock:
                await self._projector.copy_refusals()
            copied = self._projector.positions.get(REFUSALS_PARTITION, Position()).offset
            await self._log.read(REFUSALS, 0, copied, limit=1, wait=None)

    async def _clean_up(self) -> None:
        """Take out what is cleaned away, and give the space back."""
        while True:
            async with self._lock:
                found = await self._projector.clean_up()
            while not found and self._gives_back:
                async with self._lock:
                    self._gives_back = await self._store.give_back()
            if found:
                self._gives_back = True
                self._projector.progressed.set()
                self._projector.progressed.clear()
                continue
            followed = self._projector.positions.get(CLEANUPS_PARTITION, Position()).offset
            if await self._log.end(CLEANUPS, 0) > followed:  # what it is about has not all been read yet
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY):
                        await self._projector.progressed.wait()
            else:
                await self._log.read(CLEANUPS, 0, followed, limit=1, wait=None)
