"""The public feed: every accepted event once, in order, whoever publishes and whatever becomes of it."""

import asyncio
import json
from collections import Counter

import msgspec
import pytest

from stepwell.consumers.engine import snapshotting
from stepwell.consumers.outbound.feed import Feeder, FeedSession
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.core.fold.acceptance import read_stamp
from stepwell.errors import LogCorruptedError, LogError, LogFullError
from stepwell.log.port import EVENTS, FEED, NewRecord
from stepwell.schemas.records.events import CommandRejected, Event, WorkflowStarted
from stepwell.schemas.records.feed import FeedHead, feed_position, feed_source, rfc3339
from tests.patience import HANG
from tests.workbench import accepted, ends, handlers_of, running, send, stage, start, steps, until, workflow

SOURCE = feed_source("stepwell")


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


HANDLERS = handlers_of(work=work)
CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")


async def worked(log, count=5, **more):
    """A log in which something has happened."""
    async with stage(log, HANDLERS, CHAIN) as client:
        runs = [await client.start("w", {"n": n}, **more) for n in range(count)]
        await ends(client, *(run.id for run in runs))


async def everything(log, partition=0):
    """All that the feed must hold: (position, instance, sequence, event)."""
    return [
        (
            (record.offset, number),
            transition.instance_id,
            transition.sequence + number if transition.sequence else 0,
            event,
        )
        for record, transition in await accepted(log, partition)
        for number, event in enumerate(transition.events)
    ]


async def published(log, partition=0):
    records, offset = [], 0
    while more := await log.read(FEED, partition, offset, limit=1000):
        records += more
        offset = more[-1].offset + 1
    return [
        (
            feed_position(record.headers)[:2],
            record.key,
            msgspec.json.decode(record.value, type=FeedHead).sequence,
            msgspec.json.decode(record.value, type=Event),
        )
        for record in records
    ]


async def drain(session):
    while await session.step():
        pass


async def test_every_accepted_event_is_one_record_in_order(open_log):
    log = await open_log(partitions=2)
    async with running(Feeder(log, SOURCE).run()):
        await worked(log, 20)

        async def whole():
            return [len(await published(log, p)) == len(await everything(log, p)) for p in (0, 1)] == [True, True]

        await until(whole)
    for partition in (0, 1):
        assert await published(log, partition) == await everything(log, partition)


async def test_an_error_in_the_feed_has_its_type_and_message_and_no_traceback(log):
    """Its readers are anybody; who may see more reads the log."""

    def fail(data):
        raise LookupError("the register is closed")

    flow = workflow({"id": "a", "handler": "fail"})
    async with stage(log, handlers_of(fail=fail), flow) as client:
        run = await client.start("w")
        await ends(client, run.id)
        await client.resume(run.id)  # what goes on carries the whole instance along, with its errors
        await client.wait(run.id, lambda state: state.sequence > 6 and not state.live, timeout=HANG)
    session = FeedSession(log, 0, SOURCE)
    await session.begin()
    await drain(session)
    values = [record.value for record in await log.read(FEED, 0, 0)]
    assert {json.loads(value)["type"] for value in values} >= {"step.failed", "workflow.failed", "workflow.reopened"}
    assert sum(b"the register is closed" in value for value in values) >= 3
    assert not any(b"Traceback" in value or b"File" in value for value in values)


async def test_a_record_is_a_cloud_event_that_people_can_read(log):
    await worked(log, 1, id="order-1")
    session = FeedSession(log, 0, SOURCE)
    await session.begin()
    await drain(session)
    first, *_, last = await log.read(FEED, 0, 0)
    value = json.loads(first.value)
    assert list(value)[:4] == ["instance_id", "sequence", "at", "type"]
    assert value["type"] == "workflow.started"
    assert value["workflow"] == "w"
    assert value["input"] == {"n": 0}
    (record, _), *_ = await accepted(log)
    stamp = read_stamp(record.headers)
    assert dict(first.headers) == {
        "ce_specversion": "1.0",
        "ce_id": "order-1:1",
        "ce_source": "/stepwell/stepwell",
        "ce_type": "workflow.started",
        "ce_subject": "order-1",
        "ce_time": rfc3339(value["at"]),
        "content-type": "application/json",
        "ce_position": f"{record.offset}.0",
        "stepwell-stamp": f"{stamp.epoch}.{stamp.index}",
    }
    assert rfc3339(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    end = json.loads(last.value)
    assert end == {
        "instance_id": "order-1",
        "sequence": end["sequence"],
        "at": end["at"],
        "workflow": "w",
        "type": "workflow.completed",
        "output": 2,
    }


async def test_no_field_of_an_event_hides_what_it_is_about():
    for event in Event.__args__:
        names = {field.encode_name for field in msgspec.structs.fields(event)}
        assert not names & {"instance_id", "sequence", "at"}, event
        assert "workflow" not in names or event is WorkflowStarted


async def test_answers_outside_any_history_have_ids_of_their_own(log):
    async with stage(log, None, CHAIN):
        await send(log, start("same", "unknown"), start("same", "unknown", "2"))
        await until(lambda: rejections(log))
    session = FeedSession(log, 0, SOURCE)
    await session.begin()
    await drain(session)
    found = [r for r in await log.read(FEED, 0, 0) if r.headers["ce_type"] == "command.rejected"]
    assert all(isinstance(msgspec.json.decode(r.value, type=Event), CommandRejected) for r in found)
    assert len({record.headers["ce_id"] for record in found}) == len(found) == 2


async def rejections(log):
    return len(await everything(log)) == 2


@pytest.mark.parametrize("last", range(12))
async def test_it_goes_on_behind_any_last_record(log, last):
    """Also within a transition: the feeder died when the broker had taken half of its batch."""
    await worked(log, 2)
    whole = await everything(log)
    assert max(Counter(position[0] for position, *_ in whole).values()) > 1
    first = FeedSession(log, 0, SOURCE)
    await first.begin()
    batch = []

    async def half(records):
        batch.extend(records)

    first._publish = half
    await drain(first)
    await log.append(FEED, 0, batch[:last])
    second = FeedSession(log, 0, SOURCE)
    await second.begin()
    await drain(second)
    assert await published(log) == whole
    names = [json.loads(record.value).get("workflow") for record in await log.read(FEED, 0, 0)]
    assert names == ["w"] * len(whole) or last


async def test_workflows_keep_their_names_when_another_feeder_goes_on(log, monkeypatch):
    monkeypatch.setattr(snapshotting, "SMALLEST_TAIL", 2_000)
    gate = asyncio.Event()

    async def waits(data, ctx):
        await gate.wait()

    async with stage(
        log, handlers_of(work=work, waits=waits), CHAIN, workflow({"id": "z", "handler": "waits"}, name="long")
    ) as client:
        long = await client.start("long")
        for _ in range(4):
            runs = [await client.start("w") for _ in range(10)]
            await ends(client, *(run.id for run in runs))
            session = FeedSession(log, 0, SOURCE)
            await session.begin()
            await drain(session)
        gate.set()
        await ends(client, long.id)
    session = FeedSession(log, 0, SOURCE)
    await session.begin()
    await drain(session)
    assert await EventReader(log, 0).seek_snapshot() is not None
    assert await published(log) == await everything(log)
    names = Counter(json.loads(r.value).get("workflow") for r in await log.read(FEED, 0, 0))
    assert set(names) == {"w", "long"}


class Lossy:
    """A log object whose appends to the feed fail, end in doubt, or land late."""

    def __init__(self, log, rng, late):
        self._log, self._rng, self._late = log, rng, late

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def append(self, topic, partition, records):
        luck = self._rng.random()
        if luck < 0.5:
            return await self._log.append(topic, partition, records)
        if luck < 0.7:  # in the log, in part or as a whole, and nobody says so
            await self._log.append(topic, partition, records[: self._rng.randint(1, len(records))])
        elif luck < 0.85:  # on its way; lands when it likes
            self._late.append((topic, partition, list(records)))
        raise LogError("in doubt")


@pytest.mark.parametrize("round_", range(20))
async def test_no_feeder_that_was_replaced_can_make_a_gap_or_let_an_event_appear_too_early(log, rng, round_):
    await worked(log, 6)
    whole = await everything(log)
    late, sessions = [], []
    while True:
        done = {position for position, *_ in await published(log)}
        luck = rng.random()
        if len(done) == len(whole) and not late and luck < 0.5:
            break
        if late and luck < 0.15:
            await log.append(*late.pop(rng.randrange(len(late))))
        elif not sessions or (luck < 0.3 and len(sessions) < 4):
            session = FeedSession(Lossy(log, rng, late), 0, SOURCE)
            await session.begin()
            sessions.append(session)
        else:
            session = rng.choice(sessions)
            try:
                read = log.read

                async def few(topic, partition, offset, *, limit=1000, wait=0.0, read=read):
                    limit = rng.randint(1, 4) if topic == EVENTS else limit
                    return await read(topic, partition, offset, limit=limit, wait=wait)

                session._log.read = few
                await session.step()
            except (LogError, SurpriseError):
                sessions.remove(session)
    found = await published(log)
    assert list(dict.fromkeys(position for position, *_ in found)) == [position for position, *_ in whole]
    newest, kept = (-1, -1), []
    for one in found:  # as a consumer drops repeats
        if one[0] > newest:
            newest = one[0]
            kept.append(one)
    assert kept == whole


async def test_who_meets_another_feeder_publishes_no_further(log):
    await worked(log, 3)
    one, other = FeedSession(log, 0, SOURCE), FeedSession(log, 0, SOURCE)
    await one.begin()
    await other.begin()
    await one.step()
    with pytest.raises(SurpriseError):
        await other.step()
    repeated = len(await published(log))
    assert repeated <= 2 * len(await everything(log))


async def test_two_feeders_share_the_partitions_and_take_over_from_each_other(open_log):
    one, other = await open_log(partitions=2), await open_log(partitions=2)
    first = asyncio.ensure_future(Feeder(one, SOURCE).run())
    async with running(Feeder(other, SOURCE).run()):
        await worked(one, 5)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await worked(other, 5)

        async def whole():
            sides = [(await published(one, p), await everything(one, p)) for p in (0, 1)]
            return all({x[0] for x in found} == {x[0] for x in wanted} for found, wanted in sides)

        await until(whole)
    for partition in (0, 1):
        first_seen = list({one[0]: one for one in reversed(await published(one, partition))}.values())[::-1]
        assert sorted(first_seen, key=lambda x: x[0]) == await everything(one, partition)


async def test_a_feed_ahead_of_its_log_is_an_error_with_a_remedy(log):
    headers = {"ce_position": "99.0", "stepwell-stamp": "0.99"}
    await log.append(FEED, 0, [NewRecord("x", b"{}", headers)])
    with pytest.raises(LogCorruptedError, match=r"(?s)events.0.@99, which does not exist.*Delete the topic"):
        await Feeder(log, SOURCE).run()


async def test_a_log_without_room_ends_the_feed_as_it_ends_an_engine(log, monkeypatch):
    await worked(log, 1)

    def full(*_):
        raise LogFullError("no room left")

    monkeypatch.setattr(log, "append", full)
    with pytest.raises(LogFullError):
        await asyncio.wait_for(Feeder(log, SOURCE).run(), HANG)
