"""Real processes, killed as ``kill -9`` kills: whatever happens, every step is settled once and nothing settled reruns."""

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from killed_program import CONCURRENCY, DEFINITION, OUTPUT

from stepwell.log.local.log import LocalLog
from stepwell.log.port import COMMANDS
from stepwell.schemas.records.codec import decode_command
from stepwell.schemas.records.commands import CompleteStep
from stepwell.schemas.records.events import StepSucceeded, WorkflowCompleted
from tests.patience import HANG
from tests.workbench import client_on, events_of, send, start, until, whole_history

PROGRAM = Path(__file__).with_name("killed_program.py")
ROOT = Path(__file__).resolve().parents[2]


class Killing:
    """Programs on one log, the file of their runs, and what was settled whenever one was killed."""

    def __init__(self, folder, count):
        self.log = folder / "log.db"
        self.runs = folder / "runs"
        self.runs.touch()
        self.count = count
        self.kills = 0
        self._settled = []  # after each kill: lines of runs so far, and the runs settled by then

    def spawn(self, role):
        command = [sys.executable, str(PROGRAM), role, str(self.log), str(self.runs), str(self.count)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def lines(self):
        return [(a, int(c)) for a, _, c in (line.split() for line in self.runs.read_text().splitlines())]

    async def kill(self, process):
        process.kill()
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode in (-9, 0), errors
        self.kills += 1

    async def note_settled(self, log):
        """Remember what has durably been settled, and how many runs there were by then."""
        settled = {(t.instance_id, event.run) for t, event in events_of(await whole_history(log), StepSucceeded)}
        for partition in range(log.partitions):
            for record in await log.read(COMMANDS, partition, 0, limit=100_000):
                command = decode_command(record.value)
                if isinstance(command, CompleteStep):
                    settled.add((command.instance_id, command.run))
        self._settled.append((len(self.lines()), settled))

    def assert_nothing_ran_without_need(self, history):
        lines = self.lines()
        for before, settled in self._settled:
            again = settled.intersection(lines[before:])
            assert not again, f"settled before a kill, and run after it: {again}"
        times = Counter(lines)
        assert max(times.values()) <= 1 + self.kills
        assert len(lines) - len(times) <= self.kills * CONCURRENCY, f"{self.kills} kills: {times.most_common(5)}"
        assert times.keys() >= {(t.instance_id, event.run) for t, event in events_of(history, StepSucceeded)}

    async def assert_all_is_well(self):
        log = await LocalLog.open(self.log)
        history = await whole_history(log)
        completed = events_of(history, WorkflowCompleted)
        assert {event.output for _, event in completed} == {OUTPUT}
        assert Counter(t.instance_id for t, _ in completed) == dict.fromkeys(self.ids(), 1)
        succeeded = Counter((t.instance_id, event.step_id) for t, event in events_of(history, StepSucceeded))
        assert len(succeeded) == 4 * self.count
        assert set(succeeded.values()) == {1}
        self.assert_nothing_ran_without_need(history)
        await log.close()

    def ids(self):
        return [f"i{number:03}" for number in range(self.count)]


async def progress(killing, lines):
    """Wait until so many runs have been made."""
    await until(lambda: len(killing.lines()) >= lines, timeout=HANG)


@pytest.mark.slow
async def test_a_program_killed_again_and_again_ends_as_if_nothing_had_happened(tmp_path, rng):
    killing = Killing(tmp_path, count=60)
    for _ in range(7):
        process = killing.spawn("all")
        wanted = len(killing.lines()) + rng.randrange(1, 50)
        await until(
            lambda wanted=wanted, process=process: len(killing.lines()) >= wanted or process.poll() is not None,
            timeout=HANG,
        )
        await asyncio.sleep(rng.random() * 0.02)  # any moment will do
        await killing.kill(process)
        log = await LocalLog.open(killing.log)
        await killing.note_settled(log)
        await log.close()
    process = killing.spawn("all")
    _, errors = await asyncio.to_thread(process.communicate, timeout=HANG)
    assert process.returncode == 0, errors
    await killing.assert_all_is_well()


@pytest.mark.slow
async def test_engines_and_workers_killed_beside_others_that_live_on_lose_nothing(tmp_path, rng):
    killing = Killing(tmp_path, count=80)
    log = await LocalLog.open(killing.log, durability="normal")
    alive = []
    try:
        async with client_on(log) as client:
            await client.register(DEFINITION)
            await send(log, *(start(instance_id, input={"n": 0}) for instance_id in killing.ids()))
            alive += [killing.spawn(role) for role in ("engine", "engine", "worker", "worker")]
            roles = ["engine", "engine", "worker", "worker"]
            for _ in range(6):
                await progress(killing, min(len(killing.lines()) + rng.randrange(1, 40), 4 * killing.count - 20))
                chosen = rng.randrange(4)
                await killing.kill(alive[chosen])
                alive[chosen] = killing.spawn(roles[chosen])
            ends = [client.wait(i, lambda state: not state.live, timeout=HANG) for i in killing.ids()]
            assert {view.output for view in await asyncio.gather(*ends)} == {OUTPUT}
    finally:
        for process in alive:
            process.kill()
            await asyncio.to_thread(process.communicate)
    await log.close()
    await killing.assert_all_is_well()
