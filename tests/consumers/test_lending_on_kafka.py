"""Steps lent to remote workers from queues in a real Kafka, which cannot look into them."""

import asyncio

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker.remote.lending import Lending
from stepwell.consumers.worker.worker import Worker
from stepwell.log.kafka.log import KafkaLog
from tests.kafka_broker import settings_for
from tests.patience import HANG
from tests.workbench import client_on, handlers_of, running, workflow

pytestmark = pytest.mark.rows("B8")

MIXED = workflow(
    {"id": "a", "handler": "python_side", "queue": "node"},
    {"id": "b", "handler": "node_side", "queue": "node"},
    output="{{ step_outputs }}",
)


@pytest.fixture
async def processes(kafka_broker):
    """Opens log objects; each stands for a process of its own."""
    settings = settings_for(kafka_broker)
    logs = []

    async def opened():
        logs.append(await KafkaLog.open(settings))
        return logs[-1]

    yield opened
    for log in logs:
        await log.close()


async def claimed(lending, worker):
    async with asyncio.timeout(HANG):
        while True:
            found = await lending.claim(worker, ["node"], ["node_side"], wait=5)
            if found:
                return found[0]


async def test_steps_are_lent_passed_on_and_survive_the_death_of_their_server(processes):
    engine_log, doomed, other = await processes(), await processes(), await processes()

    async def python_side(data, ctx):
        return "in Python"

    async with (
        running(
            Engine(engine_log).run(), Worker(engine_log, handlers_of(python_side=python_side), queues=["node"]).run()
        ),
        client_on(engine_log) as client,
    ):
        await client.register(MIXED)
        first, second = Lending(doomed), Lending(other)
        polling = asyncio.ensure_future(claimed(first, "n1"))
        runs = [await client.start("w") for _ in range(4)]
        step = await polling
        assert (await first.complete(step.claim, "in Node")).outcome == "completed"
        await claimed(first, "n1")
        await doomed._shut(tidy=False)
        left = 3
        while left:
            step = await claimed(second, "n2")
            await second.complete(step.claim, "in Node")
            left -= 1
        views = [await run.result(timeout=HANG) for run in runs]
        assert [view.output for view in views] == [{"a": "in Python", "b": "in Node"}] * 4
        await first.close()
        await second.close()
