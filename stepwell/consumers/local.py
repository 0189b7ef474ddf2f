"""An engine and a worker in one process: what a machine needs to run workflows on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from stepwell.consumers.builtin import BUILTIN
from stepwell.consumers.definitions import Definitions
from stepwell.consumers.engine import Engine
from stepwell.consumers.handlers import Handlers, registered
from stepwell.consumers.worker import Worker
from stepwell.log.port import Log


class LocalRuntime:
    """Runs an engine and a worker on a log.

    Args:
        handlers: What the worker can run, besides the built-in types.
        prefixes: Modules from which steps may name functions by dotted path.
        concurrency: Steps that run at once.
        only: Which instances' steps the worker takes; None for all.
        hand_back: See ``Worker``.
        worker: False for an engine alone.
        definitions: Shared with whoever else in this process reads them.
    """

    def __init__(
        self,
        log: Log,
        *,
        handlers: Handlers = registered,
        prefixes: Iterable[str] = (),
        queues: Iterable[str] = ("default",),
        concurrency: int | None = None,
        only: Callable[[str], bool] | None = None,
        hand_back: bool = False,
        worker: bool = True,
        definitions: Definitions | None = None,
    ) -> None:
        self._log = log
        self.handlers = Handlers(prefixes, BUILTIN)
        self.handlers.update(handlers)
        self._parts: list[asyncio.Task[None]] = []
        self._engine = Engine(log, definitions=definitions)
        self._worker = (
            Worker(log, self.handlers, queues=queues, concurrency=concurrency, only=only, hand_back=hand_back)
            if worker
            else None
        )
        self.failed: asyncio.Future[None]

    async def start(self) -> None:
        """Start both. ``failed`` ends with the error of the first that stops by itself."""
        self.failed = asyncio.get_running_loop().create_future()
        self._parts = [asyncio.ensure_future(self._engine.run())]
        if self._worker is not None:
            self._parts.append(asyncio.ensure_future(self._worker.run()))
        for part in self._parts:
            part.add_done_callback(self._ended)
        await asyncio.sleep(0)

    def _ended(self, part: asyncio.Task[None]) -> None:
        error = None if part.cancelled() else part.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def stop(self) -> None:
        """Stop both: steps under way go back to the queue, partitions to the group."""
        for part in reversed(self._parts):  # the worker first, so that its last outcomes are decided
            part.cancel()
            await asyncio.gather(part, return_exceptions=True)
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()
        self.failed.cancel()
