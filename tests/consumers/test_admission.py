"""When starts are taken: only while workers keep up, whatever is submitted; and never before what is under way."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.client.client import MOST_UNANSWERED
from stepwell.consumers.engine.admission import PATIENCE, PLENTY, Admission
from stepwell.consumers.engine.engine import Engine
from stepwell.core.fold.partition import Progress
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, STARTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import ApproveStep, CancelWorkflow, PauseWorkflow, RejectStep
from stepwell.testing.loop import run as in_virtual_time
from tests.core.build import step, workflow
from tests.patience import HANG
from tests.workbench import Claimant, accepted, client_on, running, send, start, until

ROOT = Path(__file__).resolve().parents[2]


# --- the rule -------------------------------------------------------------------------------------------------


def virtually(test):
    def played():
        in_virtual_time(test())

    return played


@virtually
async def test_there_is_room_until_workers_have_plenty():
    admission = Admission()
    assert admission.room() == PLENTY
    admission.changed(PLENTY - 1)
    assert admission.room() == 1
    admission.changed(1)
    assert admission.room() == 0


@virtually
async def test_room_comes_back_with_outcomes():
    admission = Admission()
    admission.changed(PLENTY)
    opening = admission.opening()
    admission.changed(-3)
    await asyncio.wait_for(opening, PATIENCE / 10)
    assert admission.room() == 3


@virtually
async def test_runs_that_nobody_takes_do_not_hold_up_the_others_for_ever():
    admission = Admission()
    admission.changed(PLENTY)
    await asyncio.wait_for(admission.opening(), 2 * PATIENCE)
    assert admission.room() == PLENTY
    admission.changed(PLENTY)
    assert admission.room() == 0
    await asyncio.sleep(PATIENCE / 2)
    admission.changed(-1)
    await asyncio.sleep(PATIENCE * 0.9)
    assert admission.room() == 1, "there was an outcome within the time"
    admission.changed(-2 * PLENTY + 1)
    assert admission.room() == PLENTY, "once they are done it is as it was"


@virtually
async def test_memory_is_bounded_whatever_workers_do():
    admission = Admission(most=10)
    admission.changed(10)
    await asyncio.sleep(100 * PATIENCE)
    assert admission.room() == 0
    admission.changed(-4)
    assert admission.room() == 4


# --- the owner ------------------------------------------------------------------------------------------------


async def test_what_is_asked_of_running_instances_goes_before_starts(log):
    async with client_on(log) as client:
        await client.register(workflow(step("a")))
    await send(log, *(start(f"new{number}") for number in range(1_000)), topic=STARTS)
    await send(log, start("old"), CancelWorkflow("old", command_id="c"))
    claimant = Claimant(log, partition_for("old", log.partitions))
    async with running(claimant.run()):
        await claimant.idle()
    ids = [transition.instance_id for _, transition in await accepted(log, claimant.partition)]
    assert ids[:2] == ["old", "old"]
    assert len(ids) > 100


async def test_starts_wait_while_workers_have_enough_to_do_and_outcomes_do_not(log):
    async with client_on(log) as client:
        await client.register(workflow(step("a")))
        await send(log, *(start(f"i{number}") for number in range(9)), topic=STARTS)
        async with running(Engine(log, most_runs=2).run()):
            await until(lambda: client.log.end("events", 0))
            await asyncio.sleep(0.3)
            states = [await _known(client, f"i{number}") for number in range(9)]
            held = [f"i{number}" for number, state in enumerate(states) if state is None]
            assert len(held) == 7
            await client.cancel(next(f"i{number}" for number, state in enumerate(states) if state), "make room")
            await until(lambda: _known(client, held[0]))


async def _known(client, instance_id):
    view = await client.get(instance_id)
    return None if view.status == "pending" else view


@pytest.mark.parametrize(
    "command",
    [
        CancelWorkflow("late", command_id="x"),
        PauseWorkflow("late", command_id="x"),
        ApproveStep("late", command_id="x"),
        RejectStep("late", command_id="x"),
    ],
)
async def test_an_instance_whose_start_waits_is_started_for_whoever_steers_it(log, command):
    partition = partition_for("late", log.partitions)
    async with client_on(log) as client:
        await client.register(workflow(step("a", type="approval_gate")))
    claimant = Claimant(log, partition)
    claimant.admission.changed(10**9)  # there is no room for any start
    await log.append(STARTS, partition, [NewRecord("late", encode(start("late")))])
    await log.append(COMMANDS, partition, [NewRecord("late", encode(command))])
    async with running(claimant.run()):
        await until(lambda: claimant.confirmed.progress == Progress(1, 1))
        assert len(claimant.confirmed.instances) + len(claimant.confirmed.finished) == 1
    told = [transition.events for _, transition in await accepted(log, partition)]
    assert [type(events[0]).__name__ for events in told][:1] == ["WorkflowStarted"]
    other = Claimant(log, partition)
    async with running(other.run()):
        await other.idle()
        await asyncio.sleep(0.05)
        assert len(await accepted(log, partition)) == len(told), "its start has had its turn"


async def test_a_start_taken_ahead_is_not_taken_again_when_its_turn_comes(log):
    async with client_on(log) as client:
        await client.register(workflow(step("a")))
    partition = partition_for("b", log.partitions)
    claimant = Claimant(log, partition)
    claimant.admission.changed(10**9)
    await log.append(STARTS, partition, [NewRecord(name, encode(start(name))) for name in "abc"])
    await log.append(COMMANDS, partition, [NewRecord("b", encode(CancelWorkflow("b", command_id="x")))])
    async with running(claimant.run()):
        await until(lambda: "b" in claimant.confirmed.finished)
        assert claimant.confirmed.progress.ahead == (1,)
    other = Claimant(log, partition)
    async with running(other.run()):
        await other.idle()
        assert sorted(other.confirmed.instances) == ["a", "c"]
        assert other.confirmed.progress.start == 3
    started = [t.instance_id for _, t in await accepted(log, partition) if t.sequence == 1]
    assert sorted(started) == ["a", "b", "c"]


# --- the client -----------------------------------------------------------------------------------------------


async def test_a_client_has_only_so_many_starts_on_their_way(log):
    async with client_on(log) as client:
        await client.register(workflow(step("a")))
        # A member that decides nothing: a start waits for an answer only where an engine is live.
        await log.join("engines")
        tasks = [asyncio.ensure_future(client.start("w", id=f"i{n}")) for n in range(2 * MOST_UNANSWERED)]
        try:

            async def submitted():
                return sum([await log.end(STARTS, partition) for partition in range(log.partitions)])

            await until(lambda: _is(submitted(), MOST_UNANSWERED))
            await asyncio.sleep(0.3)
            assert await submitted() == MOST_UNANSWERED
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _is(value, wanted):
    return await value == wanted


# --- 200,000 submissions --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_flood_of_starts_takes_no_memory_and_holds_up_nothing(tmp_path):
    command = [sys.executable, "-m", "benchmarks.flood", f"file:{tmp_path / 'log.db'}", "200000", "12"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["memory_mb_grown"] < 200, told
    assert told["cancel_s"] < 9, told
    assert told["outcome_s"] < 9, told
    assert told["seconds"] > 11, "it was over before it was looked at"
