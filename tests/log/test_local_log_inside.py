"""What only the local log does: its tail in memory, its views for people, its tidiness."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from stepwell.errors import LogClosedError, LogError
from stepwell.log.local import tail
from stepwell.log.local.log import LocalLog
from stepwell.log.local.transaction import Transaction
from stepwell.log.port import COMMANDS, EVENTS, NewRecord, Outgoing
from tests.files import database
from tests.patience import HANG


@pytest.mark.parametrize("small_tail", [False, True])
async def test_random_work_of_two_processes_reads_as_one_sequence(tmp_path, monkeypatch, small_tail):
    """Whatever is answered from memory or from disk, whoever wrote it, deleted or not, agrees with a model."""
    if small_tail:
        monkeypatch.setattr(tail, "_MOST_RECORDS", 5)
        monkeypatch.setattr(tail, "_MOST_BYTES", 300)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    logs = [await LocalLog.open(tmp_path / "log.db", durability="normal") for _ in range(2)]
    model: dict[int, list[tuple[str, bytes]]] = {0: [], 1: []}
    kept = {0: 0, 1: 0}
    for _ in range(600):
        log, partition = dice.choice(logs), dice.randrange(2)
        match dice.choices(["append", "read", "key", "end", "delete"], [5, 8, 1, 1, 0.3])[0]:
            case "append":
                new = [
                    (f"key-{dice.randrange(5)}", dice.randbytes(dice.randrange(60))) for _ in range(dice.randrange(9))
                ]
                offsets = await log.append(EVENTS, partition, [NewRecord(*one) for one in new])
                assert list(offsets) == list(range(len(model[partition]), len(model[partition]) + len(new)))
                model[partition] += new
            case "read":
                end = len(model[partition])
                offset = dice.choice([dice.randrange(end + 3), max(0, end - dice.randrange(12))])
                limit = dice.choice([1, 5, 1000])
                found = await log.read(EVENTS, partition, offset, limit=limit)
                if found and found[0].offset > offset:  # deleted up to there
                    assert found[0].offset <= kept[partition]
                    offset = found[0].offset
                assert len(found) <= limit  # it may be fewer, but none only at the end
                assert found or offset >= end
                assert [(one.key, one.value) for one in found] == model[partition][offset : offset + len(found)]
                assert [one.offset for one in found] == list(range(offset, offset + len(found)))
            case "key":
                offset = dice.randrange(kept[partition], len(model[partition]) + 1)
                found = await log.read_key(EVENTS, partition, "key-1", offset=offset)
                assert [(one.offset, one.value) for one in found] == [
                    (number, value)
                    for number, (key, value) in enumerate(model[partition])
                    if key == "key-1" and number >= offset
                ]
            case "end":
                assert await log.end(EVENTS, partition) == len(model[partition])
            case "delete":
                offset = dice.randrange(len(model[partition]) + 1)
                await log.delete_before(EVENTS, partition, offset)
                kept[partition] = max(kept[partition], offset)
    for log in logs:
        await log.close()


async def test_deleting_makes_the_file_smaller(tmp_path):
    path = tmp_path / "log.db"
    log = await LocalLog.open(path)
    for _ in range(20):
        await log.append(EVENTS, 0, [NewRecord(f"key-{n}", bytes(1000)) for n in range(300)])
    await log.close()
    before = path.stat().st_size
    log = await LocalLog.open(path)
    await log.delete_before(EVENTS, 0, 5900)
    assert (await log.read(EVENTS, 0, 0, limit=1))[0].offset == 5900
    assert len(await log.read_key(EVENTS, 0, "key-299")) == 1
    await log.close()
    assert path.stat().st_size < before / 4


async def test_people_can_look_with_the_sqlite_shell(tmp_path):
    path = tmp_path / "log.db"
    log = await LocalLog.open(path)
    await log.append(EVENTS, 2, [NewRecord("order-1", b'{"type":"WorkflowStarted"}', {"epoch": "0"})])
    await log.append("my own", 0, [NewRecord("k", b"mine")])
    await log.enqueue("q", [NewRecord("k", b"later", {"priority": "7"})])
    shell = sqlite3.connect(path)
    assert shell.execute("SELECT partition, offset, key, headers, value FROM events").fetchall() == [
        (2, 0, "order-1", '{"epoch":"0"}', '{"type":"WorkflowStarted"}')
    ]
    assert shell.execute("SELECT topic, value FROM log ORDER BY topic").fetchall() == [
        ("events", '{"type":"WorkflowStarted"}'),
        ("my own", "mine"),
    ]
    assert shell.execute("SELECT queue, priority, value, in_hands_of FROM queues").fetchall() == [
        ("q", 7, "later", None)
    ]
    worker = await log.consume(["q"], prefetch=1)
    await worker.take(1)
    assert shell.execute("SELECT in_hands_of FROM queues").fetchall() == [(os.getpid(),)]
    for view in ("commands", "definitions", "snapshots", "control", "dead_letters"):
        assert shell.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)
    shell.close()
    await log.close()


async def _served(log: LocalLog):
    worker = await log.consume(["q"], prefetch=1)
    while not worker.open_to_new:  # until it has looked, and found nothing
        await asyncio.sleep(0.001)
    return worker


def _rows(log: LocalLog) -> list[tuple[bytes, bool]]:
    rows = sqlite3.connect(log.path)
    found = rows.execute("SELECT value, claimed_by IS NOT NULL FROM queue ORDER BY value").fetchall()
    rows.close()
    return [(value, bool(claimed)) for value, claimed in found]


async def test_what_a_worker_of_the_same_process_settles_at_once_is_never_in_the_queues_table(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    worker = await _served(log)
    future = log.enqueue("q", [NewRecord("k", b"a"), NewRecord("k", b"b")])
    assert worker.room == 0
    (taken,) = await worker.take(5)
    assert taken.value == b"a"
    await worker.settle([taken], [Outgoing(COMMANDS, 0, [NewRecord("k", b"done")])])
    await future
    assert b"a" not in dict(_rows(log))
    assert [one.value for one in await worker.take(5)] == [b"b"]
    await log.close()


async def test_what_stays_in_hand_is_written_claimed_and_only_then_acknowledged(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    worker = await _served(log)
    future = log.enqueue("q", [NewRecord("k", b"a")])
    (taken,) = await worker.take(5)
    assert not future.done()
    assert _rows(log) == []
    await future
    assert _rows(log) == [(b"a", True)]
    await worker.settle([taken])
    assert _rows(log) == []
    await log.close()


async def test_what_is_released_or_left_behind_goes_to_the_next_worker_wherever_it_was(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    worker = await log.consume(["q"], prefetch=4)
    while not worker.open_to_new:
        await asyncio.sleep(0.001)
    written = log.enqueue("q", [NewRecord("k", b"a"), NewRecord("k", b"b")])
    first = await worker.take(5)
    await written
    log.enqueue("q", [NewRecord("k", b"c"), NewRecord("k", b"d")])  # not written yet
    second = await worker.take(5)
    await worker.release([first[0], second[0]])
    await worker.close()
    assert _rows(log) == [(b"a", False), (b"b", False), (b"c", False), (b"d", False)]
    other = await log.consume(["q"], prefetch=4)
    got: list[bytes] = []
    while len(got) < 4:
        got += [one.value for one in await other.take(5)]
    assert sorted(got) == [b"a", b"b", b"c", b"d"]
    await log.close()


async def test_a_process_that_dies_with_something_in_hand_has_not_acknowledged_it(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    worker = await _served(log)
    future = log.enqueue("q", [NewRecord("k", b"a")])
    await worker.take(1)
    await log._shut(tidy=False)
    with pytest.raises(LogClosedError):
        await future
    again = await LocalLog.open(tmp_path / "log.db")
    assert _rows(again) == []
    await again.close()


async def test_an_older_entry_goes_before_a_newer_of_the_same_priority(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    worker = await log.consume(["q"], prefetch=1)
    seen = []
    for number in range(0, 60, 3):
        for part in range(3):
            log.enqueue("q", [NewRecord("k", str(number + part).encode())])
        taken = await worker.take(1)
        seen += [int(one.value) for one in taken]
        worker.settle(taken)
    while len(seen) < 60:
        taken = await worker.take(1)
        seen += [int(one.value) for one in taken]
        await worker.settle(taken)
    assert seen == list(range(60))
    await log.close()


async def test_nothing_is_left_behind(tmp_path):
    def descriptors() -> int:
        place = Path("/proc/self/fd")  # macOS has none: there the warnings of unclosed things have to do
        return len(list(place.iterdir())) if place.exists() else 0

    threads, before = threading.active_count(), descriptors()
    log = await LocalLog.open(tmp_path / "log.db")
    worker = await log.consume(["q"], prefetch=3)
    await log.join("engines")
    await log.enqueue("q", [NewRecord("k", b"a")])
    await worker.take(1)
    await log.close()
    assert threading.active_count() == threads
    assert descriptors() <= before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log.db", "log.db-members"]
    assert [one.name for one in (tmp_path / "log.db-members").iterdir()] == ["opening.lock"]
    rows = sqlite3.connect(tmp_path / "log.db")
    for table in ("processes", "members", "assignments"):
        assert rows.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert rows.execute("SELECT claimed_by FROM queue").fetchall() == [(None,)]
    rows.close()


async def test_a_log_that_is_never_closed_does_not_keep_python_from_ending(tmp_path):
    import subprocess
    import sys

    script = (
        "import asyncio, sys\nfrom stepwell.log.local.log import LocalLog\n"
        "async def main():\n    log = await LocalLog.open(sys.argv[1])\n    await log.end('events', 0)\n"
        "asyncio.run(main())\n"
    )
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, tmp_path / "log.db"], timeout=HANG, capture_output=True
    )
    assert ended.returncode == 0


async def test_a_busy_loop_does_not_starve_its_own_commits(tmp_path):
    """Without giving way to the writer's thread, each of these took hundreds of rounds of the loop."""
    log = await LocalLog.open(tmp_path / "log.db")
    stop, rounds = False, 0

    async def busy() -> None:
        nonlocal rounds
        while not stop:
            rounds += 1
            until = time.thread_time() + 0.0005
            while time.thread_time() < until:
                pass
            await asyncio.sleep(0)

    task = asyncio.ensure_future(busy())
    for _ in range(20):
        await log.append(COMMANDS, 0, [NewRecord("k", b"v")] * 50)
    assert rounds < 6_000  # half a millisecond of processor time each
    stop = True
    await task
    await log.close()


def _flushed_at(path: Path) -> int | None:
    with database(path) as connection:
        row = connection.execute("SELECT value FROM meta WHERE name = 'flushed_at'").fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_what_is_settled_is_taken_to_the_disk_by_what_follows_or_soon_by_itself(
    tmp_path, monkeypatch, durability
):
    within = "stepwell.log.local.writer._FLUSH_WITHIN"
    monkeypatch.setattr(within, HANG)  # as if what follows came at once, however busy the machine is
    path = tmp_path / "log.db"
    log = await LocalLog.open(path, durability=durability)
    queue = await log.consume(["default"], prefetch=5)

    async def settle_one() -> None:
        await log.enqueue("default", [NewRecord("key", b"step")])
        await queue.settle(await queue.take(1), [Outgoing(COMMANDS, 0, [NewRecord("key", b"outcome")])])

    for _ in range(20):
        await settle_one()
        await log.append(EVENTS, 0, [NewRecord("key", b"transition")])
    assert _flushed_at(path) is None  # none needed a flush of its own

    monkeypatch.undo()
    await settle_one()
    if durability == "full":
        async with asyncio.timeout(HANG):
            while _flushed_at(path) is None:
                await asyncio.sleep(0.01)
    else:
        await asyncio.sleep(0.2)
        assert _flushed_at(path) is None
    assert [record.value for record in await log.read(COMMANDS, 0, 20)] == [b"outcome"]
    await log.close()


class _Nothing:
    """Work that nobody waits for and that holds nothing, as bringing the index by key up to date is."""

    durable, size = False, 0

    def __init__(self) -> None:
        self.committed = asyncio.Event()

    def apply(self, _: Transaction) -> None:
        """It changes nothing."""

    def done(self) -> None:
        self.committed.set()

    def failed(self, error: LogError) -> None:
        raise error


async def test_what_is_settled_is_taken_to_the_disk_also_where_a_commit_that_holds_nothing_follows(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("stepwell.log.local.writer._FLUSH_WITHIN", HANG)  # at the end, and not by itself before
    path = tmp_path / "log.db"
    log = await LocalLog.open(path)
    queue = await log.consume(["default"], prefetch=5)
    await log.enqueue("default", [NewRecord("key", b"step")])
    await queue.settle(await queue.take(1), [Outgoing(COMMANDS, 0, [NewRecord("key", b"outcome")])])
    nothing = _Nothing()
    log._writer.submit(nothing)
    await asyncio.wait_for(nothing.committed.wait(), HANG)
    assert _flushed_at(path) is None
    await log._writer.stop()
    assert _flushed_at(path) is not None
    await log.close()
