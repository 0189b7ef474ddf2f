"""``stepwell serve``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from stepwell import logs
from stepwell.cli.child_process import apart as beside
from stepwell.cli.environment import tell_unused
from stepwell.cli.exits import MissingExtraError, UsageError
from stepwell.cli.folders import chosen_directory, look
from stepwell.cli.imports import paths_of
from stepwell.cli.options import (
    DEFAULT_QUEUES,
    DEFAULT_TOKENS,
    Concurrency,
    Lines,
    LogUrl,
    MaxDeliveries,
    Modules,
    Queues,
    RetryFor,
    StrictHandlers,
    Tokens,
    Workflows,
)
from stepwell.cli.service import ended_by, opened
from stepwell.cli.signature import Option
from stepwell.client.client import Client
from stepwell.client.embedded import LocalRuntime
from stepwell.command_line import command
from stepwell.consumers.registry.folder import Folder
from stepwell.consumers.worker.builtin import OF_SERVICES
from stepwell.consumers.worker.builtin.allowed_roots import check_roots
from stepwell.errors import LogError, LogLostError, StepwellError
from stepwell.log.address import chosen_url, without_password
from stepwell.log.port import DEFINITIONS
from stepwell.projections.places import views_directory
from stepwell.server.http.remembering import check_not_forgotten, remember
from stepwell.server.tokens import TokenError, TokenFile

if TYPE_CHECKING:
    from stepwell.log.port import Log


_STOPPED: Final = 0
_PATIENCE: Final = 10.0  # seconds until it listens all the same; starts are accepted then, and decided later
_LOOK_EVERY: Final = 0.05  # seconds
_SLOW: Final = 5.0  # seconds after which a log that is being opened is told to be away
_LOOK_AT_LOG: Final = 2.0  # seconds between two looks at whether the log is there still


async def serve(
    host: Annotated[
        str, Option("--host", metavar="HOST", help="Where to listen; elsewhere than here only with tokens.")
    ] = "127.0.0.1",
    port: Annotated[
        int, Option("--port", metavar="N", min=0, max=65_535, help="0 takes a free one, and says which.")
    ] = 8080,
    tokens: Tokens = None,
    open_: Annotated[
        bool, Option("--open", help="Without tokens, though there were some: everybody here may do everything.")
    ] = False,
    origins: Annotated[
        Sequence[str],
        Option("--cors-origin", metavar="ORIGIN", help="Let pages of this origin use the server; may be repeated."),
    ] = (),
    http_only: Annotated[bool, Option("--http-only", help="No engine and no worker: they run elsewhere.")] = False,
    apart: Annotated[
        bool, Option("--apart", help="Engine and worker in a process of their own, so that two cores are used.")
    ] = False,
    workflows: Workflows = None,
    modules: Modules = (),
    strict: StrictHandlers = True,
    queues: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    grace: Annotated[
        float,
        Option("--grace", metavar="SECONDS", min=0, help="When stopped, how long steps that run may take to finish."),
    ] = 20.0,  # with the answers under way less than the 30 seconds after which Kubernetes kills
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: LogUrl = None,
) -> int:
    """Serve HTTP: the API, /docs and /redoc; with an engine and a worker in the same process.

    Ctrl-C or SIGTERM answers what is under way, and lets steps finish; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell serve --handlers shop.steps
    stepwell serve --handlers shop.steps --apart
    stepwell token ops --role operator && stepwell serve --host 0.0.0.0 --http-only --log kafka://broker:9092
    """
    _check_extra()
    from stepwell.server.access import Access  # noqa: PLC0415 - an extra
    from stepwell.server.app import create_app  # noqa: PLC0415
    from stepwell.server.http.away import Away  # noqa: PLC0415
    from stepwell.server.http.connections import Connections, limits_here  # noqa: PLC0415
    from stepwell.server.http.listening import check_exposure, listen, serving, url_of  # noqa: PLC0415

    url = chosen_url(log)
    access = Access(_known_tokens(tokens, url, open_=open_), origins)
    check_exposure(host, access)
    if http_only and (modules or apart):
        place = "--handlers" if modules else "--apart"
        raise UsageError("is for the engine and worker that --http-only leaves out", place=place)
    directory = chosen_directory(workflows)
    prefixes = paths_of(modules, strict=strict)
    listening = listen(host, port)
    logs.configure(as_json=as_json)
    tell_unused()
    logger = logs.Logger("stepwell.server")
    if open_:
        logger.warning("open: without access tokens everybody on this machine may do everything")
    away = Away(listening)

    def waits(reason: str) -> None:
        if not away.answers:
            logger.warning(
                "the log is away: every request is answered with 503 until it is back", reason=reason,
                url=url_of(listening), log=without_password(url), gives_up_after=f"{retry_for:g} s",
            )  # fmt: skip
        away.tell(reason)

    # Some brokers do not even refuse a connection, and then it takes long until anything has failed.
    slow = asyncio.get_running_loop().call_later(_SLOW, waits, "the log is being opened")
    try:
        async with (
            opened(url, retry_for, lambda error: waits(error.message)) as log_,
            contextlib.AsyncExitStack() as stack,
        ):
            slow.cancel()
            client = Client(log_, views=views_directory(url))
            stack.push_async_callback(client.detach)
            await client.views.models.start()  # before anybody asks: others may read the file beside us
            if directory is not None:
                await look(Folder(client.registry, directory), logger)
            failed: asyncio.Future[None] | None = None
            if apart:
                failed = await stack.enter_async_context(
                    beside(
                        modules=modules, strict=strict, queues=queues, concurrency=concurrency, grace=grace,
                        retry_for=retry_for, as_json=as_json, url=url,
                    )
                )  # fmt: skip
                await _until_decided(client, failed)
            elif not http_only:
                runtime = await _run_parts(client, prefixes, queues, concurrency, grace)
                stack.push_async_callback(runtime.stop)
                failed = runtime.failed
            await away.close()
            async with serving(create_app(client, access=access), listening, Connections(limits_here())) as running:
                logger.info(
                    "listening",
                    url=url_of(listening),
                    docs=f"{url_of(listening)}/docs",
                    access="everybody on this machine" if access.open else "tokens",
                    log=without_password(url),
                    parts="http" if http_only else "http; engine, worker" if apart else "http, engine, worker",
                    pid=os.getpid(),
                )
                watching = asyncio.ensure_future(_until_lost(log_))
                try:
                    await _until_stopped(running, failed, watching, logger)
                finally:
                    watching.cancel()
    except asyncio.CancelledError:
        pass  # stopped before it had begun
    except StepwellError as error:
        return ended_by(error, "server", logger, as_json=as_json)
    finally:
        slow.cancel()
        await away.close()
        listening.close()
    logger.info("stopped", role="server")
    return _STOPPED


async def _until_decided(client: Client, failed: asyncio.Future[None]) -> None:
    """Wait a while for the engine in the other process, so that the first starts are answered with its decision."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while asyncio.get_running_loop().time() < deadline and not await client.engine_is_live():
        await asyncio.wait((failed,), timeout=_LOOK_EVERY)  # nobody is told who is live
        if failed.done():
            failed.result()


async def _run_parts(
    client: Client, prefixes: Sequence[str] | None, queues: Sequence[str], concurrency: int | None, grace: float
) -> LocalRuntime:
    check_roots()
    runtime = LocalRuntime(
        client.log,
        prefixes=prefixes,
        queues=queues,
        concurrency=concurrency,
        hand_back=True,
        definitions=client.registry,
        grace=grace,
        builtin=OF_SERVICES,
    )
    await runtime.start()
    runtime.failed.add_done_callback(client.lost)
    return runtime


async def _until_lost(log: Log) -> None:
    """Look whether the log is there, also while nobody asks; of trouble that may pass, those are told who ask.

    Raises:
        LogLostError: This process cannot use it any more.
    """
    while True:
        try:
            await log.end(DEFINITIONS, 0)
        except LogLostError:
            raise
        except LogError:
            pass
        await asyncio.sleep(_LOOK_AT_LOG)


async def _until_stopped(
    running: asyncio.Future[None],
    failed: asyncio.Future[None] | None,
    lost: asyncio.Future[None],
    logger: logs.Logger,
) -> None:
    watched = {running, lost} if failed is None else {running, failed, lost}
    try:
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        logger.info("stopping")
        return
    for part in done:
        part.result()


def _known_tokens(named: Path | None, url: str, *, open_: bool) -> TokenFile | None:
    if open_ and named is not None:
        raise UsageError("means no tokens, and --tokens (or STEPWELL_TOKENS) names some", place="--open")
    path = named or (DEFAULT_TOKENS if DEFAULT_TOKENS.exists() else None)
    if open_:
        return None
    if path is None:
        check_not_forgotten(url)
        return None
    found = TokenFile(path)
    if not len(found):
        raise TokenError(
            "holds no token, so nobody could do anything",
            place=str(path),
            remedy=f"`{command('token', 'NAME', '--role', 'admin', '--tokens', str(path))}` adds one.",
        )
    remember(url, path)
    return found


def _check_extra() -> None:
    try:
        import litestar  # noqa: F401, PLC0415 - an extra
        import prometheus_client  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the server needs {error.name}, which is not installed",
            place="stepwell serve",
            remedy="pip install 'stepwell[server]'",
        ) from None
