"""Workers' queues on Kafka where partitions move while records are in hand."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from stepwell.log.kafka.exchange import Note, encode
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.kafka.topics import HANDS
from stepwell.log.port import COMMANDS, EVENTS, STARTS, NewRecord, Outgoing
from tests.kafka_broker import settings_for
from tests.patience import HANG
from tests.workbench import until


@pytest.fixture
async def opened(kafka_broker):
    # Nobody dies here, so nobody is to be taken for dead, however busy the machine is.
    settings = settings_for(kafka_broker, partitions=4, session_timeout=3.0)
    logs = []

    async def open_one():
        logs.append(await KafkaLog.open(settings))
        return logs[-1]

    yield open_one
    await asyncio.gather(*(log.close() for log in logs))


async def test_an_append_finds_its_leader_though_an_answer_about_other_topics_came_between(opened, monkeypatch):
    """A client knows the topics of its last question alone: one that it never asked for would be lost for ever."""
    log = await opened()
    producer, topic = log._appender._session.producer, log.topics.name(STARTS)
    added = producer._message_accumulator.add_batch

    async def add(*given):
        done = await added(*given)
        producer.client._topics.add(log.topics.name(EVENTS))  # so that the next question is not for all topics
        del producer.client.cluster._partitions[topic]
        return done

    monkeypatch.setattr(producer._message_accumulator, "add_batch", add)
    async with asyncio.timeout(HANG):
        assert list(await log.append(STARTS, 0, [NewRecord("k", b"a")])) == [0]


def records(count: int) -> list[NewRecord]:
    return [NewRecord("k", str(number).encode()) for number in range(count)]


async def take(worker, count: int, within: float = 30.0):
    taken = []
    async with asyncio.timeout(within):
        while len(taken) < count:
            taken += await worker.take(count - len(taken))
    return taken


async def take_between(workers, count: int, within: float = 30.0):
    """Take as many in all, whoever gets them: a record may be given to one who asked for more than he then took."""
    taken = []
    enough = asyncio.Event()

    async def taking(worker):
        while True:
            taken.extend(await worker.take(1))
            if len(taken) >= count:
                enough.set()

    tasks = [asyncio.ensure_future(taking(worker)) for worker in workers]
    async with asyncio.timeout(within):
        await enough.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return taken


async def nothing_more(worker, moment: float = 0.5) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(moment):
            pytest.fail(f"came again: {await worker.take(1)}")


async def test_what_is_in_hand_stays_in_hand_wherever_its_partition_goes(opened):
    first, *others = [await opened() for _ in range(4)]
    worker = await first.consume(["q"], prefetch=20)
    await first.enqueue("q", records(40))
    mine = await take(worker, 20)
    rest = [await log.consume(["q"], prefetch=7) for log in others]  # each takes partitions away
    theirs = await take_between(rest, 20)
    seen = Counter(one.value for one in (*mine, *theirs))
    assert len(seen) == 40
    assert set(seen.values()) == {1}
    await worker.settle(mine, [Outgoing(COMMANDS, 0, [NewRecord("k", one.value) for one in mine])])
    for other in rest:
        await other.settle([one for one in theirs if (one.queue, one.token) in other._assignment.hand])
    for other in rest:
        await other.close()
    await nothing_more(worker)
    await worker.close()
    again = await (await opened()).consume(["q"], prefetch=50)
    await nothing_more(again)


async def test_what_somebody_else_has_settled_meanwhile_can_be_settled_all_the_same(opened):
    log = await opened()
    worker = await log.consume(["q"], prefetch=20)
    await log.enqueue("q", records(1))
    (mine,) = await take(worker, 1)
    spot = worker._assignment.hand[mine.queue, mine.token].spot
    state = worker._assignment.state_of(spot)
    # Somebody who was taken for dead had it, too, and says so when he has done it.
    await log.append(HANDS, 0, [encode(Note("somebody", done=[spot]))])
    await until(lambda: state.settled(spot[2]) and not state.dirty)
    async with asyncio.timeout(HANG):
        await worker.settle([mine])


async def test_more_is_settled_out_of_turn_than_can_be_noted(opened):
    log = await opened()
    worker = await log.consume(["q"], prefetch=8000)
    await asyncio.gather(*(log.enqueue("q", records(32)) for _ in range(200)))
    # Every other one of each partition: in the order of taking it may be whole partitions, which are easily noted.
    taken = sorted(await take(worker, 6400), key=lambda one: (one.token % log.partitions, one.token))
    settled = worker.settle(taken[::2])
    done, _ = await asyncio.wait([settled], timeout=0.5)
    assert not done, "what could not be noted was called settled"
    await worker.settle(taken[1::2])
    await settled
    await log.close()
    again = await (await opened()).consume(["q"], prefetch=10)
    await nothing_more(again)


async def test_a_queue_whose_rest_was_deleted_is_begun_all_the_same(opened):
    """Settled records are deleted at once by who leaves, but his last position may not have been noted."""
    log = await opened()
    await log.enqueue("q", records(1))
    topic = log.topics.of_queue("q")
    for number in range(log.partitions):
        await log.delete_before(topic, number, await log.end(topic, number))
    async with asyncio.timeout(HANG):
        worker = await log.consume(["q"], prefetch=20)
        await nothing_more(worker)
        await log.enqueue("q", [NewRecord("k", b"new")])
        assert [one.value for one in await take(worker, 1)] == [b"new"]


async def test_who_waits_where_everything_was_deleted_does_not_ask_again_and_again(opened, monkeypatch):
    log = await opened()
    await log.append(COMMANDS, 0, records(3))
    await log.delete_before(COMMANDS, 0, 3)
    asked = []
    fetcher = log.reader._fetcher
    now = fetcher.now

    async def counted(*arguments, **options):
        asked.append(arguments)
        return await now(*arguments, **options)

    monkeypatch.setattr(fetcher, "now", counted)
    reading = asyncio.ensure_future(log.read(COMMANDS, 0, 0, wait=None))
    await asyncio.sleep(0.3)
    await log.append(COMMANDS, 0, [NewRecord("k", b"new")])
    async with asyncio.timeout(HANG):
        assert [record.value for record in await reading] == [b"new"]
    assert len(asked) == 1


async def test_what_is_given_to_one_who_was_just_leaving_stays_with_the_giver(opened):
    log = await opened()
    worker = await log.consume(["q"], prefetch=20)
    topic = log.topics.of_queue("q")
    # Who had the partition before gave the record to one who has left since; this is heard only now.
    await log.append(HANDS, 0, [encode(Note("somebody", to="one who has left", give=[(topic, 0, 0)]))])
    await until(lambda: worker._passing.heard)
    await log.enqueue("q", records(1))
    assert await take(worker, 1)


@pytest.mark.slow
async def test_workers_come_and_go_and_each_record_is_run_once(opened):
    """Without deaths. Records are enqueued all the while; workers leave with records in hand."""
    total = 600
    feeder = await opened()
    logs = [await opened() for _ in range(3)]
    run: Counter[bytes] = Counter()
    done = asyncio.Event()

    async def work(worker, stay: int) -> None:
        for _ in range(stay):
            taken = await worker.take(5)
            if len(taken) > 3:
                await worker.release([taken.pop()])
            await asyncio.sleep(0.002)
            run.update(one.value for one in taken)
            await worker.settle(taken)
            if len(run) == total:
                done.set()
                return

    async def come_and_go(log: KafkaLog, number: int) -> None:
        while not done.is_set():
            worker = await log.consume(["q"], prefetch=8)
            working = asyncio.ensure_future(work(worker, 12 + 5 * number))
            await asyncio.wait([working, asyncio.ensure_future(done.wait())], return_when=asyncio.FIRST_COMPLETED)
            await worker.close()
            await asyncio.gather(working, return_exceptions=True)

    goers = [asyncio.ensure_future(come_and_go(log, number)) for number, log in enumerate(logs)]
    async with asyncio.timeout(HANG):
        for record in records(total):
            await feeder.enqueue("q", [record])
        await done.wait()
        await asyncio.gather(*goers)
        assert len(run) == total
        assert set(run.values()) == {1}, [value for value, times in run.items() if times > 1]
        await nothing_more(await feeder.consume(["q"], prefetch=10))
