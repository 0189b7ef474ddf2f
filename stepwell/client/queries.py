"""Looking at instances and their events, by the log itself: what a client tells of them is so."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable

from stepwell.arguments import check_functions, check_numbers, check_texts, rejected
from stepwell.consumers.reading.bookmarks import Bookmarks, SubscriptionInfo
from stepwell.consumers.reading.histories import EventRecord, events_of, state_and_time_of
from stepwell.consumers.reading.pending import PendingInstances
from stepwell.consumers.reading.subscriber import Subscriber, Watch
from stepwell.consumers.reading.subscriptions import Subscription
from stepwell.consumers.reading.views import InstanceView, view
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.fold.state import InstanceState
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.log.port import Log
from stepwell.schemas.records.commands import StartWorkflow
from stepwell.tasks import cancel_and_wait


class Looking:
    """What a client can see. Part of ``Client``."""

    log: Log
    registry: Definitions
    subscriber: Subscriber
    pending: PendingInstances
    clock: Callable[[], int]
    _subscriptions: weakref.WeakSet[Subscription]

    async def wait(
        self,
        instance_id: str,
        until: Callable[[InstanceState], bool],
        *,
        timeout: float | None = None,
        existed: bool = False,
    ) -> InstanceView:
        """Wait until an instance's state is as wanted.

        Args:
            existed: Whether it is known to have been started: then it may be gone, and is not waited for.

        Raises:
            TimeoutError: It was not within ``timeout`` seconds.
            CommandRejectedError: Its start waited for an engine, and was rejected.
            UnknownInstanceError: It existed, and was cleaned away since.
        """
        check_texts(UnknownInstanceError, instance_id=instance_id)
        check_functions(rejected, until=until)
        check_numbers(rejected, none=True, timeout=timeout)
        watch = await self.subscriber.watch(instance_id)
        try:
            async with asyncio.timeout(timeout):
                if watch.state is None:
                    await self._until_begun(watch, existed=existed)
                while watch.state is None or not until(watch.state):
                    problem = self.subscriber.failed(instance_id)
                    if problem is not None:
                        raise problem
                    await watch.moved(until)
            return await self._view(watch.state)
        finally:
            self.subscriber.unwatch(watch)

    async def _until_begun(self, watch: Watch, *, existed: bool) -> None:
        """Wait until an engine has decided the start that waits, if one does.

        Raises:
            CommandRejectedError: It would not start it.
            UnknownInstanceError: It is known to have existed, and the log holds none of this id any more.
        """
        instance_id, seen = watch.instance_id, existed
        while watch.state is None:
            try:
                start = await self.pending.find(instance_id)
            except (UnknownInstanceError, CommandRejectedError):
                if seen:
                    raise
                return  # nobody has asked for it yet, or not again since it was refused
            if not isinstance(start, StartWorkflow) or not start.command_id:
                return
            seen = True
            answer = await self.subscriber.expect(instance_id, start.command_id)
            moved = asyncio.ensure_future(watch.moved(lambda _: True))
            try:
                if await self.pending.find(instance_id) == start:  # not answered before anybody listened
                    await asyncio.wait((answer, moved), return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    answer.result()  # a refusal is found in the log, at the next turn
                problem = self.subscriber.failed(instance_id)
                if problem is not None:
                    raise problem
            finally:
                self.subscriber.give_up(instance_id, start.command_id, answer)
                await cancel_and_wait(moved)

    async def get(self, instance_id: str) -> InstanceView:
        """An instance as it is now; of status ``pending`` while its start waits for an engine.

        Raises:
            UnknownInstanceError: The log holds none of this id; or its start was rejected.
        """
        check_texts(UnknownInstanceError, instance_id=instance_id)
        try:
            found = await self.pending.find(instance_id)
        except CommandRejectedError as refused:
            raise UnknownInstanceError(
                f"there is no instance {instance_id!r}: {refused.message}",
                remedy="Start it again, with what it says put right.",
            ) from None
        return await self._shown(found)

    async def replay(self, instance_id: str, to: int | None = None) -> InstanceView:
        """An instance as it was right after an event: folded from its history, nothing else.

        Where it was live then, ``as_of`` says when that was.

        Args:
            to: The event's sequence; None for the newest.

        Raises:
            UnknownInstanceError: The log holds none of this id; or its start was rejected.
            CommandRejectedError: ``to`` is no whole number.
        """
        check_texts(UnknownInstanceError, instance_id=instance_id)
        check_numbers(rejected, none=True, whole=True, to=to)
        if to is None:
            newest = await self.get(instance_id)
            if newest.finished or not newest.sequence:
                return newest
            to = newest.sequence
        try:
            state, at = await state_and_time_of(self.log, instance_id, to)
            return await self._view(state, at)
        except UnknownInstanceError:
            start = await self.pending.start_of(instance_id)
            if start is None:
                raise
            return await self.pending.view(start)  # it has no event yet

    async def _shown(self, found: InstanceState | StartWorkflow) -> InstanceView:
        if isinstance(found, StartWorkflow):
            return await self.pending.view(found)
        return await self._view(found)

    async def _view(self, state: InstanceState, as_of: int = 0) -> InstanceView:
        if self.registry.by_hash(state.definition) is None:
            await self.registry.catch_up()
        return view(state, self.registry.by_hash(state.definition), as_of)

    async def history(self, instance_id: str) -> list[EventRecord]:
        """Everything that ever happened to an instance, in order; nothing yet while its start waits for an engine.

        Raises:
            UnknownInstanceError: The log holds none of this id.
        """
        check_texts(UnknownInstanceError, instance_id=instance_id)
        try:
            return await events_of(self.log, instance_id)
        except UnknownInstanceError:
            if await self.pending.start_of(instance_id) is None:
                raise
            return []

    def subscribe(
        self,
        types: Iterable[str] = ("*",),
        *,
        instance_id: str | None = None,
        workflow: str | None = None,
        since: str | None = None,
        name: str | None = None,
    ) -> Subscription:
        """Events as they are accepted, one after the other: ``async for event in client.subscribe(…)``.

        Args:
            types: Types of events, with wildcards: ``workflow.*``. ``task.*`` means ``step.*``.
            instance_id: Only events of this instance.
            workflow: Only events of instances of this definition.
            since: ``start``, or the ``position`` that an event carried, to go on behind it; without it, from now.
            name: A durable name: go on behind what this name has processed, at least once for each event. Where the
                name is new, it begins where ``since`` says. Let one reader at a time use it.

        Returns:
            Begins with the first event that is asked for, or on entering it with ``async with``.

        Raises:
            PatternError: A pattern matches no type of event.
            PositionError: Once it begins: ``since`` is no position of this log.
            PositionGoneError: Retention has deleted what comes next.
            LogError: No more can be read, or the engine of this process has stopped.
        """
        subscription = Subscription(
            self.log,
            types,
            instance_id=instance_id,
            workflow=workflow,
            since=since,
            name=name,
            endings=self.subscriber.when_ended,
            clock=self.clock,
        )
        self._subscriptions.add(subscription)
        return subscription

    async def subscriptions(self) -> list[SubscriptionInfo]:
        """All durable names, with how far each has come and how many records it is behind."""
        return await Bookmarks(self.log).all()

    async def forget_subscription(self, name: str) -> bool:
        """Forget how far a durable name has come; who uses it next begins anew.

        Returns:
            Whether there was such a name.
        """
        check_texts(rejected, name=name)
        bookmarks = Bookmarks(self.log)
        if await bookmarks.of(name) is None:
            return False
        await bookmarks.store(name, "", self.clock())
        return True
