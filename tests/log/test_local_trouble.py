"""What the local log says, and does, when something is wrong with its file."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

from stepwell.errors import LogCorruptedError, LogError, LogFullError, LogLockedError, LogVersionError
from stepwell.log.local.log import LocalLog
from stepwell.log.local.members import Change
from stepwell.log.port import COMMANDS, EVENTS, NewRecord
from tests.files import database

ONE = [NewRecord("k", b"v")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


async def make(path: Path, count: int = 1) -> None:
    log = await LocalLog.open(path)
    await log.append(EVENTS, 0, [NewRecord(f"key-{number}", bytes(300)) for number in range(count)])
    await log.close()


async def limit_pages(log: LocalLog, pages: int) -> None:
    """Let the file have so many pages; SQLite takes 1 as: no more than there are."""
    done = log.loop.create_future()
    log.submit(Change(done, lambda tx: tx.execute(f"PRAGMA max_page_count={pages}").fetchone()[0]))
    await done


async def refused(path: Path, kind: type[LogError], *words: str) -> None:
    with pytest.raises(kind) as caught:
        await LocalLog.open(path, patience=0.2)
    assert caught.value.place == str(path)
    assert caught.value.remedy
    for word in words:
        assert word in caught.value.message


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.write_bytes(b"Dear diary, " * 1000)
    await refused(path, LogCorruptedError, "no Stepwell log")
    assert path.read_bytes() == b"Dear diary, " * 1000


async def test_a_database_of_something_else_is_refused_and_left_alone(path):
    with database(path) as foreign:
        foreign.execute("CREATE TABLE cakes(name)")
    before = path.read_bytes()
    await refused(path, LogCorruptedError, "no Stepwell log")
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


async def test_a_newer_format_is_refused_with_both_versions(path):
    await make(path)
    with database(path) as connection:
        connection.execute("UPDATE meta SET value = 2 WHERE name = 'format'")
    await refused(path, LogVersionError, "format 2", "up to 1")


async def test_a_directory_is_refused(tmp_path):
    await refused(tmp_path, LogError, "directory")


async def test_a_parent_that_is_a_file_is_refused(path):
    path.write_text("x")
    with pytest.raises(LogError) as caught:
        await LocalLog.open(path / "log.db")
    assert caught.value.remedy


async def test_a_damaged_header_is_recognised(path):
    await make(path)
    with path.open("r+b") as file:
        file.write(os.urandom(100))
    await refused(path, LogCorruptedError)


async def test_damaged_pages_are_recognised_when_read(path):
    await make(path, 5000)
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(size // 4096 // 2 * 4096)
        file.write(b"\xa5" * (size // 4))
    with pytest.raises(LogCorruptedError) as caught:  # noqa: PT012 - it may come out when opening, or reading
        log = await LocalLog.open(path)
        try:
            offset = 0
            while found := await log.read(EVENTS, 0, offset):
                offset = found[-1].offset + 1
        finally:
            await log.close()
    assert caught.value.place == str(path)
    assert caught.value.remedy


async def test_a_truncated_file_is_recognised(path):
    await make(path, 5000)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(LogCorruptedError):  # noqa: PT012 - as above
        log = await LocalLog.open(path)
        try:
            offset = 0
            while found := await log.read(EVENTS, 0, offset):
                offset = found[-1].offset + 1
        finally:
            await log.close()


async def test_a_lock_held_by_another_program_is_waited_for_then_named_then_passes(path):
    log = await LocalLog.open(path, patience=0.3)
    await log.append(EVENTS, 0, ONE)
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LogLockedError) as caught:
        await log.append(EVENTS, 0, ONE)
    assert caught.value.place == str(path)
    assert "sqlite3" in caught.value.remedy
    assert len(await log.read(EVENTS, 0, 0)) == 1  # reading goes on meanwhile
    await refused(path, LogLockedError)
    waiting = log.append(EVENTS, 0, ONE)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    shell.execute("COMMIT")
    shell.close()
    assert list(await waiting) == [1]
    await log.close()


async def test_a_full_disk_fails_the_append_and_passes_when_there_is_room_again(path):
    log = await LocalLog.open(path)
    await log.append(EVENTS, 0, ONE)
    await limit_pages(log, 1)
    with pytest.raises(LogFullError) as caught:
        await log.append(EVENTS, 0, [NewRecord("k", bytes(500_000))])
    assert caught.value.place == str(path)
    assert caught.value.remedy
    assert [one.value for one in await log.read(EVENTS, 0, 0)] == [b"v"]
    with pytest.raises(LogFullError):
        await log.enqueue("q", [NewRecord("k", bytes(500_000))])
    await limit_pages(log, 1_000_000)
    assert list(await log.append(EVENTS, 0, [NewRecord("k", bytes(500_000))])) == [1]
    await log.close()


async def test_the_index_by_key_knows_nothing_of_what_was_not_committed(path):
    log = await LocalLog.open(path)
    await log.append(EVENTS, 0, ONE)
    await limit_pages(log, 1)
    with pytest.raises(LogFullError):
        await log.append(EVENTS, 0, [NewRecord("lost", bytes(500)) for _ in range(2000)])
    await asyncio.sleep(0.02)  # a moment of rest, in which the writer indexes
    await limit_pages(log, 1_000_000)
    await log.append(EVENTS, 0, [NewRecord("kept", bytes(500)) for _ in range(1500)])
    assert len(await log.read_key(EVENTS, 0, "kept")) == 1500
    assert len(await log.read_key(EVENTS, 0, "lost")) == 0
    await log.close()


async def test_a_disk_that_is_really_full_too():
    """On a file system of 6 MB. Needs the right to mount one."""
    place = Path(tempfile.mkdtemp(prefix="stepwell-full-"))
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], capture_output=True)
        if mounted.returncode:
            pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
        try:
            log = await LocalLog.open(place / "log.db")
            ballast = place / "ballast"
            ballast.write_bytes(bytes(4_000_000))
            offsets = []
            with pytest.raises(LogFullError):  # noqa: PT012
                while True:
                    offsets += await log.append(EVENTS, 0, [NewRecord("k", bytes(20_000))])
            assert len(await log.read(EVENTS, 0, 0)) == len(offsets) > 5
            ballast.unlink()
            assert list(await log.append(EVENTS, 0, ONE)) == [len(offsets)]
            await log.close()
            log = await LocalLog.open(place / "log.db")
            assert await log.end(EVENTS, 0) == len(offsets) + 1
            await log.close()
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        shutil.rmtree(place)


@pytest.fixture
def as_nobody():
    """Root may write anywhere; so become somebody who may not."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.fixture
def public_place():
    place = Path(tempfile.mkdtemp(prefix="stepwell-rights-"))
    place.chmod(0o777)
    yield place
    subprocess.run(["chmod", "-R", "u+w", place], check=True)
    shutil.rmtree(place)


async def test_a_file_that_may_not_be_written_is_refused(public_place, as_nobody):
    path = public_place / "log.db"
    await make(path)
    path.chmod(0o444)
    await refused(path, LogError)


async def test_a_file_that_may_not_be_read_is_refused(public_place, as_nobody):
    path = public_place / "log.db"
    await make(path)
    path.chmod(0)
    await refused(path, LogError)


async def test_a_directory_that_may_not_be_written_is_refused(public_place, as_nobody):
    public_place.joinpath("closed").mkdir(mode=0o555)
    await refused(public_place / "closed" / "log.db", LogError, "Permission denied")


async def test_a_record_that_is_wrong_in_itself_fails_alone(path):
    """All three are one commit."""
    log = await LocalLog.open(path)
    before, wrong, number, after = (
        log.append(EVENTS, 0, [NewRecord("k", b"before")]),
        log.append(EVENTS, 0, [NewRecord("half a pair: \ud83d", b"x")]),
        log.append(EVENTS, 0, [NewRecord("k", b"x", {"n": 1})]),
        log.append(COMMANDS, 1, [NewRecord("k", b"after")]),
    )
    with pytest.raises(LogError, match="not valid Unicode"):
        await wrong
    with pytest.raises(LogError):
        await number
    assert [list(await before), list(await after)] == [[0], [0]]
    await log.close()


async def test_a_cancelled_open_leaves_nothing_behind(path):
    opening = asyncio.ensure_future(LocalLog.open(path))
    await asyncio.sleep(0.001)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await make(path)
    assert [one.name for one in path.with_name("log.db-members").iterdir()] == ["opening.lock"]


async def test_a_failed_open_leaves_no_thread_and_can_be_tried_again(path):
    import threading

    path.write_bytes(b"x" * 5000)
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(LogCorruptedError):
            await LocalLog.open(path)
    assert threading.active_count() == before
    path.unlink()
    await make(path)
    assert threading.active_count() == before
