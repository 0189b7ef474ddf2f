"""Waking who waits: within the process by a signal, in other processes by a datagram to their doorbell."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, DatagramTransport, Future
from collections.abc import Callable
from typing import Any, Final, cast

from stepwell.log.port import TopicPartition

_REST: Final = 0.0005  # seconds between two answers to the bell, however often it rings: a busy writer next door
#                        must not eat our loop's time


class Signal:
    """Wakes all who wait for it; who comes later waits for the next one."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: set[Future[None]] = set()

    async def wait(self, within: float | None = None) -> None:
        """Wait until it fires, or for so many seconds."""
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        timer = None if within is None else self._loop.call_later(within, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()

    def fire(self, error: Exception | None = None) -> None:
        """Wake them all, or end their waiting with an error."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def __bool__(self) -> bool:
        return bool(self._waiters)


class Arrivals:
    """Who waits for records of which partition."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._signals: dict[TopicPartition, Signal] = {}
        self._lowest: dict[TopicPartition, int] = {}  # the lowest offset that somebody waits for

    async def wait(self, place: TopicPartition, offset: int, within: float | None) -> None:
        """Wait until something new is in this partition, at this offset or above."""
        signal = self._signals.get(place)
        if signal is None:
            signal = self._signals[place] = Signal(self._loop)
        self._lowest[place] = min(offset, self._lowest.get(place, offset))
        await signal.wait(within)

    def fire(self, place: TopicPartition, end: int) -> None:
        """Say how far a partition reaches now."""
        if end > self._lowest.get(place, end):
            del self._lowest[place]
            self._signals[place].fire()

    def tell(self, place: TopicPartition, error: Exception | None = None) -> None:
        """Have all who wait for this partition look anew, or end their waiting with an error."""
        if self._lowest.pop(place, None) is not None:
            self._signals[place].fire(error)

    def awaited(self) -> list[TopicPartition]:
        """The partitions that somebody waits for."""
        return [place for place in self._lowest if self._signals[place]]

    def end(self, error: Exception) -> None:
        """End all waiting with an error."""
        for signal in self._signals.values():
            signal.fire(error)


def failed_future(loop: AbstractEventLoop, error: Exception) -> Future[Any]:
    """A future that has failed already."""
    future: Future[Any] = loop.create_future()
    future.set_exception(error)
    return future


def _wake(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Doorbell(asyncio.DatagramProtocol):
    """A UDP port of this machine that other processes send a byte to when they have committed.

    Anyone here may ring it, and a ring may get lost: it only says "look", and we look now and then anyway.
    """

    def __init__(self, loop: AbstractEventLoop, answer: Callable[[], None]) -> None:
        self._loop = loop
        self._answer = answer
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: DatagramTransport | None = None
        self._closed: Future[None] = loop.create_future()

    @classmethod
    async def hang(cls, answer: Callable[[], None]) -> Doorbell:
        """Open a port."""
        loop = asyncio.get_running_loop()
        _, bell = await loop.create_datagram_endpoint(lambda: cls(loop, answer), local_addr=("127.0.0.1", 0))
        return bell

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._transport is None:
            return 0
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's word that the port is open."""
        self._transport = cast("DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # noqa: ARG002 - asyncio's signature
        """Somebody rang."""
        if self._timer is None:
            self._timer = self._loop.call_at(max(self._loop.time(), self._not_before), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._not_before = self._loop.time() + _REST
        self._answer()

    def error_received(self, exc: Exception) -> None:
        """Nothing is sent from here, so there is nothing to be done."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Asyncio's word that the port is closed."""
        if not self._closed.done():
            self._closed.set_result(None)

    async def close(self) -> None:
        """Close the port."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
            await self._closed
