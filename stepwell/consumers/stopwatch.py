"""How long a handler runs, and how much CPU it uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import get_ident
from typing import Any

from stepwell.core.attempts import LONGEST_WORKER, Effort


class Stopwatch:
    """Runs from the beginning of one attempt. Made in the loop, by whose clock it goes.

    Args:
        worker: Who makes the attempt.
    """

    __slots__ = ("_began", "_cpu", "_home", "_worker")

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._began = asyncio.get_running_loop().time()
        self._home = get_ident()
        self._cpu = 0.0  # seconds; written by the function's thread when it ends

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in its thread, and note the CPU that it uses there.

        Where a simulation calls it in the loop's own thread, nothing is noted: no two runs would be the same.
        """
        if get_ident() == self._home:
            return function(*arguments)
        began = time.thread_time()
        try:
            return function(*arguments)
        finally:
            self._cpu = time.thread_time() - began

    def effort(self) -> Effort:
        """What the attempt took, if it ends now. The CPU of a function that still runs is not known: 0."""
        took = asyncio.get_running_loop().time() - self._began
        return Effort(self._worker[:LONGEST_WORKER], round(took * 1000), round(self._cpu * 1000))
