"""The contract, kept by the Kafka log on a real broker."""

from __future__ import annotations

import asyncio

import pytest
from log_contract import LogContract

from stepwell.log.kafka.log import KafkaLog
from stepwell.log.port import Description, Log
from tests.kafka_broker import forget, settings_for
from tests.patience import HANG


class KafkaStorage:
    patience = HANG
    counts_the_first_death = False  # who has what is noted in Kafka only once somebody has died with it
    settles_at_once = False  # outcome and settlement are two writes without a transaction: a crash may come between

    def __init__(self, bootstrap: str) -> None:
        self.settings = settings_for(bootstrap, partitions=4, session_timeout=1.0)
        self._opened: list[KafkaLog] = []

    async def open(self) -> KafkaLog:
        log = await KafkaLog.open(self.settings)
        self._opened.append(log)
        return log

    async def crash(self, log: Log) -> None:
        assert isinstance(log, KafkaLog)
        await log._shut(tidy=False)

    async def close(self) -> None:
        await asyncio.gather(*(log.close() for log in self._opened))
        await forget(self.settings.bootstrap, self.settings.namespace)


class TestKafkaLog(LogContract):
    @pytest.fixture
    async def storage(self, kafka_broker):
        return KafkaStorage(kafka_broker)

    @pytest.fixture
    def description(self, storage):
        settings = storage.settings
        return Description("kafka", f"kafka://{settings.bootstrap}?namespace={settings.namespace}")
