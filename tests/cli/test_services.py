"""``stepwell engine`` and ``stepwell worker`` as operators meet them: real processes, scaled, stopped and killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stepwell.client.connect import connect
from stepwell.core.fold.acceptance import CLAIM, KIND
from stepwell.log.local.log import LocalLog
from stepwell.log.port import EVENTS
from stepwell.schemas.records.events import StepSucceeded, WorkflowCompleted
from tests.files import database
from tests.kafka_broker import local_broker
from tests.patience import HANG, until
from tests.workbench import events_of, plain, refolded, send, start, whole_history

from .conftest import Shell, chain

NONCES = """
import asyncio, os, secrets
import stepwell

file = os.open("runs.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def _note(ctx):
    nonce = secrets.token_hex(8)
    os.write(file, f"{ctx.instance_id} {ctx.step_id} {nonce}\\n".encode())
    return {"nonce": nonce}

async def coroutine(data, ctx):
    await asyncio.sleep(0.003)
    return _note(ctx)

def function(data, ctx):
    return _note(ctx)

async def slow(data, ctx):
    _note(ctx)
    await asyncio.sleep(ctx.config["seconds"])
    return {}
"""
DIAMOND = {
    "name": "w",
    "steps": [
        {"id": "a", "handler": "nonces.coroutine"},
        {"id": "b", "handler": "nonces.function", "depends_on": ["a"]},
        {"id": "c", "handler": "nonces.coroutine", "depends_on": ["a"]},
        {"id": "d", "handler": "nonces.coroutine", "depends_on": ["b", "c"]},
    ],
}


class Fleet:
    """Engines and workers on one log; whatever is left of them is killed in the end."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.url = f"file:{shell.directory}/log.db?partitions=8&synchronous=normal"
        (shell.directory / "nonces.py").write_text(NONCES)
        self.alive: list[subprocess.Popen[str]] = []

    def engine(self, *words: str) -> subprocess.Popen[str]:
        return self._start("engine", *words)

    def worker(self, *words: str) -> subprocess.Popen[str]:
        return self._start("worker", "--handlers", "nonces", *words)

    def _start(self, *words: str) -> subprocess.Popen[str]:
        process = self.shell.start(*words, "--log", self.url)
        self.alive.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        """Send a signal; return what it has printed."""
        process.send_signal(number)
        out, err = process.communicate(timeout=HANG)
        self.alive.remove(process)
        assert "Traceback" not in err, err
        return out, err

    def lines(self) -> list[list[str]]:
        file = self.shell.directory / "runs.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def fleet(shell: Shell) -> Iterator[Fleet]:
    made = Fleet(shell)
    yield made
    for process in made.alive:
        process.kill()
        process.communicate()


async def later(condition: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(until, condition)


async def claims(log: LocalLog) -> dict[int, tuple[int, str]]:
    """For each partition, the offset and the owner of its last claim."""
    found = {}
    for partition in range(log.partitions):
        for record in await log.read(EVENTS, partition, 0, limit=100_000):
            if record.headers.get(KIND) == CLAIM:
                found[partition] = record.offset, json.loads(record.value)["owner"]
    return found


async def test_processes_come_and_go_are_killed_and_wake_as_zombies_and_every_workflow_finishes_once(
    fleet: Fleet, rng: random.Random
):
    count = 300
    ids = [f"i{number:03}" for number in range(count)]
    async with connect(fleet.url, embedded=False) as client:
        log: Any = client.log
        await client.register(DIAMOND)
        sleeper, killed = fleet.engine("--name", "sleeper"), fleet.engine("--name", "killed")
        hands = [fleet.worker("--concurrency", "8") for _ in range(2)]
        asked = iter([ids[number : number + 30] for number in range(0, count, 30)])

        async def more(batches: int) -> None:
            for batch in [next(asked) for _ in range(batches)]:
                await send(log, *(start(instance_id) for instance_id in batch), topic="starts")

        await more(3)
        await later(lambda: len(fleet.lines()) > 20 + rng.randrange(60))
        await more(2)
        fleet.worker("--concurrency", "8")
        added = fleet.engine("--name", "added")
        fleet.end(hands[0], signal.SIGKILL)
        await more(1)
        fleet.end(killed, signal.SIGKILL)
        await later(lambda: len(fleet.lines()) > 500 + rng.randrange(60))

        # Put an engine to sleep until others have taken partitions of its, and let it wake up in the past.
        before: dict[int, tuple[int, str]] = {}
        newer = []
        for _ in range(5):
            before = await claims(log)
            sleeper.send_signal(signal.SIGSTOP)
            newer.append(fleet.engine("--name", f"newer-{len(newer)}"))
            await more(1) if len(newer) < 3 else None
            moved = set()
            with contextlib.suppress(TimeoutError):  # it may sleep with the file's lock in its hand
                async with asyncio.timeout(8):  # then another engine comes
                    while not moved:
                        after = await claims(log)
                        moved = {
                            partition
                            for partition, (offset, owner) in before.items()
                            if owner == "sleeper" and after[partition][0] > offset and after[partition][1] != owner
                        }
                        await asyncio.sleep(0.02)
            sleeper.send_signal(signal.SIGCONT)
            if moved:
                break
        assert moved, "no partition of the sleeper's has moved"
        for batch in asked:
            await send(log, *(start(instance_id) for instance_id in batch), topic="starts")

        _, told = fleet.end(added)  # scaled down while the rest is under way
        assert added.returncode == 0
        assert "stopped" in told
        views = await asyncio.gather(*(client.wait(i, lambda state: not state.live, timeout=HANG) for i in ids))
        assert {view.status for view in views} == {"completed"}
        crew = await client.live_members()
        assert not crew.unowned
        assert sorted(partition for engine in crew.engines for partition in engine.partitions) == list(range(8))
    for process in list(fleet.alive):
        fleet.end(process, rng.choice([signal.SIGTERM, signal.SIGINT]))
        assert process.returncode == 0
    await _assert_one_consistent_history(fleet, ids)


async def _assert_one_consistent_history(fleet: Fleet, ids: list[str]) -> None:
    one, other = [await LocalLog.open(fleet.shell.directory / "log.db") for _ in range(2)]
    history = await whole_history(one)  # refolds each partition from its beginning and from its newest snapshot
    for partition in range(one.partitions):
        assert plain(await refolded(one, partition)) == plain(await refolded(other, partition))
    assert Counter(t.instance_id for t, _ in events_of(history, WorkflowCompleted)) == dict.fromkeys(ids, 1)
    succeeded = events_of(history, StepSucceeded)
    assert set(Counter((t.instance_id, event.step_id) for t, event in succeeded).values()) == {1}
    assert len(succeeded) == 4 * len(ids)
    accepted = Counter(event.output["nonce"] for _, event in succeeded)
    assert set(accepted.values()) == {1}, "an output was accepted twice"
    made = {nonce: (instance_id, step_id) for instance_id, step_id, nonce in fleet.lines()}
    assert all(
        made[event.output["nonce"]] == (transition.instance_id, event.step_id) for transition, event in succeeded
    )
    await one.close()
    await other.close()


def test_a_worker_that_is_stopped_finishes_what_runs_and_hands_back_the_rest(fleet: Fleet):
    slow = {"name": "s", "steps": [{"id": "a", "handler": "nonces.slow", "config": {"seconds": 2}}]}
    fleet.shell.write("s.json", slow)
    fleet.engine()
    worker = fleet.worker("--concurrency", "1", "--grace", "20", "--json")
    for name in ("one", "two"):
        until(lambda name=name: fleet.shell("start", "s.json", "--id", name, "--log", fleet.url).returncode == 0)
    until(fleet.lines)
    begun = len(fleet.lines())  # one; but two where starting took as long as a step
    out, _ = fleet.end(worker)
    assert worker.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["event"] for line in lines} >= {"started", "live", "stopping", "finishing", "stopped"}
    warned = {line["event"] for line in lines if line["level"] != "info"}
    assert warned <= {"no engine is live: nothing is decided until one is"}, (
        "the engine may have been slower to start"
    )
    first = fleet.lines()[0][0]
    assert fleet.shell.json("status", first, "--log", fleet.url)["status"] == "completed"
    assert len(fleet.lines()) == begun, "nothing more was begun"
    fleet.worker()
    for name in ("one", "two"):
        done = fleet.shell("start", "s.json", "--id", name, "--wait", "--log", fleet.url)
        assert "exists already" in done.stderr
    assert len(fleet.lines()) == 2, "what was finished has not run again"


def test_what_does_not_finish_in_time_is_handed_back_and_a_second_signal_ends_it_at_once(fleet: Fleet):
    long = {"name": "l", "steps": [{"id": "a", "handler": "nonces.slow", "config": {"seconds": 60}}]}
    fleet.shell.write("l.json", long)
    fleet.engine()
    hasty, patient = fleet.worker("--grace", "0.2"), None
    fleet.shell("start", "l.json", "--id", "x", "--log", fleet.url)
    until(fleet.lines)
    fleet.end(hasty)
    assert hasty.returncode == 0
    patient = fleet.worker("--grace", "50")
    until(lambda: len(fleet.lines()) == 2)
    patient.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert patient.poll() is None, "it waits for the step"
    fleet.end(patient, signal.SIGINT)
    assert patient.returncode == 130


@contextlib.contextmanager
def locked(fleet: Fleet) -> Iterator[None]:
    holder = sqlite3.connect(fleet.shell.directory / "log.db", isolation_level=None, timeout=10)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


def test_processes_outlast_a_log_that_is_away_or_end_with_75_when_told_to(fleet: Fleet):
    fleet.shell.write("c.json", chain(2))
    assert fleet.shell("start", "c.json", "--id", "x", "--log", fleet.url).stderr.startswith("It is in the log. No")
    with locked(fleet):
        patient = [fleet.engine(), fleet.worker("--handlers", "steps")]
        hasty = [fleet.engine("--retry-for", "0.5", "--json"), fleet.worker("--retry-for", "0.5")]
        for process in hasty:
            out, err = process.communicate(timeout=HANG)
            fleet.alive.remove(process)
            assert process.returncode == 75, err
            assert "another program holds the lock" in err
            assert "Traceback" not in err
        assert all(process.poll() is None for process in patient)
    assert fleet.shell.json("start", "chain", "--id", "x", "--wait", "--log", fleet.url)["status"] == "completed"
    _, err = fleet.end(patient[0])
    assert err.count("log trouble, trying again") == 1
    assert out is not None


def test_on_kafka_those_that_have_nothing_to_do_notice_too_that_the_broker_is_away(fleet: Fleet):
    with local_broker() as broker:
        fleet.url = f"kafka://{broker.bootstrap}?append_timeout=10"  # a slow machine's broker takes seconds
        idle = [fleet.engine("--retry-for", "10"), fleet.worker("--retry-for", "10")]
        fleet.shell.write("w.json", DIAMOND)
        fleet.shell("start", "w.json", "--wait", "--log", fleet.url)
        broker.run("kill")
        for process in idle:
            _, err = process.communicate(timeout=HANG)
            fleet.alive.remove(process)
            assert process.returncode == 75, err
            assert "log trouble, trying again" in err
            assert "Is the broker up" in err
            assert "Traceback" not in err


def test_a_log_that_a_person_must_mend_ends_both_with_2(fleet: Fleet):
    fleet.shell.write("c.json", chain(1))
    fleet.shell("start", "c.json", "--id", "x", "--log", fleet.url)
    with database(fleet.shell.directory / "log.db") as log:
        log.execute("UPDATE meta SET value = 999 WHERE name = 'format'")
    done = fleet.shell("engine", "--json", "--log", fleet.url, status=2)
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (line["level"], line["type"], line["exit_status"]) == ("error", "LogVersionError", 2)
    assert "format 999" in line["error"]
    assert line["remedy"]
    assert "pgrade" in fleet.shell("worker", "--log", fleet.url, status=2).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["worker", "--handlers", "nowhere"], "no module 'nowhere'"),
        (["worker", "--queue", ""], "a queue's name has one character at least"),
        (["worker", "--grace", "-1"], "--grace"),
        (["engine", "--name", " "], "a name has one character at least"),
        (["engine", "--max-runs", "0"], "--max-runs"),
        (["engine", "--log", "kafka:"], "kafka:"),
        (["engine", "--log", "log.db"], "Write file:PATH"),
    ],
)
def test_a_wrong_call_is_explained(inside: Any, words: list[str], says: str):
    assert says in inside(*words, status=2)


def test_who_is_live_is_shown_and_a_run_leaves_the_partitions_where_they_are(fleet: Fleet):
    shell, log = fleet.shell, ("--log", fleet.url)
    shell.write("c.json", chain(2))
    shell("start", "c.json", *log)
    shown = shell("workers", *log).stdout
    assert "no engine is live" in shown
    assert "no worker is live" in shown
    fleet.engine("--name", "decider", "--max-runs", "50")
    fleet.worker("--name", "mailer", "--queue", "mail,letters", "--concurrency", "3")
    until(lambda: not (crew := shell.json("workers", *log))["unowned"] and crew["workers"])
    shown = shell("workers", *log).stdout
    assert re.search(r"engine +decider +partitions 0-7", shown)
    assert re.search(r"worker +mailer +queues mail, letters +concurrency 3 +runs nonces\.\*", shown)
    assert shell.json("run", "c.json", "--handlers", "steps", "--id", "r", *log)["status"] == "completed"
    crew = shell.json("workers", *log)
    assert [(one["name"], one["max_runs"], one["partitions"]) for one in crew["engines"]] == [
        ("decider", 50, list(range(8)))
    ]


def test_a_start_that_waits_says_what_is_missing_and_ends_as_a_run_does(fleet: Fleet):
    shell, log = fleet.shell, ("--log", fleet.url)
    shell.write("f.json", {"name": "f", "steps": [{"id": "bad", "handler": "steps.fail"}]})
    waiting = shell.start("start", "f.json", "--id", "x", "--wait", *log)
    fleet.alive.append(waiting)
    until(lambda: "x" in shell("status", "x", *log, status=None).stdout)
    fleet.engine()
    fleet.worker("--handlers", "steps")
    out, err = waiting.communicate(timeout=HANG)
    assert (waiting.returncode, out) == (1, "")
    assert "No engine works on this log now: `stepwell engine" in err
    assert "nothing but trouble" in err
    fleet.alive.remove(waiting)


def test_a_worker_registers_what_is_in_the_directory_of_definitions(fleet: Fleet):
    (fleet.shell.directory / "workflows").mkdir()
    fleet.shell.write("workflows/w.yaml", "name: w\nversion: 1.10\nsteps: [{id: a, type: input}]\n")
    fleet.shell.write("workflows/rows.json", [1, 2])
    fleet.worker()
    until(lambda: "w@1.10" in fleet.shell("definitions", "--log", fleet.url, status=None).stdout.replace(" ", "@"))
