"""The local log shared by real processes, some of which are killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepwell.log.local.log import LocalLog
from stepwell.log.port import COMMANDS, EVENTS, NewRecord
from tests.patience import HANG

WRITER = """
import asyncio, sys
from stepwell.log.local.log import LocalLog
from stepwell.log.port import *

async def main(path, name):
    log = await LocalLog.open(path)
    worker = await log.consume([name], prefetch=50)
    number = 0
    async def write(partition):
        nonlocal number
        while True:
            mine, number = number, number + 1
            text = f"{name}:{mine}"
            offset = (await log.append(EVENTS, partition, [NewRecord(text, text.encode()), NewRecord(text, b"2")]))[0]
            print(partition, offset, text, flush=True)
    async def pass_on():
        while True:
            taken = await worker.take(10)
            await worker.settle(taken, [Outgoing(COMMANDS, 3, [NewRecord("k", one.value) for one in taken])])
    async def enqueue():
        entry = 0
        while True:
            await log.enqueue(name, [NewRecord("k", f"{name}:{entry}".encode())])
            print("entry", entry, flush=True)
            entry += 1
    await asyncio.gather(*(write(one % 3) for one in range(6)), pass_on(), enqueue())

asyncio.run(main(*sys.argv[1:]))
"""

FIRST = """
import asyncio, sys
from stepwell.log.local.log import LocalLog
from stepwell.log.port import *

async def main(path, name):
    log = await LocalLog.open(path)
    for number in range(25):
        await log.append(EVENTS, number % 2, [NewRecord(name, f"{name}:{number}".encode())])
    await log.close()

asyncio.run(main(*sys.argv[1:]))
"""

MEMBER = """
import asyncio, sys
from stepwell.log.local.log import LocalLog

async def main(path):
    log = await LocalLog.open(path)
    place = await log.join("engines")
    worker = await log.consume(["q"], prefetch=2)
    taken = await worker.take(1)
    print(len(taken), flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""

FORKER = """
import asyncio, os, sys, time
from stepwell.log.local.log import LocalLog

async def main(path):
    log = await LocalLog.open(path)
    await log.join("engines")
    if os.fork() == 0:
        print(os.getpid(), flush=True)  # by now it has let go of the lock
        os.close(1)
    time.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


def start(script: str, *arguments: str | Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@contextlib.contextmanager
def running(*processes: subprocess.Popen):
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


def check_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_what_was_acknowledged_outlives_kill_9_in_mid_append(tmp_path):  # noqa: PLR0912 - one story
    path = tmp_path / "log.db"
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    acknowledged: dict[tuple[int, int], str] = {}
    entries: list[str] = []
    for attempt in range(4):
        names = [f"{attempt}{letter}" for letter in "ab"]
        writers = [start(WRITER, path, name) for name in names]
        with running(*writers):
            for writer in writers:
                writer.stdout.readline()
            time.sleep(dice.uniform(0.01, 0.15))
            for writer in writers:
                os.kill(writer.pid, signal.SIGKILL)
            for writer, name in zip(writers, names, strict=True):
                for line in writer.stdout.read().splitlines(keepends=True):
                    words = line.split()
                    if not line.endswith("\n"):
                        continue
                    if words[0] == "entry":
                        entries.append(f"{name}:{words[1]}")
                    else:
                        acknowledged[int(words[0]), int(words[1])] = words[2]
    assert len(acknowledged) > 50
    log = await LocalLog.open(path)
    for partition in range(3):
        found = await log.read(EVENTS, partition, 0, limit=100_000)
        assert [one.offset for one in found] == list(range(len(found)))
        for first, second in zip(found[::2], found[1::2], strict=True):  # no append is there by half
            assert first.key == second.key
            assert second.value == b"2"
        for (place, offset), text in acknowledged.items():
            if place == partition:
                assert found[offset].value.decode() == text
        some = dice.choice(found)
        assert [one.offset for one in await log.read_key(EVENTS, partition, some.key)] == [
            one.offset for one in found if one.key == some.key
        ]
    passed_on = [one.value.decode() for one in await log.read(COMMANDS, 3, 0, limit=100_000)]
    worker = await log.consume([f"{attempt}{letter}" for attempt in range(4) for letter in "ab"], prefetch=100_000)
    left: list[str] = []
    ((waiting,),) = await log.reader.ask("SELECT count(*) FROM queue", ())
    async with asyncio.timeout(HANG):
        while len(left) < waiting:
            left += [one.value.decode() for one in await worker.take(1000)]
    assert len(set(passed_on)) == len(passed_on)
    assert not set(passed_on) & set(left)
    assert set(entries) <= set(passed_on) | set(left)
    await log.close()
    assert not [one for one in (tmp_path / "log.db-members").iterdir() if one.name != "opening.lock"]
    check_file(path)


async def test_several_processes_may_make_the_file_at_once(tmp_path):
    path = tmp_path / "new" / "log.db"
    names = [f"p{number}" for number in range(6)]
    processes = [start(FIRST, path, name) for name in names]
    with running(*processes):
        for process in processes:
            assert await asyncio.to_thread(process.wait, 20) == 0
    log = await LocalLog.open(path)
    for partition in range(2):
        found = await log.read(EVENTS, partition, 0)
        assert [one.offset for one in found] == list(range(len(found)))
        for name in names:
            mine = [one.value.decode() for one in found if one.key == name]
            assert mine == [f"{name}:{number}" for number in range(partition, 25, 2)]
    await log.close()
    check_file(path)


async def test_a_killed_process_is_known_within_about_a_second(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    await log.enqueue("q", [NewRecord("k", b"a"), NewRecord("k", b"b")])
    place = await log.join("engines")
    other = start(MEMBER, tmp_path / "log.db")
    with running(other):
        assert await asyncio.to_thread(other.stdout.readline) == "1\n"
        shared = await place.assignment()
        assert len(shared) == 2
        worker = await log.consume(["q"], prefetch=10)
        waiting = asyncio.ensure_future(place.changed(shared))
        await asyncio.sleep(0)
        begun = time.monotonic()
        other.kill()
        assert await waiting == frozenset(range(4))
        taken = await worker.take(2)
        assert len(taken) == 2
        assert time.monotonic() - begun < HANG
    await log.close()


async def test_a_stopped_process_counts_as_alive(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    await log.enqueue("q", [NewRecord("k", b"a")])
    other = start(MEMBER, tmp_path / "log.db")
    with running(other):
        await asyncio.to_thread(other.stdout.readline)
        os.kill(other.pid, signal.SIGSTOP)
        await log.bury_the_dead()
        assert len(await log.members("engines")) == 1
    assert len(await log.members("engines")) == 0
    await log.close()


async def test_a_forked_child_does_not_keep_a_dead_parent_alive(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    parent = start(FORKER, tmp_path / "log.db")
    with running(parent):
        child = int(await asyncio.to_thread(parent.stdout.readline))
        assert len(await log.members("engines")) == 1
    try:
        os.kill(child, 0)  # it lives
        assert len(await log.members("engines")) == 0
    finally:
        os.kill(child, signal.SIGKILL)
    await log.close()


@pytest.mark.parametrize("lost", [False, True], ids=["rung", "the bell is broken"])
async def test_another_process_is_heard_soon_even_if_its_ring_gets_lost(tmp_path, lost):
    log = await LocalLog.open(tmp_path / "log.db")
    if lost:
        log._bell._transport.close()
    other = await LocalLog.open(tmp_path / "log.db")
    loop = asyncio.get_running_loop()
    times = []
    for offset in range(5):
        waiting = asyncio.ensure_future(log.read(EVENTS, 0, offset, wait=None))
        await asyncio.sleep(0.01)
        await other.append(EVENTS, 0, [NewRecord("k", b"v")])
        begun = loop.time()
        await waiting
        times.append(loop.time() - begun)
    assert min(times) < (1 if lost else 0.05)
    await other.close()
    await log.close()
