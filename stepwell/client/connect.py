"""``connect``: opens a log and makes its client, with an engine and a worker in the same process if wanted."""

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
        url: The log, such as ``file:PATH``; by default ``STEPWELL_LOG``, or else ``file:.stepwell/log.db``.
        embedded: Whether to run an engine and a worker inside this process for as long as the connection lasts, so
            that nothing else needs to be started. Both survive temporary trouble with the log. False for a client
            of engines that run elsewhere.
        create: Whether to create the log if it does not exist; if not, a missing log is an error.
        handlers: The handlers of the embedded worker; by default those that ``@stepwell.handler`` has registered.
        modules: Modules, or prefixes of modules, whose public functions steps may name by dotted path. The function
            must be defined in the module. None permits no dotted path: only registered functions.
        queues: The queues from which the embedded worker takes steps, besides the queues of the agents that have a
            handler of their own (``agent_task:NAME``).
        concurrency: The number of steps that the embedded worker runs at once.
        by: The person or program that the commands come from, at most 200 characters; the engines record it.
        via: Where the commands come from, such as ``cli build-7``, at most 200 characters; the engines record it.

    Yields:
        The client.

    Raises:
        SenderError: ``by`` or ``via`` is not a valid name.
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
