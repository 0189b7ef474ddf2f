"""What every verb needs: a client of the right log, handlers, and errors shown as one message."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stepwell.errors import HandlerError, StepwellError

if TYPE_CHECKING:
    from stepwell.client import Client

BAD_INPUT = 2
INTERRUPTED = 130
INTERNAL = 70  # EX_SOFTWARE of sysexits.h: a bug of ours


class Interrupted(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """The user wants to stop."""


class UsageError(StepwellError):
    """An option's value makes no sense."""


def drive(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a verb's coroutine to its exit status; Ctrl-C and SIGTERM raise ``Interrupted`` inside it."""

    async def guarded() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work())
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            if interrupted:  # asked twice: at once, then; the log is safe at any moment
                os._exit(INTERRUPTED)
            interrupted = True
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, interrupt)
        try:
            return await task
        except asyncio.CancelledError:
            if interrupted:
                raise Interrupted from None
            raise

    return asyncio.run(guarded())


def show_error(error: BaseException) -> int:
    """Print an error as one message; return the exit status that goes with it."""
    if isinstance(error, Interrupted):
        return INTERRUPTED
    if isinstance(error, StepwellError):
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    if isinstance(error, TimeoutError):
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    if isinstance(error, BrokenPipeError):
        return 0
    print(
        f"error: a bug in Stepwell: {type(error).__name__}: {error}\n"
        "  Nothing that was acknowledged is lost. STEPWELL_DEBUG=1 shows where it happened.",
        file=sys.stderr,
    )
    if os.environ.get("STEPWELL_DEBUG"):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    return INTERNAL


def leave(code: Any) -> NoReturn:
    """End the process. A handler's thread cannot be stopped: where one still runs, do not wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(code, int) and any(thread.name.startswith("stepwell") for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


@contextlib.asynccontextmanager
async def client_of(log: str | None, *, create: bool = False, engine: bool = False) -> AsyncIterator[Client]:
    """A client of a log.

    Args:
        create: Make the log if there is none.
        engine: If no engine works on the log, run one in here, so that a command is decided now.
    """
    from stepwell.client import connect  # noqa: PLC0415 - start-up time
    from stepwell.consumers.local import LocalRuntime  # noqa: PLC0415

    async with connect(log, embedded=False, create=create) as client:
        if not engine or await client.engine_is_live():
            yield client
            return
        runtime = LocalRuntime(client.log, worker=False, definitions=client.definitions)
        await runtime.start()
        try:
            yield client
        finally:
            await runtime.stop()


def import_handlers(modules: Iterable[str]) -> list[str]:
    """Import the modules that steps may use, as seen from the current directory; return them.

    Raises:
        HandlerError: One cannot be imported.
    """
    names = [name for module in modules for name in module.split(",") if name]
    if names and os.getcwd() not in sys.path:  # noqa: PTH109 - compared as text
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    for name in names:
        if name.endswith(".py") or "/" in name:
            dotted = name.removesuffix(".py").strip("/").replace("/", ".")
            raise HandlerError(
                "is a path; modules are named with dots", place=f"--handlers {name}", remedy=f"--handlers {dotted}"
            )
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise HandlerError(
                f"no module {error.name!r} can be found",
                place=f"--handlers {name}",
                remedy="Name it as you would import it in Python, from the directory in which you start stepwell.",
            ) from None
        except Exception as error:
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            at = f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace else ""
            raise HandlerError(
                f"cannot be imported: {type(error).__name__}: {error}{at}", place=f"--handlers {name}"
            ) from None
    return names


def parse_input(text: str | None, params: Iterable[str]) -> Any:
    """The input that the options say: ``--input`` JSON or @FILE, with ``--param`` K=V laid over it.

    Raises:
        UsageError: It is no JSON, or cannot be read.
    """
    data: Any = {}
    if text is not None:
        place = "--input"
        if text.startswith("@"):
            place = text[1:]
            try:
                text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
            except FileNotFoundError:
                raise UsageError(
                    "there is no such file", place=place, remedy="--input takes JSON or @FILE."
                ) from None
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"cannot be read: {error}", place=place) from None
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            remedy = "--input takes JSON, or @FILE for a file that holds it."
            raise UsageError(f"is no JSON: {error}", place=place, remedy=remedy) from None
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise UsageError("is not of the form KEY=VALUE", place=f"--param {param}")
        if not isinstance(data, dict):
            raise UsageError("the input must be a mapping where --param is given", place="--input")
        try:
            data[key] = json.loads(value)
        except ValueError:
            data[key] = value
    return data
