"""Who descends from an instance, by what the events say: never by how an id is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stepwell.consumers.reading.subscriber import Subscriber, Watch
from stepwell.log.partitioner import partition_for
from stepwell.schemas.records.events import Transition
from stepwell.schemas.records.step_waits import ChildRequested
from stepwell.tasks import cancel_and_wait


class Family:
    """An instance, the workflows that its steps have started, and theirs: known as soon as they are asked for.

    Args:
        subscriber: Follows them.
        instance_id: Whose family.

    Attributes:
        grown: Called whenever somebody has been added; None for nothing.
    """

    def __init__(self, subscriber: Subscriber, instance_id: str) -> None:
        self._subscriber = subscriber
        self.grown: Callable[[], None] | None = None
        self._first = instance_id
        self._members = {instance_id}
        self._watches: dict[str, Watch] = {}
        self._following: set[asyncio.Task[None]] = set()

    def __contains__(self, instance_id: str) -> bool:
        return instance_id in self._members

    async def begin(self) -> None:
        """Learn who belongs to it by now, and follow it from here on.

        Raises:
            LogError: It cannot be read.
        """
        await self._follow(self._first)

    async def _follow(self, instance_id: str) -> None:
        watch = await self._subscriber.watch(instance_id, history=False)
        self._watches[instance_id] = watch
        loaded = watch.state is not None  # by somebody else: what they have read is not told again
        watch.listeners.append(self._take)
        reader = await self._subscriber.follow(partition_for(instance_id, self._subscriber.partitions))
        if loaded:
            for accepted in await reader.history(instance_id):
                self._take(accepted.transition)
        else:
            await watch.load(reader)

    def _take(self, transition: Transition) -> None:
        for event in transition.events:
            if isinstance(event, ChildRequested) and event.child_id not in self._members:
                self._members.add(event.child_id)
                following = asyncio.ensure_future(self._follow(event.child_id))
                self._following.add(following)
                following.add_done_callback(self._followed)
                if self.grown is not None:
                    self.grown()
        watch = self._watches.get(transition.instance_id)
        ended = watch is not None and watch.state is not None and not watch.state.live
        if ended and transition.instance_id != self._first:  # the first may be reopened while we are here
            self._leave(transition.instance_id)

    def _followed(self, following: asyncio.Task[None]) -> None:
        self._following.discard(following)
        if not following.cancelled():
            following.exception()  # whoever waits for the family's end meets the same trouble, and tells it

    def _leave(self, instance_id: str) -> None:
        watch = self._watches.pop(instance_id)
        watch.listeners = [listener for listener in watch.listeners if listener != self._take]
        self._subscriber.unwatch(watch)

    async def end(self) -> None:
        """Follow them no more."""
        await cancel_and_wait(*self._following)
        for instance_id in list(self._watches):
            self._leave(instance_id)
