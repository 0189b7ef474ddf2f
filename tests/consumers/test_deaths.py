"""Whatever a process dies over while it decides: it cannot make a log unusable."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.engine.ledger import Ledger
from stepwell.core.decide.deaths import MOST_DEATHS, deaths_over, died_over
from stepwell.log.local.log import LocalLog
from stepwell.log.port import COMMANDS, EVENTS, STARTS
from stepwell.schemas.records.codec import decode_owned
from stepwell.schemas.records.commands import CancelWorkflow
from stepwell.schemas.records.events import CommandRejected, IncidentRaised, WorkflowCompleted, WorkflowStarted
from stepwell.schemas.records.partition_records import Deciding, PartitionOwned
from tests.patience import HANG
from tests.workbench import (
    accepted,
    client_on,
    events_of,
    running,
    send,
    start,
    steps,
    until,
    whole_history,
    workflow,
)

PROGRAM = Path(__file__).with_name("deadly_program.py")
ROOT = Path(__file__).resolve().parents[2]
MOST = MOST_DEATHS + 4  # some die at work, before anything is known, and one over a whole batch


class Restarted:
    """A process that a supervisor starts again whenever it has died, and an operator kills whenever it hangs."""

    def __init__(self, folder, how, what):
        self.log = folder / "log.db"
        self.mark = folder / "mark"
        self.command = [sys.executable, str(PROGRAM), how, str(self.log), what, str(self.mark)]
        self.deaths = 0

    async def until(self, done):
        """Keep it running until something holds."""
        while True:
            process = subprocess.Popen(self.command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
            try:
                async with asyncio.timeout(HANG):
                    while process.poll() is None:
                        if await done():
                            return
                        if self.mark.exists():
                            self.mark.unlink()
                            break
                        await asyncio.sleep(0.02)
            finally:
                process.kill()
                _, errors = await asyncio.to_thread(process.communicate)
            assert process.returncode == -signal.SIGKILL, errors
            self.deaths += 1
            assert self.deaths <= MOST, "the log is unusable"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dies", "hangs"])
@pytest.mark.parametrize("what", ["StartWorkflow", "CompleteStep", "FireTimer", "CancelWorkflow", "compile"])
async def test_what_processes_die_over_is_quarantined_and_everything_else_goes_on(tmp_path, what, how):
    restarted = Restarted(tmp_path, how, what)
    log = await LocalLog.open(restarted.log, partitions=1)
    others = [f"i{number:02}" for number in range(20)]
    pause = {"id": "pause", "type": "wait", "config": {"seconds": 0.05}, "depends_on": ["a"]}
    try:
        async with client_on(log) as client:
            await client.register(workflow(*steps("a"), pause))
            await client.register(workflow(*steps("a"), name="poison"))
            deadly = start("poison", "poison" if what == "compile" else "w")
            # In the middle of others, in the same batch.
            await send(log, *(start(name) for name in others[:10]), deadly, *map(start, others[10:]), topic=STARTS)
            if what == "CancelWorkflow":
                await send(log, CancelWorkflow("poison", "enough", command_id="cancel"), topic=COMMANDS)

            async def settled():
                history = await accepted(log)
                completed = {transition.instance_id for transition, _ in events_of(history, WorkflowCompleted)}
                return verdicts(history) and completed >= {*others}

            await restarted.until(settled)
            (verdict,) = verdicts(await whole_history(log))
            assert verdict.code == "quarantined"
            named = "StartWorkflow" if what == "compile" else what
            assert f"while they decided its {named}" in verdict.message
            assert isinstance(verdict, CommandRejected if named == "StartWorkflow" else IncidentRaised)
    finally:
        await log.close()


def verdicts(history):
    """What was said of the instance that is deadly, each time that somebody was to be answered or told."""
    said = [event for _, event in events_of(history, IncidentRaised)]
    refused = [event for transition, event in events_of(history, CommandRejected) if not transition.sequence]
    return said + [event for event in refused if event.code == "quarantined"]


def claim(process, deciding=None):
    return PartitionOwned(2, 0, process, process, deciding)


ONE = Deciding(1, "i", "CompleteStep", "commands@7", 8, 0)


def test_a_process_that_claims_again_has_survived_what_it_had_named():
    assert died_over([claim("a", ONE), claim("b"), claim("a")], ()) == []
    assert died_over([claim("a", ONE), claim("b")], ("a",)) == []
    assert died_over([claim("a", ONE), claim("b")], ("b",)) == [claim("a", ONE)]


def test_an_older_version_s_claim_names_nothing_and_condemns_nobody():
    assert died_over([PartitionOwned(2, 0, "old")] * 9, ()) == []


def test_claims_of_a_partition_where_nothing_happens_condemn_nobody():
    assert died_over([claim(f"p{number}") for number in range(9)], ()) == []


def test_deaths_add_up_for_the_same_command_only():
    dead = [claim("b", ONE.__class__(1, "i", "CompleteStep", "commands@7", 8, 0, 0, 1)), claim("a", ONE)]
    assert deaths_over(dead, ONE) == 2
    assert deaths_over(dead, Deciding(1, "i", "CompleteStep", "commands@8", 9, 0)) == 0
    assert deaths_over([claim("a", Deciding(9, commands=9))], ONE) == 1


class Holding:
    """A log on which no append to the events but the first gets anywhere, until it is let go."""

    def __init__(self, log):
        self._log = log
        self.held = []
        self.appends = 0

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, topic, partition, records):
        if topic == EVENTS:
            self.appends += 1
            if self.appends > 1:
                self.held.append(records)
                return asyncio.get_running_loop().create_future()
        return self._log.append(topic, partition, records)


async def test_who_is_told_to_stop_while_it_decides_with_care_says_that_it_lives(open_log):
    log = Holding(await open_log(partitions=1))
    async with client_on(log) as client:
        await client.register(workflow(*steps("a")))
    await send(log, start("one"))
    async with running(Engine(log, process="first").run()):
        await until(lambda: log.held)
    said = [decode_owned(record.value) for records in log.held for record in records]
    assert [one.deciding is not None for one in said] == [True, False]
    assert died_over(said, ()) == []


async def test_a_process_that_stumbles_again_and_again_over_a_decision_and_lives_on_quarantines_nobody(
    open_log, monkeypatch
):
    log = await open_log(partitions=1)
    claims = []

    async def stumbling(self, named, batch):
        if named is not None:
            claims.append(named)
            await claim(self, named, batch)
            if len(claims) <= MOST_DEATHS + 2:
                raise OSError("the log is away")

    claim = Ledger.claim
    monkeypatch.setattr(Ledger, "claim", stumbling)
    async with client_on(log) as client:
        await client.register(workflow(*steps("a")))
        await send(log, start("one"))
        async with running(Engine(log).run()):
            await until(lambda: _has_started(log))
    assert len(claims) > MOST_DEATHS + 2
    assert {named.deaths for named in claims} == {0}


async def _has_started(log):
    return events_of(await accepted(log), WorkflowStarted)
