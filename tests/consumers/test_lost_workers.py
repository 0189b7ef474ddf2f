"""Workers that die of a step: what they leave is counted, and is a failed attempt after so many of them."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.consumers.worker.remote import lending as lending_module
from stepwell.consumers.worker.remote.lending import Lending
from stepwell.consumers.worker.worker import Worker
from stepwell.diagnosis import diagnose
from stepwell.log.local.log import LocalLog
from stepwell.schemas.records.events import (
    IncidentRaised,
    StepCompensated,
    StepFailed,
    StepRetryScheduled,
    StepStarted,
)
from tests.patience import HANG
from tests.workbench import (
    Gate,
    client_on,
    ends,
    events_of,
    handlers_of,
    one_step,
    running,
    stage,
    until,
    whole_history,
    work,
    workflow,
)

PROGRAM = Path(__file__).with_name("lost_program.py")
ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2
HASTE = {"initial_delay_seconds": 0}


async def die_until(done, log, role="worker"):
    """Start the program again and again, until something is done, or it ends well; gives how often it has died."""
    deaths = 0
    finished = asyncio.ensure_future(done)
    while True:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), role, str(log), str(LIMIT)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        ending = asyncio.ensure_future(asyncio.to_thread(process.communicate))
        try:
            await asyncio.wait({ending, finished}, return_when=asyncio.FIRST_COMPLETED, timeout=HANG)
            if finished.done():
                finished.result()
                return deaths
            _, errors = await ending
            if role == "all" and process.returncode == 0:
                return deaths
            assert process.returncode == 17, errors
            deaths += 1
        finally:
            process.kill()
            await asyncio.gather(ending, return_exceptions=True)


def of_step(history, *kinds):
    return [event for kind in kinds for _, event in events_of(history, kind)]


@pytest.mark.parametrize("handler", ["crash", "crash_in_the_loop"])
async def test_a_step_that_kills_its_workers_fails_and_its_policy_follows(tmp_path, handler):
    log = await LocalLog.open(tmp_path / "log.db")
    definition = workflow(
        {"id": "a", "handler": "fine", "compensate": "fine"},
        {"id": "b", "handler": handler, "depends_on": ["a"], "on_failure": "rollback",
         "retry": {"max_attempts": 2, **HASTE}},
    )  # fmt: skip
    async with stage(log, None, definition) as client:
        run = await client.start("w", id="i")
        deaths = await die_until(client.wait("i", ended, timeout=HANG), log.path)
        assert (await run.status()).status == "failed"
        found = await diagnose(client, "i")
    history = await whole_history(log)
    assert deaths == 2 * LIMIT
    (retried,), (failed,) = of_step(history, StepRetryScheduled), of_step(history, StepFailed)
    assert {retried.error.type, failed.error.type} == {"WorkerLost"}
    assert f"handed out {LIMIT} times" in failed.error.message
    assert len(of_step(history, StepCompensated)) == 1
    assert [event.deliveries for event in of_step(history, StepStarted)] == [2, 2]
    assert [row.deliveries for row in found.attempts if row.step_id == "b"] == [2, 2]
    await log.close()


async def test_a_step_that_is_skipped_when_its_workers_die_lets_the_workflow_go_on(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    definition = workflow({"id": "b", "handler": "crash", "on_failure": "skip"},
                          {"id": "c", "handler": "fine", "depends_on": ["b"]})  # fmt: skip
    async with stage(log, None, definition) as client:
        run = await client.start("w", id="i")
        assert await die_until(client.wait("i", ended, timeout=HANG), log.path) == LIMIT
        assert (await run.status()).status == "completed"
    await log.close()


async def test_an_error_handler_and_a_compensation_that_kill_their_workers_fail_too(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")
    handling = workflow({"id": "a", "handler": "crash"}, {"id": "mend", "handler": "crash"},
                        error_handlers={"a": "mend"}, name="handling")  # fmt: skip
    undoing = workflow({"id": "a", "handler": "fine", "compensate": {"handler": "crash", "retry": {"max_attempts": 1}}},
                       {"id": "b", "handler": "missing.handler", "depends_on": ["a"]}, name="undoing")  # fmt: skip
    async with stage(log, None, handling, undoing) as client:
        run = await client.start("handling", id="i")
        assert await die_until(client.wait("i", ended, timeout=HANG), log.path) == 2 * LIMIT
        assert (await run.status()).status == "failed"
        await client.start("undoing", id="j")
        async with running(Worker(log, handlers_of(fine=work)).run()):
            await client.wait("j", lambda state: "a" in state.steps and state.steps["a"].settled > 0)
        await client.rollback("j", "start")
        assert await die_until(client.wait("j", lambda state: state.incident, timeout=HANG), log.path) == LIMIT
    (incident,) = of_step(await whole_history(log), IncidentRaised)
    assert (incident.code, incident.step_id) == ("compensation_failed", "a")
    await log.close()


async def test_a_program_that_dies_of_its_own_step_ends_by_its_failure(tmp_path):
    """Engine and worker in one process: the first death may leave nothing in the file, and counts for nothing."""
    log = await LocalLog.open(tmp_path / "log.db")
    async with client_on(log) as client:
        await client.register(workflow({"id": "a", "handler": "crash"}))
        await client.start("w", id="i")
    await log.close()
    assert await die_until(asyncio.Event().wait(), log.path, role="all") in (LIMIT, LIMIT + 1)
    log = await LocalLog.open(log.path)
    async with client_on(log) as client:
        await ends(client, "i")
    (failed,) = of_step(await whole_history(log), StepFailed)
    assert failed.error.type == "WorkerLost"
    await log.close()


def ended(state):
    return not state.live


async def test_a_step_that_is_lent_until_its_leases_run_out_fails_as_one_that_kills_its_workers(log, monkeypatch):
    monkeypatch.setattr(lending_module, "SHORTEST_LEASE", 0.01)
    monkeypatch.setenv("STEPWELL_MAX_DELIVERIES", str(LIMIT))
    definition = workflow({"id": "a", "handler": "work", "queue": "node", "retry": {"max_attempts": 2, **HASTE}})
    lending = Lending(log)
    async with stage(log, None, definition) as client:
        run = await client.start("w", id="i")
        for number in range(2 * LIMIT):
            if number == 1:  # a release is none
                (step,) = await lending.claim("n", ["node"], ["work"], wait=HANG)
                await lending.release(step.claim)
            (step,) = await lending.claim("n", ["node"], ["work"], wait=HANG, lease=0.01)
            assert step.attempt == 1 + number // LIMIT
        waiting = asyncio.ensure_future(lending.claim("n", ["node"], ["work"], wait=HANG))
        view = await run.result(timeout=HANG)
        waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await lending.close()
    assert (view.status, view.error.type) == ("failed", "WorkerLost")


async def test_a_worker_that_is_stopped_in_order_again_and_again_costs_no_attempt(log):
    gate = Gate()
    async with stage(log, None, one_step()) as client:
        run = await client.start("w", id="i")
        for number in range(LIMIT + 2):
            async with running(Worker(log, handlers_of(work=gate), max_deliveries=LIMIT).run()):
                await until(lambda number=number: gate.runs["i", "a"] == number + 1)
        gate.open.set()
        async with running(Worker(log, handlers_of(work=gate), max_deliveries=LIMIT).run()):
            assert (await run.result(timeout=HANG)).status == "completed"
