"""Kafka in trouble: brokers that are away, logins, rights, and topics that do not fit. On a broker of its own."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec.structs import replace

from stepwell.errors import LogError
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.port import COMMANDS, EVENTS, NewRecord, Outgoing
from stepwell.log.urls import open_log
from tests.kafka_broker import local_broker
from tests.patience import HANG

AUTHORIZER = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"

QUICK = "broker.session.timeout.ms=2000"  # how long a controller waits before a killed broker may come back


@pytest.fixture(scope="module")
def broker():
    with local_broker(
        "--sasl", "alice:wonderland", "--set", AUTHORIZER, "--set", "super.users=User:ANONYMOUS", "--set", QUICK
    ) as one:
        yield one


@pytest.fixture
def settings(broker):
    namespace = f"test-{secrets.token_hex(4)}"
    return KafkaSettings(
        broker.bootstrap, namespace, partitions=2, session_timeout=1.5, connect_timeout=2.0, append_timeout=3.0
    )


@pytest.fixture
async def opened(settings):
    logs = []

    async def open_one(**changes):
        logs.append(await KafkaLog.open(replace(settings, **changes)))
        return logs[-1]

    yield open_one
    for log in logs:
        await log.close()


def one(value: str) -> list[NewRecord]:
    return [NewRecord("k", value.encode())]


# --- brokers that are away ----------------------------------------------------------------------------------------


async def test_no_broker_is_a_clear_error_in_time(settings):
    before = time.monotonic()
    with pytest.raises(LogError) as caught:
        await KafkaLog.open(replace(settings, bootstrap="127.0.0.1:1", connect_timeout=1.0))
    assert time.monotonic() - before < HANG
    assert "127.0.0.1:1" in caught.value.place
    assert caught.value.remedy


async def test_a_broker_that_comes_late_is_waited_for(broker, settings):
    broker.run("kill")
    opening = asyncio.ensure_future(KafkaLog.open(replace(settings, connect_timeout=40.0)))
    await asyncio.sleep(0.3)
    assert not opening.done()
    await asyncio.to_thread(broker.run, "start-node")
    log = await opening
    assert list(await log.append(EVENTS, 0, one("a"))) == [0]
    await log.close()


async def test_a_broker_that_goes_and_comes_back(broker, settings, opened):
    log = await opened()
    worker = await log.consume(["q"], prefetch=10)
    await log.append(EVENTS, 0, one("before"))
    reading = asyncio.ensure_future(log.read(EVENTS, 0, 1, wait=None))
    taking = asyncio.ensure_future(worker.take(10))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(broker.run, "kill")
    before = time.monotonic()
    lost = [
        log.append(EVENTS, 0, one("lost")),
        log.append(EVENTS, 0, one("lost too")),
        log.append(COMMANDS, 1, one("lost")),
    ]
    for future in lost:
        with pytest.raises(LogError) as caught:
            await future
        assert caught.value.remedy
    assert time.monotonic() - before < settings.append_timeout + HANG
    assert not reading.done()
    await asyncio.to_thread(broker.run, "start-node")

    async def until_appended(topic: str, value: str) -> int:
        async with asyncio.timeout(HANG):
            while True:
                try:
                    return (await log.append(topic, 0, one(value)))[0]
                except LogError:
                    continue

    offset = await until_appended(EVENTS, "after")
    found = await asyncio.wait_for(reading, HANG)
    while found[-1].offset < offset:
        found = [*found, *await log.read(EVENTS, 0, found[-1].offset + 1, wait=None)]
    assert [record.offset for record in found] == list(range(1, offset + 1))
    assert found[-1].value == b"after"
    async with asyncio.timeout(HANG):
        while True:
            try:
                await log.enqueue("q", one("step"))
                break
            except LogError:
                continue
    taken = await asyncio.wait_for(taking, HANG)
    await asyncio.wait_for(worker.settle(taken, [Outgoing(COMMANDS, 0, one("done"))]), HANG)
    await worker.close()


# --- logins and rights --------------------------------------------------------------------------------------------


def login(broker, settings, password: str) -> KafkaSettings:
    port = broker.state["nodes"][0]["sasl_port"]
    return replace(
        settings,
        bootstrap=f"127.0.0.1:{port}",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="alice",
        sasl_password=password,
    )


async def test_a_wrong_password_is_refused_and_not_repeated(broker, settings):
    with pytest.raises(LogError, match="refused the login") as caught:
        await KafkaLog.open(login(broker, settings, "jabberwock"))
    assert "jabberwock" not in f"{caught.value}{caught.value!r}{login(broker, settings, 'jabberwock')!r}"
    assert caught.value.remedy


async def test_missing_rights_are_named(broker, settings, opened):
    await opened()  # the topics are there, so alice needs to be allowed to use them
    with pytest.raises(LogError, match="does not allow") as caught:
        await KafkaLog.open(login(broker, settings, "wonderland"))
    assert "Describe" in caught.value.remedy


async def test_the_environment_holds_what_is_not_for_a_url(broker, settings, monkeypatch):
    port = broker.state["nodes"][0]["sasl_port"]
    monkeypatch.setenv("STEPWELL_KAFKA_SASL_USERNAME", "alice")
    monkeypatch.setenv("STEPWELL_KAFKA_SASL_PASSWORD", "wonderland")
    monkeypatch.setenv("STEPWELL_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    with pytest.raises(LogError, match="does not allow"):  # so the login itself was good
        await open_log(f"kafka://127.0.0.1:{port}?namespace={settings.namespace}&connect_timeout=2")


# --- topics that do not fit ---------------------------------------------------------------------------------------


async def make_topic(settings, name: str, partitions: int, **configuration: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{settings.namespace}.{name}", partitions, 1, topic_configs=configuration)])
    await admin.close()


async def test_compacted_events_are_refused(settings):
    await make_topic(settings, EVENTS, 2, **{"cleanup.policy": "compact"})
    with pytest.raises(LogError, match="compacted") as caught:
        await KafkaLog.open(settings)
    assert f"{settings.namespace}.{EVENTS}" in str(caught.value)
    assert "cleanup.policy=delete" in caught.value.remedy


async def test_commands_and_events_must_have_as_many_partitions(settings):
    await make_topic(settings, EVENTS, 2)
    await make_topic(settings, COMMANDS, 3)
    with pytest.raises(LogError, match=f"{COMMANDS} has 3 partitions instead of 2"):
        await KafkaLog.open(settings)


async def test_the_number_of_partitions_is_what_it_was(settings, opened):
    await opened()
    with pytest.raises(LogError, match="2 partitions, not 5"):
        await KafkaLog.open(replace(settings, partitions=5))
    assert (await opened(partitions=0)).partitions == 2


async def test_nothing_is_made_where_it_must_exist(settings):
    url = f"kafka://{settings.bootstrap}?namespace={settings.namespace}"
    for _ in range(2):  # and asking does not make it
        with pytest.raises(LogError, match="no log yet"):
            await open_log(url, create=False)


async def test_a_transactional_producer_on_events_is_found_out(settings, opened):
    log = await opened()
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, transactional_id=settings.namespace)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(f"{settings.namespace}.{EVENTS}", b"x", partition=0)
    await producer.stop()
    with pytest.raises(LogError, match="transactional"):
        await log.read(EVENTS, 0, 0)


async def test_records_of_foreign_producers_are_read(settings, opened):
    log = await opened()
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap)
    await producer.start()
    topic = f"{settings.namespace}.{COMMANDS}"
    await producer.send_and_wait(topic, b"no key", partition=1)
    await producer.send_and_wait(topic, None, key=b"\xff", partition=1, headers=[("h", b"\xfe"), ("n", None)])
    await producer.stop()
    first, second = await log.read(COMMANDS, 1, 0)
    assert (first.key, first.value, dict(first.headers)) == ("", b"no key", {})
    assert (second.key, second.value, dict(second.headers)) == ("\ufffd", b"", {"h": "\ufffd", "n": ""})
