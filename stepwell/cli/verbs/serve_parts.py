"""``stepwell serve-parts``: what ``stepwell serve --apart`` runs beside it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Annotated

from stepwell import logs
from stepwell.cli.imports import paths_of
from stepwell.cli.options import DEFAULT_QUEUES, Concurrency, Lines, LogUrl, Modules, Queues, RetryFor, StrictHandlers
from stepwell.cli.service import run_service
from stepwell.cli.signature import Option
from stepwell.client.embedded import LocalRuntime
from stepwell.consumers.worker.builtin import OF_SERVICES
from stepwell.consumers.worker.builtin.allowed_roots import check_roots
from stepwell.log.port import Log


async def serve_parts(
    modules: Modules = (),
    strict: StrictHandlers = True,
    queues: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    grace: Annotated[float, Option("--grace", metavar="SECONDS", min=0, help="As of serve.")] = 20.0,
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: LogUrl = None,
) -> int:
    """Run what `stepwell serve --apart` runs beside it; ends when standard input does.

    \b
    stepwell serve --apart
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prefixes = paths_of(modules, strict=strict)
    logs.configure(as_json=as_json)

    def attempt_on(opened: Log) -> Callable[[Callable[[], None]], Awaitable[None]]:
        check_roots()  # now that the log is known, which has to lie elsewhere

        async def attempt(at_work: Callable[[], None]) -> None:
            runtime = LocalRuntime(
                opened,
                prefixes=prefixes,
                queues=queues,
                concurrency=concurrency,
                hand_back=True,
                grace=grace,
                builtin=OF_SERVICES,
            )
            await runtime.start()
            at_work()
            try:
                await runtime.failed
            finally:
                await runtime.stop()

        return attempt

    return await run_service("engine and worker", attempt_on, {}, retry_for=retry_for, as_json=as_json, log=log)


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
