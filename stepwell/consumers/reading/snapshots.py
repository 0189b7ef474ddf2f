"""The newest snapshot of a partition."""

from __future__ import annotations

from stepwell.consumers.reading.events import EventReader, read_range
from stepwell.core.fold.acceptance import CLAIM, KIND
from stepwell.core.fold.partition import PartitionState
from stepwell.core.fold.snapshots import decode_partition
from stepwell.errors import UNREADABLE, LogCorruptedError, StepwellError
from stepwell.log.port import EVENTS, SNAPSHOTS, Log


class SurpriseError(StepwellError):
    """The log did not do what an undisturbed owner sees: drop everything and claim anew."""


async def load_snapshot(log: Log, reader: EventReader, epoch: int) -> PartitionState:
    """The newest snapshot named below an offset; the reader stands behind what it covers. Empty where there is none.

    Raises:
        LogCorruptedError: It cannot be read.
        SurpriseError: It was superseded and deleted meanwhile.
    """
    snapshot = await reader.seek_snapshot(epoch)
    while snapshot is not None:
        end = snapshot.first + snapshot.chunks
        chunks = await read_range(log, SNAPSHOTS, reader.partition, snapshot.first, end)
        if len(chunks) == snapshot.chunks:
            try:
                return decode_partition(chunk.value for chunk in chunks)
            except ValueError as error:
                raise LogCorruptedError(
                    f"a snapshot that cannot be read: {error}",
                    place=f"{SNAPSHOTS}[{reader.partition}]@{snapshot.first}",
                    remedy=UNREADABLE,
                ) from error
        # It was named by a late record of a former owner, and superseded since: read on to a newer one.
        snapshot = await reader.seek_newer_snapshot(epoch)
        if snapshot is None:
            if await _is_claimed_after(log, reader.partition, epoch):  # and that owner has deleted it
                raise SurpriseError(f"partition {reader.partition}: replaced while taking it over at {epoch}")
            raise LogCorruptedError(
                "the newest snapshot is missing",
                place=f"{SNAPSHOTS}[{reader.partition}]",
                remedy="Restore the log from a backup.",
            )
    return PartitionState()


async def _is_claimed_after(log: Log, partition: int, epoch: int) -> bool:
    later = await read_range(log, EVENTS, partition, epoch + 1, await log.end(EVENTS, partition))
    return any(record.headers.get(KIND) == CLAIM for record in later)
