"""An engine and a worker inside the process of a client."""

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

LOOK_EVERY: Final = 0.5  # seconds between two checks of a standby whether another engine is live


class LocalRuntime:
    """Runs an engine and a worker on a log, and restarts them after temporary trouble with the log.

    Args:
        log: The log.
        handlers: The handlers of the worker, besides the built-in types.
        prefixes: Modules whose functions steps may name by dotted path; None for registered functions only.
        queues: The queues from which the worker takes steps, besides the queues of the agents that have handlers.
        concurrency: The number of steps that run at once; by default as the settings of a worker say.
        only: Says by its id whether the worker takes the steps of an instance; None for all instances.
        hand_back: See ``Worker``.
        worker: Whether to run a worker beside the engine.
        definitions: The registered definitions, if other parts of this process share them.
        standby: Start the engine only when no other engine is live. A process that runs one instance would take
            partitions away from the permanent engines, and give them back a moment later.
        grace: The seconds that running steps get to finish when the runtime stops.
        builtin: The built-in step types, see ``stepwell.consumers.worker.builtin``.

    Attributes:
        handlers: The handlers of the worker, with the built-in types.
        failed: Ends with the error of the first part that stops by itself and cannot be restarted.

    Raises:
        HandlerError: ``handlers`` is not a ``Handlers``.
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
        """Start the engine and the worker. It does not wait until they are at work."""
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
        """Let the worker look again at the work items that ``only`` refused. Call it when ``only`` changes."""
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
        """Stop both. Steps that do not finish in time go back to their queue, partitions to the consumer group."""
        self._stopping = True
        for part in reversed(self._parts):  # the worker first, so that its last outcomes are decided
            await cancel_and_wait(part)
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()
        self.failed.cancel()
