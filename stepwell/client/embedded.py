"""An engine and a worker in one process: what a machine needs to run workflows on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from stepwell.arguments import check_numbers
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.registry.definitions import Definitions
from stepwell.consumers.worker import settings
from stepwell.consumers.worker.builtin import BUILTIN, Types
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.consumers.worker.worker import Worker
from stepwell.errors import ENDED, EndedError, HandlerError, StepwellError
from stepwell.log.port import ENGINES, Log
from stepwell.supervision import supervise
from stepwell.tasks import cancel_and_wait

LOOK_EVERY: Final = 0.5  # seconds between two looks of a standby at whether any engine is there


class LocalRuntime:
    """Runs an engine and a worker on a log, and starts them anew after trouble that passes.

    Args:
        handlers: What the worker can run, besides the built-in types.
        prefixes: Modules from which steps may name functions by dotted path; None for registered ones alone.
        queues: What the worker takes steps from, besides the queues of the agents that have handlers.
        concurrency: Steps that run at once.
        only: Which instances' steps the worker takes; None for all.
        hand_back: See ``Worker``.
        worker: False for an engine alone.
        definitions: Shared with whoever else in this process reads them.
        standby: Decide only while no other engine does. A process that is here for one instance would take
            partitions over from those that are here to stay, and give them back a moment later.
        grace: When stopped, seconds that steps under way get to finish.
        builtin: The step types that come with Stepwell, see ``stepwell.consumers.worker.builtin``.

    Raises:
        HandlerError: ``handlers`` are none.
        StepwellError: ``prefixes``, ``queues``, ``concurrency`` or ``grace`` is of a wrong type.
    """

    def __init__(
        self,
        log: Log,
        *,
        handlers: Handlers = registered,
        prefixes: Iterable[str] | None = (),
        queues: Iterable[str] = ("default",),
        concurrency: int | None = None,
        only: Callable[[str], bool] | None = None,
        hand_back: bool = False,
        worker: bool = True,
        definitions: Definitions | None = None,
        standby: bool = False,
        grace: float = 0.0,
        builtin: Types = BUILTIN,
    ) -> None:
        known: object = handlers
        if not isinstance(known, Handlers):
            raise HandlerError(f"handlers are a stepwell.Handlers, not {known!r:.100}")
        check_numbers(StepwellError, none=True, whole=True, concurrency=concurrency)
        check_numbers(StepwellError, grace=grace)
        self._log = log
        self.handlers: Handlers = Handlers(prefixes, builtin)
        self.handlers.update(handlers)
        self._queues = tuple(dict.fromkeys((*settings.listed(queues), *self.handlers.agents())))
        self._concurrency = (concurrency or settings.concurrency()) if worker else 0
        self._only = only
        self._hand_back = hand_back
        self._definitions = definitions or Definitions(log)
        self._standby = standby
        self._grace = grace
        self._worker: Worker | None = None
        self._parts: list[asyncio.Task[None]] = []
        self._stopping = False
        self.failed: asyncio.Future[None]

    async def start(self) -> None:
        """Start both. ``failed`` ends with the error of the first that stops by itself and cannot be restarted."""
        self.failed = asyncio.get_running_loop().create_future()
        self._parts = [asyncio.ensure_future(supervise("engine", self._decide))]
        if self._concurrency:
            self._parts.append(asyncio.ensure_future(supervise("worker", self._work)))
        for part in self._parts:
            part.add_done_callback(self._ended)
        await asyncio.sleep(0)

    async def _decide(self, at_work: Callable[[], None]) -> None:
        while True:
            if not self._standby or not await self._log.members(ENGINES):
                break
            await asyncio.sleep(LOOK_EVERY)
        await Engine(self._log, definitions=self._definitions).run(at_work)

    async def _work(self, at_work: Callable[[], None]) -> None:
        self._worker = worker = Worker(
            self._log,
            self.handlers,
            queues=self._queues,
            concurrency=self._concurrency,
            only=self._only,
            hand_back=self._hand_back,
        )
        await worker.run(at_work, grace=self._grace)

    def look_again(self) -> None:
        """What ``only`` says has changed: let the worker look at what it has passed over."""
        if self._worker is not None:
            self._worker.look_again()

    def _ended(self, part: asyncio.Task[None]) -> None:
        error: BaseException | None
        if not part.cancelled():
            error = part.exception()
        elif self._stopping:
            error = None
        else:  # a handler may cancel whatever tasks it finds
            error = EndedError("an engine or a worker was cancelled by code that runs in its process", remedy=ENDED)
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def stop(self) -> None:
        """Stop both: steps that do not finish in time go back to the queue, partitions to the group."""
        self._stopping = True
        for part in reversed(self._parts):  # the worker first, so that its last outcomes are decided
            await cancel_and_wait(part)
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()
        self.failed.cancel()
