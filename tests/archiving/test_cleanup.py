"""Cleaning up: what is gone is gone everywhere, what is there is there everywhere, and everything is still counted."""

from __future__ import annotations

import random

import pytest

from stepwell.archiving import cleaning
from stepwell.archiving.cleaning import Cleaner
from stepwell.archiving.reading import Archive
from stepwell.client.client import Client
from stepwell.consumers.engine.takeover import take_over
from stepwell.consumers.reading.cleanups import Cleanups
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.state import instance_to_plain
from stepwell.errors import ArchiveError, UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import CLEANUPS, CONTROL, EVENTS, NewRecord
from stepwell.projections.projector import Projector
from stepwell.schemas.records.events import EVENTS_VERSION, Transition, WorkflowReopened, WorkflowResumed
from tests.archiving.conftest import (
    LATER,
    crowd,
    ended,
    figures,
    file_behind,
    first_of,
    rebuilt,
    take_snapshots,
    world,
    write_more,
)
from tests.projections.worlds import dump, histories

SEEDS = range(12)


@pytest.mark.rows("O17")
@pytest.mark.parametrize("seed", SEEDS)
async def test_read_models_that_were_cleaned_are_those_that_are_made_anew_from_what_is_left(
    seed, log, client, files, tmp_path, monkeypatch
):
    rnd, found, writers = await world(log, seed)
    monkeypatch.setattr(cleaning, "_ROUND", rnd.choice((1, 2, 1_000)))
    before, hours = await client.statistics(steps=True), await client.views.hours(0)
    behind = await rebuilt(log, files, tmp_path / "behind")  # another copy, which follows later
    report = await client.cleanup(finished_before=LATER, archive=tmp_path / "old.gz")

    gone = {one.id for one in Archive(tmp_path / "old.gz")} if report.instances else set()
    cleaned = await file_behind(client, files)
    assert await dump(cleaned) == await dump(await rebuilt(log, files, tmp_path / "anew")), f"seed {seed}"
    follower = Projector(log, behind)
    await follower.begin()
    while await follower.clean_up():
        pass
    assert await dump(behind) == await dump(cleaned), f"seed {seed}"
    assert figures(await client.statistics(steps=True)) == figures(before)
    assert await client.views.hours(0) == hours
    assert len(gone) == report.instances == sum(one.archived for one in await client.statistics())
    page, total = await client.instances(limit=1_000)
    assert {one.instance_id for one in page} == found.keys() - gone
    assert total == len(found) - len(gone)
    for name, transitions in found.items():
        if name not in gone:
            assert (await client.get(name)).sequence == fold(transitions).sequence
            continue
        assert ended(transitions)
        with pytest.raises(UnknownInstanceError, match="cleaned away"):
            await client.get(name)
        with pytest.raises(UnknownInstanceError, match="cleaned away"):
            await client.history(name)

    for partition in writers:  # its owners go on, and so does everything else
        await take_over(log, partition, "x", 0)
        await writers[partition].claim()
    await write_more(writers, rnd, histories(rnd, 4, prefix="more-"))
    await take_snapshots(writers)
    again = await client.cleanup(finished_before=LATER, archive=tmp_path / "older.gz")
    if again.instances:
        assert {one.id for one in Archive(tmp_path / "older.gz")}.isdisjoint(gone)
    await client.views.models.catch_up()
    assert await dump(cleaned) == await dump(await rebuilt(log, files, tmp_path / "third")), f"seed {seed}"


async def test_most_of_the_worlds_above_have_something_to_clean(log, client):
    await world(log, SEEDS[0])
    assert (await client.cleanup(finished_before=LATER, archive=None, dry_run=True)).instances > 3


@pytest.mark.rows("O17")
async def test_files_get_smaller_and_nothing_else_changes_for_those_who_stay(log, client, tmp_path):
    await crowd(log, 1, 400)
    report = await client.cleanup(finished_before=LATER, archive=tmp_path / "old.gz")
    assert report.instances > 300
    assert report.log.after < report.log.before / 3
    assert report.read_models.after < report.read_models.before / 3
    for partition in range(2):
        assert await first_of(log, partition) == report.partitions[partition].cut


async def test_a_dry_run_deletes_and_writes_nothing(log, client, files, tmp_path):
    await crowd(log, 2, 30)
    before = await dump(await file_behind(client, files))
    report = await client.cleanup(finished_before=LATER, archive=tmp_path / "old.gz", dry_run=True)
    assert report.dry_run
    assert report.instances > 20
    assert not (tmp_path / "old.gz").exists()
    assert [await first_of(log, partition) for partition in range(2)] == [0, 0]
    assert await log.end(CLEANUPS, 0) == 0
    assert await dump(await file_behind(client, files)) == before


async def test_an_instance_that_is_live_keeps_all_that_has_happened_since_its_start(log, client):
    rnd, _, writers = await world(log, 3, waves=1)
    live = next(one for one in _live(rnd) if partition_for(one[0].instance_id, 2) == 0)
    first = await log.end(EVENTS, 0) + 5  # the owner may claim anew
    await write_more(writers, rnd, {live[0].instance_id: live})
    more = {name: one for name, one in histories(rnd, 12, prefix="behind-").items() if ended(one)}
    await write_more(writers, rnd, more)
    await take_snapshots(writers)
    await write_more(writers, rnd, histories(rnd, 6, prefix="last-"))  # records that name the snapshots
    report = await client.cleanup(finished_before=LATER, archive=None)
    plan = report.partitions[0]
    assert plan.held_back.by == "instance"
    assert plan.held_back.name == live[0].instance_id
    assert plan.cut < first
    assert report.kept > 0
    assert (await client.get(live[0].instance_id)).sequence == fold(live).sequence


def _live(rnd):
    for number in range(100):
        yield from (one for one in histories(rnd, 3, prefix=f"live{number}-").values() if not ended(one))


async def test_what_finished_too_recently_stays_with_all_that_comes_after_it(log, client, tmp_path):
    found = await crowd(log, 4, 60)
    times = sorted(fold(one).finished_at for one in found.values())
    before = times[len(times) // 2]
    report = await client.cleanup(finished_before=before, archive=tmp_path / "old.gz")
    for one in Archive(tmp_path / "old.gz") if report.instances else ():
        assert one.summary.finished_at < before


@pytest.mark.parametrize("of", ["subscription", "feed"])
async def test_readers_that_have_not_come_so_far_keep_what_they_need(of, log, client):
    await crowd(log, 5, 60)
    if of == "subscription":
        async with client.subscribe(name="slow", since="start") as events:
            for _ in range(5):
                await anext(events)
    else:
        from stepwell.consumers.outbound.feed import FeedSession

        for partition in range(2):
            session = FeedSession(log, partition, "/test")
            await session.begin()
            await session.step()
    report = await client.cleanup(finished_before=LATER, archive=None)
    assert {plan.held_back.by for plan in report.partitions} == {of} if of == "subscription" else True
    if of == "subscription":
        assert report.kept > 0
        async with client.subscribe(name="slow") as events:
            assert (await anext(events)).sequence  # goes on, without a gap
        await client.forget_subscription("slow")
        assert (await client.cleanup(finished_before=LATER, archive=None)).instances > 40
    else:
        for partition in range(2):
            again = FeedSession(log, partition, "/test")
            await again.begin()
            await again.step()  # goes on too


async def test_of_two_cleanups_at_once_one_counts(log, client, tmp_path):
    await crowd(log, 6, 60)
    cleaners = [Cleaner(log, client.views.models, client.registry) for _ in range(2)]
    for one in cleaners:
        await one._cleanups.catch_up()
    queries = await client.views.models.own()
    plan = (await cleaners[0]._plan(queries, LATER))[0]
    report = await client.cleanup(finished_before=LATER, archive=None, dry_run=True)
    rounds = [await one._round(queries, plan, report, 10) for one in cleaners]
    await queries.close()
    assert [await one._cleanups.decide(a) for one, a in zip(cleaners, rounds, strict=True)] == [True, False]
    cleanups = Cleanups(log)
    await cleanups.catch_up()
    assert cleanups.number == 1
    assert sum(one.archived for one in await client.statistics()) == rounds[0].instances


@pytest.mark.parametrize("seed", range(4))
async def test_an_instance_that_is_reopened_before_the_cleanup_is_followed_begins_there(
    seed, log, client, files, tmp_path
):
    found = await crowd(log, seed, 40)
    copy = await rebuilt(log, files, tmp_path / "copy")
    await client.cleanup(finished_before=LATER, archive=tmp_path / "old.gz")
    gone = sorted(one.id for one in Archive(tmp_path / "old.gz"))
    # As engines do that have read its history right before it was deleted.
    rnd = random.Random(seed)
    for name in rnd.sample(gone, 3):
        state, partition = fold(found[name]), partition_for(name, 2)
        possession = await take_over(log, partition, "x", 0)
        from stepwell.core.fold.acceptance import TRANSITION, Stamp, stamp_headers
        from stepwell.schemas.records.codec import encode

        events = (WorkflowReopened(instance_to_plain(state)), WorkflowResumed())
        transition = Transition(EVENTS_VERSION, state.finished_at + 9, name, state.sequence + 1, events)
        stamp = Stamp(possession.epoch, 1, snapshot=possession.reader.snapshot_at)
        await log.append(EVENTS, partition, [NewRecord(name, encode(transition), stamp_headers(TRANSITION, stamp))])
    follower = Projector(log, copy)
    await follower.begin()
    await follower.catch_up()
    while await follower.clean_up():
        pass
    anew = await rebuilt(log, files, tmp_path / "anew")
    assert await dump(copy) == await dump(anew) == await dump(await file_behind(client, files))


async def test_an_archive_that_is_there_is_gone_on_with_and_no_other_one_is_touched(log, client, tmp_path):
    await crowd(log, 7, 60)
    statistics = figures(await client.statistics(steps=True))
    cleaner = Cleaner(log, client.views.models, client.registry)
    await cleaner._cleanups.catch_up()
    queries = await client.views.models.own()
    plans = await cleaner._plan(queries, LATER)
    await cleaner._write_archive(queries, tmp_path / "old.gz", LATER, plans)  # and is killed
    await queries.close()
    written = (tmp_path / "old.gz").read_bytes()
    report = await client.cleanup(finished_before=LATER - 5, archive=tmp_path / "old.gz")
    assert report.resumed
    assert report.finished_before == LATER
    assert report.instances == sum(plan.instances for plan in plans) > 40
    assert (tmp_path / "old.gz").read_bytes() == written
    assert figures(await client.statistics(steps=True)) == statistics
    assert (await client.cleanup(finished_before=LATER, archive=tmp_path / "old.gz")).instances == 0

    (tmp_path / "mine.txt").write_text("dear diary")
    with pytest.raises(ArchiveError, match="no archive"):
        await client.cleanup(finished_before=LATER, archive=tmp_path / "mine.txt")
    await client.archive(tmp_path / "some.gz", finished_before=LATER)
    with pytest.raises(ArchiveError, match="no cleanup has made it"):
        await client.cleanup(finished_before=LATER, archive=tmp_path / "some.gz")


async def test_an_archive_of_another_log_is_not_gone_on_with(log, client, tmp_path):
    from stepwell.log.local.log import LocalLog

    await crowd(log, 8, 40)
    other = await LocalLog.open(tmp_path / "other.db", partitions=2, durability="normal")
    try:
        await crowd(other, 9, 40)
        theirs = Client(other)
        await theirs.cleanup(finished_before=LATER, archive=tmp_path / "theirs.gz")
        await theirs.views.models.close()
    finally:
        await other.close()
    with pytest.raises(ArchiveError, match="of another log"):
        await client.cleanup(finished_before=LATER, archive=tmp_path / "theirs.gz")
    assert [await first_of(log, partition) for partition in range(2)] == [0, 0]


async def test_old_requests_to_stop_handlers_are_forgotten(log, client, monkeypatch):
    await log.append(CONTROL, 0, [NewRecord("x", b"{}") for _ in range(10)])
    await client.cleanup(finished_before=LATER, archive=None)
    assert (await log.read(CONTROL, 0, 0, limit=1))[0].offset == 0  # they are young
    monkeypatch.setattr(cleaning, "_CONTROL_KEPT", -1_000)
    await client.cleanup(finished_before=LATER, archive=None)
    assert (await log.read(CONTROL, 0, 0, limit=1))[0].offset == 9  # the newest stays: the file counts by it
