"""Programs that know nothing of Stepwell, on a real broker: librdkafka sends commands and reads the feed."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Consumer, KafkaError, Producer
from faststream import FastStream
from faststream.kafka import KafkaBroker

from stepwell.consumers.outbound.feed import FeedSession
from stepwell.errors import LogCorruptedError, LogError
from stepwell.faststream import FeedApplication, FeedRouter, Happened
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.partitioner import partition_for
from stepwell.log.port import DEAD_LETTERS, FEED, NewRecord
from stepwell.schemas.records.events import CommandNoted, WorkflowCompleted
from stepwell.schemas.records.feed import feed_position, feed_source
from tests.consumers.test_feed import everything
from tests.kafka_broker import settings_for, url_of
from tests.patience import HANG
from tests.workbench import accepted, ends, events_of, handlers_of, stage, steps, until, whole_history, workflow

PARTITIONS = 3


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


HANDLERS = handlers_of(work=work)
CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")


@pytest.fixture
def settings(kafka_broker):
    return settings_for(kafka_broker, partitions=PARTITIONS)


@pytest.fixture
def url(settings):
    return url_of(settings)


@pytest.fixture
async def log(settings):
    log = await KafkaLog.open(settings)
    yield log
    await log.close()


async def produce(settings, topic, records, headers=(), **options):
    """Send records as any program with librdkafka would."""

    def send():
        failed = []
        producer = Producer({"bootstrap.servers": settings.bootstrap, **options})
        for key, value in records:
            told = {"on_delivery": lambda e, _: e and failed.append(e), "headers": list(headers)}
            producer.produce(f"{settings.namespace}.{topic}", value, key, **told)
        assert producer.flush(20) == 0
        assert not failed

    await asyncio.to_thread(send)


async def consume(settings, topic, count, timeout=HANG):
    """Read as many records as any program with librdkafka would, of all partitions."""

    def read():
        group = {"group.id": secrets.token_hex(4), "auto.offset.reset": "earliest"}
        consumer = Consumer({"bootstrap.servers": settings.bootstrap, **group})
        consumer.subscribe([f"{settings.namespace}.{topic}"])
        found, deadline = [], time.monotonic() + timeout
        try:
            while len(found) < count and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is not None and message.error() is None:
                    found.append(message)
                elif message is not None and message.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise AssertionError(message.error())
        finally:
            consumer.close()
        return found

    return await asyncio.to_thread(read)


def start_of(name, n=1):
    return name, json.dumps({"type": "StartWorkflow", "instance_id": name, "workflow": "w", "input": {"n": n}})


@contextlib.asynccontextmanager
async def feeding(url):
    """The feed's application, in this process."""
    app = FeedApplication(url)
    async with app.lifespan_context(), app:
        yield app


@pytest.mark.parametrize("topic", ["starts", "commands"])
@pytest.mark.parametrize("partitioner", ["murmur2", "murmur2_random"])
async def test_a_start_in_plain_json_by_librdkafka_starts_a_workflow(log, settings, topic, partitioner):
    names = [f"order-{n}" for n in range(10)]
    async with stage(log, HANDLERS, CHAIN) as client:
        await produce(settings, topic, [start_of(name, 5) for name in names], partitioner=partitioner)
        assert [view.output for view in await ends(client, *names)] == [7] * 10
        history = await whole_history(log)
    assert events_of(history, CommandNoted) == [], "none was in a wrong partition"


@pytest.mark.parametrize("topic", ["starts", "commands"])
async def test_starts_by_librdkafka_s_own_partitioner_or_without_a_key_run_where_they_belong(log, settings, topic):
    names = [f"order-{n}" for n in range(20)]
    async with stage(log, HANDLERS, CHAIN) as client:
        await produce(settings, topic, [start_of(name) for name in names[:10]])
        keyless = [(None, value) for _, value in map(start_of, names[10:])]
        await produce(settings, topic, keyless, **{"sticky.partitioning.linger.ms": 0})
        assert [view.output for view in await ends(client, *names)] == [3] * 20
        notes = events_of(await whole_history(log), CommandNoted)
        assert (await client.get("order-3")).output == 3
    assert notes, "CRC32 is not murmur2"
    assert all("murmur2" in note.message for _, note in notes)


async def test_headers_of_librdkafka_say_who_asked_also_of_what_had_to_be_sent_on(log, settings):
    headers = [("by", "Jürgen\r\n".encode()), ("via", b"kcat \xff"), ("traceparent", None), ("epoch", b"7")]
    names = [f"order-{n}" for n in range(10)]
    async with stage(log, HANDLERS, CHAIN) as client:
        await produce(settings, "starts", [start_of(name) for name in names], headers)  # CRC32: some are strays
        await produce(settings, "starts", [start_of("nobody")], [("by", None)], partitioner="murmur2")
        await ends(client, *names, "nobody")
        assert events_of(await whole_history(log), CommandNoted), "some were sent on"
    found = [
        (transition.instance_id, record.headers["by"], record.headers["via"], record.headers["command"])
        for partition in range(PARTITIONS)
        for record, transition in await accepted(log, partition)
        if {"by", "via", "command"} & record.headers.keys()
    ]
    assert sorted(found) == [(name, "Jürgen", "kcat \ufffd", "StartWorkflow") for name in names]


async def test_what_is_no_command_goes_to_the_dead_letters_with_the_reason(log, settings):
    async with stage(log, HANDLERS, CHAIN) as client:
        wrong = [("x", b"\xff\xfe"), (b"\xff", b'{"type":"Start"}'), ("x", b""), (None, None)]
        await produce(settings, "commands", wrong, partitioner="murmur2")
        await produce(settings, "starts", [start_of("order-1")], partitioner="murmur2")
        await ends(client, "order-1")

        async def letters():
            return sum([len(await log.read(DEAD_LETTERS, p, 0)) for p in range(PARTITIONS)]) == len(wrong)

        await until(letters)


async def test_librdkafka_reads_the_feed_as_readable_json_and_as_cloud_events(log, settings, url):
    names = [f"order-{n}" for n in range(20)]
    async with feeding(url), stage(log, HANDLERS, CHAIN) as client:
        await produce(settings, "starts", [start_of(name) for name in names], partitioner="murmur2")
        await ends(client, *names)
        whole = [event for p in range(PARTITIONS) for event in await everything(log, p)]
        found = await consume(settings, FEED, len(whole))
    assert len(found) == len(whole)
    following = Counter()
    for message in found:
        value, headers = json.loads(message.value()), {k: v.decode() for k, v in message.headers()}
        name = message.key().decode()
        following[name] += 1
        assert (value["instance_id"], value["sequence"], value["type"]) == (name, following[name], headers["ce_type"])
        assert headers["ce_id"] == f"{name}:{following[name]}"
        assert headers["ce_source"] == feed_source(settings.namespace)
        assert headers["ce_specversion"] == "1.0"
        assert headers["content-type"] == "application/json"
        assert value["workflow"] == "w"
        assert message.partition() == partition_for(name, PARTITIONS)
    assert set(following) == set(names)


async def test_events_themselves_are_readable_too(log, settings):
    async with stage(log, HANDLERS, CHAIN) as client:
        await ends(client, (await client.start("w", id="order-1")).id)
    found = await consume(settings, "events", 5)
    transitions = [json.loads(m.value()) for m in found if m.key() == b"order-1"]
    assert transitions[0]["events"][0]["type"] == "workflow.started"


async def test_a_feeder_that_is_killed_leaves_no_gap(log, settings, url):
    """The verb itself, as processes that are killed again and again."""
    command = [sys.executable, "-m", "stepwell", "feed", "--log", url]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    async def feeder():
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE, env=environment)
        line = await asyncio.wait_for(process.stderr.readline(), HANG)
        assert b"publishes partitions" in line, line
        return process

    def size():
        return asyncio.gather(*(log.end(FEED, p) for p in range(PARTITIONS)))

    async with stage(log, HANDLERS, CHAIN) as client:
        process = await feeder()
        for round_ in range(3):
            names = [f"order-{round_}-{n}" for n in range(60)]
            before = sum(await size())
            await produce(settings, "starts", [start_of(name) for name in names], partitioner="murmur2")
            await until(lambda before=before: grown(size, before), timeout=HANG)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await ends(client, *names)
            process = await feeder()

        async def whole():
            return [await positions(log, p, distinct=True) for p in range(PARTITIONS)] == [
                [one[0] for one in await everything(log, p)] for p in range(PARTITIONS)
            ]

        await until(whole, timeout=HANG)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANG) == 130
        assert b"Traceback" not in await process.stderr.read()


async def grown(size, before):
    return sum(await size()) > before


async def positions(log, partition, *, distinct=False):
    found, offset = [], 0
    while more := await log.read(FEED, partition, offset):
        found += [feed_position(record.headers)[:2] for record in more]
        offset = more[-1].offset + 1
    return list(dict.fromkeys(found)) if distinct else found


async def test_a_faststream_application_handles_each_event_once_it_has_succeeded(log, settings, url):
    router = FeedRouter("billing", namespace=settings.namespace, retry_delay=0.01)
    batches = FeedRouter("analysis", namespace=settings.namespace)
    seen, attempts, many = [], Counter(), []

    @router.on("workflow.completed")
    async def completed(happened: Happened[WorkflowCompleted]) -> None:
        attempts[happened.instance_id] += 1
        if happened.instance_id == "order-3" and attempts["order-3"] < 3:
            raise ConnectionError("the bank does not answer")
        seen.append((happened.instance_id, happened.event.output))

    @batches.batches("*")
    async def all_of_them(batch: list[Happened[object]]) -> None:
        many.extend(happened.id for happened in batch)

    broker = KafkaBroker(settings.bootstrap, logger=None)
    broker.include_router(router)
    broker.include_router(batches)
    app = FastStream(broker, logger=None)
    names = [f"order-{n}" for n in range(10)]
    async with feeding(url), stage(log, HANDLERS, CHAIN) as client, app:
        await produce(settings, "starts", [start_of(name) for name in names], partitioner="murmur2")
        await ends(client, *names)
        await until(lambda: len(seen) >= 10, timeout=HANG)
        whole = sum([len(await everything(log, p)) for p in range(PARTITIONS)])
        await until(lambda: len(set(many)) == whole, timeout=HANG)
    assert attempts.pop("order-3") == 3
    assert set(attempts.values()) == {1}
    assert sorted(seen) == sorted((name, 3) for name in names)


async def test_a_feed_that_has_lost_all_its_records_is_an_error_with_a_remedy(log):
    async with stage(log, HANDLERS, CHAIN) as client:
        await ends(client, (await client.start("w", id="order-1")).id)
    await log.have(FEED)
    where = partition_for("order-1", PARTITIONS)
    session = FeedSession(log, where, "x")
    await session.begin()
    while await session.step():
        pass
    await log.delete_before(FEED, where, await log.end(FEED, where))
    with pytest.raises(LogCorruptedError, match=r"(?s)nobody knows.*retention"):
        await FeedSession(log, where, "x").begin()


async def made_by_others(settings, count):
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{settings.namespace}.feed", count, 1)])
    await admin.close()


async def test_a_feed_with_another_number_of_partitions_is_refused(log, settings):
    await made_by_others(settings, PARTITIONS + 1)
    with pytest.raises(LogError, match="has 4 partitions instead of 3"):
        await log.have(FEED)


async def test_a_feed_that_a_broker_made_for_a_consumer_that_came_first_is_made_fit(log, settings):
    await made_by_others(settings, 1)
    await log.have(FEED)
    assert await asyncio.gather(*(log.end(FEED, p) for p in range(PARTITIONS))) == [0] * PARTITIONS


async def test_but_not_if_it_holds_anything(log, settings):
    await made_by_others(settings, 1)
    await produce(settings, FEED, [("x", "not ours")])
    with pytest.raises(LogError, match="has 1 partitions instead of 3"):
        await log.have(FEED)


async def test_what_a_person_must_look_at_ends_the_feed_with_place_and_remedy(log, settings, url):
    await log.have(FEED)
    ahead = {"ce_position": "99.0", "stepwell-stamp": "0.99"}
    await log.append(FEED, 0, [NewRecord("x", b"{}", ahead)])
    command = [sys.executable, "-m", "stepwell", "feed", "--log", url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 2
    assert "which does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(LogCorruptedError, match="which does not exist"):
        await FeedApplication(url).run()


async def test_the_application_serves_its_own_description(url, log):
    app = FeedApplication(url)
    described = json.loads(app.schema.to_specification().to_json())
    assert described["channels"]["feed"]["address"].endswith(".feed")
    assert described["servers"]["kafka-1"]["host"] in url
    asgi = app.as_asgi(asyncapi_path="/docs")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=asgi), base_url="http://feed") as browser:
        assert (await browser.get("/docs.json")).json() == described
        assert "workflow.completed" in (await browser.get("/docs")).text
        assert (await browser.post("/docs/try", json={})).status_code == 404
        assert (await browser.get("/health")).status_code == 503
        async with app.lifespan_context():
            assert (await browser.get("/health")).status_code == 204
        assert (await browser.get("/health")).status_code == 503


async def test_a_transactional_producer_may_send_commands(log, settings):
    """Its offsets have holes, where its commits are."""

    def send():
        producer = Producer(
            {
                "bootstrap.servers": settings.bootstrap,
                "transactional.id": secrets.token_hex(4),
                "partitioner": "murmur2_random",
            }
        )
        producer.init_transactions(20)
        for n in range(10):
            producer.begin_transaction()
            producer.produce(f"{settings.namespace}.starts", start_of(f"order-{n}")[1], f"order-{n}")
            producer.commit_transaction(20)

    names = [f"order-{n}" for n in range(10)]
    async with stage(log, HANDLERS, CHAIN) as client:
        await asyncio.to_thread(send)
        assert [view.output for view in await ends(client, *names)] == [3] * 10
        await produce(settings, "starts", [start_of("later")], partitioner="murmur2")
        await ends(client, "later")
