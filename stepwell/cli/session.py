"""A verb's client of the right log."""

from __future__ import annotations

import contextlib
import getpass
import shlex
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from stepwell.schemas.records.sender import Sender, tidy

if TYPE_CHECKING:
    from stepwell.client.client import Client


def at(log: str | None) -> str:
    """What a command that is shown to the user needs besides, to look at the same log."""
    return f" --log {shlex.quote(log)}" if log else ""


def user_name() -> str:
    """Who uses this terminal; empty where nobody can tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return ""


def this_sender() -> Sender:
    """Who asks for what the verbs send, and from where."""
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
