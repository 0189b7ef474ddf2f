"""What was cleaned away so far: a fold over the topic ``cleanups``."""

from __future__ import annotations

import time

from stepwell.command_line import command
from stepwell.errors import UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import CLEANUPS, Log, NewRecord, Record
from stepwell.schemas.records.cleanups import CleanedUp, decode_cleanup, encode_cleanup
from stepwell.schemas.records.sender import NOBODY, Sender


def read_cleanup(record: Record) -> CleanedUp:
    """What a record of the topic says.

    Raises:
        LogVersionError, LogCorruptedError: It cannot be read.
    """
    return decode_cleanup(record.value, record.headers, f"{CLEANUPS}@{record.offset}")


class Cleanups:
    """The cleanups of a log, as far as they were read.

    Attributes:
        number: How many have counted.
        newest: Of each partition, the last one.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position = 0
        self.number: int = 0
        self.newest: dict[int, CleanedUp] = {}

    async def catch_up(self) -> None:
        """Read up to the end of the topic as it is now.

        Raises:
            LogError: It cannot be read.
        """
        end = await self._log.end(CLEANUPS, 0)
        while self._position < end:
            records = await self._log.read(CLEANUPS, 0, self._position)
            if not records:
                return
            for record in records:
                cleanup = read_cleanup(record)
                self._position = record.offset + 1
                if cleanup.number == self.number + 1:
                    self.number = cleanup.number
                    self.newest[cleanup.partition] = cleanup

    def cut(self, partition: int) -> int:
        """Up to where a partition was cleaned: what lies below is gone, or is about to be."""
        newest = self.newest.get(partition)
        return 0 if newest is None else newest.cut

    async def decide(self, cleanup: CleanedUp, sender: Sender = NOBODY) -> bool:
        """Write a cleanup down, whose number is the next one; whether it counts, or another one came first.

        Raises:
            RecordTooLargeError: Its counts do not fit a record; nothing is written.
            LogError: Nothing is known about whether it was written.
        """
        value, headers = encode_cleanup(cleanup, self._log.max_record_bytes)
        record = NewRecord(str(cleanup.partition), value, {**headers, **sender.headers})
        await self._log.append(CLEANUPS, 0, [record])
        await self.catch_up()
        return self.newest.get(cleanup.partition) == cleanup


async def cleaned_away(log: Log, instance_id: str, *, surely: bool) -> UnknownInstanceError | None:
    """The error for an id that the log does not hold, where it may have been cleaned away.

    Args:
        surely: Whether something is left of it.

    Returns:
        None where nothing of its partition was ever cleaned away.
    """
    cleanups = Cleanups(log)
    await cleanups.catch_up()
    newest = cleanups.newest.get(partition_for(instance_id, log.partitions))
    if newest is None:
        if not surely:
            return None
        return UnknownInstanceError(
            f"the beginning of instance {instance_id!r} was deleted from the log",
            remedy="Keep events for ever (retention.ms=-1), and let `stepwell cleanup` delete what nobody needs.",
        )
    day = time.strftime("%Y-%m-%d", time.localtime(newest.before / 1000))
    said = f"instance {instance_id!r} has finished and was cleaned away"
    if not surely:
        said = (
            f"the log holds no instance {instance_id!r}; those that finished before {day} may have been cleaned away"
        )
    if not newest.archive:
        return UnknownInstanceError(said, remedy="They were not archived.")
    listed = command("archived", newest.archive)
    return UnknownInstanceError(
        said, remedy=f"The newest archive of them: `{listed}` lists it, with an ID it shows one."
    )
