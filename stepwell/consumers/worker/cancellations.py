"""Runs that nobody waits for any more, as the ``control`` topic tells them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from stepwell.log.port import CONTROL, Log, Record
from stepwell.logs import Logger
from stepwell.schemas.records.codec import decode_cancel
from stepwell.schemas.records.work import CancelRuns, WorkItem

_logger = Logger("stepwell.worker")

REMEMBERED: Final = 10_000  # instances; their steps may wait in a queue for as long as no worker is there
_RANGES: Final = 16  # of one instance: each timeout of a step adds one


class Cancellations:
    """Remembers what was cancelled lately, also while nobody worked."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ranges: OrderedDict[str, tuple[CancelRuns, ...]] = OrderedDict()
        self._position = 0

    async def catch_up(self) -> None:
        """Read what was cancelled so far."""
        end = await self._log.end(CONTROL, 0)
        self._position = max(0, end - REMEMBERED)
        while self._position < end and (records := await self._log.read(CONTROL, 0, self._position)):
            self._note(records)
        self._position = max(self._position, end)

    async def next(self) -> list[CancelRuns]:
        """Wait for further cancellations."""
        return self._note(await self._log.read(CONTROL, 0, self._position, wait=None))

    def _note(self, records: Sequence[Record]) -> list[CancelRuns]:
        cancels = []
        for record in records:
            self._position = record.offset + 1
            try:
                cancel = decode_cancel(record.value)
            except ValueError as error:  # whose run goes on; its outcome is refused
                _logger.warning("undecodable cancellation ignored", offset=record.offset, error=str(error))
                continue
            cancels.append(cancel)
            known = self._ranges.pop(cancel.instance_id, ())
            self._ranges[cancel.instance_id] = (*known[1 - _RANGES :], cancel)
            if len(self._ranges) > REMEMBERED:
                self._ranges.popitem(last=False)
        return cancels

    def covers(self, item: WorkItem) -> bool:
        """Whether nobody waits for this run."""
        return any(covers(cancel, item) for cancel in self._ranges.get(item.instance_id, ()))


def covers(cancel: CancelRuns, item: WorkItem) -> bool:
    """Whether a cancellation is about this run."""
    same = cancel.instance_id == item.instance_id and cancel.began == item.began
    return same and cancel.first <= item.step.run <= cancel.last
