"""The file itself: its tables, how it is opened or made, how records are numbered, and what its errors mean.

A record's ``id`` packs topic, partition and offset into SQLite's 63-bit rowid. One integer key beats a two-column
key on a table WITHOUT ROWID by a third here, because whole rows then stay out of the inner pages of the tree. The
end of a partition is the highest id in its range plus one: it needs no counter beside it, as long as the newest
record of a partition is never deleted (``_work.DeleteBefore`` keeps it).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, NamedTuple

from stepwell.errors import (
    LogClosedError,
    LogCorruptedError,
    LogError,
    LogFullError,
    LogLockedError,
    LogUnavailableError,
    LogVersionError,
)
from stepwell.log.port import (
    CLEANUPS,
    COMMANDS,
    CONTROL,
    DEAD_LETTERS,
    DEFINITIONS,
    EVENTS,
    REFUSALS,
    SNAPSHOTS,
    STARTS,
    SUBSCRIPTIONS,
)
from stepwell.private_files import make_file, tell_if_open
from stepwell.process import now_ms

Durability = Literal["full", "normal"]

FORMAT: Final = 1  # raise it when an older Stepwell could no longer read or write the file rightly
APPLICATION_ID: Final = 0x5354574C  # "STWL" in the file's header; `file` shows it, a foreign database lacks it
DEFAULT_PARTITIONS: Final = 4

OFFSET_BITS: Final = 40  # a million million records in a partition
PARTITION_BITS: Final = 15
MAX_PARTITIONS: Final = 1 << PARTITION_BITS
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
TOPIC_SHIFT: Final = OFFSET_BITS + PARTITION_BITS
MAX_TOPICS: Final = 255  # what is left of 63 bits

_ROOM: Final = 65_536  # bytes; SQLite's index of its log grows by half as much at once

EVENTS_NUMBER: Final = 1  # known beforehand, because the index by key covers this topic alone
_TOPICS: Final = {
    EVENTS: EVENTS_NUMBER,
    COMMANDS: 2,
    DEFINITIONS: 3,
    SNAPSHOTS: 4,
    CONTROL: 5,
    DEAD_LETTERS: 6,
    STARTS: 7,
    SUBSCRIPTIONS: 8,  # files that were made without it, or the next, number them when they are first written to
    CLEANUPS: 9,
    REFUSALS: 10,
}

# Tables that files made by earlier versions lack; who does not know them loses what they are for, and no more.
_ADDED: Final = """
-- Entries of the queue that were in the hands of processes that have died: how often.
CREATE TABLE IF NOT EXISTS lost(token INTEGER PRIMARY KEY, times INTEGER NOT NULL);
-- Records that were sent again lately, by their ids, and the entry that each has or had: see `_again`.
CREATE TABLE IF NOT EXISTS sent_again(
  id TEXT PRIMARY KEY, token INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
"""

_SCHEMA: Final = f"""
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE topics(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE records(
  id INTEGER PRIMARY KEY,  -- topic number << {TOPIC_SHIFT} | partition << {OFFSET_BITS} | offset
  key TEXT NOT NULL, headers TEXT, value BLOB NOT NULL, timestamp INTEGER NOT NULL);
-- Where the records of a key are, for `events`. Filled behind the appends, in sorted chunks: an ordinary index
-- touches a page for each live key in every commit and made commits of 200 records four times as slow.
CREATE TABLE by_key(key TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(key, id)) WITHOUT ROWID;
CREATE TABLE indexed(base INTEGER PRIMARY KEY, upto INTEGER NOT NULL);  -- ids below `upto` are in by_key
CREATE TABLE queue(
  id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, priority INTEGER NOT NULL, key TEXT NOT NULL,
  headers TEXT, value BLOB NOT NULL, timestamp INTEGER NOT NULL, claimed_by INTEGER);
CREATE INDEX queue_order ON queue(claimed_by, queue, priority DESC, id);
{_ADDED}CREATE TABLE processes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, pid INTEGER NOT NULL, port INTEGER NOT NULL);
CREATE TABLE members(
  id INTEGER PRIMARY KEY AUTOINCREMENT, process INTEGER NOT NULL, team TEXT NOT NULL, about TEXT,
  shares INTEGER NOT NULL);  -- 1: takes part in sharing out the partitions; 0: a worker
CREATE TABLE assignments(
  team TEXT NOT NULL, partition INTEGER NOT NULL, member INTEGER NOT NULL, PRIMARY KEY(team, partition)
) WITHOUT ROWID;
-- For people with the sqlite3 shell.
CREATE VIEW log AS
  SELECT t.name AS topic, r.id >> {OFFSET_BITS} & {MAX_PARTITIONS - 1} AS partition, r.id & {OFFSET_MASK} AS offset,
    datetime(r.timestamp / 1000, 'unixepoch') AS time, r.key, r.headers, CAST(r.value AS TEXT) AS value
  FROM topics t JOIN records r ON r.id >= t.number << {TOPIC_SHIFT} AND r.id < t.number + 1 << {TOPIC_SHIFT};
CREATE VIEW queues AS
  SELECT q.queue, q.priority, q.id AS token, datetime(q.timestamp / 1000, 'unixepoch') AS time, q.key, q.headers,
    CAST(q.value AS TEXT) AS value, p.pid AS in_hands_of
  FROM queue q LEFT JOIN members m ON m.id = q.claimed_by LEFT JOIN processes p ON p.id = m.process;
"""  # noqa: S608 - numbers


class Opened(NamedTuple):
    """A database that was opened, and what is written in it for good."""

    connection: sqlite3.Connection
    partitions: int


def base_of(topic_number: int, partition: int) -> int:
    """The id of offset 0 of a partition."""
    return topic_number << TOPIC_SHIFT | partition << OFFSET_BITS


def encode_rowids(rowids: list[int]) -> str:
    """Rowids as the one JSON parameter of ``IN (SELECT value FROM json_each(?))``: any number of them."""
    return f"[{','.join(map(str, rowids))}]"


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where Python itself raised."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection stands in the way, so that trying again makes sense."""
    return error_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_of_the_file(error: Exception) -> bool:
    """Whether the trouble is with the file or the disk, rather than with what was to be written."""
    return isinstance(error, sqlite3.Error) and error_code(error) not in {
        0,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
    }


def explain(error: Exception, path: str) -> LogError:
    """What an error of SQLite or of the system means to a user: which file, what is wrong, what to do."""
    if isinstance(error, LogError):
        return error
    if isinstance(error, UnicodeError):
        return LogError("a key or a header is not valid Unicode text", place=path, remedy="Send it as UTF-8.")
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return LogError(
            f"the log cannot be opened: {reason}", place=path, remedy="Check the path and its access rights."
        )
    if not isinstance(error, sqlite3.Error):
        return LogError(f"the record cannot be stored: {error}", place=path, remedy="Check what was appended.")
    if "closed database" in str(error):
        return LogClosedError("the log is closed", place=path)
    return _explain_code(error, error_code(error), path)


def _explain_code(error: sqlite3.Error, code: int, path: str) -> LogError:
    """What a code of SQLite means."""
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return LogCorruptedError(
            f"the file is damaged or is no Stepwell log ({error})",
            place=path,
            remedy="Restore it from a copy, save what is left with `sqlite3 FILE .recover`, or name another file.",
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LogLockedError(
            "another program holds the lock of the log file",
            place=path,
            remedy="Close it (perhaps a sqlite3 shell with an open transaction, or a backup), then try again.",
        )
    if code == sqlite3.SQLITE_FULL or _is_for_want_of_room(error, code, path):
        return LogFullError(
            "there is no room left to append; what was acknowledged before is safe",
            place=path,
            remedy="Make room on the disk; the log goes on by itself.",
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return LogError(
            f"the log cannot be written ({error})",
            place=path,
            remedy="Give this user the right to write to the file and to its directory, or name another file.",
        )
    kind = LogUnavailableError if code == sqlite3.SQLITE_IOERR else LogError  # a disk may come back
    return kind(
        f"the log failed ({error})",
        place=path,
        remedy="Check the disk and the system's own log, then try again.",
    )


def _is_for_want_of_room(error: Exception, code: int, path: str) -> bool:
    """Whether a disk without room may be behind an error: SQLite calls it by several names, as it opens a file."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    if code not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return False
    try:
        room = os.statvfs(os.path.dirname(path) or ".")  # noqa: PTH120 - a string all the way
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _ROOM


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into errors for users."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise explain(error, path) from error


def _connect(path: str, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=patience,
        isolation_level=None,  # transactions begin and end where we say so
        check_same_thread=False,  # opened in one thread, closed in another at times; never used by two at once
        cached_statements=256,  # an INSERT for each number of rows
    )


def open_writable(path: str, *, partitions: int | None, durability: Durability, patience: float) -> Opened:
    """Open the log's file for its writer, or make it. The caller holds the lock for opening (``members``).

    Args:
        path: The file.
        partitions: For a new file: how many. For one that exists it has to agree, or be None.
        durability: ``full``: a commit waits for the disk. ``normal``: it survives a crash of the process, but
            the last commits may be lost with the machine's power.
        patience: How many seconds to wait for a lock.

    Raises:
        LogCorruptedError: It is damaged, or no Stepwell log.
        LogVersionError: A newer Stepwell made it.
        LogLockedError: Another program holds its lock.
        LogError: It cannot be opened for any other reason.
    """
    if os.path.isdir(path):  # noqa: PTH112 - a string all the way, as SQLite wants it
        raise LogError("this is a directory, not a log file", place=path, remedy="Name a file in it.")
    connection = None
    with explained(path):
        try:
            make_file(path)  # SQLite would make it for everybody to read
            tell_if_open(path)
            connection = _connect(path, patience)
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                _make(connection, path, partitions or DEFAULT_PARTITIONS)
            _check_version(connection, path)
            _write_ahead(connection, path)
            made_with = _partitions(connection, path, partitions)
            connection.executescript(_ADDED)
            connection.execute(f"PRAGMA synchronous={durability}")
            connection.execute("PRAGMA fullfsync=1")  # macOS: without it, a flush ends in the disk's own cache
            # 16 MiB between checkpoints: rarer than SQLite's 4, so that fewer pages are written twice.
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA cache_size=-16000")
            return Opened(connection, made_with)
        except BaseException:
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
            raise


def open_readable(path: str) -> sqlite3.Connection:
    """A second connection for the reads of the event loop's thread, beside the writer's."""
    with explained(path):
        connection = _connect(path, 0.02)  # in WAL mode readers do not wait; where they do, the loop must not
        connection.execute("PRAGMA query_only=1")
        connection.execute("PRAGMA cache_size=-16000")
        return connection


def _write_ahead(connection: sqlite3.Connection, path: str) -> None:
    """Readers and writers must not wait for each other. A copy made by VACUUM INTO has lost this setting."""
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise LogError(
            "the file system does not support SQLite's write-ahead log",
            place=path,
            remedy="Put the log on a local disk, not on a network share.",
        )


def _make(connection: sqlite3.Connection, path: str, partitions: int) -> None:
    """Make the tables in an empty file; refuse any other."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise LogCorruptedError(
            "this SQLite file is no Stepwell log",
            place=path,
            remedy="Name another file, or one that is not there yet.",
        )
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only possible before there are tables
    _write_ahead(connection, path)
    topics = ",".join(f"({number},'{name}')" for name, number in _TOPICS.items())
    views = "".join(
        f"CREATE VIEW {name.replace('-', '_')} AS SELECT partition, offset, time, key, headers, value "  # noqa: S608
        f"FROM log WHERE topic = '{name}';\n"
        for name in _TOPICS
    )
    now = now_ms()
    script = f"""
        BEGIN IMMEDIATE;
        {_SCHEMA}{views}
        INSERT INTO topics VALUES {topics};
        INSERT INTO meta VALUES ('format', {FORMAT}), ('partitions', {partitions}), ('created_at', {now});
        PRAGMA application_id={APPLICATION_ID};
        COMMIT;
        """  # noqa: S608 - constants and numbers
    try:
        connection.executescript(script)
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _check_version(connection: sqlite3.Connection, path: str) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if row is None or not isinstance(row[0], int):
        raise LogCorruptedError("the file does not say which format it has", place=path, remedy="Restore a copy.")
    if row[0] > FORMAT:
        raise LogVersionError(
            f"the log has format {row[0]}, and this Stepwell knows formats up to {FORMAT}",
            place=path,
            remedy="Upgrade Stepwell (`pip install -U stepwell`), or name another file.",
        )


def _partitions(connection: sqlite3.Connection, path: str, wanted: int | None) -> int:
    row = connection.execute("SELECT value FROM meta WHERE name = 'partitions'").fetchone()
    if row is None or not isinstance(row[0], int) or not 0 < row[0] <= MAX_PARTITIONS:
        raise LogCorruptedError(
            "the file does not say how many partitions it has", place=path, remedy="Restore it from a copy."
        )
    if wanted not in {None, row[0]}:
        raise LogError(
            f"the log has {row[0]} partitions, and {wanted} were asked for",
            place=path,
            remedy="The number is fixed when the file is made: leave it out, or name a new file.",
        )
    return row[0]
