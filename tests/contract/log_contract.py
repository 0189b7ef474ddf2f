"""What every log has to do, written once against the port.

Each implementation's tests subclass ``LogContract`` and give the fixtures ``storage`` (``contract_tools.Storage``)
and ``description``.
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
    """All of it, what a log says of itself, and how it closes. Subclass it as ``TestXyzLog``.

    The fixture ``description`` is what the first log object on a storage must say.
    """

    async def test_a_log_describes_itself_and_stays_what_it_is(self, log, storage, description):
        about = log.describe()
        assert about == description
        assert about.path is None or (about.path.is_absolute() and about.path.is_file())
        assert (await storage.open()).describe().kind == about.kind
        await log.close()
        assert log.describe() == about, "for messages about what was closed"

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
            await log.known_keys(EVENTS, 0, ["a"])
        with pytest.raises(LogClosedError):
            await log.is_there(EVENTS)
        with pytest.raises(LogClosedError):
            await log.free_space()
        with pytest.raises(LogClosedError):
            await log.join("engines")
