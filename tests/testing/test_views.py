"""Read models in virtual time: whatever a client can be asked, a test can ask."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path

import pytest

from stepwell.diagnosis import diagnose
from stepwell.diagnosis.overview import alerts_of, health_of, overview_of
from stepwell.own_files import claimed
from stepwell.testing import DeadlockError, World, failing, simulate, stub

ORDER = {
    "name": "order",
    "steps": [
        {"id": "reserve", "handler": "reserve"},
        {"id": "agree", "type": "approval_gate", "config": {"approvers": ["ann"]}, "depends_on": ["reserve"]},
        {"id": "charge", "handler": "charge", "depends_on": ["agree"]},
    ],
}
STUBS = {"reserve": stub({"shelf": 3}), "charge": stub({"receipt": "r-1"}, seconds=60)}


def test_instances_and_statistics_can_be_asked_for_after_days_of_virtual_time():
    async def scenario(world: World) -> None:
        await world.register(ORDER)
        await world.start("order", {"order": 1}, id="one")
        await world.advance(days=3)
        page, total = await world.client.instances(workflow="order", status="running")
        assert ([row.instance_id for row in page], total) == (["one"], 1)
        await world.client.approve("one", by="ann")
        await world.advance(minutes=2)
        (row,), _ = await world.client.instances(input={"order": 1})
        assert row.status == "completed"
        assert world.now - 3 * 86_400_000 < row.finished_at <= world.now
        (one,) = await world.client.statistics()
        assert (one.completed, one.running) == (1, 0)
        assert one.duration.average == pytest.approx(3 * 86_400 + 60, abs=5)

    simulate(scenario, handlers=STUBS)


def test_every_question_of_a_client_is_answered_in_virtual_time():
    async def scenario(world: World) -> None:
        await world.register(ORDER)
        began = world.now
        await world.start("order", {"order": 1}, id="one")
        await world.start("order", {"order": 2}, id="two")
        await world.advance(hours=1)
        await world.client.acting(by="ann").approve("one", by="ann")
        await world.advance(hours=1)
        client, views = world.client, world.client.views
        row = await views.instance("one")
        assert row is not None
        assert row.failed_step == "charge"
        assert [row.step_id for row in await views.attempts("one")] == ["reserve", "agree", "charge"]
        assert [(work.instance_id, work.waits_for) for work in await views.work()] == [("two", "approval")]
        assert sum(worker.failures for worker in await views.workers()) == 1
        assert [hour.started for hour in await views.hours(began)] == [2, 0]
        assert [hour.failed for hour in await views.hours(began)] == [0, 1]
        assert (await views.errors(text="no money"))[0].kind == "ValueError"
        assert [row.by for row in await views.audit(by="ann")] == ["ann"]
        assert await views.cached("order", {"order": 1}) is None
        assert await views.waiting() == 0
        lag = await views.lag()
        assert (lag.records, lag.seconds) == (0, 0.0)
        assert await views.rebuild() == 2
        assert len((await client.instances())[0]) == 2
        overview = await overview_of(client)
        assert overview.statuses["failed"] == 1
        assert overview.at <= world.now
        assert {part.level for part in (await health_of(client)).parts} == {"healthy"}
        assert [alert.workflow for alert in await alerts_of(client)] in ([], ["order"])
        assert "waits for approval" in (await diagnose(client, "two")).words
        (finding, *_) = (await diagnose(client, "one")).findings
        assert finding.error is not None
        assert "no money" in finding.error.message

    simulate(scenario, handlers=STUBS | {"charge": failing(ValueError("no money"))})


def test_what_is_due_is_told_by_the_virtual_clock():
    async def scenario(world: World) -> str:
        await world.register({
            "name": "sleeper", "steps": [{"id": "rest", "type": "wait", "config": {"seconds": 86_400}}]
        })  # fmt: skip
        await world.start("sleeper", id="one")
        await world.advance(hours=13, minutes=30)
        return (await diagnose(world.client, "one")).words

    assert "(in 10 h" in simulate(scenario)


def test_how_old_a_result_may_be_is_measured_by_the_virtual_clock():
    async def scenario(world: World) -> None:
        await world.register({"name": "quick", "steps": [{"id": "reserve", "handler": "reserve"}]})
        await world.run("quick", {"order": 1})
        await world.advance(days=2)
        cached = world.client.views.cached
        assert await cached("quick", {"order": 1}, max_age_seconds=3 * 86_400) is not None
        assert await cached("quick", {"order": 1}, max_age_seconds=86_400) is None

    simulate(scenario, handlers=STUBS)


def test_a_question_sees_what_has_just_happened_and_questions_at_once_see_the_same():
    async def scenario(world: World) -> None:
        await world.register(ORDER)
        for number in range(1, 4):
            await world.start("order", {"order": number})
            asked = await asyncio.gather(*(world.client.instances(fresh=fresh) for fresh in (True, False, True)))
            assert [total for _, total in asked] == [number] * 3
            if number == 2:
                await world.crash()

    simulate(scenario, handlers=STUBS)


def test_nobody_follows_the_log_when_nobody_asks():
    async def scenario(world: World) -> None:
        await world.register(ORDER)
        await world.start("order", {"order": 1})
        await world.advance(hours=1)
        before = len(asyncio.all_tasks())
        await world.client.instances()
        assert len(asyncio.all_tasks()) == before

    simulate(scenario, handlers=STUBS)


@pytest.mark.parametrize("ends", ["well", "by an error", "in a deadlock"])
def test_a_world_that_was_asked_leaves_nothing_behind(ends, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def scenario(world: World) -> None:
        await world.register(ORDER)
        await world.client.instances()
        assert list(tmp_path.iterdir())
        if ends == "by an error":
            raise ValueError("a mistake of the test")
        if ends == "in a deadlock":
            await world.shut()
            await asyncio.get_running_loop().create_future()

    threads, own = set(threading.enumerate()), claimed()
    if ends == "well":
        simulate(scenario, handlers=STUBS)
    else:
        with pytest.raises(ValueError if ends == "by an error" else DeadlockError):
            simulate(scenario, handlers=STUBS)
    assert set(threading.enumerate()) == threads
    assert claimed() == own
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_answers():
    async def scenario(world: World) -> object:
        await world.register(ORDER)
        await world.start("order", {"order": 1})
        await world.client.instances()
        await world.advance(days=1)
        return await world.client.instances(), await overview_of(world.client), world.now

    first, second = (str(simulate(scenario, handlers=STUBS, seed=7)) for _ in range(2))
    assert first == second


def test_events_can_be_subscribed_to_and_a_durable_name_is_stored_at_virtual_times():
    async def scenario(world: World) -> None:
        await world.register(ORDER)
        await world.advance(days=1)
        await world.start("order", {"order": 1})
        async with world.client.subscribe(["workflow.*"], since="start", name="billing") as events:
            assert (await anext(events)).type == "workflow.started"
        (info,) = await world.client.subscriptions()
        assert world.now - 60_000 < info.at <= world.now
        assert await world.client.forget_subscription("billing")

    simulate(scenario, handlers=STUBS)


def test_what_has_finished_can_be_archived_and_cleaned_up(tmp_path):
    async def scenario(world: World) -> Path:
        await world.register({"name": "quick", "steps": [{"id": "reserve", "handler": "reserve"}]})
        await world.run("quick", {"order": 1}, id="one")
        await world.advance(days=40)
        written = await world.client.archive(tmp_path / "copy", finished_before=world.now)
        assert written.instances == 1
        report = await world.client.cleanup(finished_before=world.now, archive=tmp_path / "old", snapshot_now=True)
        assert report.instances == 1
        assert (await world.client.instances())[1] == 0
        return tmp_path

    simulate(scenario, handlers=STUBS)
