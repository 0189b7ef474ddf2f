"""What the parts of a queue need of their log."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from typing import Protocol

from stepwell.log.kafka.group import GroupDirectory
from stepwell.log.kafka.reader import Reader
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.kafka.topics import Topics
from stepwell.log.port import NewRecord, Outgoing


class Services(Protocol):
    """A log, as its queues see it."""

    settings: KafkaSettings
    topics: Topics
    reader: Reader
    directory: GroupDirectory

    def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Future[Sequence[int]]:
        """Append records."""

    def check(self, outgoing: Outgoing) -> None:
        """Raise what ``append`` would fail with before anything is sent."""

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Let the log forget records."""
