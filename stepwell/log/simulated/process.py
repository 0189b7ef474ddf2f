"""One process of a simulated world: what it has on its way to the log and back, how it stops and how it dies."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepwell.errors import LogClosedError, LogError
from stepwell.log.port import TopicPartition

if TYPE_CHECKING:
    from stepwell.log.simulated.log import SimulatedStorage
    from stepwell.log.simulated.queues import SimulatedConsumer

T = TypeVar("T")

_STEP: Final = 1e-6  # seconds between two things that must happen in order


class Bell:
    """Wakes all who wait for it, in the order in which they came."""

    def __init__(self) -> None:
        self._waiters: dict[Future[None], None] = {}

    def add(self, waiter: Future[None]) -> None:
        """Wake this one, too."""
        self._waiters[waiter] = None

    def discard(self, waiter: Future[None]) -> None:
        """It waits no more."""
        self._waiters.pop(waiter, None)

    def fire(self) -> None:
        """Wake them."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class SimulatedProcess:
    """What a process has on its way to the log and back, and how it ends.

    Attributes:
        name: What the process is called.
        closed: Whether it may be used no more.
        lag: How many seconds later than others' its appends land.
    """

    def __init__(self, storage: SimulatedStorage, name: str) -> None:
        self.storage = storage
        self.name = name
        self.loop: asyncio.AbstractEventLoop = storage.loop
        self.workers: list[SimulatedConsumer] = []
        self.closed: bool = False
        self.lag: float = 0.0
        self._dead = False
        self._held: list[Callable[[], None]] | None = None  # what happens once it is thawed; None: not frozen
        self._floors: dict[TopicPartition, float] = {}  # when the newest append to a place lands
        self._floor = 0.0  # nothing lands before this
        self._answered: dict[TopicPartition, float] = {}  # when the newest append to a place is acknowledged
        self._pending: dict[Future[Any], None] = {}  # appends on their way
        self._waiting: dict[Future[None], None] = {}  # whatever else waits

    # What is on its way.

    def submit(
        self, what: str, places: Sequence[TopicPartition], land: Callable[[], T], *, fence: bool = False
    ) -> Future[T]:
        """Send something to the log; the future gets what ``land`` gives, or an error.

        Args:
            what: For people.
            places: Where it appends to; appends of one log object to one place land in the order of the calls.
            land: Does it.
            fence: Keeps the order with all appends of this log object.
        """
        future: Future[T] = self.loop.create_future()
        faults = self.storage.faults
        if not self.closed and faults.strikes("crash", faults.rates.crash):
            if faults.dice.random() < 0.5:  # before the call, or right behind it
                self.die()
            else:
                self.loop.call_soon(self.die)
        if self.closed:
            fail(future, LogClosedError("the log is closed", place=self.name))
            return future
        if self.storage.observer is not None:
            self.storage.observer.asked(self, what)
        self._pending[future] = None
        future.add_done_callback(self._pending.pop)
        floors = self._floors.values() if fence else [self._floors.get(place, 0.0) for place in places]
        lands = max(self.loop.time() + faults.latency() + self.lag, self._floor, *floors, 0.0) + _STEP
        for place in places:
            self._floors[place] = lands
        if fence:
            self._floor = lands
        if self._held is not None:
            self._held.append(lambda: self._send(future, places, land, self.loop.time()))
        else:
            self._send(future, places, land, lands)
        return future

    def _send(self, future: Future[T], places: Sequence[TopicPartition], land: Callable[[], T], lands: float) -> None:
        faults = self.storage.faults
        fate = faults.of_append()
        answered = max(lands + faults.latency(), *(self._answered.get(place, 0.0) for place in places), 0.0) + _STEP
        for place in places:
            self._answered[place] = answered
        if fate.error is None:

            def arrive() -> None:
                if not self._dead:
                    result = land()
                    self._at(answered, lambda: fulfil(future, result))
                    return
                for late in faults.of_orphan().landings:
                    self.loop.call_later(late, land)

            self.loop.call_at(lands, arrive)
            return
        error = fate.error
        for late in fate.landings:
            self.loop.call_at(lands + late, land)
        self._at(answered + faults.late(), lambda: fail(future, error))

    def _at(self, when: float, act: Callable[[], object]) -> None:
        """Do something in this process at some time, or later, if it is frozen then."""

        def happen() -> None:
            if self._held is not None:
                self._held.append(happen)
            else:
                act()

        self.loop.call_at(when, happen)

    async def travel(self) -> None:
        """Go to the log, or come back from it.

        Raises:
            LogClosedError: The log was closed.
            LogError: The way was blocked.
        """
        self.check_open()
        faults = self.storage.faults
        if faults.strikes("read error", faults.rates.read_error):
            raise LogError("cannot be reached", place=self.name)
        waiter: Future[None] = self.loop.create_future()
        self._at(self.loop.time() + faults.latency(), lambda: fulfil(waiter, None))
        await self._wait(waiter)

    async def wait(self, bell: Bell, within: float | None = None) -> None:
        """Wait until something happens, or for so many seconds."""
        self.check_open()
        waiter: Future[None] = self.loop.create_future()
        bell.add(waiter)
        timer = None
        if within is not None:
            timer = self.loop.call_later(within, lambda: fulfil(waiter, None))
        try:
            await self._wait(waiter)
        finally:
            bell.discard(waiter)
            if timer is not None:
                timer.cancel()

    async def _wait(self, waiter: Future[None]) -> None:
        self._waiting[waiter] = None
        try:
            await waiter
        finally:
            self._waiting.pop(waiter, None)

    # Trouble, and the end.

    def freeze(self) -> None:
        """Stop the process: it hears and says nothing until it is thawed."""
        if self._held is None and not self.closed:
            self._held = []

    def thaw(self) -> None:
        """Let it go on where it stopped."""
        held, self._held = self._held, None
        for act in held or ():
            act()

    def die(self) -> None:
        """End as by ``kill -9``. What is on its way to the log may land or not."""
        if self.closed:
            return
        self._dead = True
        self._shut()
        self.thaw()
        for future in list(self._pending):
            fail(future, LogClosedError("the process has died", place=self.name))
        faults = self.storage.faults
        if faults.active and faults.rates.burial:
            self.loop.call_later(faults.dice.random() * faults.rates.burial, self.storage.bury, self)
        else:
            self.storage.bury(self)
        if self.storage.observer is not None:
            self.storage.observer.died(self)

    async def close(self) -> None:
        """As the port says."""
        if not self.closed:
            self._shut()
            while self._pending:
                await asyncio.wait([next(iter(self._pending))])
            self.storage.bury(self, died=False)

    def _shut(self) -> None:
        self.closed = True
        for waiter in list(self._waiting):
            fail(waiter, LogClosedError("the log was closed", place=self.name))
        for worker in self.workers:
            worker.shut()

    def check_open(self) -> None:
        """Refuse whatever comes after the end."""
        if self.closed:
            raise LogClosedError("the log is closed", place=self.name)


def fail(future: Future[Any], error: BaseException) -> None:
    """End a future with an error that nobody needs to look at."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def fulfil(future: Future[T], result: T) -> None:
    """Give a future its result, if somebody still waits for it."""
    if not future.done():
        future.set_result(result)
