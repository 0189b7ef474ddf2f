"""How a verb runs: its coroutine on an event loop, which Ctrl-C and SIGTERM interrupt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

from stepwell.cli.exits import ENDED_EARLY, INTERRUPTED, Interrupted, told_apart
from stepwell.errors import ENDED, EndedError
from stepwell.process import no_quiet_exit

_WIND_UP: Final = 2.0  # seconds


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
        with (
            no_quiet_exit(ENDED_EARLY, f"error: {_ended('os._exit(0)')}"),
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
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
) -> int:
    """Run a verb's coroutine; return its exit status. Arguments as of ``drive``."""
    try:
        return drive(work, loop_factory)
    except OSError as error:
        raise told_apart(error) from error  # click would take a closed pipe for exit status 1: "failed"


def fast_loop() -> asyncio.AbstractEventLoop:
    """An event loop for many connections: uvloop's, which takes a fifth less of the CPU; else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - an extra, and not for every platform
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
