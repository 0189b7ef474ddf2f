"""Instances whose start no engine has decided yet: they are pending, whoever asks."""

import asyncio

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.reading.pending import WaitingStarts
from stepwell.core.fold.partition import Progress
from stepwell.diagnosis.diagnosing import diagnose
from stepwell.diagnosis.overview import overview_of
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.log.port import COMMANDS, STARTS
from tests.workbench import client_on, handlers_of, running, send, stage, start, steps, work, workflow

ONE = workflow(*steps("a"))
TAGGED = workflow(*steps("a"), name="tagged", tags=["night"])
STRICT = workflow(*steps("a"), name="strict", input_schema={"type": "object", "required": ["n"]})


@pytest.fixture
async def alone(log):
    """A client of a log on which no engine works."""
    async with client_on(log) as client:
        for definition in (ONE, TAGGED, STRICT):
            await client.register(definition)
        yield client


async def ids(client, **wanted):
    page, total = await client.instances(**wanted)
    assert total == len(page)
    return [row.instance_id for row in page]


async def test_an_instance_whose_start_waits_is_pending_for_whoever_asks(alone):
    run = await alone.start("w", {"n": 1}, id="one", priority=7)
    assert not run.decided
    view = await alone.get("one")
    assert (view.status, view.workflow, view.version, view.input, view.priority) == ("pending", "w", "1", {"n": 1}, 7)
    assert {step.status for step in view.steps.values()} == {"pending"}
    assert await run.status() == await alone.replay("one") == await alone.replay("one", 3) == view
    assert await alone.history("one") == []
    assert (await diagnose(alone, "one")).status == "pending"
    row = await alone.views.instance("one")
    assert (row.status, row.workflow, row.started_at, row.priority) == ("pending", "w", None, 7)
    assert (await overview_of(alone, fresh=True)).pending == 1
    with pytest.raises(UnknownInstanceError):
        await alone.get("two")


async def test_a_start_by_any_producer_is_pending_on_either_topic(alone, log):
    await send(log, start("one", input={"n": 1}), topic=COMMANDS)
    await send(log, start("two", input={"n": 1}), topic=STARTS)
    assert {(await alone.get(one)).status for one in ("one", "two")} == {"pending"}


async def test_lists_and_counts_hold_what_waits_beside_what_has_begun(log):
    async with stage(log, handlers_of(work=work), ONE, TAGGED) as client:
        done = await client.start("w", {"n": 1}, id="done")
        await done.result(timeout=30)
    async with client_on(log) as client:
        for number in range(3):
            await client.start("w", {"n": number}, id=f"w{number}", priority=number)
        await client.start("tagged", id="t")
        assert set(await ids(client)) == {"done", "w0", "w1", "w2", "t"}
        assert set(await ids(client, status="pending")) == {"w0", "w1", "w2", "t"}
        assert await ids(client, status="completed") == ["done"]
        assert set(await ids(client, status=["completed", "pending"], workflow="w")) == {"done", "w0", "w1", "w2"}
        assert await ids(client, tag="night") == ["t"]
        assert await ids(client, input={"n": 1}, status="pending") == ["w1"]
        assert await ids(client, priority_min=1, priority_max=1) == ["w1"]
        assert await ids(client, workflow="w", order="-priority") == ["w2", "w1", "w0", "done"]
        assert await ids(client, error="nothing") == await ids(client, output={"n": 1}, status="pending") == []
        assert await ids(client, order="finished") == ["done"]
        assert (await overview_of(client, fresh=True)).pending == 4


@pytest.mark.parametrize("order", ["-created", "created", "-priority", "priority"])
async def test_pages_hold_each_instance_once_whether_it_waits_or_has_begun(log, order):
    async with stage(log, handlers_of(work=work), ONE) as client:
        await asyncio.gather(*(client.start("w", {}, id=f"d{n}", priority=n % 3) for n in range(7)))
    async with client_on(log) as client:
        await send(log, *(start(f"p{n}", priority=n % 3) for n in range(8)), topic=STARTS)
        found, cursor = [], None
        while cursor != "":
            page, total = await client.instances(order=order, limit=4, cursor=cursor)
            assert total == 15
            found += [row.instance_id for row in page]
            cursor = page.next
        assert sorted(found) == sorted([f"d{n}" for n in range(7)] + [f"p{n}" for n in range(8)])


async def test_what_was_decided_is_pending_no_more_and_what_was_refused_is_said_to_be(alone, log):
    good = await alone.start("strict", {"n": 1}, id="good")
    bad = await alone.start("strict", {}, id="bad")
    assert set(await ids(alone, status="pending")) == {"good", "bad"}
    waiting = asyncio.ensure_future(bad.result(timeout=30))
    waiting_too = asyncio.ensure_future(alone.wait("bad", lambda state: not state.live, timeout=30))
    await asyncio.sleep(0)
    async with running(Engine(log).run()):
        with pytest.raises(CommandRejectedError, match="'n' is a required property"):
            await waiting
        with pytest.raises(CommandRejectedError, match="'n' is a required property"):
            await waiting_too
        assert (await alone.wait("good", lambda _: True, timeout=30)).status == "running"
        assert (await good.status()).status == "running"
        with pytest.raises(CommandRejectedError):
            await bad.result(timeout=30)
        with pytest.raises(UnknownInstanceError, match="its start was rejected"):
            await alone.get("bad")
        assert await ids(alone, status="pending") == []
        assert await ids(alone) == ["good"]


async def test_a_start_that_waits_behind_one_that_was_refused_is_pending(alone, log):
    await send(log, start("one", "strict", "first"), start("one", "strict", "second", input={"n": 1}), topic=STARTS)
    assert (await alone.get("one")).input == {}
    async with running(Engine(log).run()):
        assert (await alone.wait("one", lambda _: True, timeout=30)).input == {"n": 1}


async def test_a_repeated_start_of_what_exists_is_not_pending(log):
    async with stage(log, handlers_of(work=work), ONE) as client:
        await (await client.start("w", {}, id="one")).result(timeout=30)
    async with client_on(log) as client:
        await send(
            log, start("one", command_id="again"), start("two"), start("two", command_id="twice"), topic=STARTS
        )
        assert await ids(client, status="pending") == ["two"]
        assert set(await ids(client)) == {"one", "two"}


async def test_asking_again_reads_only_what_has_come_since(alone, log):
    """The cost of a question is counted in records read: it does not grow with how many starts wait."""
    await send(log, *(start(f"i{n}") for n in range(3_000)), topic=STARTS)
    read = 0
    whole = log.read

    async def counted(topic, partition, offset, **options):
        nonlocal read
        records = await whole(topic, partition, offset, **options)
        read += len(records) if topic == STARTS else 0
        return records

    log.read = counted
    try:
        assert (await alone.instances(status="pending", limit=1))[1] == 3_000
        first = read
        for number in range(20):
            assert (await alone.get(f"i{number}")).status == "pending"
        await alone.instances(status="pending", limit=1)
    finally:
        del log.read
    assert first >= 3_000
    assert read - first <= 20  # each start that is shown, for its input


async def test_of_more_than_is_kept_at_hand_the_number_is_known(alone, log):
    await send(log, *(start(f"i{n}") for n in range(5_000)), topic=STARTS)
    starts = WaitingStarts(log, most=100)
    found = [await starts.in_partition(partition, Progress()) for partition in range(log.partitions)]
    assert sum(len(kept) + beyond for kept, beyond in found) == 5_000
    assert [one.instance_id for one in await starts.of("i4999", Progress())] == ["i4999"]
