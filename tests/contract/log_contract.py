"""What every log has to do, written once against the port.

Each implementation's tests subclass ``LogContract`` and give the fixture ``storage`` (``contract_tools.Storage``).
What is opened through it is closed after the test.
"""

from __future__ import annotations

import asyncio

import pytest
from contract_tools import read_all, records, values
from group_contract import GroupContract
from queue_contract import QueueContract
from record_contract import RecordContract

from stepwell.errors import LogClosedError
from stepwell.log.port import EVENTS
from tests.patience import HANG


class LogContract(RecordContract, QueueContract, GroupContract):
    """All of it, and how a log closes. Subclass it as ``TestXyzLog``."""

    async def test_close_finishes_what_was_appended(self, log, storage):
        futures = [log.append(EVENTS, 0, records(str(number))) for number in range(100)]
        await log.close()
        assert all(future.done() for future in futures)
        again = await storage.open()
        assert values(await read_all(again, EVENTS, 0)) == [str(number) for number in range(100)]

    async def test_who_waits_when_the_log_closes_is_told(self, log):
        worker, place = await log.consume(["q"], prefetch=1), await log.join("engines")
        waiting = [
            asyncio.ensure_future(waiter)
            for waiter in (
                log.read(EVENTS, 0, 0, wait=None),
                worker.take(1),
                place.changed(await self._gets(place, frozenset(range(4)))),
            )
        ]
        await asyncio.sleep(0.01)
        await log.close()
        for waiter in waiting:
            with pytest.raises(LogClosedError):
                await asyncio.wait_for(waiter, HANG)

    async def test_a_closed_log_says_so(self, log):
        await log.close()
        await log.close()
        with pytest.raises(LogClosedError):
            await log.append(EVENTS, 0, records("a"))
        with pytest.raises(LogClosedError):
            await log.enqueue("q", records("a"))
        with pytest.raises(LogClosedError):
            await log.read(EVENTS, 0, 0)
        with pytest.raises(LogClosedError):
            await log.end(EVENTS, 0)
        with pytest.raises(LogClosedError):
            await log.join("engines")
