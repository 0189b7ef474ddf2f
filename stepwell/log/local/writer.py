"""The writer: one thread that commits, in groups, whatever the event loop hands over.

While one commit waits for the disk, more work arrives; all of it goes into the next commit. So a commit of one
record costs one flush of the disk, and so does a commit of a thousand.

Every step of a SQLite statement lets go of Python's interpreter lock and asks for it again, and with a busy event
loop the answer may take 5 ms. So this thread takes few steps: hundreds of rows are one INSERT statement, and the
results of a commit go back to the loop in one call.

It may even take seconds. A busy loop lets go of the lock for a microsecond in each of its turns, which wakes this
thread and resets the 5 ms, and has it back before this thread runs, above all when both share a core (measured: a
commit took 2.5 s beside a loop with turns of 0.5 ms). So while work is on its way, the loop's thread steps aside
now and then (``_give_way``).
"""

from __future__ import annotations

import random
import socket
import sqlite3
import threading
import time
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from stepwell.backoff import Backoff
from stepwell.errors import LogClosedError, LogError
from stepwell.log.local.store import Durability, Opened, explain, is_busy, is_of_the_file
from stepwell.log.local.transaction import Transaction, Work

_HAND_OVER_AT: Final = 256  # works; below that, what one turn of the loop asks for is handed over as one
_COMMIT_BYTES: Final = 16 * 1024 * 1024  # so that a flood cannot make one endless commit
_GIVE_WAY_AFTER: Final = 0.001  # seconds that the loop goes on while work is on its way; an idle one needs less
_GIVE_WAY_FOR: Final = 0.0005  # at most, and until the thread is away at the disk, where it needs no lock
_NAP: Final = 0.00005
_FIRST_REST: Final = 0.0001  # seconds before one asks again for a file that another process writes to
_LONGEST_REST: Final = 0.005
_INDEX_IDLE: Final = 1024  # records of a partition that are not in the index by key: time to index when idle …
_INDEX_BUSY: Final = 8192  # … and even when busy, because reading a key scans what is not indexed
_FLUSH_WITHIN: Final = 0.02  # seconds; the transition that follows an outcome comes sooner where an engine is live
_PAGES_GIVEN_BACK: Final = 2000  # at once, after each deletion of some


class _Flush:
    """Take along to the disk what was committed before without waiting for it."""

    durable = True
    size = 0

    def apply(self, tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO meta VALUES ('flushed_at', ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
            (tx.now,),
        )

    def done(self) -> None:
        """Nobody waits for it."""

    def failed(self, error: LogError) -> None:
        """It is tried again."""


class _IndexKeys:
    """Bring the index by key up to date for one partition of ``events``."""

    durable = False
    size = 0

    def __init__(self, start: int, upto: int, base: int) -> None:
        self._start = start
        self._upto = upto
        self._base = base

    def apply(self, tx: Transaction) -> None:
        tx.execute(
            "INSERT OR IGNORE INTO by_key SELECT key, id FROM records WHERE id >= ? AND id < ? ORDER BY key, id",
            (self._start, self._upto),
        )
        tx.execute(
            "INSERT INTO indexed VALUES (?, ?) ON CONFLICT(base) DO UPDATE SET upto = max(upto, excluded.upto)",
            (self._base, self._upto),
        )

    def done(self) -> None:
        """Nobody waits for it."""

    def failed(self, error: LogError) -> None:
        """It is tried again after the next commit."""


class Writer:
    """The writing end of a log file: a thread, its connection, and the way back to the event loop.

    Args:
        path: The file, for messages.
        loop: Where results go.
        patience: How many seconds to wait for another program's lock.
        port: Our own doorbell, which our own commits need not ring.
    """

    def __init__(self, path: str, loop: AbstractEventLoop, *, port: int, patience: float) -> None:
        self._path = path
        self._loop = loop
        self._port = port
        self._patience = patience
        self._inbox: SimpleQueue[list[Work] | None] = SimpleQueue()
        self._pending: list[Work] = []
        self._on_their_way = 0  # works in the thread's hands
        self._giving_way: TimerHandle | None = None
        self._moved = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._stopped: Future[None] = loop.create_future()
        self._refusal: LogError | None = None
        self.check: Callable[[Transaction], None] = lambda _: None  # called in the thread when others have written
        # From here on: the thread's own.
        self._connection: sqlite3.Connection
        self._tx: Transaction
        self._bell: socket.socket
        self._ending = False
        self._away = False  # waiting for the disk, or for another process; the loop's thread looks at it
        self._durability: Durability = "full"
        self._synchronous: Durability = "full"
        self._version = -1  # of the file's content, as this connection saw it last
        self._unflushed = False  # whether commits before were not waited for by anyone since
        self._peers: list[int] = []  # ports of the other processes
        self._indexed: dict[int, int] = {}  # by base: ids below this are in the index by key

    async def start(self, opening: Callable[[], Opened], durability: Durability) -> Opened:
        """Open the database in the writer's thread, so that the loop never waits for the disk."""
        self._durability = self._synchronous = durability
        ready: Future[Opened] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(opening, ready), name="stepwell-log", daemon=True)
        self._thread.start()
        try:
            return await ready
        except BaseException:
            self._inbox.put(None)
            self._thread.join()
            raise

    def submit(self, work: Work) -> None:
        """Hand over work. What one turn of the loop asks for is handed over together."""
        if self._stopping or self._refusal is not None:
            work.failed(self._refusal or LogClosedError("the log is closed", place=self._path))
            return
        self._pending.append(work)
        if len(self._pending) == 1:
            self._loop.call_soon(self._hand_over)
        elif len(self._pending) >= _HAND_OVER_AT:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._pending:
            self._on_their_way += len(self._pending)
            self._inbox.put(self._pending)
            self._pending = []
            if self._giving_way is None:
                self._giving_way = self._loop.call_later(_GIVE_WAY_AFTER, self._give_way)

    def _give_way(self) -> None:
        if not self._on_their_way:
            self._giving_way = None
            return
        if self._moved:  # it has had its turn since we last looked
            self._moved = False
            self._giving_way = self._loop.call_later(_GIVE_WAY_AFTER, self._give_way)
            return
        give_up = time.perf_counter() + _GIVE_WAY_FOR
        time.sleep(_NAP)
        while not self._away and time.perf_counter() < give_up:
            time.sleep(_NAP)
        self._giving_way = self._loop.call_later(_GIVE_WAY_AFTER, self._give_way)

    def refuse(self, error: LogError) -> None:
        """Take no more work: all of it fails with this."""
        self._refusal = error

    async def stop(self) -> None:
        """Finish what was submitted and end the thread."""
        if not self._stopping:
            self._stopping = True
            self._hand_over()
            self._inbox.put(None)
        await self._stopped
        if self._thread is not None:
            self._thread.join()
        if self._giving_way is not None:
            self._giving_way.cancel()

    def _committed(self, works: list[Work]) -> None:
        self._on_their_way -= len(works)
        self._moved = True
        for work in works:
            work.done()

    def _lost(self, works: list[Work], error: LogError) -> None:
        self._on_their_way -= len(works)
        for work in works:
            work.failed(error)

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed under us: nobody is left to be told
            self._loop.call_soon_threadsafe(callback, *args)

    # What follows runs in the thread.

    def _run(self, opening: Callable[[], Opened], ready: Future[Opened]) -> None:
        try:
            opened = opening()
        except Exception as error:
            self._tell(_fail, ready, error)
            return
        self._connection = opened.connection
        self._tx = Transaction(opened.connection)
        self._bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._bell.setblocking(False)
        try:
            with suppress(sqlite3.Error):
                # BEGIN is tried again by hand: SQLite's own way of waiting sleeps for milliseconds at once.
                self._connection.execute("PRAGMA busy_timeout=0")
            self._tell(_resolve, ready, opened)
            while works := self._next():
                self._commit(works)
                self._index()
            self._flush()
        finally:
            self._bell.close()
            with suppress(sqlite3.Error):
                self._connection.close()
            self._tell(_resolve, self._stopped, None)

    def _next(self) -> list[Work]:
        """All the work there is, up to a size; none at the end."""
        works: list[Work] = []
        size = 0
        while not self._ending and size < _COMMIT_BYTES and (not works or not self._inbox.empty()):
            try:
                more = self._inbox.get(timeout=_FLUSH_WITHIN if self._unflushed else None)
            except Empty:
                self._flush()
                continue
            if more is None:
                self._ending = True
            else:
                works = works + more if works else more
                size += sum(work.size for work in more)
        return works

    def _flush(self) -> None:
        if self._unflushed:
            self._commit([_Flush()], tell=False)

    def _commit(self, works: list[Work], *, tell: bool = True) -> bool:
        self._away = False
        try:
            self._transact(works)
        except Exception as error:
            self._undo()
            if len(works) > 1 and not is_of_the_file(error):
                for work in works:  # one of them is wrong in itself: only that one shall fail
                    self._commit([work])
            elif tell:
                self._tell(self._lost, works, explain(error, self._path))
            return False
        if not tell:
            return True  # nothing that another process would wait for
        self._tell(self._committed, works)
        for port in self._peers:
            with suppress(OSError):
                self._bell.sendto(b"\0", ("127.0.0.1", port))
        if self._tx.shrinks:
            # Only executescript() steps through it to its end; and it wants to be outside a transaction. The file
            # gets smaller at the next checkpoint.
            with suppress(sqlite3.Error):
                self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})")
        return True

    def _transact(self, works: list[Work]) -> None:
        execute, tx = self._connection.execute, self._tx
        durability = self._durability if any(work.durable for work in works) else "normal"
        if durability != self._synchronous:
            execute(f"PRAGMA synchronous={durability}")
            self._synchronous = durability
        self._begin()
        version = execute("PRAGMA data_version").fetchone()[0]
        tx.begin()
        if version != self._version:  # someone else has written since our last commit
            tx.forget()
            self._indexed.clear()
            self.check(tx)
            self._version = version
        for work in works:
            work.apply(tx)
        tx.flush()
        if tx.peers is None:
            found = execute("SELECT port FROM processes WHERE port != ?", (self._port,)).fetchall()
            tx.peers = self._peers = [port for (port,) in found]
        self._away = True
        execute("COMMIT")
        # The file of SQLite's log is flushed as a whole.
        self._unflushed = durability != self._durability and (self._unflushed or any(work.size for work in works))

    def _begin(self) -> None:
        give_up = time.monotonic() + self._patience
        backoff: Backoff | None = None
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > give_up:
                    raise
                self._away = True
                backoff = backoff or Backoff(_FIRST_REST, _LONGEST_REST, factor=1.2)
                time.sleep(backoff.next() * (0.5 + random.random()))  # noqa: S311 - so that two do not keep in step
            else:
                self._away = False
                return

    def _undo(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.rollback()
        self._tx.forget()  # the ends of partitions, above all: they were counted on in vain
        self._indexed.clear()

    def _index(self) -> None:
        """Index what has been appended to ``events``, in chunks: it costs a tenth of doing it record by record."""
        patience = _INDEX_IDLE if self._inbox.empty() else _INDEX_BUSY
        for base, end in self._tx.events_ends():
            start = self._indexed.get(base, end)
            if base not in self._indexed:
                with suppress(sqlite3.Error):
                    row = self._connection.execute("SELECT upto FROM indexed WHERE base = ?", (base,)).fetchone()
                    start = self._indexed[base] = row[0] if row else base
            if end - start >= patience:
                upto = min(end, start + 2 * _INDEX_BUSY)
                if self._commit([_IndexKeys(start, upto, base)], tell=False):
                    self._indexed[base] = upto


def _resolve(future: Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
