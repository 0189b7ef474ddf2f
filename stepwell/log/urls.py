"""Which log a URL means: ``file:PATH`` or, one day, ``kafka://…``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, cast
from urllib.parse import parse_qsl, unquote

from stepwell.errors import LogError
from stepwell.log._store import Durability
from stepwell.log.local import LocalLog
from stepwell.log.port import Log

DEFAULT_URL: Final = "file:.stepwell/log.db"
VARIABLE: Final = "STEPWELL_LOG"


async def open_log(url: str | None = None, *, create: bool = True) -> Log:
    """Open the log that a URL names.

    Args:
        url: ``file:PATH``, with ``?partitions=N`` for a new one and ``?synchronous=normal`` for commits that do
            not wait for the disk. Without it, the environment's ``STEPWELL_LOG``; without that, the file
            ``.stepwell/log.db`` in the working directory.
        create: Make a log that does not exist; otherwise that is an error.

    Raises:
        LogError: The URL cannot be understood, or the log cannot be opened (see ``LocalLog.open``).
    """
    url = url or os.environ.get(VARIABLE) or DEFAULT_URL
    scheme, colon, rest = url.partition(":")
    if colon and scheme == "kafka":
        raise LogError(
            "this version of Stepwell has the file log only, not Kafka",
            place=url,
            remedy=f"Use a file, such as {DEFAULT_URL}; processes of one machine can share it.",
        )
    if not colon or scheme != "file":
        raise LogError(
            f"{scheme!r} is no kind of log" if colon else "the log's URL has no scheme",
            place=url,
            remedy=f"Write file:PATH, such as {DEFAULT_URL if colon else f'file:{url}'}.",
        )
    text, _, query = rest.partition("?")
    if text.startswith("//"):
        host, slash, text = text[2:].partition("/")
        text = slash + text
        if host not in {"", "localhost"}:
            raise LogError(
                "a file's URL names no other machine",
                place=url,
                remedy=f"For a relative path write file:{host}{text}.",
            )
    if not text:
        raise LogError("the URL names no file", place=url, remedy=f"Write file:PATH, such as {DEFAULT_URL}.")
    partitions: int | None = None
    durability: Durability = "full"
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "partitions" and value.isascii() and value.isdigit():
            partitions = int(value)
        elif name == "synchronous" and value in {"full", "normal"}:
            durability = cast("Durability", value)
        else:
            raise LogError(
                f"{name}={value} means nothing to the file log",
                place=url,
                remedy="It knows partitions=N, synchronous=full and synchronous=normal.",
            )
    path = Path(unquote(text)).expanduser()  # noqa: ASYNC240 - no I/O
    if not create and not path.exists():
        raise LogError(
            "there is no log yet",
            place=str(path),
            remedy=f"`stepwell run FILE` makes one; --log, or {VARIABLE}, says where it is.",
        )
    return await LocalLog.open(path, partitions=partitions, durability=durability)
