"""Law 7: a read model built event by event, with restarts and redelivery anywhere, equals one rebuilt from offset 0."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from stepwell.core.fold.evolve import fold
from stepwell.log.local.log import LocalLog
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS
from stepwell.projections import projector as projecting
from stepwell.projections.counting import counts_of, step_counts_of
from stepwell.projections.filters import InstanceFilter
from stepwell.projections.folding import Changes
from stepwell.projections.projector import Projector
from stepwell.projections.queries import Queries
from stepwell.projections.rows import instance_row
from stepwell.projections.store import OvertakenError, Position, Store
from stepwell.schemas.records.codec import decode_transition
from tests.projections.worlds import dump, file_of, histories, write_all

SEEDS = range(12)


@pytest.fixture
async def log(tmp_path):
    opened = await LocalLog.open(tmp_path / "log.db", partitions=2)
    yield opened
    await opened.close()


async def rebuilt(log, folder):
    store = await Store.open(file_of(folder))
    projector = Projector(log, store)
    await projector.begin()
    await projector.catch_up()
    return store


async def step(projector, log, rnd):
    """Take a few records of some partition; whether there were any."""
    partition = rnd.randrange(log.partitions)
    offset = projector.positions[partition].offset
    records = await log.read(EVENTS, partition, offset, limit=rnd.choice((1, 1, 2, 5, 40)))
    if records:
        await projector.take(partition, records)


async def is_done(projector, log):
    return all([projector.positions[p].offset == await log.end(EVENTS, p) for p in range(log.partitions)])


@pytest.mark.rows("L2")
@pytest.mark.parametrize("seed", SEEDS)
async def test_bit_by_bit_with_restarts_and_two_at_once_gives_what_one_go_gives(seed, log, tmp_path, monkeypatch):
    rnd = random.Random(seed)
    found = histories(rnd, instances=8)
    await write_all(log, rnd, found)
    whole = await rebuilt(log, tmp_path / "whole")

    monkeypatch.setattr(projecting, "_MOST_STEPS", rnd.choice((0, 20, 500_000)))  # what is not at hand is folded anew
    stores = [await Store.open(file_of(tmp_path / "bits")) for _ in range(2)]
    projectors = [Projector(log, store) for store in stores]
    for one in projectors:
        await one.begin()
    while not (await is_done(projectors[0], log) and await is_done(projectors[1], log)):
        at = rnd.randrange(2)
        await step(projectors[at], log, rnd)
        if rnd.random() < 0.1:  # as after a crash: what is in memory is gone
            await stores[at].close()
            stores[at] = await Store.open(file_of(tmp_path / "bits"))
            projectors[at] = Projector(log, stores[at])
            await projectors[at].begin()

    assert await dump(stores[0]) == await dump(whole), f"seed {seed}"
    for store in (*stores, whole):
        await store.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_rows_are_what_the_events_add_up_to_and_counts_are_what_the_rows_add_up_to(seed, log, tmp_path):
    rnd = random.Random(1_000 + seed)
    found = histories(rnd, instances=8)
    await write_all(log, rnd, found)
    store = await rebuilt(log, tmp_path)
    queries = await Queries.open(store.path)

    truth = {name: (fold(transitions), transitions[-1].at) for name, transitions in found.items()}
    page = await queries.instances(InstanceFilter(), limit=1_000)
    assert {row.instance_id: row for row in page} == {
        name: instance_row(state, at) for name, (state, at) in truth.items()
    }
    for name, transitions in found.items():
        history = await store.all(
            "SELECT h.value FROM history h JOIN instances i ON i.number = h.instance WHERE i.id = ? ORDER BY place",
            (name,),
        )
        assert [decode_transition(value, "") for (value,) in history] == transitions

    expected = Counter()
    for row in page:
        expected.update(counts_of(row))
        for attempt in await queries.attempts(row.instance_id):
            expected.update(step_counts_of(row, attempt))
    counted = Counter()
    for workflow, version, step_id, measure, slot, count in await store.all("SELECT * FROM counts"):
        counted[workflow, version, step_id, measure, slot] += count
    for hour, workflow, version, measure, count in await store.all("SELECT * FROM hours"):
        counted[workflow, version, "", f"hour:{measure}", hour] += count
    assert {key: n for key, n in counted.items() if n} == {tuple(key): n for key, n in expected.items() if n}
    await queries.close()
    await store.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_attempts_are_those_that_the_state_knows_of(seed, log, tmp_path):
    rnd = random.Random(2_000 + seed)
    found = histories(rnd, instances=8)
    await write_all(log, rnd, found)
    store = await rebuilt(log, tmp_path)
    queries = await Queries.open(store.path)
    for name, transitions in found.items():
        state = fold(transitions)
        attempts = await queries.attempts(name)
        open_runs = {row.run: row for row in attempts if not row.finished_at}
        current = state.rollback.current if state.rollback is not None else None
        steps = [*state.steps.items(), *([(current.ready.step_id, current)] if current and current.ready else [])]
        under_way = {
            step.run: (step_id, str(step.status), step.waits_for, step.worker)
            for step_id, step in steps
            if str(step.status) in ("ready", "running", "waiting")
        }
        assert {
            run: (row.step_id, row.status, row.waits_for, row.worker) for run, row in open_runs.items()
        } == under_way, f"seed {seed}, {name}"
        runs = {row.run for row in attempts}
        assert runs >= {step.run for step in state.steps.values() if step.run}
        last = {row.run: row for row in attempts}
        for step_id, step in state.steps.items():
            if str(step.status) in ("succeeded", "failed"):
                assert (last[step.run].step_id, last[step.run].status) == (step_id, str(step.status))
    await queries.close()
    await store.close()


async def test_whoever_was_overtaken_writes_nothing(log, tmp_path):
    rnd = random.Random(5)
    await write_all(log, rnd, histories(rnd, instances=3))
    first, second = [await Store.open(file_of(tmp_path)) for _ in range(2)]
    slow, fast = Projector(log, first), Projector(log, second)
    await slow.begin()
    await fast.begin()
    await fast.catch_up()
    before = await dump(second)
    with pytest.raises(OvertakenError):
        async with first.transaction():
            await first.write(Changes(), 0, Position(), Position(3))
    await slow.catch_up()
    assert await dump(first) == before
    await first.close()
    await second.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_where_the_first_records_are_gone_the_newest_snapshot_says_what_they_added_up_to(seed, log, tmp_path):
    rnd = random.Random(3_000 + seed)
    early, late = histories(rnd, instances=6), histories(rnd, instances=5, prefix="late-")
    writers = await write_all(log, rnd, early)
    for writer in writers.values():
        if writer.epoch >= 0:
            await writer.take_snapshot()
    left = {name: list(transitions) for name, transitions in late.items()}
    while left:
        name = rnd.choice(sorted(left))
        await writers[partition_for(name, log.partitions)].write(left[name].pop(0))
        if not left[name]:
            del left[name]
    whole = await rebuilt(log, tmp_path / "whole")
    everything = {row[0]: row for row in (await dump(whole))["instances"]}
    cut = {}
    for partition, writer in writers.items():
        if writer.snapshot >= 0:
            cut[partition] = rnd.randrange(1, writer.snapshot)
            await log.delete_before(EVENTS, partition, cut[partition])
    rest = await rebuilt(log, tmp_path / "rest")
    seen = {row[0]: row for row in (await dump(rest))["instances"]}
    for name, row in seen.items():
        when = 8  # when it changed last is not told by a snapshot
        assert row[:when] + row[when + 1 :] == everything[name][:when] + everything[name][when + 1 :], (
            f"{seed} {name}"
        )
    missing = everything.keys() - seen.keys()
    assert all(everything[name][3] in ("completed", "failed", "cancelled") for name in missing)
    assert not any(name.startswith("late") for name in missing)

    again = await Store.open(file_of(tmp_path / "again"))
    projector = Projector(log, again)
    await projector.begin()
    while not await is_done(projector, log):
        await step(projector, log, rnd)
        if rnd.random() < 0.1:
            await projector.begin()
    assert await dump(again) == await dump(rest)
    for store in (whole, rest, again):
        await store.close()
