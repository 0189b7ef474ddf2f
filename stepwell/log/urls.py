"""Opening the log that a URL names."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import cast
from urllib.parse import quote

from stepwell.errors import LogError
from stepwell.log.address import DEFAULT_URL, VARIABLE, LogUrl, chosen_url, parse
from stepwell.log.local.log import LocalLog
from stepwell.log.local.store import APPLICATION_ID, Durability
from stepwell.log.port import Log


async def open_log(url: str | None = None, *, create: bool = True) -> Log:
    """Open the log that a URL names.

    Args:
        url: ``file:PATH``, with ``?partitions=N`` for a new one and ``?synchronous=normal`` for commits that do
            not wait for the disk; or ``kafka://HOST:PORT`` (its options: ``KafkaSettings``). Without it, the
            environment's ``STEPWELL_LOG``; without that, the file ``.stepwell/log.db`` in the working directory.
        create: Make a log that does not exist, or in a file that is empty; otherwise that is an error.

    Raises:
        LogError: The URL cannot be understood, or the log cannot be opened (see ``LocalLog.open``).
    """
    found = parse(chosen_url(url))
    match found.scheme:
        case "file":
            return await _open_file(found, create=create)
        case "kafka":
            return await _open_kafka(found, create=create)
    raise LogError(
        f"{found.scheme!r} is no kind of log" if ":" in found.text else "the log's URL has no scheme",
        place=found.text,
        remedy=f"Write file:PATH, such as {DEFAULT_URL if ':' in found.text else f'file:{found.text}'}, or "
        "kafka://HOST:PORT.",
    )


async def _open_file(url: LogUrl, *, create: bool) -> Log:
    """Open a log in a file."""
    if url.host not in {"", "localhost"}:
        raise LogError(
            "a file's URL names no other machine",
            place=url.text,
            remedy=f"For a relative path write file:{url.place[2:]}.",
        )
    if not url.path:
        raise LogError("the URL names no file", place=url.text, remedy=f"Write file:PATH, such as {DEFAULT_URL}.")
    partitions: int | None = None
    durability: Durability = "full"
    for name, value in url.options:
        if name == "partitions" and value.isascii() and value.isdigit():
            partitions = int(value)
        elif name == "synchronous" and value in {"full", "normal"}:
            durability = cast("Durability", value)
        else:
            raise LogError(
                f"{name}={value} means nothing to the file log",
                place=url.text,
                remedy="It knows partitions=N, synchronous=full and synchronous=normal.",
            )
    path = Path(url.path).expanduser()  # noqa: ASYNC240 - no I/O
    problem = "" if create else _no_log(path)
    if problem:
        remedy = f"`stepwell run FILE` makes a log; --log, or {VARIABLE}, says where it is."
        raise LogError(problem, place=str(path), remedy=remedy)
    return await LocalLog.open(path, partitions=partitions, durability=durability)


async def _open_kafka(url: LogUrl, *, create: bool) -> Log:
    """Open a log in Kafka. Its client is an extra, and takes a while to import."""
    if importlib.util.find_spec("aiokafka") is None:
        raise LogError(
            "Kafka's client is not installed",
            place=url.bare,
            remedy="pip install 'stepwell[kafka]'",
        )
    from stepwell.log.kafka.log import KafkaLog  # noqa: PLC0415
    from stepwell.log.kafka.settings import read_settings  # noqa: PLC0415

    return await KafkaLog.open(read_settings(url, os.environ), create=create)


def _no_log(path: Path) -> str:
    """Why there is no log at a path that could be read; empty if there is one, or if opening it will tell more.

    SQLite reads the header, not we: the newest one may be in the ``-wal`` file, and closing a file of one's own
    would drop the locks that other connections of this process hold on it (sqlite.org/howtocorrupt.html, 2.2).
    """
    if not path.exists():
        return "there is no log yet"
    if not path.is_file():
        return ""
    if not path.stat().st_size:
        return "the file is empty: it holds no log"
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True, timeout=0)) as connection,  # noqa: PTH100 - links stay as they are named
    ):
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            return "this SQLite file holds no log of Stepwell"
    return ""
