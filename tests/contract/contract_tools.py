"""What the parts of the contract share: the storage under test, and a few words to say things shortly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import pytest

from stepwell.log.port import Delivery, Log, NewRecord, Record


class Storage(Protocol):
    """Where one test's records are: a file, a broker's namespace, a simulated world. It has 4 partitions.

    Attributes:
        patience: Seconds within which what happens in one process is seen by another, a death too.
        settles_at_once: Whether outcome and settlement are one commit. Where they are two, a worker that dies in
            between leaves both: the outcome, and the record for another worker.
        counts_the_first_death: Whether the first worker that dies with a record is counted, or only those after it.
    """

    patience: float
    settles_at_once: bool
    counts_the_first_death: bool

    async def open(self) -> Log:
        """A log object on this storage; each one stands for a process of its own."""

    async def crash(self, log: Log) -> None:
        """End a log object as ``kill -9`` ends a process: nothing is finished, nothing is given back."""

    async def close(self) -> None:
        """Close whatever is open still."""


def records(*values: str | bytes, key: str = "k") -> list[NewRecord]:
    return [NewRecord(key, value.encode() if isinstance(value, str) else value) for value in values]


def values(found: Sequence[Record] | Sequence[Delivery]) -> list[str]:
    return [one.value.decode() for one in found]


async def read_all(log: Log, topic: str, partition: int) -> list[Record]:
    found: list[Record] = []
    while more := await log.read(topic, partition, found[-1].offset + 1 if found else 0, limit=100):
        found += more
    return found


class OnStorage:
    """Gives each test ``storage``, and ``log``: a first log object on it."""

    @pytest.fixture
    async def storage(self) -> Storage:
        raise NotImplementedError

    @pytest.fixture
    async def log(self, storage: Storage) -> AsyncIterator[Log]:
        yield await storage.open()
        await storage.close()

    @pytest.fixture(autouse=True)
    def _remember(self, storage):
        self.opened = storage
