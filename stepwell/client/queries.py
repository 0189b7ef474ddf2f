"""The queries of a client that read instances and their events from the log itself."""

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
    """The part of ``Client`` that reads instances, histories and subscriptions."""

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
        """Wait until the state of an instance fulfils a condition.

        Args:
            instance_id: Its id.
            until: The condition; called with the state after each transition.
            timeout: Seconds; None waits without a limit.
            existed: Whether the instance is known to have been started. If it is not in the log then, it was cleaned
                away, and the call raises instead of waiting for a start.

        Returns:
            The instance when it fulfilled the condition.

        Raises:
            TimeoutError: The condition was not fulfilled within ``timeout`` seconds.
            CommandRejectedError: The start waited for an engine, and the engine rejected it.
            UnknownInstanceError: The instance existed, and was cleaned away.
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
        """Wait until an engine has decided the pending start of an instance, if it has one.

        Raises:
            CommandRejectedError: The engine rejected the start.
            UnknownInstanceError: The instance is known to have existed, and the log does not contain it any more.
        """
        instance_id, seen = watch.instance_id, existed
        while watch.state is None:
            try:
                start = await self.pending.find(instance_id)
            except (UnknownInstanceError, CommandRejectedError):
                if seen:
                    raise
                return  # there is no start yet, or none since the one that was rejected
            if not isinstance(start, StartWorkflow) or not start.command_id:
                return
            seen = True
            answer = await self.subscriber.expect(instance_id, start.command_id)
            moved = asyncio.ensure_future(watch.moved(lambda _: True))
            try:
                if await self.pending.find(instance_id) == start:  # the answer did not come before this listened
                    await asyncio.wait((answer, moved), return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    answer.result()  # the next round finds a refusal in the log
                problem = self.subscriber.failed(instance_id)
                if problem is not None:
                    raise problem
            finally:
                self.subscriber.give_up(instance_id, start.command_id, answer)
                await cancel_and_wait(moved)

    async def get(self, instance_id: str) -> InstanceView:
        """Return an instance as it is now. Its status is ``pending`` while its start waits for an engine.

        Raises:
            UnknownInstanceError: The log has no instance with this id, or its start was rejected.
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
        """Return an instance as it was after one of its events, folded from its history alone.

        If the instance was live then, ``as_of`` of the result is the time of that event.

        Args:
            instance_id: Its id.
            to: The sequence of the event; None for the newest event.

        Raises:
            UnknownInstanceError: The log has no instance with this id, or its start was rejected.
            CommandRejectedError: ``to`` is not a whole number.
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
            return await self.pending.view(start)  # the instance has no event yet

    async def _shown(self, found: InstanceState | StartWorkflow) -> InstanceView:
        if isinstance(found, StartWorkflow):
            return await self.pending.view(found)
        return await self._view(found)

    async def _view(self, state: InstanceState, as_of: int = 0) -> InstanceView:
        if self.registry.by_hash(state.definition) is None:
            await self.registry.catch_up()
        return view(state, self.registry.by_hash(state.definition), as_of)

    async def history(self, instance_id: str) -> list[EventRecord]:
        """Return all events of an instance in order. The list is empty while its start waits for an engine.

        Raises:
            UnknownInstanceError: The log has no instance with this id.
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
        """Read events one after the other as they are accepted: ``async for event in client.subscribe(…)``.

        Args:
            types: Patterns of event types, such as ``workflow.*``. ``task.*`` means ``step.*``.
            instance_id: Only events of this instance.
            workflow: Only events of instances of this workflow.
            since: Where to begin: ``start``, or the ``position`` of an event, to read what follows it. By default,
                only events that are accepted from now on.
            name: A durable name. The subscription continues after the last event that this name has processed, and
                delivers each event at least once. If the name is new, it begins at ``since``. Only one reader at a
                time may use a name.

        Returns:
            The subscription. It begins to read when it is entered with ``async with``, or at the first event.

        Raises:
            PatternError: A pattern matches no type of event.
            PositionError: ``since`` is not a position of this log (raised when the subscription begins).
            PositionGoneError: Retention has deleted the next events (raised while reading).
            LogError: The log cannot be read, or the embedded engine has stopped (raised while reading).
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
        """List all durable names, with the position of each and the number of records that it is behind."""
        return await Bookmarks(self.log).all()

    async def forget_subscription(self, name: str) -> bool:
        """Delete the stored position of a durable name. The next reader that uses the name begins again.

        Returns:
            Whether the name existed.
        """
        check_texts(rejected, name=name)
        bookmarks = Bookmarks(self.log)
        if await bookmarks.of(name) is None:
            return False
        await bookmarks.store(name, "", self.clock())
        return True
