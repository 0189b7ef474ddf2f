"""The log in one local file: SQLite in WAL mode, the default when no Kafka is named.

Several processes of one machine can share the file. What each module beside this one does: ``store`` the file and
its tables, ``writer`` and ``transaction`` group commit, ``reader``, ``tail`` and ``recent`` reading, ``members`` and
``groups`` who is alive and who takes which partition, ``queue`` and ``handover`` the workers' queues; ``services``
is what these are given of each other. What wakes those who wait is in ``stepwell.log.wake``.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from stepwell.errors import LogClosedError, LogError, LogLostError
from stepwell.log.local.appends import Append, delete_some, free_pages
from stepwell.log.local.batches import Batch
from stepwell.log.local.groups import LocalMembership, encode_about, list_members
from stepwell.log.local.handover import Handover
from stepwell.log.local.members import (
    Change,
    Lock,
    MembersDirectory,
    bury,
    enter_group,
    is_listed,
    leave_group,
    register,
)
from stepwell.log.local.queue import Consumer, hand_out
from stepwell.log.local.queue_works import Enqueue
from stepwell.log.local.reader import Reader
from stepwell.log.local.recent import RecentRecords
from stepwell.log.local.resends import EnqueueAgain
from stepwell.log.local.store import (
    MAX_PARTITIONS,
    Durability,
    Opened,
    explain,
    explained,
    open_writable,
)
from stepwell.log.local.transaction import Row, Transaction, Work, make_row
from stepwell.log.local.writer import Writer
from stepwell.log.port import (
    AGAIN,
    ID,
    NO_HEADERS,
    PARTITIONED,
    WORKERS,
    Delivery,
    Description,
    Member,
    NewRecord,
    Outgoing,
    Record,
    TopicPartition,
)
from stepwell.log.sharing import priority_of
from stepwell.log.wake import Doorbell, Signal, failed_future
from stepwell.own_files import claim
from stepwell.tasks import cancel_and_wait

_GLANCE: Final = 0.08  # seconds between looks at whether another process has written, should its ring get lost
_BEAT: Final = 1.0  # seconds between looks at who has died


class LocalLog:
    """The log in one file; see ``port.Log`` for what its methods promise. Made by ``open``.

    What it has beside the port is for the parts of this room: ``services.Services``.
    """

    def __init__(self, path: str, loop: AbstractEventLoop, *, patience: float, max_record_bytes: int) -> None:
        claim(path)
        self.path = path
        self.loop = loop
        self.partitions: int = 0
        self.max_record_bytes = max_record_bytes
        self.groups: Signal = Signal(loop)
        self.reader: Reader
        self._description = Description("file", path, Path(path), finds_keys=True)
        self._patience = patience
        self._writer: Writer
        self._directory = MembersDirectory(path, patience)
        self._lock: Lock | None = None
        self._bell: Doorbell
        self._process = 0
        self._watcher: Task[None] | None = None
        self._recent = RecentRecords(loop, self._check_open)
        self._consumers: list[Consumer] = []
        self._leaving: set[int] = set()
        self._handover = Handover(self)
        self._closed = False
        self._lost: LogLostError | None = None
        self._file = (0, 0)  # device and inode
        self._gone: Future[None] = loop.create_future()

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        partitions: int | None = None,
        durability: Durability = "full",
        patience: float = 5.0,
        max_record_bytes: int = 1_048_576,
    ) -> Self:
        """Open a log, or make it.

        Args:
            path: The file; it and its directory are made if need be.
            partitions: How many partitions a new log gets, 4 if not said. For one that exists it has to agree.
            durability: ``full``: what is acknowledged survives a power failure. ``normal``: it survives a crash
                of the process, and the last moments before a power failure may be lost; several times faster on
                slow disks.
            patience: How many seconds to wait for a lock that another program holds.
            max_record_bytes: The largest value of a record. As Kafka's default, so that what fits here fits there.

        Raises:
            LogCorruptedError: The file is damaged, or is no Stepwell log.
            LogVersionError: A newer Stepwell made it.
            LogLockedError: Another program holds its lock.
            LogError: It cannot be opened for any other reason.
        """
        if sys.platform == "win32":
            raise LogError(
                "the local log needs Linux or macOS", place=str(path), remedy="On Windows, run Stepwell in WSL."
            )
        if partitions is not None and not 0 < partitions <= MAX_PARTITIONS:
            raise LogError(
                f"a log cannot have {partitions} partitions", place=str(path), remedy=f"Choose 1 to {MAX_PARTITIONS}."
            )
        loop = asyncio.get_running_loop()
        log = cls(os.path.abspath(path), loop, patience=patience, max_record_bytes=max_record_bytes)  # noqa: PTH100, ASYNC240 - no I/O
        with explained(log.path):
            log._bell = await Doorbell.hang(log._look_around)
        try:
            await log._start(partitions, durability)
        except BaseException:
            log._closed = True
            await log._bell.close()
            if log._lock is not None:
                log._lock.drop(remove=True)
            raise
        return log

    async def _start(self, partitions: int | None, durability: Durability) -> None:
        port = self._bell.port
        self._writer = Writer(self.path, self.loop, port=port, patience=self._patience)
        opened = await self._writer.start(lambda: self._open_file(partitions, durability), durability)
        self.partitions = opened.partitions
        try:
            self.reader = Reader(self.path, self._patience)
            try:
                assert self._lock is not None  # noqa: S101 - taken while opening
                self._process = await self._change(register(self._lock.path.name, port))
                self._writer.check = self._check_listed
                await self.bury_the_dead()
            except BaseException:
                self.reader.close()
                raise
        except BaseException:
            await self._writer.stop()
            raise
        self._watcher = self.loop.create_task(self._watch(), name="stepwell-log-watch")

    def _open_file(self, partitions: int | None, durability: Durability) -> Opened:
        """Open or make the file, one process after the other. Runs in the writer's thread."""
        with explained(self.path):
            opening = self._directory.lock_opening()
            try:
                opened = open_writable(
                    self.path, partitions=partitions, durability=durability, patience=self._patience
                )
            except BaseException:
                self._directory.forget(opening)
                raise
            try:
                self._file = _identity(self.path)
                self._lock = self._directory.enter()
            except BaseException:
                opened.connection.close()
                raise
            finally:
                opening.drop(remove=False)
            return opened

    def describe(self) -> Description:
        """As the port says: a file, with an index of the keys of ``events``."""
        return self._description

    # Records.

    def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Future[Sequence[int]]:
        """As the port says.

        Raises (through the future):
            RecordTooLargeError: A record is larger than ``max_record_bytes``; nothing is appended.
            LogFullError, LogLockedError, LogCorruptedError, LogError: The commit failed; the log stays usable,
                and appending may be tried again.
            LogClosedError: The log is closed.
        """
        try:
            rows = self.rows_of(Outgoing(topic, partition, records))
        except LogError as error:
            return failed_future(self.loop, error)
        work = Append(self, topic, partition, rows)
        self._writer.submit(work)
        return work.future

    def rows_of(self, outgoing: Outgoing) -> list[Row]:
        """Check and encode records on their way into a partition."""
        self._check(outgoing.topic, outgoing.partition)
        return self._encode(outgoing.records)

    def _encode(self, records: Sequence[NewRecord], *, prioritised: bool = False) -> list[Row]:
        self._check_open()
        path, limit = self.path, self.max_record_bytes
        try:
            if prioritised:
                return [
                    make_row(one, path, limit, priority_of(one.headers.get("priority")), one.headers.get(ID, ""))
                    for one in records
                ]
            return [make_row(one, path, limit) for one in records]
        except (TypeError, ValueError) as error:
            raise explain(error, self.path) from error

    def landed(self, place: TopicPartition, first: int, rows: Sequence[Row], now: int) -> None:
        """Show what was just committed to those who wait for it or will soon read it."""
        self._recent.landed(place, first, rows, now)

    async def read(
        self, topic: str, partition: int, offset: int, *, limit: int = 1000, wait: float | None = 0.0
    ) -> Sequence[Record]:
        """As the port says. Many or large records come in several reads, a few tens of megabytes at a time.

        Raises:
            LogClosedError: The log is closed, or was while this waited.
            LogError: The file cannot be read.
        """
        self._check(topic, partition)
        return await self._recent.read(self.reader, (topic, partition), max(offset, 0), limit, wait)

    async def read_key(self, topic: str, partition: int, key: str, *, offset: int = 0) -> Sequence[Record]:
        """As the port says; ``events`` has an index."""
        self._check(topic, partition)
        self._check_open()
        return await self.reader.read_key(topic, partition, key, max(offset, 0))

    async def known_keys(self, topic: str, partition: int, keys: Collection[str]) -> set[str]:
        """As the port says; ``events`` has an index."""
        self._check(topic, partition)
        self._check_open()
        return await self.reader.known_keys(topic, partition, keys)

    async def end(self, topic: str, partition: int) -> int:
        """As the port says."""
        self._check(topic, partition)
        self._check_open()
        return await self.reader.patiently(self.reader.end, topic, partition)

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """As the port says: at once, in steps that others' appends go between. The newest record stays."""
        self._check(topic, partition)
        while await self._change(delete_some(topic, partition, offset)):
            pass

    async def is_there(self, topic: str) -> bool:  # noqa: ARG002 - whatever its name
        """As the port says: every topic is there, for it need not be made."""
        self._check_open()
        return True

    async def free_space(self) -> None:
        """As the port says: pages that are free go back to the file system, in steps that appends go between.

        The file gets smaller at its next checkpoint.
        """
        left = await self._change(free_pages)
        while left and (after := await self._change(free_pages)) < left:
            left = after

    # Queues and groups.

    def enqueue(self, queue: str, records: Sequence[NewRecord]) -> Future[None]:
        """As the port says; errors as in ``append``."""
        try:
            rows = self._encode(records, prioritised=True)
        except LogError as error:
            return failed_future(self.loop, error)
        batch = Batch(self.loop, len(rows))
        again = [row for row, record in zip(rows, records, strict=True) if AGAIN in record.headers and row.effect]
        if again:
            # What of it is in hand in memory has to be in the file to be found there.
            self._handover.write()
            self._writer.submit(EnqueueAgain(self, queue, again, batch))
            repeated = {row.effect for row in again}
            rows = [row for row in rows if row.effect not in repeated]
        left = hand_out(self._consumers, self._handover, queue, rows, batch)
        if left:
            self._writer.submit(Enqueue(self, queue, left, batch))
        return batch.future

    def gave_back(self) -> None:
        """Entries of the queues wait: our workers may want them."""
        for worker in self._consumers:
            worker.stir()

    async def consume(
        self,
        queues: Sequence[str],
        *,
        prefetch: int,
        accepts: Callable[[Delivery], bool] | None = None,
        about: Mapping[str, str] = NO_HEADERS,
    ) -> Consumer:
        """As the port says."""
        self._check_open()
        number = await self._enter(WORKERS, about, None)
        worker = Consumer(self, self._handover, number, queues, max(prefetch, 1), accepts)
        self._consumers.append(worker)
        return worker

    async def _enter(self, group: str, about: Mapping[str, str], partitions: int | None) -> int:
        """Become a member of a group.

        The writer enters one whose caller is cancelled meanwhile all the same. As long as this process lives, nobody
        would strike it off, and nobody would decide its partitions: it leaves as soon as it is in.

        Args:
            partitions: How many are shared out; None where members get no share.
        """
        entering = asyncio.ensure_future(
            self._change(enter_group(self._process, group, encode_about(about), partitions))
        )
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(self._leave_again)
            raise

    def _leave_again(self, entered: asyncio.Future[int]) -> None:
        if not entered.cancelled() and entered.exception() is None:
            self._leaving.add(entered.result())

    async def strike_off(self, member: int) -> None:
        """End a membership or a worker; where the file cannot be written now, once it can."""
        self._consumers = [worker for worker in self._consumers if worker.member != member]
        if not self._closed:
            self._leaving.add(member)  # or a member that is gone would keep its partitions as long as we live
            await self._change(leave_group(member, self.partitions))
            self._leaving.discard(member)

    async def join(self, group: str, about: Mapping[str, str] = NO_HEADERS) -> LocalMembership:
        """As the port says. Partitions stay with whom they are, as far as equal shares allow."""
        self._check_open()
        return LocalMembership(self, await self._enter(group, about, self.partitions), group)

    async def members(self, group: str) -> Sequence[Member]:
        """As the port says."""
        await self.bury_the_dead()
        return await list_members(self.reader, group)

    async def bury_the_dead(self) -> None:
        """Strike off processes that have ended; what they had taken goes back to the queues."""
        self._check_open()
        rows = await self.reader.ask("SELECT id, name FROM processes WHERE id != ?", (self._process,))
        with explained(self.path):
            dead = [number for number, name in rows if self._directory.is_dead(name)]
        if dead:
            await self._change(bury(dead, self.partitions, died=True))

    # Watching, and the end.

    def submit(self, work: Work) -> None:
        """Hand work to the writer."""
        self._writer.submit(work)

    async def _change(self, act: Callable[[Transaction], int]) -> int:
        future: Future[int] = self.loop.create_future()
        self._writer.submit(Change(future, act, self._changed))
        return await future

    def _changed(self) -> None:
        self.groups.fire()
        self.gave_back()

    def _look_around(self) -> None:
        """Another process has written, or may have: wake those whom it may concern."""
        if self._closed:
            return
        self._recent.look(self.reader)
        self._changed()

    async def _watch(self) -> None:
        version, beat = -1, self.loop.time() + _BEAT
        while True:
            await asyncio.sleep(_GLANCE)
            # What is wrong with the file is told to those who read and write it; here it only has to pass.
            with suppress(sqlite3.Error, LogError):
                now = self.reader.version()
                if now != version:
                    version = now
                    self._look_around()
                    if not await self.reader.ask("SELECT 1 FROM processes WHERE id = ?", (self._process,)):
                        self._lose(self._struck_off())
                if self.loop.time() > beat:
                    beat = self.loop.time() + _BEAT
                    self._look_at_our_files()
                    await self.bury_the_dead()
                    for member in tuple(self._leaving):
                        await self.strike_off(member)

    def _look_at_our_files(self) -> None:
        """See that the log is the file that was opened, and that others can see that we live."""
        found = _identity(self.path)
        if found != self._file:
            what = "is not there any more" if found == (0, 0) else "is another file now"
            remedy = (
                "What was acknowledged is in the file that was opened. Put that in its place, and start again; a new "
                "log is made where there is none."
            )
            self._lose(LogLostError(f"the log file {what}", restart=False, place=self.path, remedy=remedy))
        elif self._lock is not None:
            with suppress(OSError):  # where that is not possible, others strike us off, and we are told
                self._lock.restore()

    def _struck_off(self) -> LogLostError:
        return LogLostError(
            "others took this process for dead, and go on without it: it was stopped, or its lock file was removed",
            restart=True,
            place=str(self._directory.path),
            remedy="Start it again; and let nobody tidy up that directory.",
        )

    def _check_listed(self, tx: Transaction) -> None:
        """What we still have in mind must not be written once others have our steps and partitions."""
        if not self._closed and not is_listed(tx, self._process):
            raise self._struck_off()

    def _lose(self, error: LogLostError) -> None:
        """End whatever waits for the log, and whatever is asked of it from now on."""
        if self._lost is None and not self._closed:
            self._lost = error
            self._writer.refuse(error)
            self._recent.close(error)
            self.groups.fire(error)
            for worker in self._consumers:
                worker.lose(error)

    def _check(self, topic: str, partition: int) -> None:
        most = self.partitions if topic in PARTITIONED else MAX_PARTITIONS
        if not 0 <= partition < most:
            raise LogError(
                f"{topic} has no partition {partition}",
                place=self.path,
                remedy=f"It has {most}: 0 to {most - 1}. The number is fixed when the log is made.",
            )

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError("the log is closed", place=self.path)
        if self._lost is not None:
            raise self._lost

    async def close(self) -> None:
        """As the port says. Closing again does nothing."""
        await self._shut(tidy=True)

    async def _shut(self, *, tidy: bool) -> None:
        """Close; without ``tidy`` it is left as by a process that was killed."""
        if self._closed:
            await asyncio.shield(self._gone)
            return
        self._closed = True
        try:
            closed = LogClosedError("the log was closed", place=self.path)
            for worker in self._consumers:
                worker.shut()
            if tidy:
                self._handover.give_up()
            else:
                self._handover.drop(closed)
            self._recent.close(closed)
            self.groups.fire(closed)
            if self._watcher is not None:
                await cancel_and_wait(self._watcher, report=True)
            if tidy:
                with suppress(LogError):  # whoever comes next finds our lock free, and buries us
                    await self._change(bury([self._process], self.partitions, died=False))
            self.reader.close()
            await self._writer.stop()
            if self._lock is not None:
                self._lock.drop(remove=tidy)
            await self._bell.close()
        finally:
            self._gone.set_result(None)


def _identity(path: str) -> tuple[int, int]:
    """Which file this is; zeros where there is none, or none that we may look at."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a string all the way
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
