"""The engine: what it keeps in memory, how it meets trouble, and what becomes of commands, timers and groups."""

import asyncio
import itertools
from collections import Counter

import pytest

from stepwell.client.connect import connect
from stepwell.consumers.engine import deciding
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker.worker import Worker
from stepwell.core.fold import finished as core_finished
from stepwell.errors import CommandRejectedError, LogVersionError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, DEAD_LETTERS, EVENTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import CancelWorkflow, StartWorkflow
from stepwell.schemas.records.events import (
    EVENTS_VERSION,
    CommandRejected,
    IncidentRaised,
    StepSucceeded,
    WorkflowCompleted,
)
from tests.files import database
from tests.patience import HANG
from tests.workbench import (
    Claimant,
    Gate,
    accepted,
    client_on,
    ends,
    events_of,
    handlers_of,
    one_step,
    outcome,
    running,
    send,
    stage,
    start,
    steps,
    until,
    whole_history,
    workflow,
)

INSTANT = workflow(
    {"id": "in", "type": "input"}, {"id": "out", "type": "output", "depends_on": ["in"]}, name="instant"
)


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


# --- memory ---------------------------------------------------------------------------------------------------


async def test_finished_instances_leave_memory_and_their_ids_stay(log):
    async with client_on(log) as client:
        await client.register(INSTANT)
    claimant = Claimant(log)
    async with running(claimant.run()):
        await send(log, *(start(f"i{number}", "instant") for number in range(1_000)))
        await claimant.idle()
        assert len(claimant.ledger.speculative.instances) == len(claimant.confirmed.instances) == 0
        assert len(claimant.confirmed.finished) == 1_000
        assert claimant.owner.tenure._timers.next() is None
        assert not claimant.owner.tenure._continuing


async def test_only_the_last_finished_ids_are_remembered_and_older_instances_can_still_be_reopened(log, monkeypatch):
    monkeypatch.setattr(core_finished, "BLOCK", 1)
    monkeypatch.setattr(core_finished, "BLOCKS", 3)
    async with stage(log, handlers_of(work=work), workflow(*steps("a"))) as client:
        for number in range(6):
            run = await client.start("w", id=f"i{number}")
            await run.result(timeout=HANG)
        assert (await client.start("w", id="i5")).existed
        await client.rollback("i0", to="start")
        (view,) = await ends(client, "i0")
        assert (view.status, view.steps["a"].attempts) == ("completed", 1)
        with pytest.raises(CommandRejectedError) as refused:
            await client.cancel("i1")
        assert refused.value.code == "unknown_instance", "what is forgotten counts as unknown, but for who reopens it"


async def test_an_id_that_was_forgotten_can_be_used_again_with_the_same_workers(log, monkeypatch):
    """Where the log cannot look it up, as Kafka cannot."""

    async def finds_nothing(*_, **__):
        return set()

    monkeypatch.setattr(type(log), "known_keys", finds_nothing)
    monkeypatch.setattr(core_finished, "BLOCK", 1)
    monkeypatch.setattr(core_finished, "BLOCKS", 1)
    async with stage(log, handlers_of(work=work), workflow(*steps("a"), name="w")) as client:
        numbers = itertools.count()
        for _ in range(3):
            run = await client.start("w", id="again")
            assert not run.existed
            assert (await run.result(timeout=HANG)).status == "completed"
            partition = partition_for("again", log.partitions)
            names = (f"{run.id}-{next(numbers)}" for _ in range(99))
            others = [name for name in names if partition_for(name, log.partitions) == partition]
            for name in others[:2]:
                await (await client.start("w", id=name)).result(timeout=HANG)
            await asyncio.sleep(0.002)  # an instance that begins within the same millisecond would be taken for it


# --- commands -------------------------------------------------------------------------------------------------


async def test_a_second_start_of_an_id_is_answered_with_the_instance_that_exists(log):
    async with stage(
        log, handlers_of(work=work), workflow(*steps("a"), {"id": "z", "type": "wait", "config": {"seconds": 0.2}})
    ) as client:
        first = await client.start("w", {"n": 1}, id="one")
        again = await client.start("w", {"n": 9}, id="one", if_exists="use")
        assert (first.existed, again.existed) == (False, True)
        view = await again.result(timeout=HANG)
        late = await client.start("w", {"n": 9}, id="one", if_exists="use")
        assert late.existed
        assert view.input == (await late.result(timeout=HANG)).input == {"n": 1}
    assert len(events_of(await whole_history(log), WorkflowCompleted)) == 1


async def test_a_definition_that_the_engine_has_not_seen_is_waited_for(open_log, monkeypatch):
    log, elsewhere = await open_log(partitions=1), await open_log()

    async def follows_nothing(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(Engine, "_follow_definitions", follows_nothing)
    async with stage(log, handlers_of(work=work)), client_on(elsewhere) as client:
        await client.register(workflow(*steps("a")))
        run = await client.start("w")
        assert (await run.result(timeout=HANG)).status == "completed"
        with pytest.raises(CommandRejectedError) as refused:
            await client.send(start("lost", "nowhere"))
        assert refused.value.code == "unknown_workflow"


async def test_a_command_that_cannot_be_read_goes_to_the_dead_letters_and_the_partition_goes_on(log):
    deep = b'{"type":"StartWorkflow","instance_id":"deep","workflow":"w","input":' + b"[" * 600 + b"]" * 600 + b"}"
    bad = [b"\xff\xfe", b'{"type":"Dance"}', b'{"type":"CancelWorkflow"}', deep, b""]
    async with stage(log, handlers_of(work=work), workflow(*steps("a"))) as client:
        await log.append(COMMANDS, 0, [NewRecord("x", value) for value in bad])
        run = await client.start("w")
        assert (await run.result(timeout=HANG)).status == "completed"
        letters = await until(lambda: log.read(DEAD_LETTERS, 0, 0))
        assert [letter.value for letter in letters] == bad
        assert [letter.headers["offset"] for letter in letters] == ["0", "1", "2", "3", "4"]
        assert all(letter.headers["reason"] for letter in letters)


async def test_a_bug_in_deciding_sets_one_instance_aside_and_the_others_go_on(log, monkeypatch):
    decide = deciding.decide
    buggy = {"bad"}

    def with_a_bug(state, command, circumstances):
        if command.instance_id in buggy and type(command).__name__ in {"CompleteStep", "CancelWorkflow"}:
            raise ZeroDivisionError("a bug")
        return decide(state, command, circumstances)

    monkeypatch.setattr(deciding, "decide", with_a_bug)
    async with stage(log, handlers_of(work=work), workflow(*steps("a", "b"))) as client:
        await client.start("w", {"n": 1}, id="bad")
        good = await client.start("w", {"n": 1}, id="good")
        assert (await good.result(timeout=HANG)).status == "completed"
        view = await client.wait("bad", lambda state: state.incident == "quarantined", timeout=HANG)
        assert view.status == "paused"
        assert "ZeroDivisionError" in view.reason
        with pytest.raises(CommandRejectedError) as refused:
            await client.cancel("bad")
        assert refused.value.code == "quarantined", "who asked is told at once"
        buggy.clear()
        await client.resume("bad")
        (view,) = await ends(client, "bad")
        assert (view.status, view.output) == ("completed", {"b": {"n": 3}})
    history = await whole_history(log)
    assert len(events_of(history, IncidentRaised, "bad")) == 2
    assert {event.command for _, event in events_of(history, CommandRejected)} == {"CancelWorkflow"}


@pytest.mark.parametrize("what", ["a start", "a cancellation", "a reason", "one of nothing"])
async def test_a_command_whose_answer_is_too_large_ends_no_partition(log, what):
    async with stage(log, handlers_of(work=work), one_step()) as client:
        run = await client.start("w")
        await run.result(timeout=HANG)
        make = {
            "a start": lambda text: StartWorkflow("x", workflow="w", command_id=text),
            "a cancellation": lambda text: CancelWorkflow(run.id, command_id=text),
            "a reason": lambda text: CancelWorkflow(run.id, reason=text),
            "one of nothing": lambda text: CancelWorkflow("nothing", command_id=text),
        }[what]
        command = make("c" * (log.max_record_bytes - len(encode(make("c"))) + 1))
        partition = partition_for(command.instance_id, log.partitions)
        await log.append(COMMANDS, partition, [NewRecord(command.instance_id, encode(command))])
        assert (await outcome(client)).status == "completed"
        await until(lambda: answered(log))


async def answered(log):
    return events_of(await whole_history(log), CommandRejected)


async def test_a_bug_in_deciding_a_start_is_told_to_who_asked(log, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    async with stage(log, None, workflow(*steps("a"))) as client:
        monkeypatch.setitem(deciding.decide.__globals__["_DECIDE"], deciding.StartWorkflow, broken)
        with pytest.raises(CommandRejectedError, match="ZeroDivisionError"):
            await client.start("w", id="bad")
        monkeypatch.undo()
        assert not (await client.start("w", id="bad")).existed


async def test_work_that_fits_a_record_only_without_its_envelope_fails_its_step_and_not_the_partition(tmp_path):
    """A step's input on its way to a worker names the workflow as well: a few bytes more than its event."""
    from stepwell.log.local.log import LocalLog

    log = await LocalLog.open(tmp_path / "log.db", partitions=1, durability="normal", max_record_bytes=20_000)
    name = "n" * 150
    definition = workflow(
        {"id": "wait", "type": "wait", "config": {"seconds": 0}, "input": {}},
        *steps("a", after="wait", input={"text": "{{ input.text }}", "more": "x" * 2_000}, on_failure="skip"),
        {"id": "b", "handler": "work", "input": {}, "depends_on": ["a"]},
        name=name,
    )
    async with stage(log, handlers_of(work=work), definition) as client:
        sizes = range(17_400, 17_900, 15)
        for size in sizes:
            await client.send(start(f"i{size}", name, input={"text": "x" * size}))
        views = await ends(client, *(f"i{size}" for size in sizes), timeout=HANG)
    statuses = [view.steps["a"].status for view in views]
    assert set(statuses) == {"succeeded", "failed"}, "the limit lies among these sizes"
    assert statuses == sorted(statuses, reverse=True)
    assert {view.steps["a"].error.type for view in views if view.steps["a"].error} == {"PayloadTooLarge"}
    await log.close()


# --- time -----------------------------------------------------------------------------------------------------


async def test_timers_go_on_after_a_restart(log):
    sleepy = workflow(
        {"id": "sleep", "type": "wait", "config": {"seconds": 0.3}}, *steps("a", after="sleep"), name="sleepy"
    )
    again = workflow(*steps("a", retry={"max_attempts": 2, "initial_delay_seconds": 0.3}), name="again")
    late = workflow(
        {"id": "sleep", "type": "wait", "config": {"seconds": 60}}, name="late", default_timeout_seconds=0.3
    )

    async def once(data, ctx):
        if ctx.workflow == "again" and ctx.attempt == 1:
            raise ConnectionError("not yet")
        return {"attempt": ctx.attempt}

    handlers = handlers_of(work=once)
    async with stage(log, handlers, sleepy, again, late) as client:
        for name in ("sleepy", "again", "late"):
            await client.start(name, id=name)
        await client.wait("again", lambda state: "a" in state.timers, timeout=HANG)
    async with stage(log, handlers) as client:
        by_id = {view.instance_id: view for view in await ends(client, "sleepy", "again", "late")}
    assert by_id["sleepy"].status == "completed"
    assert by_id["again"].output == {"a": {"attempt": 2}}
    assert (by_id["late"].status, by_id["late"].error.type) == ("failed", "WorkflowTimeout")
    slept = by_id["sleepy"].steps["sleep"]
    assert slept.finished_at - slept.started_at >= 300
    history = await whole_history(log)
    times = [transition.at for _, transition in history]
    assert times == sorted(times)


# --- load and groups ------------------------------------------------------------------------------------------


@pytest.mark.rows("R13")
async def test_under_load_higher_priorities_run_first(log):
    gate = Gate()
    order = []

    async def noted(data, ctx):
        order.append(ctx.priority)

    async with stage(log, handlers_of(work=gate, noted=noted), workflow(*steps("block"), name="block"),
                     workflow({"id": "s", "handler": "noted"}), concurrency=1) as client:  # fmt: skip
        await client.start("block", id="block")
        await until(lambda: gate.runs["block", "block"])
        priorities = [0, 5, 100, 50, 5, 0, 99, 1]
        for number, priority in enumerate(priorities):
            await client.start("w", id=f"i{number}", priority=priority)
        gate.open.set()
        await ends(client, *(f"i{number}" for number in range(len(priorities))))
    assert order == sorted(priorities, reverse=True)


@pytest.mark.slow
async def test_engines_that_join_and_leave_finish_every_instance_exactly_once(open_log, rng):
    logs = [await open_log(partitions=4) for _ in range(4)]
    count = 200
    ids = [f"i{number:03}" for number in range(count)]
    runs = Counter()

    async def noted(data, ctx):
        runs[ctx.instance_id, ctx.run] += 1
        return {"n": data.get("n", 0) + 1}

    definition = workflow(*steps("a", "b", "c"), output="{{ step_outputs.c.n }}")
    worker = Worker(logs[3], handlers_of(work=noted))
    tasks = {}

    async def join_and_leave(done):
        while not done.is_set():
            number = rng.randrange(3)
            if number in tasks and len(tasks) > 1:
                task = tasks.pop(number)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            elif number not in tasks:
                tasks[number] = asyncio.ensure_future(Engine(logs[number]).run())
            await asyncio.sleep(rng.random() * 0.2)

    async with client_on(logs[3]) as client:
        await client.register(definition)
        tasks[0] = asyncio.ensure_future(Engine(logs[0]).run())
        done = asyncio.Event()
        async with running(worker.run()):
            changing = asyncio.ensure_future(join_and_leave(done))
            for instance_id in ids:
                await send(logs[3], start(instance_id, input={"n": 0}))
                await asyncio.sleep(rng.random() * 0.01)
            views = await ends(client, *ids, timeout=HANG)
            done.set()
            await changing
        for task in tasks.values():
            task.cancel()
        ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended
    assert {(view.status, view.output) for view in views} == {("completed", 3)}
    history = await whole_history(logs[3])
    assert Counter(t.instance_id for t, _ in events_of(history, WorkflowCompleted)) == dict.fromkeys(ids, 1)
    assert set(Counter((t.instance_id, e.step_id) for t, e in events_of(history, StepSucceeded)).values()) == {1}
    assert set(runs.values()) == {1}, "one worker that lives on runs nothing twice"
    claims = [
        await logs[3].end(EVENTS, partition) - len(await accepted(logs[3], partition)) for partition in range(4)
    ]
    assert sum(claims) > 4, "the partitions have moved"


async def test_who_waits_is_told_when_the_embedded_engine_stops_by_itself(tmp_path, monkeypatch):
    from stepwell.errors import LogFullError

    async def full(*_, **__):
        raise LogFullError("no room left")

    async with connect(f"file:{tmp_path}/log.db?synchronous=normal", handlers=handlers_of(work=work)) as client:
        await client.register(workflow({"id": "z", "type": "wait", "config": {"seconds": 60}}))
        run = await client.start("w", id="one")
        waiting = asyncio.ensure_future(run.result())
        monkeypatch.setattr("stepwell.consumers.engine.tenure.Tenure._follow", full)
        with pytest.raises(LogFullError):
            await client.cancel("one")
        with pytest.raises(LogFullError):
            await waiting


async def test_a_partition_on_which_nobody_may_decide_stops_alone_and_the_engine_ends_with_its_last(open_log):
    log = await open_log(partitions=2)
    first, second, third = (
        next(f"i{n}" for n in itertools.count(start) if partition_for(f"i{n}", 2) == partition)
        for start, partition in ((0, 0), (0, 1), (100, 1))
    )
    waiting = workflow({"id": "w", "type": "wait", "config": {"seconds": 1_000}}, name="waiting")
    async with client_on(log) as client:
        await client.register(INSTANT)
        await client.register(waiting)
        async with running(Engine(log).run()):
            await client.start("waiting", id=first)
        _of_a_newer_version(log, first)
        engine = asyncio.ensure_future(Engine(await open_log(), outlast=True).run())
        assert (await (await client.start("instant", id=second)).result(timeout=HANG)).status == "completed"
        assert not engine.done()
        await client.start("waiting", id=third)
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)
        _of_a_newer_version(log, third)
        with pytest.raises(LogVersionError, match="99"):
            await asyncio.wait_for(Engine(await open_log(), outlast=True).run(), HANG)


def _of_a_newer_version(log, instance_id):
    with database(log.path) as connection:
        changed = connection.execute(
            "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), ?, '\"version\":99') AS BLOB)"
            " WHERE key = ? AND CAST(value AS TEXT) LIKE '%workflow.started%'",
            (f'"version":{EVENTS_VERSION}', instance_id),
        )
        assert changed.rowcount == 1
