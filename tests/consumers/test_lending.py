"""Steps lent to workers that do not speak to the log: claims, leases, and what is said of them."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.consumers.reading.live_members import live_members
from stepwell.consumers.worker import heartbeats
from stepwell.consumers.worker.remote import lending as lending_module
from stepwell.consumers.worker.remote.lending import Lending
from stepwell.consumers.worker.worker import Worker
from stepwell.errors import LeaseLostError, LogClosedError, TooManyWorkersError, UnknownClaimError
from stepwell.log.local.log import LocalLog
from stepwell.log.port import COMMANDS
from stepwell.schemas.records.codec import decode_command
from stepwell.schemas.records.commands import CompleteStep, ReturnStep
from stepwell.schemas.records.events import ErrorInfo, StepHeartbeat, StepStarted, StepSucceeded
from tests.patience import HANG
from tests.workbench import events_of, handlers_of, stage, steps, until, whole_history, workflow

pytestmark = pytest.mark.rows("B8")

ROOT = Path(__file__).resolve().parents[2]


def remote(*given, **more):
    """A definition whose steps are for the queue ``node``."""
    return workflow(*({"queue": "node", **step} for step in given), **more)


CHAIN = remote(*steps("a", "b"), output="{{ step_outputs.b.n }}")
ONE = remote({"id": "a", "handler": "work"}, output="{{ step_outputs.a }}")


@contextlib.asynccontextmanager
async def lender(log, **options):
    lending = Lending(log, **options)
    try:
        yield lending
    finally:
        await lending.close()


async def claimed(lending, worker="n1", *, handlers=("work",), queues=("node",), wait=20.0, **more):
    """The one step that comes."""
    (step,) = await lending.claim(worker, queues, handlers, wait=wait, **more)
    return step


@pytest.fixture
def hastily(monkeypatch):
    """Let leases be shorter than one would allow in earnest."""
    monkeypatch.setattr(lending_module, "SHORTEST_LEASE", 0.01)


# --- done ---------------------------------------------------------------------------------------------------------


async def test_a_workflow_is_done_by_a_worker_that_claims_and_completes(log):
    async with stage(log, None, CHAIN) as client, lender(log, clock=lambda: 1_000_000) as lending:
        run = await client.start("w", {"n": 1}, id="one", priority=7)
        first = await claimed(lending, lease=10)
        assert (first.instance_id, first.workflow, first.version, first.step_id) == ("one", "w", "1", "a")
        assert (first.type, first.handler, first.purpose, first.priority) == ("python", "work", "run", 7)
        assert (first.attempt, first.max_attempts, first.input, first.config) == (1, 1, {"n": 1}, {})
        assert (first.timeout_seconds, first.idempotency_key) == (None, f"one:a:{first.run}")
        assert 9 < first.lease_seconds <= 10
        assert first.lease_until == 1_000_000 + round(first.lease_seconds * 1000)
        reported = await lending.complete(first.claim, {"n": 2}, {"seen": True})
        assert (reported.outcome, reported.error) == ("completed", None)
        second = await claimed(lending)
        assert (second.step_id, second.input) == ("b", {"n": 2})
        await lending.complete(second.claim, {"n": 3})
        view = await run.result(timeout=HANG)
    assert (view.status, view.output, view.context) == ("completed", 3, {"seen": True})


async def test_several_are_claimed_at_once_the_urgent_ones_first_and_no_more_than_asked_for(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        for priority in (0, 50, 100, 20):
            await client.start("w", id=f"p{priority}", priority=priority)
        found = await lending.claim("n1", ["node"], ["work"], limit=3, wait=20)
        while len(found) < 3:  # as many as there were when the first came
            found += await lending.claim("n1", ["node"], ["work"], limit=3 - len(found), wait=20)
        assert [step.instance_id for step in found] == ["p100", "p50", "p20"]
        assert len({step.claim for step in found}) == 3
        assert (await claimed(lending, "n2")).instance_id == "p0"


async def test_who_waits_gets_a_step_as_it_comes_and_nothing_in_time_is_no_error(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        assert await lending.claim("n1", ["node"], ["work"]) == []
        waiting = asyncio.ensure_future(claimed(lending))
        await asyncio.sleep(0)
        await client.start("w", id="one")
        assert (await waiting).instance_id == "one"


async def test_two_workers_get_different_steps_of_one_queue(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        polls = [asyncio.ensure_future(claimed(lending, name)) for name in ("n1", "n1", "n2", "n3")]
        for number in range(4):
            await client.start("w", id=f"i{number}")
        found = await asyncio.gather(*polls)
        assert sorted(step.instance_id for step in found) == ["i0", "i1", "i2", "i3"]
        crew = await client.live_members()
        assert sorted((worker.name, *worker.queues, *worker.handlers) for worker in crew.workers) == [
            (name, "node", "work") for name in ("n1", "n2", "n3")
        ]


async def test_saying_the_same_again_gives_the_same_answer_and_no_second_outcome(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        step = await claimed(lending)
        both = await asyncio.gather(*(lending.complete(step.claim, 5) for _ in range(2)))
        assert [*both, await lending.complete(step.claim, 6)] == [both[0]] * 3
        assert (await run.result(timeout=HANG)).output == 5
        with pytest.raises(LeaseLostError) as lost:
            await lending.fail(step.claim, ErrorInfo("Error"))
        assert lost.value.reason == "settled"
        with pytest.raises(LeaseLostError):
            lending.heartbeat(step.claim)
    commands = [decode_command(record.value) for record in await log.read(COMMANDS, 0, 0)]
    assert sum(isinstance(command, CompleteStep) for command in commands) == 1


# --- failed -------------------------------------------------------------------------------------------------------


async def test_a_failure_is_recorded_as_told_and_retried_by_the_steps_policy(log):
    retried = remote({"id": "a", "handler": "work", "retry": {"max_attempts": 2, "initial_delay_seconds": 0}})
    async with stage(log, None, retried) as client, lender(log) as lending:
        run = await client.start("w")
        first = await claimed(lending)
        error = ErrorInfo("ConnectionError", "refused", ("OSError",), "at line 3", retryable=True, retry_after=0.01)
        reported = await lending.fail(first.claim, error)
        assert (reported.outcome, reported.error) == ("failed", error)
        second = await claimed(lending)
        assert (second.attempt, second.run != first.run) == (2, True)
        assert second.idempotency_key == first.idempotency_key
        await lending.fail(second.claim, ErrorInfo("ValueError", "m" * 10_000, traceback="\udc80", retryable=False))
        with contextlib.suppress(Exception):
            await run.result(timeout=HANG)
        view = await client.get(run.id)
    assert view.status == "failed"
    assert (view.error.type, view.error.traceback) == ("ValueError", "\\udc80")
    assert "10,000 characters" in view.error.message


@pytest.mark.parametrize("what", ["large", "deep"])
async def test_an_output_that_no_record_takes_is_a_failure_and_is_told_as_one(log, what):
    output = "x" * log.max_record_bytes
    if what == "deep":
        output = []
        for _ in range(600):
            output = [output]
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        reported = await lending.complete((await claimed(lending)).claim, output)
        assert (reported.outcome, reported.error.type) == ("failed", "PayloadTooLarge")
        view = await client.wait(run.id, lambda state: not state.live, timeout=HANG)
    assert (view.status, view.error.type) == ("failed", "PayloadTooLarge")


async def test_a_step_that_is_not_done_within_its_own_time_has_failed_however_long_its_lease(log):
    brief = remote({"id": "a", "handler": "work", "timeout_seconds": 0.1, "retry": {"max_attempts": 1}})
    async with stage(log, None, brief) as client, lender(log) as lending:
        run = await client.start("w")
        step = await claimed(lending, lease=60)
        assert step.timeout_seconds == pytest.approx(0.1)
        view = await client.wait(run.id, lambda state: not state.live, timeout=HANG)
        assert (view.status, view.error.type) == ("failed", "StepTimeout")
        with pytest.raises(LeaseLostError) as lost:
            await lending.complete(step.claim, 1)
        assert lost.value.reason == "timed_out"


# --- given back ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hastily")
async def test_a_lease_that_runs_out_gives_the_step_to_another_and_a_late_outcome_does_not_count(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        first = await claimed(lending, "n1", lease=0.05)
        second = await claimed(lending, "n2")  # nobody has said a word
        assert (second.run, second.attempt, second.claim != first.claim) == (first.run, 1, True)
        for late in (lending.complete(first.claim, "late"), lending.release(first.claim)):
            with pytest.raises(LeaseLostError) as lost:
                await late
            assert lost.value.reason == "expired"
        await lending.complete(second.claim, "in time")
        assert (await run.result(timeout=HANG)).output == "in time"


@pytest.mark.usefixtures("hastily")
async def test_heartbeats_keep_a_step_for_as_long_as_they_come(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        step = await claimed(lending, lease=1.0)
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begun < 1.5:
            state = lending.heartbeat(step.claim)
            assert (state.cancelled, 0.9 < state.lease_seconds <= 1.0) == (False, True)
            await asyncio.sleep(0.05)
        await lending.complete(step.claim, "kept")
        assert (await run.result(timeout=HANG)).output == "kept"
    assert not events_of(await whole_history(log), StepHeartbeat)  # without progress they cost no record


async def test_a_released_step_is_for_any_worker_at_once(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        first = await claimed(lending, "n1")
        await lending.release(first.claim)
        await lending.release(first.claim)
        step = await claimed(lending, "n2")
        assert step.run == first.run
        with pytest.raises(LeaseLostError) as lost:
            await lending.complete(first.claim, 1)
        assert lost.value.reason == "released"
        await lending.complete(step.claim, 2)
        assert (await run.result(timeout=HANG)).output == 2


async def test_what_came_to_one_who_has_hung_up_goes_to_another_at_once(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        gone = asyncio.ensure_future(lending.claim("n1", ["node"], ["work"], wait=30, lease=600))
        await until(lambda: log.members("workers"))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await client.start("w", id="one")
        assert (await claimed(lending, "n2", wait=20)).instance_id == "one"


async def test_no_step_lies_where_nobody_polls(log):
    """A step that comes while one worker has its hands full and another polls is the other's."""
    async with stage(log, None, ONE) as client, lender(log) as lending:
        await client.start("w", id="one")
        await claimed(lending, "n1")
        await client.start("w", id="two")
        await client.start("w", id="three")
        assert {(await claimed(lending, "n2")).instance_id for _ in range(2)} == {"two", "three"}


async def test_the_end_of_the_server_gives_everything_back(open_log):
    log, other = await open_log(partitions=1), await open_log()
    async with stage(log, None, ONE) as client, lender(log) as lending, lender(other) as second:
        run = await client.start("w")
        step = await claimed(lending)
        waiting = asyncio.ensure_future(lending.claim("n9", ["node"], ["other"], wait=30))
        await asyncio.sleep(0)
        await lending.close()
        with pytest.raises(LogClosedError):
            await waiting
        with pytest.raises(LogClosedError):
            await lending.claim("n1", ["node"], ["work"])
        with pytest.raises(LeaseLostError) as lost:
            await lending.complete(step.claim, 1)
        assert lost.value.reason == "lost"
        with pytest.raises(UnknownClaimError):  # another server knows nothing of it
            await second.complete(step.claim, 1)
        await second.complete((await claimed(second)).claim, "by the other")
        assert (await run.result(timeout=HANG)).output == "by the other"


SERVER = """
import asyncio, sys
from stepwell.consumers.worker.remote.lending import Lending
from stepwell.log.local.log import LocalLog

async def main():
    log = await LocalLog.open(sys.argv[1])
    found = await Lending(log).claim("n1", ["node"], ["work"], wait=30, lease=3000)
    print(found[0].step_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_server_that_is_killed_loses_no_step(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db", partitions=1)
    async with stage(log, None, ONE) as client:
        run = await client.start("w")
        command = [sys.executable, "-c", SERVER, str(tmp_path / "log.db")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
            assert await asyncio.to_thread(server.stdout.readline) == "a\n"
            server.kill()
        async with lender(log) as lending:
            await lending.complete((await claimed(lending)).claim, "by the other")
            assert (await run.result(timeout=HANG)).output == "by the other"
    await log.close()


# --- cancelled, seen, left to others ------------------------------------------------------------------------------


async def test_a_cancelled_run_is_told_with_the_next_heartbeat(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        step = await claimed(lending)
        await run.cancel()
        state = await until(lambda: (state := lending.heartbeat(step.claim)).cancelled and state)
        assert state.lease_seconds == 0
        for _ in range(2):
            with pytest.raises(LeaseLostError) as lost:
                await lending.complete(step.claim, 1)
            assert lost.value.reason == "cancelled"
        assert (await client.get(run.id)).status == "cancelled"


async def test_what_was_cancelled_before_is_not_lent(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        await (await client.start("w", id="one")).cancel()
        await client.start("w", id="two")
        assert (await claimed(lending)).instance_id == "two"


async def test_long_steps_are_seen_with_their_worker_and_progress(log, monkeypatch):
    monkeypatch.setattr(heartbeats, "REPORT_AFTER", 0.05)
    monkeypatch.setattr(heartbeats, "HEARTBEAT_EVERY", 0.05)
    monkeypatch.setattr(heartbeats, "SWEEP_EVERY", 0.01)
    async with stage(log, None, ONE) as client, lender(log) as lending:
        run = await client.start("w")
        step = await claimed(lending)
        lending.heartbeat(step.claim, {"done": 40})
        view = await client.wait(run.id, lambda state: state.steps["a"].progress is not None, timeout=HANG)
        assert (view.steps["a"].status, view.steps["a"].progress) == ("running", {"done": 40})
        await lending.complete(step.claim, 1)
        await run.result(timeout=HANG)
    history = await whole_history(log)
    assert [event.worker for _, event in events_of(history, StepStarted)] == ["n1"]


async def test_steps_whose_handler_a_worker_does_not_name_are_left_to_those_who_have_it(log):
    async def other(data, ctx):
        return "in Python"

    both = remote({"id": "a", "handler": "other"}, {"id": "b", "handler": "work"}, output="{{ step_outputs }}")
    ordinary = Worker(log, handlers_of(other=other), queues=["node"])
    async with stage(log, None, both) as client, lender(log) as lending:
        polling = asyncio.ensure_future(claimed(lending))
        working = asyncio.ensure_future(ordinary.run())
        await until(lambda: _two_workers(log))
        run = await client.start("w")
        step = await polling
        assert step.step_id == "b"
        await lending.complete(step.claim, "in Node")
        assert (await run.result(timeout=HANG)).output == {"a": "in Python", "b": "in Node"}
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _two_workers(log):
    return len((await live_members(log)).workers) == 2


async def test_a_step_that_nobody_can_run_is_handed_back_for_people_to_see(log):
    async with stage(log, None, ONE) as client, lender(log) as lending:
        polling = asyncio.ensure_future(lending.claim("n1", ["node"], ["something else"], wait=30))
        run = await client.start("w")
        view = await client.wait(run.id, lambda state: state.steps["a"].waits_for == "worker", timeout=HANG)
        assert view.steps["a"].note == "no worker has its handler"
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
    commands = [decode_command(record.value) for record in await log.read(COMMANDS, 0, 0)]
    assert any(isinstance(command, ReturnStep) for command in commands)


async def test_a_step_of_a_remote_worker_never_runs_in_the_server(log):
    """Not even if its name is that of a built-in type, or of a function that could be imported."""
    names = ["transform", "os.getpid", "agent_task:bob"]
    definition = remote(*({"id": f"s{number}", "handler": name} for number, name in enumerate(names)))
    async with stage(log, None, definition) as client, lender(log) as lending:
        run = await client.start("w")
        for _ in names:
            step = await claimed(lending, handlers=names)
            assert step.handler in names
            await lending.complete(step.claim, step.handler)
        assert (await run.result(timeout=HANG)).output == {f"s{number}": name for number, name in enumerate(names)}
    assert len(events_of(await whole_history(log), StepSucceeded)) == len(names)


# --- who is there -------------------------------------------------------------------------------------------------


async def test_a_worker_is_live_while_it_polls_or_has_steps_and_for_a_moment_after(log):
    async def names():
        return [(worker.name, worker.concurrency) for worker in (await client.live_members()).workers]

    async with stage(log, None, ONE) as client, lender(log, linger=0.05) as lending:
        await client.start("w")
        step = await claimed(lending, limit=3)
        assert await names() == [("n1", 3)]
        await asyncio.sleep(0.2)
        assert await names() == [("n1", 3)]
        await lending.complete(step.claim, 1)

        async def gone():
            return not await names()

        await until(gone)
        assert not lending._remotes
        await client.start("w", id="again")  # and it may come back
        assert (await claimed(lending, limit=2)).instance_id == "again"


async def test_unknown_claims_are_told_apart_from_ended_ones_of_which_the_newest_are_remembered(log, monkeypatch):
    monkeypatch.setattr(lending_module, "REMEMBERED", 3)
    async with stage(log, None, ONE) as client, lender(log) as lending:
        with pytest.raises(UnknownClaimError):
            lending.heartbeat("nonsense")
        await client.start("w")
        held = await claimed(lending)
        ended = []
        for _ in range(6):
            await client.start("w")
            step = await claimed(lending)
            await lending.complete(step.claim, 1)
            ended.append(step.claim)
        with pytest.raises(UnknownClaimError):
            await lending.complete(ended[0], 1)
        assert (await lending.complete(ended[-1], 1)).outcome == "completed"
        assert not lending.heartbeat(held.claim).cancelled  # what lasts is never forgotten


async def test_more_different_workers_than_a_server_serves_are_refused(log, monkeypatch):
    monkeypatch.setattr(lending_module, "MOST_REMOTES", 2)
    async with lender(log) as lending:
        for name in ("n1", "n2", "n1"):
            await lending.claim(name, ["node"], ["work"])
        with pytest.raises(TooManyWorkersError):
            await lending.claim("n3", ["node"], ["work"])
