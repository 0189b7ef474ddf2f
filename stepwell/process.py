"""The current process: its name, its exit and its clock."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

THIS_PROCESS: Final = secrets.token_hex(8)
"""A random name of this process. A process that is started again has another one."""


def process_name() -> str:
    """Return a name of this process for people: ``HOST:PROCESS_ID``."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def no_quiet_exit(status: int, words: str) -> Iterator[None]:
    """Inside this context, ``os._exit(0)`` ends the process with another status than 0, and with a message.

    A user's code may call ``os._exit`` at any depth, and no cleanup is possible then. A process that is forked from
    this one is not affected: ``multiprocessing`` ends its children this way.

    Args:
        status: The exit status instead of 0.
        words: The message on stderr.
    """
    at_once, here = os._exit, os.getpid()

    def leave(code: int) -> NoReturn:
        if code == 0 and os.getpid() == here:
            os.write(2, f"{words}\n".encode(errors="backslashreplace"))
            code = status
        at_once(code)

    os._exit = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = at_once


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
