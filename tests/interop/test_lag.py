"""What tools that watch the lag of consumer groups are told: how far engines and feeders have come."""

import contextlib
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError

from stepwell.consumers.outbound.feed import Feeder
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.port import COMMANDS, EVENTS, FEED, STARTS
from tests.kafka_broker import settings_for
from tests.workbench import ends, handlers_of, running, stage, steps, until, workflow


async def work(data, ctx):
    return {}


@pytest.fixture
async def log(kafka_broker):
    log = await KafkaLog.open(settings_for(kafka_broker))
    yield log
    await log.close()


@contextlib.asynccontextmanager
async def watching(log):
    """A tool that knows nothing of Stepwell: the positions of a group, and where its topics end."""
    admin = AIOKafkaAdminClient(bootstrap_servers=log.settings.bootstrap)
    await admin.start()

    async def has_no_lag(group, *topics):
        places = [(topic, number) for topic in topics for number in range(log.partitions)]
        names = {place: TopicPartition(log.topics.name(place[0]), place[1]) for place in places}
        found = await admin.list_consumer_group_offsets(log.topics.name(group))
        return all([name in found and found[name].offset == await log.end(*place) for place, name in names.items()])

    yield has_no_lag
    await admin.close()


async def test_engines_and_feeders_say_how_far_they_are(log):
    await log.have(FEED)
    engine = stage(log, handlers_of(work=work), workflow(*steps("a", "b")))
    async with watching(log) as has_no_lag, engine as client, running(Feeder(log, "here").run()):
        for number in range(20):
            await client.start("w", {}, id=f"i{number}")
        await ends(client, *[f"i{number}" for number in range(20)])
        assert sum([await log.end(STARTS, number) for number in range(log.partitions)]) == 20
        await until(lambda: has_no_lag("engines", COMMANDS, STARTS))
        await until(lambda: has_no_lag("feed", EVENTS))


async def test_positions_that_cannot_be_noted_trouble_nobody(log, monkeypatch):
    member = await log.join("engines")

    async def refuse(*_):
        raise GroupAuthorizationFailedError("engines")

    monkeypatch.setattr(member._member._consumer._coordinator, "commit_offsets", refuse)
    monkeypatch.setattr("stepwell.log.kafka.membership._NOTE_AFTER", 0.01)
    warned = []
    teller = SimpleNamespace(warning=lambda *words, **_: warned.append(words))
    monkeypatch.setattr("stepwell.log.kafka.membership._logger", teller)
    for offset in range(3):
        member.reached(COMMANDS, 0, offset)
        await until(lambda: not member._reached)
    await member.leave()
    assert len(warned) == 1
