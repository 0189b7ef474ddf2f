"""A deterministic event loop with virtual time: nothing ever really sleeps.

Whenever nothing is ready, time jumps to the next timer. So three days of waiting pass in no time at all, and the same
program, given the same randomness, takes the same steps in the same order every time. There are no sockets, no
signals and no threads: what happens in this loop hangs on nothing outside it.

When nothing is ready and no timer is set, nothing can ever happen again: that is a deadlock, and it is said at once.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Two timers closer than this count as one moment. Larger than the rounding error of a float after years of virtual
# time, so that a jump to a timer always reaches it.
_RESOLUTION: Final = 1e-7


class DeadlockError(RuntimeError):
    """Everybody waits for somebody, and no timer is set: nothing will ever happen again."""


class _Clock:
    """Stands where other loops have their selector: asked to wait for events, it lets time pass instead."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        """Wait so many seconds for nothing; None waits for ever, which here is a deadlock."""
        if timeout is None:
            raise DeadlockError("nothing is ready and no timer is set: everybody waits for somebody")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose clock jumps.

    Attributes:
        problems: What was given to the loop's exception handler: errors that nobody has looked at.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Clock()  # BaseEventLoop asks it how long to wait
        self._clock_resolution = _RESOLUTION
        self.problems: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.problems.append(context))

    def time(self) -> float:
        """Virtual seconds since this loop was made."""
        return self._selector.now

    def clock(self, since: int = 0) -> Callable[[], int]:
        """A clock for engines: milliseconds, counted from ``since``."""
        return lambda: since + int(self._selector.now * 1000)

    def run_in_executor(
        self,
        executor: Any,  # noqa: ARG002 - asyncio's signature
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> Future[T]:
        """Run a function at once, in no time: there are no threads here."""
        future: Future[T] = self.create_future()
        try:
            result = func(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # what a thread would hand over
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def cancel_all(self) -> None:
        """Cancel what is left, in the order in which it was made: ``asyncio.all_tasks`` is a set."""
        left = sorted(asyncio.all_tasks(self), key=_number)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _number(task: asyncio.Task[Any]) -> tuple[int, str]:
    """Tasks without a name of their own are numbered by asyncio: Task-1, Task-2, …"""
    name = task.get_name()
    return (int(name[5:]), "") if name.startswith("Task-") and name[5:].isdecimal() else (0, name)


def run(main: Coroutine[Any, Any, T], *, loop: VirtualLoop | None = None) -> T:
    """Run a coroutine in virtual time, as ``asyncio.run`` does in real time.

    Args:
        loop: The loop to use; it is closed afterwards. Without one, a new one.

    Raises:
        DeadlockError: It waits for something that can never happen.
    """
    loop = loop or VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            loop.cancel_all()
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
