"""A process that runs until it is stopped, and waits out trouble with its log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from stepwell import logs
from stepwell.cli.exits import AWAY, BAD_INPUT, ENDED_EARLY, UsageError
from stepwell.cli.output import print
from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.errors import (
    ENDED,
    NOT_PLAIN,
    EndedError,
    LogError,
    LogFullError,
    LogLostError,
    LogUnavailableError,
    StepwellError,
    is_plain,
)
from stepwell.log.address import chosen_url, without_password
from stepwell.log.port import ENGINES, WORKERS, Log
from stepwell.log.urls import open_log
from stepwell.own_files import claim
from stepwell.projections.places import views_directory
from stepwell.server.http.remembering import remembered
from stepwell.supervision import OutOfPatienceError, Trouble, open_patiently, supervise
from stepwell.tasks import cancel_and_wait

STOPPED = 0
_LOOK_EVERY: Final = 2.0  # seconds between two looks at who else is there


Attempt = Callable[[Callable[[], None]], Awaitable[None]]


async def run_service(
    role: str,
    attempt_on: Callable[[Log], Attempt],
    about: Mapping[str, Any],
    *,
    retry_for: float,
    as_json: bool,
    log: str | None,
) -> int:
    """Run a part until it is stopped, waiting out trouble with its log; return the exit status.

    Args:
        role: What the part is: ``engine``.
        attempt_on: Makes, for a log, what runs the part once.
        about: What is told of it when it starts.
    """
    url = chosen_url(log)
    claim(views_directory(url))  # others may keep them, and steps of ours are to stay away
    remembered(url)  # as from the access tokens of a server
    logger = logs.Logger(f"stepwell.{role}")
    try:
        async with opened(url, retry_for) as log_:
            logger.info(
                "started",
                role=role,
                log=without_password(url),
                partitions=log_.partitions,
                pid=os.getpid(),
                **about,
            )
            attempt = attempt_on(log_)
            joined = asyncio.Event()

            def join(at_work: Callable[[], None]) -> Awaitable[None]:
                def is_at_work() -> None:
                    joined.set()
                    at_work()

                return attempt(is_at_work)

            part = asyncio.ensure_future(supervise(role, join, retry_for=retry_for))
            watch = asyncio.ensure_future(_watch_crew(role, log_, joined, logger, retry_for))
            try:
                await asyncio.wait((part, watch), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                logger.info("stopping")
            finally:
                cancelled = any(task.cancelled() for task in (part, watch))  # not by us
                errors = await cancel_and_wait(part, watch)
            if cancelled:
                raise EndedError(f"the {role} was cancelled by code that runs in its process", remedy=ENDED)
            for error in errors:
                if isinstance(error, Exception):
                    raise error
    except asyncio.CancelledError:
        pass  # before anything was begun
    except StepwellError as error:
        return ended_by(error, role, logger, as_json=as_json)
    logger.info("stopped", role=role)
    return STOPPED


@contextlib.asynccontextmanager
async def opened(url: str, retry_for: float, told: Callable[[LogError], None] | None = None) -> AsyncIterator[Log]:
    """The log of a process that runs for long: trouble that may pass is waited out before it begins.

    Args:
        told: Called with each error that is waited out.
    """
    found = await open_patiently(lambda: open_log(url), retry_for=retry_for, told=told)
    try:
        yield found
    finally:
        with contextlib.suppress(LogError):  # what mattered was told before
            await found.close()


def ended_by(error: StepwellError, role: str, logger: logs.Logger, *, as_json: bool) -> int:
    """Say why it ends; return the exit status."""
    ended = ENDED_EARLY if isinstance(error, EndedError) else BAD_INPUT
    passes = isinstance(error, (OutOfPatienceError, LogFullError))  # by itself, or once there is room
    passes = passes or (isinstance(error, LogLostError) and error.restart)
    status = AWAY if passes else ended
    if as_json:
        logger.error(
            "ended", role=role, error=error.message, place=error.place, remedy=error.remedy,
            type=type(error).__name__, exit_status=status,
        )  # fmt: skip
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(f"error: {error}", file=sys.stderr)
    return status


async def _watch_crew(role: str, log: Log, joined: asyncio.Event, logger: logs.Logger, retry_for: float) -> None:
    """Tell how many others are there, whenever that changes: what an operator who scales wants to see.

    It also finds a log that is away while the part has nothing to write, and so would not notice.

    Raises:
        OutOfPatienceError: It was away for ``retry_for`` seconds.
    """
    trouble = Trouble("looking who is live", retry_for)
    known: tuple[int, int] | None = None
    await joined.wait()  # so that we are among them
    while True:
        try:
            now = len(await log.members(ENGINES)), len(await log.members(WORKERS))
        except LogError as error:
            if isinstance(error, LogUnavailableError):  # of the rest the part itself tells
                await asyncio.sleep(trouble.failed(error))
                continue
        else:
            trouble.back()
            trouble.over()
            if now != known:
                known = now
                logger.info("live", engines=now[0], workers=now[1])
                if role == "engine" and not now[1]:
                    logger.warning("no worker is live: steps wait until one is", start="stepwell worker")
                elif role == "worker" and not now[0]:
                    logger.warning("no engine is live: nothing is decided until one is", start="stepwell engine")
        await asyncio.sleep(_LOOK_EVERY)


def checked_name(name: str | None) -> str:
    """The name that ``--name`` gives a process; empty where it gives none.

    Raises:
        UsageError: Nothing can be called so.
    """
    if name is not None and not name.strip():
        raise UsageError("a name has one character at least", place="--name")
    if name is not None and not is_plain(name):
        raise UsageError(f"the name {NOT_PLAIN}", place=f"--name {name}")
    return name or ""


def own_handlers(handlers: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    """What a worker can run besides the step types that every worker has."""
    return [*(f"{prefix}.*" for prefix in prefixes), *(name for name in handlers if name not in BUILTIN)]
