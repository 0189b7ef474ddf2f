"""Where partitions end: a question to the broker, which all who ask at the same time share."""

from __future__ import annotations

import asyncio
from asyncio import Lock, Task
from collections import defaultdict

from stepwell.log.kafka.fetch import Fetcher
from stepwell.log.port import TopicPartition


class EndOffsets:
    """Asks for the ends of partitions.

    An answer is right for whoever had asked before the question was sent. So who comes while a question is under way
    shares the next one with all who come meanwhile: a hundred clients' starts cost a few questions, not a hundred.

    Args:
        fetcher: Asks the broker.
        within: Seconds to go on trying while no broker answers.
    """

    def __init__(self, fetcher: Fetcher, within: float) -> None:
        self._fetcher = fetcher
        self._within = within
        self._next: dict[TopicPartition, Task[int]] = {}
        self._asking: defaultdict[TopicPartition, Lock] = defaultdict(Lock)

    async def of(self, place: TopicPartition) -> int:
        """The offset that the next record of a partition will get."""
        question = self._next.get(place)
        if question is None:
            question = self._next[place] = asyncio.create_task(self._ask(place), name="stepwell-end")
            question.add_done_callback(_seen)
        return await asyncio.shield(question)

    async def _ask(self, place: TopicPartition) -> int:
        async with self._asking[place]:
            del self._next[place]
            return await self._fetcher.end(place, within=self._within)


def _seen(question: Task[int]) -> None:
    """Whoever asked may have gone; then nobody is to be told of an error."""
    if not question.cancelled():
        question.exception()
