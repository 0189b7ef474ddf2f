"""Who is alive, and how a group shares out the partitions.

Each log object holds a lock (``flock``) on a small file of its own. The system frees it the moment its process
ends, however it ends; so a free lock is proof of death, and whoever sees it buries the dead: its memberships end,
and what it had taken from the queues goes back. A stopped process (SIGSTOP) keeps its lock and counts as alive.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
import weakref
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from stepwell.errors import LogError, LogLockedError
from stepwell.log.local.resends import count_lost
from stepwell.log.local.store import encode_rowids
from stepwell.log.local.transaction import Transaction
from stepwell.log.sharing import share_out
from stepwell.private_files import make_directory, opened

if sys.platform != "win32":
    import fcntl

_OPENING: Final = "opening.lock"
MISSING_FOR: Final = (
    5.0  # seconds without its lock file after which a process counts as dead; each looks every second
)


class Lock:
    """An exclusive lock on a file, for as long as this object keeps it open."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        _held.add(self)

    @classmethod
    def take(cls, path: Path, *, make: bool) -> Lock | None:
        """Take the lock if it is free.

        Raises:
            FileNotFoundError: There is no such file, and ``make`` is not set.
        """
        descriptor = _lock(path, make=make)
        return None if descriptor is None else cls(path, descriptor)

    def restore(self) -> None:
        """Make the file anew where somebody has removed it: others must be able to see that we live.

        Raises:
            OSError: That is not possible.
        """
        if self._descriptor < 0:
            return
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                return
        make_directory(self.path.parent)
        descriptor = _lock(self.path, make=True)
        if descriptor is not None:  # else somebody looks at it right now: the next time will do
            os.close(self._descriptor)
            self._descriptor = descriptor

    def drop(self, *, remove: bool) -> None:
        """Give the lock up; and remove the file first, if asked to."""
        if self._descriptor >= 0:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
        _held.discard(self)


def _lock(path: Path, *, make: bool) -> int | None:
    """Lock a file, and give its descriptor; None if somebody else has it."""
    while True:
        descriptor = opened(path, os.O_RDONLY | (os.O_CREAT if make else 0))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # whoever held it before has removed the file meanwhile: try again


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # A forked child shares its parent's locks, and would keep them alive after the parent's death.
    for lock in list(_held):
        lock.drop(remove=False)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go_in_child)


class MembersDirectory:
    """The directory ``<log file>-members``: a lock file for each open log object, and one for opening.

    Args:
        path: The log's file.
        patience: How many seconds to wait while others open it.
    """

    def __init__(self, path: str, patience: float) -> None:
        self._log = path
        self.path: Path = Path(f"{path}-members")
        self._patience = patience
        self._made = False
        self._missing: dict[str, float] = {}  # lock files that are not there, since when

    def lock_opening(self) -> Lock:
        """Keep others from opening or making the file at the same time."""
        self._made = not self.path.exists()
        make_directory(self.path)
        give_up = time.monotonic() + self._patience
        while (lock := Lock.take(self.path / _OPENING, make=True)) is None:
            if time.monotonic() > give_up:
                raise LogLockedError(
                    "other processes keep opening the log file",
                    place=self._log,
                    remedy="Look for a stopped process that uses it, then try again.",
                )
            time.sleep(0.002)
        return lock

    def forget(self, opening: Lock) -> None:
        """Leave nothing behind, where there turned out to be no log to open."""
        opening.drop(remove=self._made)
        if self._made:
            with suppress(OSError):
                self.path.rmdir()

    def enter(self) -> Lock:
        """Make and lock a file of our own."""
        while True:
            lock = Lock.take(self.path / f"{os.getpid()}-{secrets.token_hex(4)}", make=True)
            if lock is not None:
                return lock

    def is_dead(self, name: str) -> bool:
        """Whether the process that locked the file of this name has ended; removes the file if so."""
        try:
            lock = Lock.take(self.path / name, make=False)
        except FileNotFoundError:
            # One that has died leaves its file behind. Somebody has removed it, and a living process makes it anew.
            now = time.monotonic()
            return now - self._missing.setdefault(name, now) > MISSING_FOR
        except PermissionError:
            return False  # another user's, who does not let us look: their own processes will
        self._missing.pop(name, None)
        if lock is None:
            return False
        lock.drop(remove=True)
        return True


def _rebalance(tx: Transaction, groups: Iterable[str], partitions: int) -> None:
    for group in groups:
        members = tx.execute("SELECT id FROM members WHERE team = ? AND shares ORDER BY id", (group,)).fetchall()
        rows = tx.execute("SELECT partition, member FROM assignments WHERE team = ?", (group,)).fetchall()
        before = dict(rows)
        after = share_out(partitions, [member for (member,) in members], before)
        if after != before:
            tx.execute("DELETE FROM assignments WHERE team = ?", (group,))
            for partition, member in after.items():
                tx.execute("INSERT INTO assignments VALUES (?, ?, ?)", (group, partition, member))


def _end_memberships(tx: Transaction, members: list[int], partitions: int) -> None:
    """Strike members off; what they had claimed goes back to the queues."""
    chosen = encode_rowids(members)
    groups = tx.execute(
        "SELECT DISTINCT team FROM members WHERE shares AND id IN (SELECT value FROM json_each(?))", (chosen,)
    ).fetchall()
    tx.execute("UPDATE queue SET claimed_by = NULL WHERE claimed_by IN (SELECT value FROM json_each(?))", (chosen,))
    tx.execute("DELETE FROM members WHERE id IN (SELECT value FROM json_each(?))", (chosen,))
    _rebalance(tx, [group for (group,) in groups], partitions)


class Change:
    """A work that changes who is there. Its ``future`` gets what ``act`` returns.

    Args:
        future: Who waits for it.
        act: What to do in the writer's thread.
        then: What to do in the loop's thread once it is committed.
    """

    durable = False
    size = 0

    def __init__(
        self, future: Future[int], act: Callable[[Transaction], int], then: Callable[[], None] | None = None
    ) -> None:
        self._future = future
        self._act = act
        self._then = then
        self._result = 0

    def apply(self, tx: Transaction) -> None:
        self._result = self._act(tx)

    def done(self) -> None:
        if not self._future.done():
            self._future.set_result(self._result)
        if self._then is not None:
            self._then()

    def failed(self, error: LogError) -> None:
        if not self._future.done():
            self._future.set_exception(error)


def register(name: str, port: int) -> Callable[[Transaction], int]:
    """Enter a process; gives its number."""

    def act(tx: Transaction) -> int:
        cursor = tx.execute("INSERT INTO processes(name, pid, port) VALUES (?, ?, ?)", (name, os.getpid(), port))
        return cursor.lastrowid or 0

    return act


def is_listed(tx: Transaction, process: int) -> bool:
    """Whether a process has not been struck off."""
    return tx.execute("SELECT 1 FROM processes WHERE id = ?", (process,)).fetchone() is not None


def bury(processes: Sequence[int], partitions: int, *, died: bool) -> Callable[[Transaction], int]:
    """Strike off processes that have ended, and all that was theirs; gives how many were still there.

    Args:
        died: They have ended without a word. What they had in hand is counted as handed out and lost.
    """

    def act(tx: Transaction) -> int:
        chosen = encode_rowids(list(processes))
        found = tx.execute("SELECT id FROM members WHERE process IN (SELECT value FROM json_each(?))", (chosen,))
        members = [member for (member,) in found.fetchall()]
        if died:
            count_lost(tx, "claimed_by IN (SELECT value FROM json_each(?))", (encode_rowids(members),))
        _end_memberships(tx, members, partitions)
        tx.peers = None
        return tx.execute("DELETE FROM processes WHERE id IN (SELECT value FROM json_each(?))", (chosen,)).rowcount

    return act


def enter_group(process: int, group: str, about: str | None, partitions: int | None) -> Callable[[Transaction], int]:
    """Make a process a member of a group; gives the member's number.

    Args:
        process: The process's number.
        group: The group's name.
        about: What it says about itself, as JSON.
        partitions: How many there are to share out; None for a member that takes no part in it.
    """

    def act(tx: Transaction) -> int:
        cursor = tx.execute(
            "INSERT INTO members(process, team, about, shares) VALUES (?, ?, ?, ?)",
            (process, group, about, partitions is not None),
        )
        if partitions is not None:
            _rebalance(tx, [group], partitions)
        return cursor.lastrowid or 0

    return act


def leave_group(member: int, partitions: int) -> Callable[[Transaction], int]:
    """End one membership."""

    def act(tx: Transaction) -> int:
        _end_memberships(tx, [member], partitions)
        return 0

    return act
