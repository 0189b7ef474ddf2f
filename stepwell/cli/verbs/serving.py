"""``stepwell engine`` and ``stepwell worker``: processes that run until they are stopped; and who is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell import logs
from stepwell.cli.environment import tell_unused
from stepwell.cli.output import print
from stepwell.cli.session import (
    BAD_INPUT,
    ENDED_EARLY,
    UsageError,
    at,
    client_of,
    import_handlers,
    paths_of,
    this_sender,
)
from stepwell.cli.verbs.show import print_json
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
from stepwell.log.port import WORKERS, Log
from stepwell.log.urls import open_log
from stepwell.own_files import claim
from stepwell.supervision import OutOfPatienceError, Trouble, open_patiently, supervise

if TYPE_CHECKING:
    from stepwell.consumers.reading.live_members import LiveMembers
    from stepwell.projections.statistics import WorkerStatistics

STOPPED, AWAY = 0, 75  # 75: EX_TEMPFAIL of sysexits.h; whoever restarts services may try again
_LOOK_EVERY: Final = 2.0  # seconds between two looks at who else is there

Attempt = Callable[[Callable[[], None]], Awaitable[None]]


async def engine(
    *,
    name: str | None,
    max_runs: int | None,
    workflows: Path | None,
    modules: Sequence[str],
    retry_for: float,
    as_json: bool,
    log: str | None,
) -> int:
    """Run an engine until stopped; return the exit status."""
    from stepwell.cli.verbs.registering import chosen_directory, look  # noqa: PLC0415 - start-up time
    from stepwell.consumers.engine.admission import MOST_RUNS  # noqa: PLC0415
    from stepwell.consumers.engine.engine import Engine  # noqa: PLC0415
    from stepwell.consumers.registry.definitions import Definitions  # noqa: PLC0415
    from stepwell.consumers.registry.folder import Folder  # noqa: PLC0415
    from stepwell.process import process_name  # noqa: PLC0415

    named = _named(name) or process_name()
    most = max_runs or MOST_RUNS
    directory = chosen_directory(workflows)
    import_handlers(modules)  # before the definitions: they may hold step types of their own
    logs.configure(as_json=as_json)
    tell_unused()

    def attempt_on(opened: Log) -> Attempt:
        definitions = Definitions(opened)
        folder = Folder(definitions, directory, this_sender()) if directory else None

        async def attempt(at_work: Callable[[], None]) -> None:
            if folder is not None:  # a file that is wrong is told, and the engine works for all the others
                await look(folder, logs.Logger("stepwell.engine"))
            made = Engine(
                opened, definitions=definitions, name=named, most_runs=most, retry_for=retry_for, outlast=True
            )
            await made.run(at_work)

        return attempt

    about: dict[str, Any] = {"name": named, "max_runs": most}
    if directory is not None:
        about["workflows"] = str(directory)
    return await serve("engine", attempt_on, about, retry_for=retry_for, as_json=as_json, log=log)


async def worker(
    *,
    workflows: Path | None,
    modules: Sequence[str],
    strict: bool,
    queues: Sequence[str],
    concurrency: int | None,
    name: str | None,
    grace: float,
    retry_for: float,
    as_json: bool,
    log: str | None,
) -> int:
    """Run a worker until stopped; return the exit status."""
    from stepwell.cli.verbs.registering import chosen_directory, look  # noqa: PLC0415 - start-up time
    from stepwell.consumers.registry.definitions import Definitions  # noqa: PLC0415
    from stepwell.consumers.registry.folder import Folder  # noqa: PLC0415
    from stepwell.consumers.worker import settings  # noqa: PLC0415
    from stepwell.consumers.worker.builtin import OF_SERVICES  # noqa: PLC0415
    from stepwell.consumers.worker.builtin.allowed_roots import check_roots  # noqa: PLC0415
    from stepwell.consumers.worker.handlers import Handlers, registered  # noqa: PLC0415
    from stepwell.consumers.worker.worker import Worker  # noqa: PLC0415
    from stepwell.process import process_name  # noqa: PLC0415

    named = _named(name) or process_name()
    at_once = concurrency or settings.concurrency()
    directory = chosen_directory(workflows)
    handlers = Handlers(paths_of(modules, strict=strict), OF_SERVICES)
    handlers.update(registered)
    logs.configure(as_json=as_json)  # after the handlers' modules, which may have ideas of their own
    tell_unused()

    def attempt_on(opened: Log) -> Attempt:
        check_roots()  # now that the log is known, which has to lie elsewhere

        async def attempt(at_work: Callable[[], None]) -> None:
            if directory is not None:
                await look(Folder(Definitions(opened), directory, this_sender()), logs.Logger("stepwell.worker"))
            made = Worker(opened, handlers, queues=queues, concurrency=at_once, name=named)
            await made.run(at_work, grace=grace)

        return attempt

    about: dict[str, Any] = {
        "name": named,
        "queues": ",".join(queues),
        "concurrency": at_once,
        "handlers": ",".join(_own(handlers.names(), handlers.prefixes)) or "built-in step types only",
    }
    if directory is not None:
        about["workflows"] = str(directory)
    return await serve("worker", attempt_on, about, retry_for=retry_for, as_json=as_json, log=log)


def _named(name: str | None) -> str:
    if name is not None and not name.strip():
        raise UsageError("a name has one character at least", place="--name")
    if name is not None and not is_plain(name):
        raise UsageError(f"the name {NOT_PLAIN}", place=f"--name {name}")
    return name or ""


async def serve(
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
    from stepwell.projections.places import views_directory  # noqa: PLC0415 - start-up time
    from stepwell.server.http.remembering import remembered  # noqa: PLC0415

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
                watch.cancel()
                part.cancel()  # where it has ended by itself this does nothing
                ends = await asyncio.gather(part, watch, return_exceptions=True)
            if cancelled:
                raise EndedError(f"the {role} was cancelled by code that runs in its process", remedy=ENDED)
            for end in ends:
                if isinstance(end, Exception):
                    raise end
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
    from stepwell.log.port import ENGINES  # noqa: PLC0415 - start-up time

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


# --- who is there -------------------------------------------------------------------------------------------


MOST_SHOWN: Final = 20  # workers: every `stepwell run` was one


async def show_crew(*, done: bool = False, as_json: bool, log: str | None) -> int:
    """Print the live engines and workers; and, if wanted, what each worker has done."""
    from stepwell.cli.drawing import seconds  # noqa: PLC0415
    from stepwell.cli.views import caught_up, table  # noqa: PLC0415 - start-up time

    did: list[WorkerStatistics] = []
    live: set[str] = set()
    async with client_of(log) as client:
        members = await client.live_members()
        if done:
            await caught_up(client)
            live = {worker.name for worker in members.workers}
            did = await client.views.workers(first=live, limit=max(MOST_SHOWN, len(live)), fresh=False)
    if as_json:
        print_json({**msgspec.to_builtins(members), "done": did} if done else members)
        return 0
    _print_members(members, log)
    if done:
        rows = [
            (
                one.worker,
                f"{one.runs:,}",
                f"{one.failures:,}",
                seconds(one.busy_seconds),
                _is_live(one.worker in live),
            )
            for one in did
        ]
        print()
        lines = table(("worker", "runs", "failures", "busy", ""), rows, right=(1, 2, 3))
        print("\n".join(lines) if did else "no worker has done anything yet")
        if len(did) == MOST_SHOWN:
            print("  … those that are live, and those that have done most")
    return 0


def _is_live(yes: bool) -> str:
    return "live" if yes else "has left"


def _print_members(members: LiveMembers, log: str | None) -> None:
    rows = [
        ("engine", engine.name, f"partitions {_spans(engine.partitions) or 'none yet'}") for engine in members.engines
    ]
    for worker in members.workers:
        able = ", ".join(_own(worker.handlers, worker.prefixes)) or "built-in step types only"
        rows.append((
            "worker", worker.name, f"queues {', '.join(worker.queues)}  concurrency {worker.concurrency}  runs {able}"
        ))  # fmt: skip
    width = max((len(name) for _, name, _ in rows), default=0)
    for kind, name, what in rows:
        print(f"{kind}  {name:<{width}}  {what}")
    here = at(log)
    if not members.engines:
        print(f"no engine is live: nothing is decided. `stepwell engine{here}` starts one.")
    elif members.unowned:
        print(f"partitions {_spans(members.unowned)} have no live owner yet: what is theirs waits.")
    if not members.workers:
        print(f"no worker is live: steps wait. `stepwell worker --handlers MODULE{here}` starts one.")


def _own(handlers: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    """What a worker can run besides the step types that every worker has."""
    from stepwell.consumers.worker.builtin import BUILTIN  # noqa: PLC0415 - start-up time

    return [*(f"{prefix}.*" for prefix in prefixes), *(name for name in handlers if name not in BUILTIN)]


def _spans(numbers: Sequence[int]) -> str:
    """Numbers in order, runs of them shortened: 0-3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
