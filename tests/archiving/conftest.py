"""What tests of archives share: a log with histories, as its owners leave it, and a client of it."""

import random

import pytest

from stepwell.client import Client
from stepwell.log.local import LocalLog
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS
from stepwell.projections.projector import Projector
from stepwell.projections.store import Store
from tests.projections.worlds import file_of, histories, write_all

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


async def write_more(writers, rnd, found):
    """Write further histories, interleaved at random, behind what is there."""
    left = {name: list(transitions) for name, transitions in found.items()}
    while left:
        name = rnd.choice(sorted(left))
        writer = writers[partition_for(name, writers[0].log.partitions)]
        await writer.write(left[name].pop(0))
        if not left[name]:
            del left[name]


async def world(log, seed, instances=10):
    """A log with histories, snapshots behind them, and a little more behind those."""
    rnd = random.Random(seed)
    found = histories(rnd, instances)
    writers = await write_all(log, rnd, found)
    await take_snapshots(writers)
    more = histories(rnd, 3, prefix="late-")
    await write_more(writers, rnd, more)
    return rnd, found | more, writers


async def take_snapshots(writers):
    for writer in writers.values():
        if writer.epoch >= 0:
            await writer.take_snapshot()


async def rebuilt(log, folder):
    """Read models that were made anew from what the log holds now."""
    store = await Store.open(file_of(folder))
    projector = Projector(log, store)
    await projector.begin()
    await projector.catch_up()
    while await projector.clean_up():
        pass
    return store


async def first_of(log, partition):
    records = await log.read(EVENTS, partition, 0, limit=1)
    return records[0].offset if records else 0
