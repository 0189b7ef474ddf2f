"""One remote worker, as this process stands in for it: a worker on the log whose hands are somebody else's.

To the log and to the engine it is a worker like any other: it takes steps, keeps their timeouts, hears of
cancellations, reports heartbeats and outcomes. But its handlers only lend the step to whoever polls, and wait for
what is said of it. It has as many hands as there are claims under way and polls that wait for a step, so that no
step ever lies here that nobody works on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from stepwell.consumers.worker.calling import GivenBack
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import ReportedError
from stepwell.consumers.worker.handlers import Handlers
from stepwell.consumers.worker.remote.claims import Back, Claim, Completed, Failed, Step
from stepwell.consumers.worker.worker import Worker
from stepwell.errors import LogClosedError
from stepwell.log.port import Delivery, Log, WorkQueue
from stepwell.schemas.records.commands import Command
from stepwell.supervision import supervise
from stepwell.tasks import cancel_and_wait

_ALL_AT_HAND: Final = 10_000  # more than there can be: how much comes to hand is said by ``resize``


class _OnDemand:
    """Room for what is wanted just now; see ``intake.Intake``. What there is no room for, its handler gives back."""

    prefetch = 1  # until the worker is at work, and told better

    def __init__(self) -> None:
        self._queue: WorkQueue

    def open(self, queue: WorkQueue) -> None:
        """Take from this queue."""
        self._queue = queue

    def resize(self, count: int) -> None:
        """Have room for so many steps, claimed ones included. The queue is open."""
        self._queue.resize(count)

    async def take(self) -> Sequence[Delivery]:
        """Give whatever comes."""
        return await self._queue.take(_ALL_AT_HAND)

    def begin(self) -> None:
        """How many there are, those who claim them know."""

    def end(self) -> None:
        """Likewise."""


class _Poll:
    """Somebody waits for steps."""

    def __init__(self, limit: int, lease: float) -> None:
        self.limit = limit
        self.lease = lease
        self.found: list[Claim] = []
        self.arrived = asyncio.Event()

    @property
    def open(self) -> int:
        """How many more steps it would take."""
        return self.limit - len(self.found)


class Remote:
    """One remote worker: a name, with the queues and handlers that it polls for.

    Args:
        concurrency: How many steps it says that it runs at once; for people.
        linger: Seconds without polls and claims after which it counts as gone.
        gone: Called once it is to be closed, or cannot work any more.
    """

    def __init__(
        self,
        log: Log,
        name: str,
        queues: Sequence[str],
        handlers: Sequence[str],
        *,
        concurrency: int,
        linger: float,
        gone: Callable[[Remote], object],
    ) -> None:
        self._log = log
        self._name = name
        self._queues = queues
        self._handlers = Handlers(installed=False)
        for handler in handlers:
            self._handlers.register(handler, self._lend)
        self._concurrency = concurrency
        self._linger = linger
        self._gone = gone
        self._polls: deque[_Poll] = deque()
        self._claims: dict[StepContext, Claim] = {}
        self._intake: _OnDemand | None = None  # while it is at work
        self._leaving: asyncio.TimerHandle | None = None
        self._work = asyncio.ensure_future(supervise("remote worker", self._attempt))
        self._work.add_done_callback(self._stopped)

    async def _attempt(self, at_work: Callable[[], None]) -> None:
        intake = _OnDemand()
        worker = Worker(
            self._log,
            self._handlers,
            queues=self._queues,
            concurrency=self._concurrency,
            name=self._name,
            intake=intake,
            ended=self._ended,
        )

        def begin() -> None:
            self._intake = intake
            self._resize()
            at_work()

        try:
            await worker.run(begin)
        finally:
            self._intake = None

    def _stopped(self, _work: asyncio.Task[None]) -> None:
        """It is closed, or has met what does not pass."""
        self._gone(self)
        for poll in self._polls:
            poll.arrived.set()

    # --- polling --------------------------------------------------------------------------------------------

    async def poll(self, limit: int, wait: float, lease: float) -> list[Claim]:
        """Wait for steps.

        Args:
            limit: The most that are wanted.
            wait: The most seconds to wait for the first.
            lease: Seconds that each claim lasts without a heartbeat.

        Returns:
            As many as there were when the first came; none if none came in time.

        Raises:
            LogError: The log cannot be used, and that does not pass by itself.
        """
        poll = _Poll(limit, lease)
        self._polls.append(poll)
        self._resize()
        try:
            async with asyncio.timeout(wait):
                await poll.arrived.wait()
        except TimeoutError:
            pass
        except asyncio.CancelledError:  # who polled has gone away
            for claim in poll.found:
                claim.say(Back("released"))
            raise
        finally:
            self._polls.remove(poll)
            self._resize()
        if self._work.done() and not poll.found:
            if not self._work.cancelled():
                self._work.result()
            raise LogClosedError("the log was closed, or this server is about to stop")
        return poll.found

    def _resize(self) -> None:
        """Have as many hands as are wanted now; leave if none are for a while."""
        if self._intake is not None:
            self._intake.resize(len(self._claims) + sum(poll.open for poll in self._polls))
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if not self._polls and not self._claims:
            self._leaving = asyncio.get_running_loop().call_later(self._linger, self._gone, self)

    # --- lending --------------------------------------------------------------------------------------------

    async def _lend(self, data: Any, ctx: StepContext) -> Any:
        """The handler of every step: have it done elsewhere."""
        poll = next((poll for poll in self._polls if poll.open > 0), None)
        if poll is None:
            raise GivenBack
        claim = self._claims[ctx] = Claim(Step(data, ctx), poll.lease)
        poll.found.append(claim)
        poll.arrived.set()
        match await claim.heard():
            case Completed(output, context):
                for key, value in context.items():
                    ctx.set(key, value)
                return output
            case Failed(error):
                raise ReportedError(error)
            case Back(why):
                raise GivenBack(lost=why == "expired")

    def _ended(self, ctx: StepContext, outcome: Command | None, sent: asyncio.Future[None] | None) -> None:
        claim = self._claims.pop(ctx, None)
        if claim is not None:
            claim.end(outcome, sent)
            self._resize()

    async def close(self) -> None:
        """Leave: every step that it has goes back to its queue."""
        if self._leaving is not None:
            self._leaving.cancel()
        await cancel_and_wait(self._work)
