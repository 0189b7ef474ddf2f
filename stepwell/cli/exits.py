"""How the command ends: its exit statuses, and each error shown as one message."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from typing import Any, Final, NoReturn, TextIO

from stepwell.cli.output import print
from stepwell.errors import EndedError, StepwellError
from stepwell.stdout import results

ENDED_EARLY: Final = 1  # by a handler's code: as a workflow that failed
BAD_INPUT: Final = 2
AWAY: Final = 75  # EX_TEMPFAIL of sysexits.h; whoever restarts services may try again
INTERNAL: Final = 70  # EX_SOFTWARE of sysexits.h: a bug of ours
INTERRUPTED: Final = 130
HUNG_UP: Final = 141  # 128 + SIGPIPE: how a program ends whose reader has gone


class Interrupted(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """The user wants to stop."""


class UsageError(StepwellError):
    """An option's value makes no sense."""


class MissingExtraError(StepwellError):
    """A verb needs a package that is not installed."""


class OutputError(StepwellError):
    """Standard output takes no more."""


class HungUp(Exception):  # noqa: N818 - not an error: whoever read our output has seen enough
    """Nobody reads standard output any more."""


def told_apart(error: BaseException) -> BaseException:
    """The error that a failed ``print`` of ours stands for; any other error as it is."""
    if not isinstance(error, OSError) or error.filename is not None or isinstance(error, FileNotFoundError):
        return error
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", "")) if trace else ""
    if module.partition(".")[0] != "click" and not module.startswith("stepwell.cli."):
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
