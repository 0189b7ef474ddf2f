"""Ending tasks: the one place where a task is cancelled and waited for."""

from __future__ import annotations

import asyncio
from typing import Any


async def cancel_and_wait(*tasks: asyncio.Future[Any], report: bool = False) -> list[BaseException]:
    """Cancel all tasks, then wait until each of them has ended.

    A task may take its time to end, since it may await something in its ``finally``; it may also end with a result or
    an error in spite of the cancellation. Tasks that have ended before are left as they are.

    A cancellation of the caller is not swallowed. Where it comes while the caller waits here, it is passed on to the
    tasks, they are waited for nevertheless, and it is raised then: whoever has called this leaves no task behind.

    Args:
        tasks: Tasks or other futures, of the running loop. None of them may be the task of the caller.
        report: Give each error to the event loop's exception handler, which logs it, as asyncio itself does with the
            error of a task that nobody has asked for. Else the errors are only returned.

    Returns:
        The errors that tasks have ended with, before or after they were cancelled, in the order of the tasks. A
        cancellation is no error. asyncio takes each of them as asked for: who throws this list away hides them.

    Raises:
        CancelledError: The caller was cancelled meanwhile.
    """
    for task in tasks:
        task.cancel()
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        ended = [task for task in tasks if not task.cancelled() and task.exception() is not None]
        if report:
            for task in ended:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a task has ended with an error", "exception": task.exception(), "future": task}
                )
    return [error for task in ended if (error := task.exception()) is not None]
