"""Taking a partition over: what the log holds is all there is to know, and nothing less will do."""

import asyncio

import msgspec
import pytest

from stepwell.consumers.engine import snapshotting
from stepwell.consumers.engine.delivering import Deliveries
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.engine.takeover import take_over
from stepwell.consumers.engine.tenure import Tenure
from stepwell.core.fold.acceptance import CLAIM, KIND, SNAPSHOT, TRANSITION, Acceptance, Stamp, stamp_headers
from stepwell.core.fold.partition import PartitionState
from stepwell.errors import LogCorruptedError, LogVersionError
from stepwell.log.port import COMMANDS, CONTROL, EVENTS, SNAPSHOTS, STARTS, NewRecord
from stepwell.schemas.records.codec import decode_command, decode_transition, encode
from stepwell.schemas.records.commands import CancelWorkflow, CompleteStep, StartWorkflow
from stepwell.schemas.records.events import EVENTS_VERSION, Transition
from stepwell.schemas.records.partition_records import PartitionSnapshotted
from stepwell.schemas.records.step_waits import Parent
from stepwell.schemas.records.work import CancelRuns, WorkItem
from tests.files import database
from tests.patience import HANG
from tests.workbench import (
    Claimant,
    accepted,
    client_on,
    plain,
    refolded,
    refolded_from_snapshot,
    running,
    send,
    start,
    steps,
    until,
    whole_history,
    workflow,
)


@pytest.fixture
async def bench(log):
    """A log with workflow ``w`` of two steps, which wait for outcomes that the test sends."""
    async with client_on(log) as client:
        await client.register(workflow(*steps("a", "b")))
    return log


async def after(log, *commands):
    """Let an owner decide commands, then go."""
    claimant = Claimant(log)
    async with running(claimant.run()):
        await send(log, *commands)
        await claimant.idle()
    assert not claimant.surprises
    return claimant.ledger


def outcome(instance_id, step_id, run):
    return CompleteStep(instance_id, step_id, run, {"from": step_id})


async def queued(log):
    """What waits in the queue ``default``, as (instance, step), with repeats; it stays there."""
    ((waiting,),) = await log.reader.ask("SELECT count(*) FROM queue WHERE claimed_by IS NULL", ())
    queue = await log.consume(["default"], prefetch=1000)
    found = []
    async with asyncio.timeout(HANG):
        while len(found) < waiting:
            found += [msgspec.json.decode(one.value, type=WorkItem) for one in await queue.take(1000)]
    await queue.close()
    return sorted((item.instance_id, item.step.step_id) for item in found)


async def taken(log):
    return await take_over(log, 0, "test", 0)


async def with_snapshots(log, monkeypatch, count=40, tail=2_000):
    """Let an owner take snapshots; gives it as it was at the end."""
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", tail)
    monkeypatch.setattr(snapshotting, "FACTOR", 1)
    claimant = Claimant(log)
    async with running(claimant.run()):
        for number in range(count):
            await send(log, start(f"i{number:02}"), outcome(f"i{number:02}", "a", 1))
            if number % 2:
                await send(log, outcome(f"i{number:02}", "b", 2))
            await claimant.idle()
        taking = claimant.ledger.snapshots
        # Also what the newest has superseded is gone then, and does not go while a test looks at it.
        await until(lambda: taking._taken is None and (taking._task is None or taking._task.done()))
    assert not claimant.surprises
    return claimant.ledger


async def test_an_empty_partition_is_taken_over_at_its_first_record(bench):
    possession = await taken(bench)
    assert possession.epoch == 0
    assert plain(possession.state) == plain(PartitionState())
    assert (possession.released, possession.resend) == (-1, [])
    again = await taken(bench)
    assert again.epoch == 1


async def test_from_transitions_alone_the_state_is_that_of_the_owner_before(bench):
    before = await after(bench, start("one"), outcome("one", "a", 1), start("two"))
    possession = await taken(bench)
    assert plain(possession.state) == plain(before.confirmed)
    assert possession.released <= before.epoch + 3


async def test_from_a_snapshot_the_state_is_the_same_as_from_the_beginning(bench, monkeypatch):
    before = await with_snapshots(bench, monkeypatch)
    assert before.snapshots.at > 0
    possession = await taken(bench)
    assert possession.reader.snapshot is not None
    assert possession.tail_bytes < sum(len(record.value) for record, _ in await accepted(bench))
    assert plain(possession.state) == plain(before.confirmed) == plain(await refolded(bench))
    assert possession.state.finished, "finished instances are remembered across snapshots"
    assert possession.state.instances


async def test_a_snapshot_lets_older_snapshots_and_decided_commands_go(bench, monkeypatch):
    before = await with_snapshots(bench, monkeypatch)
    _, snapshot = await refolded_from_snapshot(bench)

    async def gone():
        chunks, commands = await bench.read(SNAPSHOTS, 0, 0, limit=1), await bench.read(COMMANDS, 0, 0, limit=1)
        return chunks[0].offset >= snapshot.first and commands[0].offset > 0

    await until(gone)
    assert before.deliveries.state.progress.command > 0


async def test_a_snapshot_lets_go_no_command_that_it_does_not_cover(bench, monkeypatch):
    places, deleted = [], []
    encode_partition, delete_before = snapshotting.encode_partition, bench.delete_before

    def taking(state):
        places.append((state.progress.command, state.progress.start))
        return encode_partition(state)

    async def deleting(topic, partition, offset):
        deleted.append((topic, offset))
        await delete_before(topic, partition, offset)

    monkeypatch.setattr(snapshotting, "encode_partition", taking)
    monkeypatch.setattr(bench, "delete_before", deleting)
    await with_snapshots(bench, monkeypatch)
    for topic, expected in ((COMMANDS, [place[0] for place in places]), (STARTS, [place[1] for place in places])):
        found = [offset for what, offset in deleted if what == topic]
        assert found, topic
        assert found == expected[: len(found)]


async def test_a_snapshot_whose_chunks_come_in_several_reads_is_read_whole(bench, monkeypatch):
    monkeypatch.setattr("stepwell.core.fold.snapshots.CHUNK_BYTES", 300)
    before = await with_snapshots(bench, monkeypatch)
    read = bench.read

    async def at_most_three(topic, partition, offset, *, limit=1000, wait=0.0):
        return await read(topic, partition, offset, limit=min(limit, 3), wait=wait)

    monkeypatch.setattr(bench, "read", at_most_three)
    possession = await taken(bench)
    assert possession.reader.snapshot.chunks > 3
    assert plain(possession.state) == plain(before.confirmed)


async def test_refused_records_count_for_nobody_with_a_snapshot_or_without(bench, monkeypatch):
    before = await after(bench, start("one"))
    late = NewRecord(
        "ghost",
        encode(Transition(EVENTS_VERSION, 0, "one", 3, ())),
        stamp_headers(TRANSITION, Stamp(before.epoch, 7, source=99)),  # after a gap
    )
    await bench.append(EVENTS, 0, [late])
    await taken(bench)
    stale = stamp_headers(TRANSITION, Stamp(before.epoch, before.index + 1, source=500, released=500))
    await bench.append(EVENTS, 0, [late._replace(headers=stale, key="one")])  # of an epoch that is over
    possession = await taken(bench)
    assert plain(possession.state) == plain(before.confirmed)
    refused = set(possession.reader.refused)
    assert len(refused) == 2
    await with_snapshots(bench, monkeypatch)
    possession = await taken(bench)
    assert refused <= possession.reader.refused
    assert plain(possession.state) == plain(await refolded(bench))
    history = await possession.reader.history("one")
    assert refused.isdisjoint(found.record.offset for found in history)
    await whole_history(bench)


async def test_effects_are_sent_again_only_where_they_may_not_have_arrived_and_are_unsettled(bench, monkeypatch):
    monkeypatch.setattr(bench, "enqueue", lambda *_: asyncio.get_running_loop().create_future())  # they never arrive
    claimant = Claimant(bench)
    async with running(claimant.run()):
        await send(bench, start("one"), start("two"), outcome("two", "a", 1), start("three"))
        await until(lambda: len(claimant.confirmed.instances) == 3)
        await until(lambda: claimant.ledger and claimant.ledger.proved.index == 4)
        assert claimant.ledger.deliveries.released == claimant.ledger.epoch
    monkeypatch.undo()
    possession = await taken(bench)
    resent = [(effect.instance_id, effect.step.step_id) for effect in possession.resend]
    assert resent == [("one", "a"), ("two", "b"), ("three", "a")], "two's step a is settled"
    claimant = Claimant(bench)
    async with running(claimant.run()):
        await until(lambda: claimant.owners)
        await claimant.idle()
        assert await queued(bench) == sorted(resent)
        await send(bench, start("four"))  # its transition says that they have arrived
        await claimant.idle()
    assert {effect.instance_id for effect in (await taken(bench)).resend} <= {"four"}


async def test_what_calls_runs_off_is_sent_again_as_steps_are(bench, monkeypatch):
    monkeypatch.setattr(bench, "enqueue", lambda *_: asyncio.get_running_loop().create_future())  # they never arrive
    claimant = Claimant(bench)
    async with running(claimant.run()):
        await send(bench, start("one"), CancelWorkflow("one", command_id="cancel"))
        await until(lambda: claimant.ledger and claimant.ledger.proved.index == 2)
    monkeypatch.undo()
    assert [type(effect) for effect in (await taken(bench)).resend] == [CancelRuns]
    before = await bench.end(CONTROL, 0)
    await after(bench)
    again = [msgspec.json.decode(record.value, type=CancelRuns) for record in await bench.read(CONTROL, 0, before)]
    assert [cancel.instance_id for cancel in again] == ["one"]


async def test_a_run_whose_outcome_waits_to_be_decided_is_not_sent_again(bench, monkeypatch):
    monkeypatch.setattr(bench, "enqueue", lambda *_: asyncio.get_running_loop().create_future())
    claimant = Claimant(bench)
    async with running(claimant.run()):
        await send(bench, start("one"), start("two"))
        await until(lambda: len(claimant.confirmed.instances) == 2)
    monkeypatch.undo()
    await send(bench, outcome("one", "a", 1))
    await after(bench)
    assert await queued(bench) == [("one", "b"), ("two", "a")]


async def test_no_snapshot_covers_effects_that_may_not_have_arrived(bench, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 0)
    monkeypatch.setattr(bench, "enqueue", lambda *_: asyncio.get_running_loop().create_future())
    for round_ in range(3):
        claimant = Claimant(bench)
        async with running(claimant.run()):
            await send(bench, start(f"i{round_}"))
            await until(lambda claimant=claimant, last=f"i{round_}": last in claimant.confirmed.instances)
            await until(lambda claimant=claimant: claimant.ledger and not claimant.ledger._unproved)
    monkeypatch.undo()
    possession = await taken(bench)
    assert [effect.instance_id for effect in possession.resend] == ["i0", "i1", "i2"]


async def test_a_late_record_that_names_a_superseded_snapshot_misleads_nobody(bench, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 2_000)
    first = await with_snapshots(bench, monkeypatch, count=10)
    old = first.snapshots.at
    last = await with_snapshots(bench, monkeypatch, count=40)
    assert last.snapshots.at > old
    zombie = stamp_headers(TRANSITION, Stamp(first.epoch, first.index + 1, source=5, snapshot=old, released=5))
    await bench.append(EVENTS, 0, [NewRecord("i00", encode(Transition(EVENTS_VERSION, 0, "i00", 9, ())), zombie)])
    possession = await taken(bench)
    assert possession.reader.snapshot_at == last.snapshots.at
    assert plain(possession.state) == plain(last.confirmed) == plain(await refolded(bench))


async def replace_record(log, topic, offset, value):
    """Damage a record behind the log's back."""
    with database(log.path) as connection:
        base = log.reader.base(topic, 0)
        if value is None:
            connection.execute("DELETE FROM records WHERE id = ?", (base + offset,))
        else:
            changed = connection.execute("UPDATE records SET value = ? WHERE id = ?", (value, base + offset))
            assert changed.rowcount == 1
    connection.close()


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
async def test_a_damaged_snapshot_is_said_to_be_so(bench, open_log, monkeypatch, damage):
    monkeypatch.setattr("stepwell.core.fold.snapshots.CHUNK_BYTES", 1_000)
    await with_snapshots(bench, monkeypatch)
    _, snapshot = await refolded_from_snapshot(bench)
    assert snapshot.chunks > 2
    chunk = (await bench.read(SNAPSHOTS, 0, snapshot.first + 1, limit=1))[0].value
    damaged = {"cut": chunk[: chunk.rindex(b"}")], "garbage": b"\x00" * len(chunk), "missing": None}[damage]
    other = await open_log()
    await replace_record(other, SNAPSHOTS, snapshot.first + 1, damaged)
    with pytest.raises(LogCorruptedError) as caught:
        await take_over(other, 0, "test", 0)
    assert caught.value.place.startswith("snapshots[0]")


async def test_a_snapshot_record_that_points_to_nothing_is_said_to_be_so(bench):
    (epoch,) = await bench.append(EVENTS, 0, [NewRecord("", b"{}", {KIND: CLAIM})])
    pointer = PartitionSnapshotted(EVENTS_VERSION, 0, covers=epoch, epoch=epoch, index=0, first=7, chunks=2, size=9)
    headers = stamp_headers(SNAPSHOT, Stamp(epoch, 1, snapshot=-1))
    named = stamp_headers(SNAPSHOT, Stamp(epoch, 2, snapshot=epoch + 1))
    await bench.append(EVENTS, 0, [NewRecord("", encode(pointer), headers), NewRecord("", encode(pointer), named)])
    with pytest.raises(LogCorruptedError, match="missing"):
        await taken(bench)


@pytest.mark.parametrize(
    "value",
    [
        b'{"version":99,"at":1,"instance_id":"one","sequence":3,"events":[{"type":"workflow.teleported"}]}',
        b'{"version":99,"shape":"unheard of"}',
    ],
)
async def test_an_event_of_an_unknown_version_stops_the_engine_which_names_its_place(bench, value):
    before = await after(bench, start("one"))
    offset = before.epoch + before.index + 1
    headers = stamp_headers(
        TRANSITION, Stamp(before.epoch, before.index + 1, source=0, released=before.deliveries.released)
    )
    await bench.append(EVENTS, 0, [NewRecord("one", value, headers)])
    await send(bench, outcome("one", "a", 1), start("two"))
    with pytest.raises(LogVersionError) as caught:
        await Engine(bench).run()
    assert caught.value.place == f"events[0]@{offset}"
    assert "Update Stepwell" in caught.value.remedy
    written = await bench.read(EVENTS, 0, offset + 1)
    assert {record.headers[KIND] for record in written} <= {CLAIM}, "it claimed, read, and wrote nothing"
    assert not await bench.members("engines")


async def test_a_record_that_is_no_transition_stops_the_engine(bench):
    before = await after(bench, start("one"))
    headers = stamp_headers(TRANSITION, Stamp(before.epoch, before.index + 1, source=0))
    await bench.append(EVENTS, 0, [NewRecord("one", b"not json", headers)])
    with pytest.raises(LogCorruptedError, match="no transition"):
        await Engine(bench).run()


async def test_an_event_of_the_first_version_is_read_as_one_of_today(bench):
    before = await after(bench, start("one"))
    old = {
        "version": 1, "at": before.confirmed.at, "instance_id": "one", "sequence": 3,
        "events": [{"type": "step.retry_scheduled", "step_id": "a", "run": 1, "error": "OSError: gone", "delay_seconds": 0}],
    }  # fmt: skip
    headers = stamp_headers(
        TRANSITION, Stamp(before.epoch, before.index + 1, source=0, released=before.deliveries.released)
    )
    await bench.append(EVENTS, 0, [NewRecord("one", msgspec.json.encode(old), headers)])
    decoded = decode_transition(msgspec.json.encode(old), "here")
    assert (decoded.version, decoded.events[0].error.type) == (EVENTS_VERSION, "OSError")
    claimant = Claimant(bench)
    async with running(claimant.run()):
        await until(lambda: claimant.confirmed.instances and claimant.ledger.index)
        await claimant.idle()
        step = claimant.confirmed.instances["one"].steps["a"]
        assert (step.attempt, step.run, str(step.status)) == (2, 2, "ready"), "its retry was due"


async def test_what_was_too_much_for_one_record_goes_on_after_a_take_over(log, monkeypatch):
    """Also where the new owner has not read the definitions yet."""
    wide = [{"id": f"s{number}", "handler": "work"} for number in range(20)]
    async with client_on(log) as client:
        await client.register(workflow(*wide))
    monkeypatch.setattr("stepwell.consumers.engine.deciding.BUDGET", 5)
    monkeypatch.setattr(Tenure, "_can_continue", lambda *_: False)
    before = await after(log, start("one"))
    assert before.confirmed.instances["one"].active == 4
    monkeypatch.undo()
    claimant = Claimant(log, informed=False)
    async with running(claimant.run()):
        await until(lambda: claimant.confirmed.instances and claimant.confirmed.instances["one"].active == 20)
    assert not claimant.surprises


async def test_what_is_told_anew_comes_behind_what_the_owner_before_may_not_have_told(bench):
    """A child would be cancelled before it is started otherwise, and run on for nobody."""
    start_of_child = StartWorkflow("p.s.1", workflow="w", command_id="p.s.1:start", parent=Parent("p", "s", 1))
    end_of_child = CancelWorkflow("p.s.1", "p no longer waits for it", "p.s.1:end")
    deliveries = Deliveries(bench, 0, PartitionState(), -1, lambda future: bool(future.exception()))
    deliveries.send([end_of_child], Acceptance(0, 1), PartitionState())
    await bench.append(COMMANDS, 0, [NewRecord("x", encode(CancelWorkflow("x")))])
    assert deliveries.under_way
    assert deliveries.state is None
    deliveries.send_again([start_of_child])
    deliveries.send([end_of_child], Acceptance(0, 2), PartitionState())
    await until(lambda: not deliveries.under_way)
    said = [decode_command(record.value) for record in await bench.read(COMMANDS, 0, 0, limit=100)]
    assert said[1:] == [start_of_child, end_of_child, end_of_child]
    assert deliveries.at == Acceptance(0, 2)
