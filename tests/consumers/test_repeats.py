"""Work that comes a second time: what has an outcome in the log is not run again, whoever has followed it yet."""

from collections import Counter

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker.worker import Worker
from stepwell.log.local.log import LocalLog
from stepwell.log.port import AGAIN, COMMANDS, ID, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import StepReady, StepSucceeded
from stepwell.schemas.records.work import WorkItem
from tests.files import database
from tests.workbench import (
    Gate,
    client_on,
    ends,
    events_of,
    handlers_of,
    one_step,
    running,
    stage,
    until,
    whole_history,
)


def entries(log):
    with database(log.path) as shell:
        return [bool(claimed) for (claimed,) in shell.execute("SELECT claimed_by IS NOT NULL FROM queue")]


async def test_a_step_whose_outcome_was_stored_is_not_run_again_whatever_dies_in_between(tmp_path):
    """Its owner dies before it knows the step delivered, the next one sends it again, its worker dies after it."""
    log = await LocalLog.open(tmp_path / "log.db", partitions=1)
    gate = Gate()
    async with stage(log, handlers_of(work=gate), one_step()) as client:
        await client.start("w", id="i")
        await until(lambda: gate.runs)
        await until(lambda: entries(log) == [True])
        await log._shut(tidy=False)
    log = await LocalLog.open(tmp_path / "log.db")
    async with running(Engine(log).run()):
        await until(lambda: released(log))
    assert len(entries(log)) == 1

    runs = Counter()

    async def counted(data, ctx):
        runs[ctx.run] += 1

    async with running(Worker(log, handlers_of(work=counted)).run()):
        await until(lambda: outcomes(log))
        await log._shut(tidy=False)
    log = await LocalLog.open(tmp_path / "log.db")
    assert entries(log) == []
    async with stage(log, handlers_of(work=counted)) as client:
        await ends(client, "i")
    assert runs == {1: 1}
    assert len(events_of(await whole_history(log), StepSucceeded)) == 1
    await log.close()


async def released(log):
    """Whether the owner has sent again what the one before may not have delivered."""
    with database(log.path) as shell:
        return shell.execute("SELECT count(*) FROM sent_again").fetchone() == (1,)


async def outcomes(log):
    records = await log.read(COMMANDS, 0, 0)
    return sum(b"CompleteStep" in record.value for record in records)


@pytest.mark.parametrize("followed", [False, True])
async def test_what_was_sent_again_is_not_run_if_its_outcome_is_in_the_log(log, followed):
    runs = Counter()

    async def counted(data, ctx):
        runs[ctx.instance_id] += 1

    async with client_on(log) as client:
        await client.register(one_step())
        async with running(Engine(log).run()):
            await until(client.engine_is_live)
            await client.start("w", id="one")
            await client.start("w", id="two")
            await until(lambda: client.wait("two", lambda state: "a" in state.steps))
            began = {name: (await client.get(name)).started_at for name in ("one", "two")}
        async with running(Worker(log, handlers_of(work=counted), only=lambda key: key == "one").run()):
            await until(lambda: outcomes(log))
        if followed:
            async with running(Engine(log).run()):
                await ends(client, "one")
        ready = {
            transition.instance_id: event for transition, event in events_of(await whole_history(log), StepReady)
        }
        item = WorkItem("one", "w", "1", 2, ready["one"], began=began["one"])
        headers = {ID: item.delivery_id, "handler": "work", AGAIN: "1", "priority": "100"}
        await log.enqueue("default", [NewRecord("one", encode(item), headers)])  # comes before that of "two"
        async with running(Worker(log, handlers_of(work=counted), concurrency=1).run()):
            await until(lambda: runs["two"])
        async with running(Engine(log).run()):
            await ends(client, "one", "two")
    assert runs == {"one": 1, "two": 1}
