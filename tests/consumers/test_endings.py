"""An owner's end leaves nothing behind: no reads that go on, no errors that asyncio complains of."""

import asyncio
import gc

import pytest
from faulty_log import FaultyLog

from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.clock import Clock
from stepwell.consumers.engine.owner import PartitionOwner
from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import LogError
from tests.workbench import client_on, send, start, steps, until, workflow


@pytest.fixture
async def owner(log, rng):
    async with client_on(log) as client:
        await client.register(workflow(*steps("a")))
    definitions = Definitions(log)
    await definitions.catch_up()
    return PartitionOwner(FaultyLog(log, rng), 0, definitions, Admission(), name="me", clock=Clock())


async def test_of_several_appends_that_fail_together_each_is_asked_for_its_error(owner, log):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    running = asyncio.ensure_future(owner.run())
    await until(owner.steady_for)
    owner._log.hold()
    for number in range(3):
        await send(log, start(f"i{number}"))
        await until(lambda number=number: len(owner._log._held) > number)
    for _, future in owner._log._held:
        future.set_exception(LogError("no broker"))
    with pytest.raises(LogError, match="no broker"):
        await running
    owner._log._held.clear()
    del future
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_an_owner_that_is_cancelled_while_it_ends_reads_no_more(owner, log):
    running = asyncio.ensure_future(owner.run())
    await send(log, start("i"))
    await until(lambda: owner.steady_for() and owner._admission.runs)
    before = asyncio.all_tasks()
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0)
    assert owner._admission.runs == 0
    assert not [task for task in before if not task.done() and ".read" in task.get_coro().__qualname__]
