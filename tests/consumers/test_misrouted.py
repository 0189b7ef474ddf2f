"""Commands in the wrong partition: a foreign producer with another partitioner, or without keys."""

import asyncio
import contextlib

import pytest

from stepwell.consumers.engine.misrouted import FORWARDED, MisroutedCommands, read_commands
from stepwell.errors import LogError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, DEAD_LETTERS, STARTS, NewRecord, Record
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import CancelWorkflow, PauseWorkflow, StartWorkflow
from stepwell.schemas.records.events import CommandNoted, CommandRejected, WorkflowPaused, WorkflowStarted
from tests.consumers.faulty_log import FaultyLog
from tests.patience import HANG
from tests.workbench import (
    Claimant,
    client_on,
    ends,
    events_of,
    handlers_of,
    running,
    send,
    stage,
    steps,
    until,
    whole_history,
    workflow,
)


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


HANDLERS = handlers_of(work=work)
CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")


def wrong(instance_id, log):
    return (partition_for(instance_id, log.partitions) + 1) % log.partitions


async def misplace(log, command, topic=STARTS, key=None):
    key = command.instance_id if key is None else key
    await log.append(topic, wrong(command.instance_id, log), [NewRecord(key, encode(command))])


@pytest.mark.parametrize("topic", [STARTS, COMMANDS])
@pytest.mark.parametrize("key", [None, "", "\ufffd\ufffd"])
async def test_a_start_in_the_wrong_partition_is_sent_on_and_runs(open_log, topic, key):
    log = await open_log(partitions=3)
    ids = [f"order-{n}" for n in range(10)]
    async with stage(log, HANDLERS, CHAIN) as client:
        for name in ids:
            await misplace(log, StartWorkflow(name, workflow="w", input={"n": 1}), topic, key)
        views = await ends(client, *ids)
        assert [view.output for view in views] == [3] * 10
        history = await whole_history(log)
    assert len(events_of(history, WorkflowStarted)) == 10
    notes = events_of(history, CommandNoted)
    assert len(notes) == 10
    assert all(transition.sequence == 0 and "murmur2" in event.message for transition, event in notes)


async def test_what_was_sent_on_names_where_it_came_from_and_can_be_followed_once_only(open_log):
    log = await open_log(partitions=2)
    async with stage(log, None, CHAIN) as client:
        run = await client.start("w", id="x")
        for _ in range(2):
            await misplace(log, PauseWorkflow("x", reason="wait"), COMMANDS)
        await until(lambda: noted(log, 3))  # sent on twice, and one pauses what is paused
        here = partition_for("x", 2)
        copies = [r for r in await log.read(COMMANDS, here, 0) if FORWARDED in r.headers]
        assert [r.headers[FORWARDED] for r in copies] == [f"commands[{1 - here}]@0", f"commands[{1 - here}]@1"]
        assert b'"command_id":"from-commands' in copies[0].value
        await client.resume(run.id)
        await log.append(COMMANDS, here, [NewRecord("x", copies[0].value)])  # once more, long after
        await client.pause(run.id)
        history = await whole_history(log)
    assert len(events_of(history, WorkflowPaused)) == 2, "the first stray, and the client's own"


async def noted(log, count):
    return len(events_of(await whole_history(log), CommandNoted)) >= count


async def test_a_sender_s_own_command_id_is_kept(open_log):
    log = await open_log(partitions=2)
    async with stage(log, HANDLERS, CHAIN) as client:
        answer = await client.subscriber.expect("y", "mine")
        await misplace(log, StartWorkflow("y", workflow="w", command_id="mine"))
        found = await asyncio.wait_for(answer, HANG)
    assert isinstance(found.event, WorkflowStarted)


async def test_one_too_large_to_be_sent_on_is_rejected_with_the_reason(open_log):
    log = await open_log(partitions=2)
    async with stage(log, None, CHAIN):
        limit = log.max_record_bytes
        empty = len(encode(StartWorkflow("z", workflow="w", input={"s": ""})))
        await misplace(log, StartWorkflow("z", workflow="w", input={"s": "x" * (limit - empty)}))
        await until(lambda: rejected(log))
        ((_, event),) = events_of(await whole_history(log), CommandRejected)
    assert event.code == "wrong_partition"
    assert "Too large" in event.message


async def rejected(log):
    return events_of(await whole_history(log), CommandRejected)


async def test_an_undecodable_command_is_put_aside_wherever_it_lies(open_log):
    log = await open_log(partitions=2)
    async with stage(log, HANDLERS, CHAIN) as client:
        await log.append(STARTS, 0, [NewRecord("k", b"\xff{"), NewRecord("", b'{"type":"StartWorkflow"}')])
        await log.append(STARTS, 0, [NewRecord("k", b'{"type":"CancelWorkflow","instance_id":"\\ud800"}')])
        (view,) = await asyncio.gather((await client.start("w", {"n": 1})).result(timeout=HANG))
        assert view.output == 3
        await until(lambda: letters(log, 3))


async def test_an_undecodable_command_larger_than_the_log_takes_is_put_aside_in_parts(open_log):
    log = await open_log(partitions=1)
    misrouted = MisroutedCommands(log, 0)
    junk = b"\xff" * (2 * log.max_record_bytes + 1)  # as another program with a larger limit may write it
    (asked,) = read_commands(STARTS, [Record(7, "k" * 2 * log.max_record_bytes, junk, {}, 0)])
    await misrouted.bring_to_safety([asked])
    found = await log.read(DEAD_LETTERS, 0, 0)
    assert b"".join(letter.value for letter in found) == junk
    assert [letter.headers["part"] for letter in found] == ["1/3", "2/3", "3/3"]
    assert {letter.headers["offset"] for letter in found} == {"7"}


async def letters(log, count):
    return len(await log.read(DEAD_LETTERS, 0, 0)) == count


@pytest.mark.parametrize("how", ["fails", "lands and fails"])
async def test_no_trouble_while_it_is_sent_on_loses_it(open_log, how, rng):
    log = await open_log(partitions=2)
    name = next(f"s-{n}" for n in range(100) if partition_for(f"s-{n}", 2) == 1)
    faulty = FaultyLog(log, rng)
    here, there = Claimant(faulty, 0), Claimant(log, 1)
    async with client_on(log) as client:
        await client.register(CHAIN)
        broken = []

        def append(topic, partition, records):
            if topic == COMMANDS and partition == 1 and len(broken) < 3:
                broken.append(log.append(topic, partition, records) if how != "fails" else None)
                future = asyncio.get_running_loop().create_future()
                future.set_exception(LogError("in doubt"))
                return future
            return log.append(topic, partition, records)

        faulty.append = append
        await log.append(COMMANDS, 0, [NewRecord("", encode(StartWorkflow(name, workflow="w")))])
        await log.append(COMMANDS, 0, [NewRecord("", encode(CancelWorkflow(name)))])
        async with running(here.run(), there.run()):
            await until(lambda: len(broken) == 3)
            await ends(client, name)
            await here.idle()
            await there.idle()
        for future in filter(None, broken):
            with contextlib.suppress(LogError):
                await future
        history = await whole_history(log)
    assert len(here.surprises) == 3
    assert len(events_of(history, WorkflowStarted)) == 1


class Refusing:
    """A log that refuses the first dead letters, with some other trouble or none."""

    def __init__(self, log, times):
        self._log = log
        self.left = times

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, topic, partition, records):
        if topic == DEAD_LETTERS and self.left:
            self.left -= 1
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(LogError("trouble, on purpose"))
            return refused
        return self._log.append(topic, partition, records)


async def test_a_command_that_cannot_be_read_is_safe_among_the_dead_letters_before_its_place_is_covered(open_log):
    log = Refusing(await open_log(partitions=1), 2)
    async with client_on(log) as client:
        await client.register(CHAIN)
    await log.append(COMMANDS, 0, [NewRecord("k", b"no command")])
    await send(log, StartWorkflow("one", workflow=CHAIN["name"], command_id="s1"))
    claimant = Claimant(log)
    async with running(claimant.run()):
        await claimant.idle()
    assert (len(claimant.surprises), log.left) == (2, 0)  # claimed anew each time
    (letter,) = await log.read(DEAD_LETTERS, 0, 0)
    assert letter.value == b"no command"
