"""Subscriptions: from now, from a position, behind a durable name; nothing lost, nothing twice."""

import asyncio
import itertools

import pytest

from stepwell.client.client import Client
from stepwell.consumers.reading import subscriptions
from stepwell.consumers.reading.bookmarks import Bookmarks
from stepwell.consumers.reading.patterns import PatternError
from stepwell.consumers.reading.subscriptions import Subscription
from stepwell.core.fold.acceptance import KIND
from stepwell.errors import LogFullError, PositionError, PositionGoneError, StepwellError
from stepwell.log.local.log import LocalLog
from stepwell.log.port import EVENTS, SUBSCRIPTIONS
from stepwell.schemas.records.events import StepHeartbeat
from stepwell.schemas.records.positions import WHOLE, PartitionPosition, position_text, read_position
from tests.client.subscribing import Scribe, by_partition, take
from tests.patience import HANG
from tests.workbench import client_on, ends, handlers_of, stage, steps, until, workflow


async def work(data, ctx):
    if data.get("fail"):
        raise ValueError("asked to fail")
    return {"n": data.get("n", 0) + 1}


CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")
OTHER = workflow(*steps("a"), name="other")


async def written(log, rng, count):
    scribe = Scribe(log, rng)
    for _ in range(count):
        await scribe.act(rng.randrange(log.partitions))
    return scribe


# --- positions ------------------------------------------------------------------------------------------------


def test_a_position_is_short_text_and_read_back_as_it_was(rng):
    for _ in range(200):
        places = [
            rng.choice(
                (
                    PartitionPosition(),
                    PartitionPosition(rng.randrange(10**12)),
                    PartitionPosition(rng.randrange(99), rng.randrange(9)),
                )
            )
            for _ in range(rng.randrange(1, 6))
        ]
        text = position_text(places)
        assert read_position(text, len(places)) == places
        assert set(text) <= set("0123456789-.x")
    assert (
        position_text([PartitionPosition(12), PartitionPosition(30, 2), PartitionPosition(), PartitionPosition(5)])
        == "12-30.2-x-5"
    )
    assert PartitionPosition(5, 1) < PartitionPosition(5, WHOLE) < PartitionPosition(6, 0)


@pytest.mark.parametrize(
    "text", ["", "-", "1-", "a", "1.", ".1", "01", "-1", "1.01", "\u0661", "1 ", "9" * 30, "1\n", "start-1"]
)
def test_a_position_that_is_none_is_refused(text):
    with pytest.raises(PositionError, match="is no position"):
        read_position(text, 1)


def test_a_position_of_a_log_with_other_partitions_is_refused():
    with pytest.raises(PositionError, match="with 3 partitions, and this one has 2"):
        read_position("1-x-3", 2)


async def test_any_stops_and_resumptions_see_everything_once_and_in_order(tmp_path, rng):
    for number in range(12):
        log = await LocalLog.open(tmp_path / f"{number}.db", partitions=rng.randrange(1, 5), durability="normal")
        try:
            scribe = await written(log, rng, rng.randrange(1, 120))
            total = sum(map(len, scribe.expected.values()))
            got, position = [], "start"
            while len(got) < total:
                async with asyncio.timeout(HANG), Subscription(log, since=position) as events:
                    count = min(rng.choice((0, 1, 2, 3, 7, 50)), total - len(got))
                    got += await take(events, count)
                    position = got[-1].position if count else events.position
                for _ in range(rng.choice((0, 0, 5))):  # it goes on meanwhile
                    await scribe.act(rng.randrange(log.partitions))
                total = sum(map(len, scribe.expected.values()))
            for partition, own in by_partition(got).items():
                offsets = [record.offset for record in own]
                assert offsets == [offset for offset, _ in scribe.expected[partition]]
                for _, group in itertools.groupby(own, lambda record: record.offset):
                    progress = [record.event.progress for record in group if isinstance(record.event, StepHeartbeat)]
                    assert progress == sorted(set(progress))
            # And so from every single position that was given out.
            for index in rng.sample(range(len(got)), min(len(got), 10)):
                rest = {p: [o for o, _ in scribe.expected[p]] for p in scribe.expected}
                for record in got[: index + 1]:
                    assert rest[record.partition].pop(0) == record.offset
                async with asyncio.timeout(HANG), Subscription(log, since=got[index].position) as events:
                    again = by_partition(await take(events, sum(map(len, rest.values()))))
                assert {p: [r.offset for r in own] for p, own in again.items()} == {
                    p: o for p, o in rest.items() if o
                }
        finally:
            await log.close()


async def test_from_now_begins_behind_what_is_there(open_log, rng):
    log = await open_log(partitions=3)
    scribe = await written(log, rng, 60)
    before = {partition: len(own) for partition, own in scribe.expected.items()}
    async with Subscription(log) as events:
        for _ in range(60):
            await scribe.act(rng.randrange(3))
        fresh = {p: [o for o, _ in own[before.get(p, 0) :]] for p, own in scribe.expected.items()}
        got = by_partition(await take(events, sum(map(len, fresh.values()))))
    assert {p: [record.offset for record in own] for p, own in got.items()} == {p: o for p, o in fresh.items() if o}


async def test_a_position_moves_on_over_what_nobody_asked_for(open_log, rng):
    log = await open_log(partitions=2)
    async with Subscription(log, "approval.required", since="start") as events:
        pending = asyncio.ensure_future(anext(events))
        scribe = await written(log, rng, 80)
        newest = [own[-1][0] for _, own in sorted(scribe.expected.items())]

        async def reached():
            places = read_position(events.position, 2)
            return all(place.offset >= offset for place, offset in zip(places, newest, strict=True))

        await until(reached)
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
    async with Subscription(log, since=events.position) as later:
        await scribe.counts(next(iter(scribe.owner)) if not scribe.gap else (scribe.owner.keys() - scribe.gap).pop())
        assert (await anext(later)).offset > min(newest)


# --- where one cannot begin -----------------------------------------------------------------------------------


async def test_a_position_beyond_the_end_is_refused(open_log, rng):
    log = await open_log(partitions=2)
    await written(log, rng, 30)
    end = await log.end(EVENTS, 1)
    with pytest.raises(PositionError, match="beyond the end") as caught:
        await anext(Subscription(log, since=f"x-{end}"))
    assert "backup" in str(caught.value)


async def test_a_position_that_names_what_does_not_count_is_refused(open_log, rng):
    log = await open_log(partitions=1)
    scribe = Scribe(log, rng)
    while len(scribe.refused[0]) < 8 or scribe.snapshot[0] < 0 or scribe.snapshot[0] > scribe.refused[0][-1]:
        await scribe.act(0)
    for offset in scribe.refused[0]:  # before the newest snapshot and after it
        with pytest.raises(PositionError, match="names no event that counts"):
            await anext(Subscription(log, since=str(offset)))
    offset, number = scribe.expected[0][-1]
    with pytest.raises(PositionError, match="names no event that counts"):
        await anext(Subscription(log, since=f"{offset}.{number + 1}"))
    (claim,) = await log.read(EVENTS, 0, 0, limit=1)
    assert claim.headers[KIND] == "claim"
    with pytest.raises(PositionError, match="names no event that counts"):
        await anext(Subscription(log, since="0.0"))
    assert (await anext(Subscription(log, since="0"))).offset == scribe.expected[0][0][0]


@pytest.mark.parametrize("since", ["x", "4"])
async def test_a_position_that_retention_has_overtaken_is_an_error_and_never_a_gap(log, rng, since):
    scribe = Scribe(log, rng)
    while scribe.snapshot[0] < 20:
        await scribe.act(0)
    await scribe.counts(0)  # which names the snapshot
    await log.delete_before(EVENTS, 0, 20)
    with pytest.raises(PositionGoneError, match="deleted before they were read") as caught:
        await anext(Subscription(log, since=since))
    assert "forget_subscription" in str(caught.value)
    kept = [offset for offset, _ in scribe.expected[0] if offset >= 20]
    async with Subscription(log, since="start") as events:  # the oldest that there is
        assert [record.offset for record in await take(events, len(kept))] == kept


async def test_retention_that_overtakes_a_reader_is_an_error_too(log, rng, monkeypatch):
    monkeypatch.setattr(subscriptions, "_BATCH", 10)
    scribe = Scribe(log, rng)
    while scribe.snapshot[0] < 40:
        await scribe.act(0)
    await scribe.counts(0)  # which names the snapshot
    async with Subscription(log, since="start") as events:
        await anext(events)
        await log.delete_before(EVENTS, 0, 40)
        with pytest.raises(PositionGoneError):
            async for _ in events:
                pass


async def test_a_slow_reader_keeps_no_more_than_a_batch_of_each_partition(open_log, rng, monkeypatch):
    monkeypatch.setattr(subscriptions, "_BATCH", 10)
    log = await open_log(partitions=2)
    asked = []
    read = log.read

    async def counted(topic, partition, offset, *, limit=1000, wait=0.0):
        found = await read(topic, partition, offset, limit=limit, wait=wait)
        if wait is None:
            asked.append(len(found))
        return found

    async with Subscription(log) as events:
        log.read = counted
        scribe = Scribe(log, rng)
        for _ in range(20):
            await scribe.act(rng.randrange(2))
        await anext(events)
        for _ in range(400):  # while the reader thinks
            await scribe.act(rng.randrange(2))
        assert sum(asked) <= 40
        total = sum(map(len, scribe.expected.values())) - 1
        assert len(await take(events, total)) == total
    assert max(asked) <= 10


# --- what is asked for ----------------------------------------------------------------------------------------


async def test_a_pattern_that_matches_nothing_is_refused(log):
    for wrong, told in (("workflow.finished", "no event is called"), ("task.compleated", "step."), ("", "called")):
        with pytest.raises(PatternError, match=told):
            Subscription(log, [wrong])
    with pytest.raises(PatternError, match="no event is asked for"):
        Subscription(log, [])
    with pytest.raises(StepwellError, match="1 to 200"):
        Subscription(log, name="")


@pytest.mark.rows("O16")
async def test_the_names_of_seed_002_name_events(log):
    approval = workflow({"id": "ask", "type": "approval_gate", "config": {"title": "Go?"}}, name="gate")
    async with stage(log, handlers_of(work=work), CHAIN, approval) as client:
        names = ["workflow.started", "workflow.completed", "task.failed", "approval.required"]
        async with client.subscribe(names) as events:
            await client.start("gate", id="g")
            assert [(e.type, e.instance_id) for e in await take(events, 2)] == [
                ("workflow.started", "g"), ("approval.required", "g"),
            ]  # fmt: skip
            await client.start("w", {"fail": True}, id="bad")
            assert [e.type for e in await take(events, 2)] == ["workflow.started", "step.failed"]
            await client.start("w", {"n": 1}, id="good")
            assert [e.type for e in await take(events, 2)] == ["workflow.started", "workflow.completed"]


async def test_events_of_one_instance_or_of_one_workflow(open_log):
    log = await open_log(partitions=3)
    async with stage(log, handlers_of(work=work), CHAIN, OTHER) as client:
        for number in range(6):
            await client.start("w", {"n": number}, id=f"w{number}")
            await client.start("other", {"n": number}, id=f"o{number}")
        await ends(client, *(f"{kind}{number}" for kind in "wo" for number in range(6)))
        history = await client.history("w3")
        async with client.subscribe(instance_id="w3", since="start") as events:
            own = await take(events, len(history))
        assert [(e.sequence, e.event) for e in own] == [(e.sequence, e.event) for e in history]
        for index in range(len(own) - 1):
            async with client.subscribe(instance_id="w3", since=own[index].position) as events:
                assert (await anext(events)).sequence == index + 2
        async with client.subscribe("workflow.*", workflow="other", since="start") as events:
            got = await take(events, 12)
        assert {e.instance_id for e in got} == {f"o{number}" for number in range(6)}
        assert {e.workflow for e in got} == {"other"}


async def test_who_begins_in_the_middle_knows_the_workflows_of_what_was_live(open_log):
    log = await open_log(partitions=2)
    sleepy = workflow({"id": "s", "type": "approval_gate", "config": {}}, name="sleepy")
    async with stage(log, handlers_of(work=work), CHAIN, sleepy) as client:
        for number in range(4):
            await client.start("sleepy", id=f"s{number}")
        async with (
            client.subscribe("approval.*", workflow="sleepy") as events,
            client.subscribe(workflow="w") as others,
        ):
            for number in range(4):
                await client.approve(f"s{number}", "s")
            assert {e.instance_id for e in await take(events, 4)} == {f"s{number}" for number in range(4)}
            pending = asyncio.ensure_future(anext(others))
            await ends(client, *(f"s{number}" for number in range(4)))
            run = await client.start("w", {"n": 1}, id="one")
            assert (await pending).instance_id == "one"
            await run.result(timeout=HANG)


async def test_who_leaves_a_loop_early_leaves_nothing_behind(log):
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        await client.start("w", {"n": 1}, id="one")
        async for _ in client.subscribe(since="start"):
            break
        await until(lambda: not client.subscriber._endings)
        await until(lambda: not [t for t in asyncio.all_tasks() if "_Follower.read" in repr(t)])


# --- durable names --------------------------------------------------------------------------------------------


async def test_a_name_goes_on_behind_what_was_processed(open_log, rng):
    log = await open_log(partitions=2)
    scribe = await written(log, rng, 60)
    total = sum(map(len, scribe.expected.values()))
    got = []
    while len(got) < total:
        async with Subscription(log, since="start", name="billing") as events:
            count = min(rng.randrange(1, 12), total - len(got))
            got += await take(events, count)
            if rng.random() < 0.5 or len(got) == total:
                events.acknowledge()
            else:
                got.pop()  # the one that was under way comes again
    for partition, own in by_partition(got).items():
        assert [record.offset for record in own] == [offset for offset, _ in scribe.expected[partition]]


async def test_a_name_that_is_new_begins_now_even_if_its_reader_dies_at_once(open_log, rng):
    log = await open_log(partitions=2)
    scribe = await written(log, rng, 20)
    events = Subscription(log, name="late")
    await events._flow.open()  # and it is never heard of again
    before = sum(map(len, scribe.expected.values()))
    while sum(map(len, scribe.expected.values())) == before:
        await scribe.act(0)
    async with Subscription(log, name="late", since="start") as again:
        assert (await anext(again)).offset == scribe.expected[0][_first_after(scribe, before)][0]


def _first_after(scribe, before):
    return before - len(scribe.expected[1])


async def test_positions_are_stored_about_once_a_second_and_not_for_each_event(log, rng):
    scribe = await written(log, rng, 300)
    total = sum(map(len, scribe.expected.values()))
    async with Subscription(log, name="n", since="start") as events:
        await take(events, total)
        pending = asyncio.ensure_future(anext(events))
        await until(lambda: events._flow._stored == events.position)  # without a further event
        assert 2 <= await log.end(SUBSCRIPTIONS, 0) <= 4
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)


async def test_names_are_listed_with_their_lag_and_can_be_forgotten(open_log, rng):
    log = await open_log(partitions=2)
    scribe = await written(log, rng, 50)
    async with client_on(log) as client:
        assert await client.subscriptions() == []
        async with client.subscribe(name="old", since="start"), client.subscribe(name="new"):
            old, new = sorted(await client.subscriptions(), key=lambda info: -info.lag)
        assert (old.name, old.position, old.lag) == ("old", "x-x", sum([await log.end(EVENTS, p) for p in (0, 1)]))
        assert (new.name, new.at > 1_700_000_000_000) == ("new", True)
        assert new.lag <= 4  # what does not count has no position of its own
        assert await client.forget_subscription("old")
        assert not await client.forget_subscription("old")
        assert [info.name for info in await client.subscriptions()] == ["new"]
        assert scribe.expected


async def test_the_topic_of_positions_does_not_grow_and_keeps_what_counts(open_log, rng):
    log, other = await open_log(partitions=1), await open_log()
    writers, reader = [Bookmarks(log), Bookmarks(other)], Bookmarks(other)
    newest = {}
    for at in range(1, 2500):
        name = f"n{rng.randrange(3)}" if at > 5 else f"idle{at}"
        position = "" if rng.random() < 0.1 and at > 5 else str(at)
        newest[name] = position or None
        await rng.choice(writers).store(name, position, at)
        if rng.random() < 0.01:
            assert {n: await reader.of(n) for n in newest} == newest
    assert {n: await Bookmarks(log).of(n) for n in newest} == newest
    (first,) = await log.read(SUBSCRIPTIONS, 0, 0, limit=1)
    assert await log.end(SUBSCRIPTIONS, 0) - first.offset < 600


async def test_a_copy_undoes_nothing_that_was_stored_meanwhile(open_log):
    log, other = await open_log(partitions=1), await open_log()
    one, two = Bookmarks(log), Bookmarks(other)
    await one.store("a", "1", 1)
    await one.store("b", "1", 1)
    for at in range(2, 505):
        await one.store("c", str(at), at)
    append = log.append

    def late(topic, partition, records):  # what another process stores just before the copies land
        if any("origin" in record.headers for record in records):
            log.append = append
            append(topic, partition, [records[0]._replace(key="a", value=b'{"position":"2","at":9}', headers={})])
            append(topic, partition, [records[0]._replace(key="b", value=b"{}", headers={})])
        return append(topic, partition, records)

    log.append = late
    for at in range(505, 520):
        await one.store("c", str(at), at)
    assert log.append is append
    for bookmarks in (one, two, Bookmarks(other)):
        assert [await bookmarks.of(name) for name in "abc"] == ["2", None, "519"]


async def test_trouble_with_storing_delays_no_event(log, rng):
    scribe = await written(log, rng, 50)
    total = sum(map(len, scribe.expected.values()))
    events = Subscription(log, name="n", since="start")
    await anext(events)
    append = log.append

    def full(topic, partition, records):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(LogFullError("no room"))
        return future

    log.append = full
    events._flow._due = 0
    assert len(await take(events, total - 1)) == total - 1
    log.append = append
    events.acknowledge()
    await events.aclose()
    async with Subscription(log, name="n") as again:
        assert again.position == events.position


async def test_a_client_that_closes_stores_how_far_its_subscriptions_have_come(open_log, rng):
    first, second = await open_log(partitions=1), await open_log()
    await written(second, rng, 50)
    client = Client(first)
    events = client.subscribe(name="n", since="start")
    await take(events, 5)
    events.acknowledge()
    position = events.position
    await client.close()
    assert [info.position for info in await client_subscriptions(second)] == [position]
    assert [event async for event in events] == []


async def client_subscriptions(log):
    return await Bookmarks(log).all()
