"""This process, and what time it is on its machine."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

THIS_PROCESS: Final = secrets.token_hex(8)
"""Names this life of the process: a process that is started again has another one."""


def process_name() -> str:
    """Who this process is, for people: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def no_quiet_exit(status: int, words: str) -> Iterator[None]:
    """While this lasts, ``os._exit(0)`` does not end this process as if all was well.

    Foreign code may call it at any depth, and nothing can be cleaned up then. A process that is forked from this one
    is left alone: ``multiprocessing`` ends its children this way.

    Args:
        status: The exit status in place of 0.
        words: What is said on stderr.
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
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
