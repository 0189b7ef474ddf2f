"""This process, and what time it is on its machine."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import Final

THIS_PROCESS: Final = secrets.token_hex(8)
"""Names this life of the process: a process that is started again has another one."""


def process_name() -> str:
    """Who this process is, for people: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
