"""What every verb needs: a client of the right log, handlers, and errors shown as one message."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib
import json
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer

from stepwell.cli.output import print
from stepwell.errors import ENDED, EndedError, HandlerError, StepwellError
from stepwell.stdout import results

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.schemas.records.sender import Sender

ENDED_EARLY = 1  # by a handler's code: as a workflow that failed
BAD_INPUT = 2
INTERRUPTED = 130
HUNG_UP = 141  # 128 + SIGPIPE: how a program ends whose reader has gone
VALUE_REMEDY = "A value is JSON, or else text; in JSON quotes it is text, whatever it looks like."
_INPUT_REMEDY = "--input takes JSON, or @FILE for a file that holds it; a number in quotes is a text."
_WIND_UP = 2.0  # seconds
INTERNAL = 70  # EX_SOFTWARE of sysexits.h: a bug of ours


class Interrupted(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """The user wants to stop."""


class UsageError(StepwellError):
    """An option's value makes no sense."""


class OutputError(StepwellError):
    """Standard output takes no more."""


class HungUp(Exception):  # noqa: N818 - not an error: whoever read our output has seen enough
    """Nobody reads standard output any more."""


def at(log: str | None) -> str:
    """What a command that is shown to the user needs besides, to look at the same log."""
    return f" --log {shlex.quote(log)}" if log else ""


def drive(
    work: Callable[[], Coroutine[Any, Any, int]], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> int:
    """Run a verb's coroutine to its exit status; Ctrl-C and SIGTERM raise ``Interrupted`` inside it.

    Args:
        loop_factory: Makes the event loop; asyncio's own without one.
    """
    interrupted = over = False

    async def guarded() -> int:
        nonlocal over
        try:
            return await watched()
        finally:
            over = True

    async def watched() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work())

        def interrupt(_number: int, _frame: Any) -> None:
            # Not of the loop: that hears nothing while a definition's Python, or a read from a pipe, does not end.
            nonlocal interrupted
            if interrupted:  # asked twice: at once, then; the log is safe at any moment
                os._exit(INTERRUPTED)
            interrupted = True
            loop.call_soon_threadsafe(task.cancel)

        before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not in the main thread
                before[number] = signal.signal(number, interrupt)
        try:
            status = await task
        except asyncio.CancelledError:
            if interrupted:
                raise Interrupted from None
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        await _end_what_is_left()
        if task.cancelling() and not interrupted:
            raise asyncio.CancelledError  # which the verb took for a wish of its user
        return status

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            try:
                return runner.run(guarded())
            except RuntimeError:
                if over:
                    raise
                raise _ended("it stopped the event loop") from None
    except asyncio.CancelledError:
        raise _ended("it cancelled its task") from None
    except SystemExit as error:  # of a callback; whatever status it names, nothing was completed
        raise _ended(f"SystemExit: {error.code}") from None


async def _end_what_is_left() -> None:
    """End tasks that handlers have left behind; who does not end in a moment is not waited for, as asyncio would."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, stubborn = await asyncio.wait(left, timeout=_WIND_UP)
        for task in stubborn:
            asyncio.tasks._unregister_task(task)  # noqa: SLF001 - documented in "Extending asyncio"


def _ended(how: str) -> EndedError:
    return EndedError(f"the program was ended by code that runs in it ({how})", remedy=ENDED)


def finish(
    work: Callable[[], Coroutine[Any, Any, int]], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> NoReturn:
    """Run a verb's coroutine, and end the verb with its exit status; arguments as of ``drive``."""
    try:
        status = drive(work, loop_factory)
    except OSError as error:
        raise told_apart(error) from error  # typer would take a closed pipe for exit status 1: "failed"
    raise typer.Exit(status)


def told_apart(error: BaseException) -> BaseException:
    """The error that a failed ``print`` of ours stands for; any other error as it is."""
    if not isinstance(error, OSError) or error.filename is not None or isinstance(error, FileNotFoundError):
        return error
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", "")) if trace else ""
    if module.partition(".")[0] not in ("click", "typer") and not module.startswith("stepwell.cli."):
        return error
    return HungUp() if isinstance(error, BrokenPipeError) else _output_error(error)


def _output_error(error: OSError) -> OutputError:
    return OutputError(f"cannot write to standard output: {error.strerror or error}")


def show_error(error: BaseException, *, as_json: bool = False) -> int:
    """Print an error as one message; return the exit status that goes with it.

    Args:
        as_json: Print it on stdout too, as a JSON object.
    """
    error = told_apart(error)
    if isinstance(error, Interrupted):
        return INTERRUPTED
    if isinstance(error, HungUp):
        return HUNG_UP
    if isinstance(error, StepwellError):
        _tell(f"error: {error}")
        if as_json and not isinstance(error, OutputError):
            print_error(error.message, type(error).__name__, place=error.place, remedy=error.remedy)
        return ENDED_EARLY if isinstance(error, EndedError) else BAD_INPUT
    if isinstance(error, TimeoutError):
        _tell(f"error: {error}")
        if as_json:
            print_error(str(error), "TimeoutError")
        return BAD_INPUT
    message = f"a bug in Stepwell: {type(error).__name__}: {error}"
    remedy = "Nothing that was acknowledged is lost. STEPWELL_DEBUG=1 shows where it happened."
    _tell(f"error: {message}\n  {remedy}")
    if as_json:
        print_error(message, type(error).__name__, remedy=remedy)
    if os.environ.get("STEPWELL_DEBUG"):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    return INTERNAL


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(text, file=sys.stderr)


def print_error(message: str, kind: str, *, place: str = "", remedy: str = "") -> None:
    """Print an error on stdout, for the programs that asked for ``--json``."""
    error = {"message": message, "place": place, "remedy": remedy, "type": kind}
    with contextlib.suppress(OSError):  # it has been told on stderr
        print(json.dumps({"error": error}, indent=2, ensure_ascii=False))


def leave(code: int) -> NoReturn:
    """End the process. A handler's thread cannot be stopped: where one still runs, do not wait for it."""
    if any(thread.name.startswith("stepwell") for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def flushed(code: Any) -> int:
    """Write out what is still buffered; return the exit status, a worse one if that failed."""
    status = code if isinstance(code, int) else 0 if code is None else BAD_INPUT
    out: TextIO | None = results()  # None where the process was started without one
    try:
        if out is not None:
            out.flush()
    except OSError as error:
        _let_go(out)
        if not isinstance(error, BrokenPipeError):
            _tell(f"error: {_output_error(error)}")
        status = status or (HUNG_UP if isinstance(error, BrokenPipeError) else BAD_INPUT)
    err: TextIO | None = sys.stderr
    try:
        if err is not None:
            err.flush()
    except OSError:
        _let_go(err)
    return status


def _let_go(stream: TextIO | None) -> None:
    """Let a stream's buffer go nowhere, so that the interpreter does not fail on it once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def user_name() -> str:
    """Who uses this terminal; empty where nobody can tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return ""


def this_sender() -> Sender:
    """Who asks for what the verbs send, and from where."""
    from stepwell.schemas.records.sender import Sender, tidy  # noqa: PLC0415 - start-up time

    return Sender(tidy(user_name()), tidy(f"cli {socket.gethostname()}"))


@contextlib.asynccontextmanager
async def client_of(log: str | None, *, create: bool = False, engine: bool = False) -> AsyncIterator[Client]:
    """A client of a log.

    Args:
        create: Make the log if there is none.
        engine: If no engine works on the log, run one in here, so that a command is decided now.
    """
    from stepwell.client.connect import connect  # noqa: PLC0415 - start-up time
    from stepwell.client.embedded import LocalRuntime  # noqa: PLC0415

    by, via = this_sender()
    async with connect(log, embedded=False, create=create, by=by, via=via) as client:
        if not engine or await client.engine_is_live():
            yield client
            return
        runtime = LocalRuntime(client.log, worker=False, definitions=client.registry)
        await runtime.start()
        try:
            yield client
        finally:
            await runtime.stop()


def import_handlers(modules: Iterable[str], *, place: str = "") -> list[str]:
    """Import the modules that steps may use, as seen from the current directory; return them.

    Args:
        place: Where they are named; by default by ``--handlers``.

    Raises:
        HandlerError: One cannot be imported.
    """
    names = [name for module in modules for name in module.split(",") if name]
    if names:
        import_from(os.getcwd())  # noqa: PTH109 - compared as text
    for name in names:
        if name.endswith(".py") or "/" in name:
            dotted = name.removesuffix(".py").strip("/").replace("/", ".")
            raise HandlerError(
                "is a path; modules are named with dots", place=f"--handlers {name}", remedy=f"--handlers {dotted}"
            )
        import_module(name, place=place or f"--handlers {name}")
        _check_found_here(name, place=place or f"--handlers {name}")
    return names


def import_from(directory: str) -> None:
    """Let modules be imported from a directory that people, and steps, may write into: after all others.

    Were it first, a file in it would stand in for any module that something imports later.
    """
    if directory not in sys.path:
        sys.path.append(directory)


def _check_found_here(name: str, *, place: str) -> None:
    """Check that a module whose file is in the working directory has not been found elsewhere."""
    here = Path.cwd()
    first = name.partition(".")[0]
    mine = next((path for path in (here / f"{first}.py", here / first / "__init__.py") if path.is_file()), None)
    found = getattr(sys.modules.get(first), "__file__", None)
    if mine is not None and (found is None or Path(found).resolve() != mine.resolve()):
        raise HandlerError(
            f"Python knows another module as {first!r}: {found or 'a built-in one'}",
            place=place,
            remedy=f"Rename {mine.relative_to(here)}: what is installed comes first.",
        )


def paths_of(modules: Iterable[str], *, strict: bool) -> list[str] | None:
    """Import the modules that steps may use; return those from which definitions may name functions by dotted path.

    Args:
        strict: Registered functions only: None is returned.

    Raises:
        HandlerError: One cannot be imported.
    """
    names = import_handlers(modules)
    return None if strict else names


def import_module(name: str, *, place: str) -> None:
    """Import a module that its user has written.

    Raises:
        HandlerError: It cannot be imported.
    """
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # it is foreign code that runs while it is imported
        raise _not_imported(name, error, place) from None


def _not_imported(name: str, error: BaseException, place: str) -> HandlerError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (name == missing or name.startswith(f"{missing}.")):
        return HandlerError(
            f"no module {missing!r} can be found",
            place=place,
            remedy="Name it as you would import it in Python, from the directory in which you start stepwell.",
        )
    if missing:
        return HandlerError(
            f"module {name!r} cannot be imported: it needs {missing!r}, which is not installed",
            place=place,
            remedy="Install it into the environment in which stepwell runs.",
        )
    if isinstance(error, SystemExit):
        return HandlerError(
            f"module {name!r} cannot be imported: it ends the program (SystemExit: {error.code})",
            place=place,
            remedy='Put what a script does under `if __name__ == "__main__":`.',
        )
    where, text = "", str(error)
    trace = error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen importlib"):
            where = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        where, text = f" ({error.filename}, line {error.lineno})", error.msg
    return HandlerError(f"module {name!r} cannot be imported: {type(error).__name__}: {text}{where}", place=place)


def parse_input(text: str | None, params: Iterable[str]) -> Any:
    """The input that the options say: ``--input`` JSON or @FILE, with ``--param`` K=V laid over it.

    Raises:
        UsageError: It is no JSON, or cannot be read.
    """
    from stepwell.schemas.definitions.json_text import JsonError, read_json, value_of  # noqa: PLC0415 - start-up time

    data: Any = {}
    if text is not None:
        place = "--input"
        if text.startswith("@"):
            place = text[1:]
            text = _input_file(place)
        try:
            data = read_json(text)
        except JsonError as error:
            raise UsageError(error.what, place=_within(place, error.place), remedy=_INPUT_REMEDY) from None
    given: set[str] = set()
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise UsageError("is not of the form KEY=VALUE", place=f"--param {param}")
        if not isinstance(data, dict):
            raise UsageError("the input must be a mapping where --param is given", place="--input")
        if key in given:
            raise UsageError("is given twice", place=f"--param {key}", remedy="Leave one of them out.")
        given.add(key)
        try:
            data[key] = value_of(value)
        except JsonError as error:
            raise UsageError(error.what, place=_within(f"--param {key}", error.place), remedy=VALUE_REMEDY) from None
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        remedy = "A character beyond U+FFFF is two escapes, \\ud83d\\ude00; and the terminal has to speak UTF-8."
        raise UsageError("holds half of a character (a surrogate)", place="the input", remedy=remedy) from None
    return data


def _within(place: str, inner: str) -> str:
    return f"{place}: {inner}" if inner else place


def _input_file(place: str) -> str:
    """The text of the file that ``--input`` names, or of standard input for ``-``.

    Raises:
        UsageError: It cannot be read.
    """
    from stepwell.errors import DefinitionError  # noqa: PLC0415 - start-up time
    from stepwell.schemas.definitions.text import read_text  # noqa: PLC0415

    try:
        return sys.stdin.buffer.read().decode() if place == "-" else read_text(Path(place))
    except DefinitionError as error:
        raise UsageError(error.problems[0], place=place, remedy=_INPUT_REMEDY) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", place=place, remedy=_INPUT_REMEDY) from None
