"""What tests of archives share: a log with histories, as its owners leave it, and a client of it."""

import random

import pytest
from msgspec.structs import replace

from stepwell.client.client import Client
from stepwell.core.fold.evolve import fold
from stepwell.log.local.log import LocalLog
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS
from stepwell.projections.projector import Projector
from stepwell.projections.store import Store
from stepwell.schemas.records.events import WorkflowReopened
from tests.projections.worlds import Writer, file_of, histories

LATER = 1 << 50  # a time after everything that happens in a test


@pytest.fixture
async def log(tmp_path):
    opened = await LocalLog.open(tmp_path / "log.db", partitions=2, durability="normal")
    yield opened
    await opened.close()


@pytest.fixture
async def client(log):
    made = Client(log)
    yield made
    await made.views.models.close()
    await made.subscriber.close()


@pytest.fixture
async def files(tmp_path):
    """Opens files of read models, and closes them."""
    stores = []

    async def opened(path):
        stores.append(await Store.open(path))
        return stores[-1]

    yield opened
    for store in stores:
        await store.close()


async def write_more(writers, rnd, found):
    """Write further histories, interleaved at random, behind what is there."""
    left = {name: list(transitions) for name, transitions in found.items()}
    while left:
        name = rnd.choice(sorted(left))
        writer = writers[partition_for(name, writers[0].log.partitions)]
        await writer.write(left[name].pop(0))
        if not left[name]:
            del left[name]


async def world(log, seed, waves=3, instances=8):
    """A log with histories in waves, a snapshot behind each; few are live at its end, for then nothing could go."""
    rnd = random.Random(seed)
    found = {}
    writers = {partition: Writer(log, partition, rnd) for partition in range(log.partitions)}
    for wave in range(waves):
        more = {
            name: transitions
            for name, transitions in histories(rnd, instances, prefix=f"w{wave}-").items()
            if ended(transitions) or rnd.random() < 0.15 * wave
        }
        await write_more(writers, rnd, more)
        await take_snapshots(writers)
        found |= more
    return rnd, found, writers


def ended(transitions):
    return not fold(transitions).live


async def crowd(log, seed, count):
    """Many instances that have finished, each with one of a few histories; a snapshot behind them."""
    rnd = random.Random(seed)
    kinds = [one for one in histories(rnd, 20).values() if ended(one) and len(one) > 2 and not reopened(one)]
    writers = {partition: Writer(log, partition, random.Random(1)) for partition in range(log.partitions)}
    found = {}
    for number in range(count):
        name = f"c{number}"
        found[name] = [replace(one, instance_id=name) for one in rnd.choice(kinds)]
        for transition in found[name]:
            await writers[partition_for(name, log.partitions)].write(transition)
    await take_snapshots(writers)
    last = {f"last-{number}": [replace(one, instance_id=f"last-{number}") for one in kinds[0]] for number in range(8)}
    await write_more(writers, rnd, last)
    return found | last


def reopened(transitions):
    """Whether a state is in the history, in which the instance's id stands once more."""
    return any(isinstance(event, WorkflowReopened) for one in transitions for event in one.events)


async def take_snapshots(writers):
    for writer in writers.values():
        if writer.epoch >= 0:
            await writer.take_snapshot()


async def rebuilt(log, files, folder):
    """Read models that were made anew from what the log holds now."""
    store = await files(file_of(folder))
    projector = Projector(log, store)
    await projector.begin()
    await projector.catch_up()
    while await projector.clean_up():
        pass
    return store


async def file_behind(client, files):
    """The file that a client's read models are in."""
    async with client.views.models.asking(offsets=await client.views.models.ends()) as queries:
        return await files(queries.path)


async def first_of(log, partition):
    """The oldest record that is there: in the file itself, for a log object keeps the newest in memory."""
    source = log.reader if isinstance(log, LocalLog) else log
    records = await source.read(EVENTS, partition, 0, limit=1)
    return records[0].offset if records else 0


def figures(statistics):
    """Statistics but for where the archived ones are counted."""
    return [(one.workflow, one.total, one.completed, one.failed, one.cancelled, one.success_rate, one.duration,
             one.steps) for one in statistics]  # fmt: skip
