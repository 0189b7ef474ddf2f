"""Cleaning up beside real engines, on a real file and on a real Kafka."""

from __future__ import annotations

import pytest

from stepwell import Archive
from stepwell.client.client import Client
from stepwell.consumers.engine import snapshotting
from stepwell.consumers.engine.snapshotting import LONGEST_TAIL, SinceSnapshot, Snapshots
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.live_members import last_owner
from stepwell.core.fold.acceptance import TRANSITION, Stamp, stamp_headers
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.local.log import LocalLog
from stepwell.log.port import EVENTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import EVENTS_VERSION, Transition
from tests.archiving.conftest import LATER, first_of
from tests.kafka_broker import settings_for
from tests.patience import HANG
from tests.workbench import ends, handlers_of, stage, steps, workflow

HANDLED = workflow(*steps("a", "b"))


async def work(data):
    return {"n": data.get("n", 0) + 1}


async def fill(client, prefix, count):
    """Run instances to their ends."""
    names = [f"{prefix}{number}" for number in range(count)]
    for name in names:
        await client.start("w", {"n": 1}, id=name)
    await ends(client, *names)
    return names


async def gone_of(client, path):
    """Clean up, and tell what is gone."""
    report = await client.cleanup(finished_before=LATER, archive=path)
    assert report.instances, report
    return report, {one.id for one in Archive(path)}


async def check_what_is_gone(client, name):
    for ask in (client.get, client.history, client.replay):
        with pytest.raises(UnknownInstanceError, match="cleaned away") as caught:
            await ask(name)
        assert "stepwell archived" in caught.value.remedy
    for steer in (client.resume, client.rollback):
        with pytest.raises(CommandRejectedError, match="cleaned away") as rejected:
            await steer(name)
        assert rejected.value.code == "archived"


@pytest.mark.rows("O17")
async def test_engines_go_on_and_late_duplicates_are_known(log, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 2_000)
    path = tmp_path / "old.gz"
    async with stage(log, handlers_of(work=work), HANDLED) as client:
        names = await fill(client, "i", 60)
        report, gone = await gone_of(client, path)
        assert gone < set(names)
        name = min(gone)
        await check_what_is_gone(client, name)
        again = await client.start("w", {"n": 1}, id=name)  # a late duplicate
        assert again.existed
        with pytest.raises(UnknownInstanceError, match="cleaned away"):
            await again.result(timeout=HANG)
        assert (await (await client.start("w", {"n": 5}, id="new")).result(timeout=HANG)).status == "completed"
        owners = [await last_owner(log, partition) for partition in range(log.partitions)]
        assert all(owners)  # though their claims are gone
        await client.views.models.close()
    async with stage(log, handlers_of(work=work)) as client:  # another engine takes over
        more = await fill(client, "j", 40)
        assert (await client.start("w", {"n": 1}, id=name)).existed
        statistics = await client.statistics()
        assert statistics[0].total == statistics[0].completed == len(names) + len(more) + 1
        assert statistics[0].archived == len(gone)
        shown = Archive(path).get(name).view()
        assert (shown.status, shown.output) == ("completed", (await client.get(more[0])).output)
        for partition in range(log.partitions):
            assert await first_of(log, partition) >= report.partitions[partition].cut
        _, further = await gone_of(client, tmp_path / "older.gz")
        assert further.isdisjoint(gone)
        await client.views.models.close()


async def test_a_late_record_that_names_a_snapshot_that_is_gone_misleads_nobody(log, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 2_000)
    async with stage(log, handlers_of(work=work), HANDLED) as client:
        await fill(client, "i", 80)
        report, _ = await gone_of(client, tmp_path / "old.gz")
        await client.views.models.close()
    partition = next(plan.partition for plan in report.partitions if plan.cut > plan.first + 10)
    zombie = stamp_headers(TRANSITION, Stamp(0, 999, source=5, snapshot=3, released=3))
    late = NewRecord("i0", encode(Transition(EVENTS_VERSION, 0, "i0", 9, ())), zombie)
    await log.append(EVENTS, partition, [late])
    another = await LocalLog.open(tmp_path / "log.db")  # another process: nothing is in its memory
    try:
        reader = EventReader(another, partition)
        assert await reader.seek_snapshot() is not None
        assert reader.snapshot_at > report.partitions[partition].cut
        async with stage(another, handlers_of(work=work)) as client:
            await fill(client, "j", 10)
    finally:
        await another.close()


async def test_a_snapshot_is_due_after_a_day_however_little_has_happened(log):
    snapshots = Snapshots(log, 0, EventReader(log, 0), SinceSnapshot(), owner="x")
    now = 1_800_000_000_000
    assert not snapshots.due(now)  # nothing has happened at all
    snapshots.grew(100, now)
    assert not snapshots.due(now + LONGEST_TAIL)
    assert snapshots.due(now + LONGEST_TAIL + 1)
    assert Snapshots(log, 0, EventReader(log, 0), SinceSnapshot(100, now), owner="x").due(now + LONGEST_TAIL + 1)


@pytest.mark.rows("O17")
async def test_on_kafka(kafka_broker, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 2_000)
    settings = settings_for(kafka_broker)
    log = await KafkaLog.open(settings)
    try:
        async with stage(log, handlers_of(work=work), HANDLED) as staged:
            client = Client(log, views=tmp_path / "views")
            names = await fill(staged, "i", 60)
            report, gone = await gone_of(client, tmp_path / "old.gz")
            assert report.log is None
            await check_what_is_gone(client, min(gone))
            for plan in report.partitions:
                assert await first_of(log, plan.partition) >= plan.cut
            anew = Client(log, views=tmp_path / "another")  # a copy that is made from what is left
            assert (await anew.statistics())[0].total == len(names)
            _, total = await anew.instances()
            assert total == len(names) - len(gone)
            for one in (client, anew):
                await one.views.models.close()
                await one.subscriber.close()
            await fill(staged, "j", 5)
    finally:
        await log.close()
