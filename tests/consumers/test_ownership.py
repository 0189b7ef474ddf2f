"""Owners that all believe they own the same partition: whatever becomes of their appends, there is one history."""

import asyncio
from collections import Counter

import pytest
from faulty_log import FaultyLog

from stepwell.consumers.engine import snapshotting
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.consumers.worker.worker import Worker
from stepwell.log.port import COMMANDS, EVENTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import CancelWorkflow, PauseWorkflow, ResumeWorkflow
from stepwell.schemas.records.events import StepSucceeded, WorkflowStarted
from tests.patience import HANG
from tests.workbench import (
    Claimant,
    client_on,
    events_of,
    handlers_of,
    plain,
    refolded,
    refolded_from_snapshot,
    routed,
    running,
    send,
    start,
    steps,
    until,
    whole_history,
    workflow,
)

DIAMOND = workflow(
    *steps("a"),
    *steps("b", after="a"),
    *steps("c", after="a", retry={"max_attempts": 3, "initial_delay_seconds": 0.01}),
    {"id": "join", "handler": "work", "depends_on": ["b", "c"], "input": {"n": "{{ step_outputs.b.n }}"}},
    output="{{ step_outputs.join.n }}",
)


class Work:
    """The handler of every step: counts, and fails the first attempt of step c."""

    def __init__(self):
        self.runs = Counter()

    async def __call__(self, data, ctx):
        self.runs[ctx.instance_id, ctx.run] += 1
        if ctx.step_id == "c" and ctx.attempt == 1:
            raise ConnectionError("try again")
        return {"n": data.get("n", 0) + 1}


def unique_commands(history):
    return Counter(
        event.command_id
        for _, transition in history
        for event in transition.events
        if getattr(event, "command_id", "")
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
async def test_of_any_interleaving_of_owners_and_faults_there_is_one_history(open_log, rng, monkeypatch, number):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 6_000)
    logs = [FaultyLog(await open_log(partitions=1), rng) for _ in range(2 + number % 2)]
    plain_log = await open_log()
    work = Work()
    claimants = [Claimant(log) for log in logs]
    ids = [f"i{number:02}" for number in range(30)]
    cancelled, paused = ids[3], ids[5]

    async def trouble():
        for log in logs:
            log.faults = 0.15
        for instance_id in ids:
            command = start(instance_id, input={"n": 1})
            await send(plain_log, command)
            if rng.random() < 0.3:
                await send(plain_log, command)  # a sender that tries again
            if rng.random() < 0.5:
                chosen = rng.choice(logs)
                chosen.hold()
                await asyncio.sleep(rng.random() * 0.03)
                if rng.random() < 0.7:
                    chosen.let_go()
            await asyncio.sleep(rng.random() * 0.02)
        await send(plain_log, CancelWorkflow(cancelled, "enough", command_id="cancel"))
        await send(plain_log, PauseWorkflow(paused, command_id="pause"), ResumeWorkflow(paused, command_id="resume"))

    async with client_on(plain_log) as client:
        await client.register(DIAMOND)
        worker = Worker(plain_log, handlers_of(work=work), concurrency=20)
        async with running(worker.run(), *(claimant.run() for claimant in claimants)) as tasks:
            await trouble()
            for log in logs:
                log.faults = 0.0
                log.let_go()
                await log.settle()
            # One goes on alone: those who have lost the partition need not have noticed yet.
            for task in tasks[2:]:
                task.cancel()
            views = await asyncio.gather(*(client.wait(i, lambda s: not s.live, timeout=HANG) for i in ids))
            await claimants[0].idle()
            confirmed = claimants[0].confirmed

    for view in views:
        if view.instance_id != cancelled:
            assert (view.status, view.output) == ("completed", 4), view
    history = await whole_history(plain_log)
    assert plain(confirmed) == plain(await refolded(plain_log))
    counts = unique_commands(history)
    assert set(counts.values()) == {1}, counts
    assert set(counts) >= {f"start-{instance_id}" for instance_id in ids}
    assert len(events_of(history, WorkflowStarted)) == len(ids)
    succeeded = Counter((t.instance_id, event.step_id) for t, event in events_of(history, StepSucceeded))
    assert set(succeeded.values()) == {1}
    # Effects left only for what counts, and a worker that lives on runs nothing twice.
    accepted_runs = routed(history)
    for log in logs:
        for item in log.enqueued:
            assert accepted_runs[item.instance_id, item.sequence] == item.step
    assert set(work.runs.values()) == {1}
    assert set(work.runs) <= {(i, event.run) for (i, _), event in accepted_runs.items()}


async def test_a_zombie_that_wakes_up_after_its_partition_moved_changes_nothing(open_log, rng):
    log = FaultyLog(await open_log(partitions=1), rng)
    zombie, successor = Claimant(log), Claimant(await open_log())
    async with client_on(successor.log) as client:
        await client.register(workflow(*steps("a", "b")))
    async with running(zombie.run()) as beside:
        await send(successor.log, start("one"))
        await until(lambda: "one" in zombie.confirmed.instances)
        log.hold()
        await send(successor.log, start("two"), start("three"))
        await until(lambda: len(zombie.ledger.speculative.instances) == 3)
        assert list(zombie.confirmed.instances) == ["one"]
        async with running(successor.run()):
            await until(lambda: len(successor.confirmed.instances) == 3)
            await successor.idle()
            beside.cancel()  # it claims nothing anew, but what it had appended lands all the same
            end = await successor.log.end(EVENTS, 0)
            log.let_go()
            await until(lambda: late_records(successor.log, end))
            assert list(zombie.confirmed.instances) == ["one"]
            assert [item.instance_id for item in log.enqueued] == ["one"], "what it decided alone left nothing"
            await send(successor.log, start("four"))
            await until(lambda: "four" in successor.confirmed.instances)
            assert isinstance(successor.surprises[0], SurpriseError)
    history = await whole_history(successor.log)
    assert set(unique_commands(history).values()) == {1}
    assert len(events_of(history, WorkflowStarted)) == 4


async def late_records(log, end):
    return await log.end(EVENTS, 0) > end


async def test_a_foreign_record_makes_an_owner_step_back_before_it_believes_anything(log):
    async with client_on(log) as client:
        await client.register(workflow(*steps("a")))
    claimant = Claimant(log)
    task = asyncio.ensure_future(claimant.run(again=False))
    await send(log, start("one"))
    await until(lambda: "one" in claimant.confirmed.instances)
    await claimant.idle()
    await log.append(EVENTS, 0, [NewRecord("x", b"{}", {"kind": "transition", "epoch": "0", "index": "99"})])
    await send(log, start("two"))
    with pytest.raises(SurpriseError):
        await task
    assert list(claimant.confirmed.instances) == ["one"]
    follower = Claimant(log)
    async with running(follower.run()):
        await follower.idle()
        assert sorted(follower.confirmed.instances) == ["one", "two"]
    state, _ = await refolded_from_snapshot(log)
    assert plain(state) == plain(await refolded(log))


async def test_a_command_whose_append_ended_in_doubt_is_followed_once(open_log, rng):
    log = FaultyLog(await open_log(partitions=1), rng)
    async with client_on(await open_log()) as client:
        await client.register(workflow(*steps("a")))
        claimant = Claimant(log)
        async with running(claimant.run()):
            await claimant.idle()
            log.kinds = ("in doubt", "late", "never")
            for number in range(10):
                log.faults = 1.0
                await log.append(COMMANDS, 0, [NewRecord(f"i{number}", encode(start(f"i{number}")))])
                owners = len(claimant.owners)
                await until(lambda owners=owners: len(claimant.owners) > owners)
                log.faults = 0.0
                await log.settle()
            await until(lambda: len(claimant.confirmed.instances) == 10)
    history = await whole_history(client.log)
    assert len(events_of(history, WorkflowStarted)) == 10


class Everything:
    """A place in a group that gives everything to everybody."""

    def __init__(self, partitions):
        self._all = frozenset(range(partitions))

    async def assignment(self):
        return self._all

    async def changed(self, known):
        if known == self._all:
            await asyncio.Event().wait()
        return self._all

    def reached(self, topic, partition, offset):
        pass

    async def leave(self):
        pass


async def test_engines_whose_group_gives_all_partitions_to_each_of_them_still_make_one_history(open_log, monkeypatch):
    monkeypatch.setattr("stepwell.consumers.engine.engine._FIRST_PAUSE", 0.005)
    monkeypatch.setattr("stepwell.consumers.engine.engine._LONGEST_PAUSE", 0.05)
    logs = [await open_log(partitions=2) for _ in range(3)]
    for log in logs[:2]:

        async def join(_group, _about, log=log):
            return Everything(log.partitions)

        monkeypatch.setattr(log, "join", join)
    work = Work()
    ids = [f"i{number:02}" for number in range(30)]
    async with client_on(logs[2]) as client:
        await client.register(DIAMOND)
        engines = [Engine(log).run() for log in logs[:2]]
        async with running(Worker(logs[2], handlers_of(work=work), concurrency=20).run(), *engines):
            await send(logs[2], *(start(instance_id, input={"n": 1}) for instance_id in ids))
            views = await asyncio.gather(*(client.wait(i, lambda s: not s.live, timeout=HANG) for i in ids))
    assert {(view.status, view.output) for view in views} == {("completed", 4)}
    history = await whole_history(logs[2])
    assert unique_commands(history) == {f"start-{instance_id}": 1 for instance_id in ids}
    assert set(work.runs.values()) == {1}
    assert set(work.runs) == {(i, event.run) for (i, _), event in routed(history).items()}
