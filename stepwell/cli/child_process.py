"""An engine and a worker in a process of their own, beside that of ``stepwell serve``: so two cores are used.

One process of Python runs on one core. The child ends when the pipe to its parent closes, however the parent ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from stepwell.cli.session import paths_of
from stepwell.errors import StepwellError
from stepwell.log.address import VARIABLE
from stepwell.log.port import Log
from stepwell.stdout import results

_LAST: Final = 5.0  # seconds, besides those that steps get to finish, until the child is killed


class PartsEndedError(StepwellError):
    """The process of engine and worker has ended by itself."""


async def parts(
    *,
    modules: Sequence[str],
    strict: bool,
    queues: Sequence[str],
    concurrency: int | None,
    grace: float,
    retry_for: float,
    as_json: bool,
    log: str | None,
) -> int:
    """Run an engine and a worker until stopped, or until nobody holds our standard input any more."""
    from stepwell import logs  # noqa: PLC0415 - start-up time
    from stepwell.cli.verbs.serving import serve  # noqa: PLC0415
    from stepwell.client.embedded import LocalRuntime  # noqa: PLC0415
    from stepwell.consumers.worker.builtin import OF_SERVICES  # noqa: PLC0415
    from stepwell.consumers.worker.builtin.allowed_roots import check_roots  # noqa: PLC0415

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

    return await serve("engine and worker", attempt_on, {}, retry_for=retry_for, as_json=as_json, log=log)


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.asynccontextmanager
async def apart(
    *,
    modules: Sequence[str],
    strict: bool,
    queues: Sequence[str],
    concurrency: int | None,
    grace: float,
    retry_for: float,
    as_json: bool,
    url: str,
) -> AsyncIterator[asyncio.Future[None]]:
    """Have an engine and a worker run in a child for as long as the block lasts.

    Yields:
        What ends, with an error, if the child ends by itself.
    """
    words = ["--grace", str(grace), "--retry-for", str(retry_for), *(["--json"] if as_json else [])]
    words.append("--strict-handlers" if strict else "--no-strict-handlers")
    words += [word for module in modules for word in ("--handlers", module)]
    words += [word for queue in queues for word in ("--queue", queue)]
    words += ["--concurrency", str(concurrency)] if concurrency else []
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "stepwell", "serve-parts", *words),  # -P: the working directory is not imported from first
        stdin=subprocess.PIPE,
        stdout=results(),
        env={**os.environ, VARIABLE: url},  # it may hold a password, and words of a command are seen by everybody
        start_new_session=True,  # Ctrl-C is for the parent, which ends the child once it has answered
    )
    ended = asyncio.ensure_future(_watch(child))
    try:
        yield ended
    finally:
        ended.cancel()
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), grace + _LAST)
        except TimeoutError:
            child.kill()
            await child.wait()


async def _watch(child: asyncio.subprocess.Process) -> None:
    status = await child.wait()
    raise PartsEndedError(
        f"the process of engine and worker has ended with status {status}",
        remedy="Its last lines say why. Start `stepwell serve` again.",
    )
