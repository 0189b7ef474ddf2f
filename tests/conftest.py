"""What the tests of several rooms share."""

import os
import random

import pytest

from stepwell.log.local import LocalLog
from tests.kafka_broker import broker


@pytest.fixture(scope="session")
def kafka_broker():
    """Where a real broker listens, for the whole session."""
    with broker() as bootstrap:
        yield bootstrap


@pytest.fixture
def rng():
    """Randomness whose seed is printed; ``STEPWELL_SEED`` repeats a run."""
    seed = int(os.environ.get("STEPWELL_SEED") or random.randrange(2**32))
    print(f"STEPWELL_SEED={seed}")  # noqa: T201 - shown where a test fails
    return random.Random(seed)


@pytest.fixture
async def open_log(tmp_path):
    """Opens log objects on one file; each stands for a process of its own. Commits do not wait for the disk."""
    logs = []

    async def opened(**options):
        log = await LocalLog.open(tmp_path / "log.db", durability="normal", **options)
        logs.append(log)
        return log

    yield opened
    for log in reversed(logs):
        await log.close()


@pytest.fixture
async def log(open_log):
    """A log of one partition."""
    return await open_log(partitions=1)
