"""A client of a log, with an engine and a worker in the same process if wanted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from stepwell.client.client import Client
from stepwell.client.embedded import LocalRuntime
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.log.urls import open_log
from stepwell.projections.places import views_directory
from stepwell.schemas.records.sender import sender


@contextlib.asynccontextmanager
async def connect(
    url: str | None = None,
    *,
    embedded: bool = True,
    create: bool = True,
    handlers: Handlers | None = None,
    modules: Iterable[str] | None = (),
    queues: Iterable[str] = ("default",),
    concurrency: int | None = None,
    by: str = "",
    via: str = "",
) -> AsyncIterator[Client]:
    """Connect to a log.

    Args:
        url: ``file:PATH``; without one, ``STEPWELL_LOG``, or else ``file:.stepwell/log.db``.
        embedded: Run an engine and a worker inside this process for as long as the connection lasts, so that
            nothing else needs to be started. Both wait out trouble with the log that may pass. False for a mere
            client of engines that run elsewhere.
        create: Make the log if it does not exist; otherwise that is an error.
        handlers: What the embedded worker can run; without them, what ``@stepwell.handler`` has registered.
        modules: Modules, or prefixes of them, from which steps may name functions by dotted path: public ones that
            are defined there. None for none: registered functions alone.
        queues: What the embedded worker takes steps from, besides the queues of the agents that have handlers of
            their own (``agent_task:NAME``).
        concurrency: Steps that the embedded worker runs at once.
        by: Who asks for what the client sends, and
        via: from where, such as ``cli build-7``; recorded with every answer. At most 200 characters each.

    Raises:
        SenderError: ``by`` or ``via`` is no name.
        LogError: The log cannot be opened.
    """
    sender(by, via)  # before anything is opened
    log = await open_log(url, create=create)
    client = Client(log, by=by, via=via, views=views_directory(url))
    runtime = None
    try:
        if embedded:
            runtime = LocalRuntime(
                log,
                handlers=handlers or registered,
                prefixes=modules,
                queues=queues,
                concurrency=concurrency,
                definitions=client.registry,
            )
            await runtime.start()
            runtime.failed.add_done_callback(client.lost)
        yield client
    finally:
        if runtime is not None:
            await runtime.stop()
        await client.close()
