"""The topics of a log: what they are called, how they are made, and what would make them unfit."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import aiokafka.errors as kafka
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest

from stepwell.errors import LogError
from stepwell.log.kafka.errors import explained
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.port import CLEANUPS, COMMANDS, CONTROL, DEFINITIONS, EVENTS, PARTITIONED, REFUSALS, SUBSCRIPTIONS

HANDS: Final = "hands"  # one partition: what workers pass to each other; see ``exchange``
STEPS: Final = "steps."  # what the topics of workers' queues begin with
ALONE: Final = frozenset({DEFINITIONS, CONTROL, HANDS, SUBSCRIPTIONS, CLEANUPS, REFUSALS})  # topics of one partition

_DEFAULT_PARTITIONS: Final = 4
_LONGEST: Final = 200  # bytes of a topic's own name; Kafka takes 249 with the namespace
_DAY: Final = 24 * 60 * 60 * 1000
# What is settled is deleted when it is no longer needed (``delete_before``), so that nothing that still waits is lost
# to a clock. Cancellations and what workers pass to each other mean nothing to anybody after a while.
_KEPT: Final = {CONTROL: _DAY, HANDS: 7 * _DAY}
_OVERHEAD: Final = 2  # a record may have as much in its key or headers as in its value


class Topics:
    """The names of a log's topics and groups, and their making."""

    def __init__(self, settings: KafkaSettings, client: AIOKafkaClient, admin: AIOKafkaAdminClient) -> None:
        self._settings = settings
        self._client = client
        self._admin = admin
        self._made: dict[str, asyncio.Future[None]] = {}
        self._counts: dict[str, int] = {}  # of queues' topics; their records may be in any partition
        self.partitions: int = 0

    def name(self, topic: str) -> str:
        """What Kafka calls a topic, or a group."""
        return f"{self._settings.namespace}.{topic}"

    def own(self, name: str) -> str:
        """The other way: our topic that Kafka calls so."""
        return name.removeprefix(f"{self._settings.namespace}.")

    def count(self, topic: str) -> int:
        """How many partitions a topic has."""
        return 1 if topic in ALONE else self._counts.get(topic, self.partitions)

    async def prepare(self, *, create: bool) -> None:
        """Make what is missing, and refuse what does not fit.

        Args:
            create: Whether to make a log where there is none at all.

        Raises:
            LogError: A topic is unfit, or it cannot be made.
        """
        wanted = [*sorted(PARTITIONED | ALONE)]
        with explained(self._settings.place, "look at the log's topics"):
            found = {
                one["topic"]: len(one["partitions"]) for one in await self._describe(wanted) if not one["error_code"]
            }
            self.partitions = self._choose(found)
            missing = [topic for topic in wanted if self.name(topic) not in found]
            if not create and EVENTS in missing:
                raise LogError(
                    f"there is no log yet: no topic {self.name(EVENTS)}",
                    place=self._settings.place,
                    remedy="`stepwell run FILE` makes a log. Is it the right namespace?",
                )
            await self._create(missing)
            if missing:
                found = await self._await_leaders(wanted)
            for topic in wanted:
                self.check_count(topic, found[self.name(topic)], self.count(topic))
            await self._check_configuration(wanted)

    async def _describe(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        """What a broker knows of topics. Asked by aiokafka's own means, a broker may make them, in its own way."""
        request = MetadataRequest([self.name(topic) for topic in topics], allow_auto_topic_creation=False)
        answer = await self._client.send(self._client.get_random_node(), request)
        described: list[dict[str, Any]] = answer.to_object()["topics"]
        for one in described:
            if kafka.for_code(one["error_code"]) is kafka.TopicAuthorizationFailedError:
                raise kafka.TopicAuthorizationFailedError(one["topic"])
        return described

    def _choose(self, found: Mapping[str, int]) -> int:
        there = found.get(self.name(EVENTS)) or found.get(self.name(COMMANDS))
        if there and self._settings.partitions not in {0, there}:
            raise LogError(
                f"the log has {there} partitions, not {self._settings.partitions}",
                place=self._settings.place,
                remedy=f"The number is fixed when the log is made: write partitions={there}, or leave it out.",
            )
        return there or self._settings.partitions or _DEFAULT_PARTITIONS

    async def _create(self, topics: Iterable[str]) -> None:
        brokers = len(self._client.cluster.brokers())
        copies = self._settings.replication or (3 if brokers >= 3 else 1)
        asked = [
            NewTopic(self.name(topic), self.count(topic), copies, topic_configs=self._configuration(topic, copies))
            for topic in topics
        ]
        if not asked:
            return
        answer = await self._admin.create_topics(asked)
        for name, code, *text in answer.topic_errors:
            error = kafka.for_code(code)
            if error is kafka.TopicAlreadyExistsError or not code:
                continue  # another process was as quick
            if error is kafka.TopicAuthorizationFailedError:
                raise error(name)
            raise LogError(
                f"the topic {name} cannot be made: {text[0] if text and text[0] else error.__name__}",
                place=self._settings.place,
                remedy="Make it by hand, or change what the broker objects to (see docs/kafka.md for its settings).",
            )

    def _configuration(self, topic: str, copies: int) -> dict[str, str]:
        return {
            "cleanup.policy": "delete",  # offsets must stay contiguous: what is proved rests on it
            "retention.ms": str(_KEPT.get(topic, -1)),
            "retention.bytes": "-1",
            "min.insync.replicas": str(2 if copies >= 3 else 1),
            "max.message.bytes": str(self.largest_batch),
            "message.timestamp.type": "CreateTime",
            "unclean.leader.election.enable": "false",
        }

    @property
    def largest_batch(self) -> int:
        """The most that a topic has to take in one batch, in bytes."""
        return (_OVERHEAD + 1) * self._settings.max_record_bytes + 65_536

    async def _await_leaders(self, topics: Sequence[str]) -> dict[str, int]:
        """New topics are known to all brokers only after a moment."""
        deadline = asyncio.get_running_loop().time() + self._settings.connect_timeout
        while True:
            described = await self._describe(topics)
            if all(
                not one["error_code"] and one["partitions"] and all(p["leader"] >= 0 for p in one["partitions"])
                for one in described
            ):
                return {one["topic"]: len(one["partitions"]) for one in described}
            if asyncio.get_running_loop().time() > deadline:
                raise LogError(
                    "new topics have no leaders yet",
                    place=self._settings.place,
                    remedy="Are enough brokers up for the copies that they need?",
                )
            await asyncio.sleep(0.02)

    def check_count(self, topic: str, found: int, wanted: int) -> None:
        """Refuse a topic whose keys would not be where they belong.

        Raises:
            LogError: It has not the partitions that it should have.
        """
        if found != wanted:
            raise LogError(
                f"the topic {self.name(topic)} has {found} partitions instead of {wanted}",
                place=self._settings.place,
                remedy="Partitions must never be added to a log: keys would change their places. Use another "
                "namespace, or restore the topic as it was.",
            )

    async def _check_configuration(self, topics: Iterable[str]) -> None:
        names = [self.name(topic) for topic in topics]
        answers = await self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, one) for one in names])
        for code, _, _, name, entries in (resource for answer in answers for resource in answer.resources):
            if code:
                raise kafka.for_code(code)(name)
            configuration = {entry[0]: entry[1] for entry in entries}
            if "compact" in configuration.get("cleanup.policy", ""):
                raise LogError(
                    f"the topic {name} is compacted: its offsets would get holes, and nothing could be proved",
                    place=self._settings.place,
                    remedy=f"Use another namespace; records may be missing from this one already. For an empty "
                    f"topic: kafka-configs --alter --topic {name} --add-config cleanup.policy=delete.",
                )
            if int(configuration.get("max.message.bytes") or self.largest_batch) < self._settings.max_record_bytes:
                raise LogError(
                    f"the topic {name} takes only batches of {configuration['max.message.bytes']} bytes",
                    place=self._settings.place,
                    remedy=f"Set its max.message.bytes to {self.largest_batch}, or use a smaller max_record_bytes.",
                )

    async def grow(self, topic: str) -> None:
        """Give an empty topic the partitions and the settings of ours."""
        name = self.name(topic)
        copies = self._settings.replication or (3 if len(self._client.cluster.brokers()) >= 3 else 1)
        settings = self._configuration(topic, copies)
        with explained(self._settings.place, f"give partitions to the topic {name}"):
            await self._admin.create_partitions({name: NewPartitions(total_count=self.partitions)})
            await self._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=settings)])
            found: dict[str, int] = {}
            while found.get(name) != self.partitions:
                found = await self._await_leaders([topic])
        self._counts[topic] = self.partitions

    def of_queue(self, queue: str) -> str:
        """The topic of a workers' queue: ``steps.`` and the queue's name, made fit for Kafka.

        Other characters than letters, digits and dots are written as ``-`` and two hex digits for each byte; never
        as ``_``, which Kafka does not tell from a dot in some places.
        """
        safe = "".join(
            chr(byte) if (chr(byte).isalnum() and byte < 128) or byte == 0x2E else f"-{byte:02x}"
            for byte in queue.encode()
        )
        if len(safe) > _LONGEST - len(STEPS):
            safe = f"{safe[:100]}-{hashlib.sha256(queue.encode()).hexdigest()}"
        return STEPS + (safe or "-")

    def has(self, topic: str) -> bool:
        """Whether a queue's topic is known to be there."""
        return topic in self._counts

    async def is_there(self, topic: str) -> bool:
        """Whether a topic has been made.

        Raises:
            LogError: The brokers do not say.
        """
        with explained(self._settings.place, f"look at the topic {self.name(topic)}"):
            (described,) = await self._describe([topic])
            return not described["error_code"]

    async def have(self, topic: str) -> None:
        """Have a queue's topic made, once.

        Raises:
            LogError: It cannot be made, or does not fit.
        """
        made = self._made.get(topic)
        if made is None:
            made = self._made[topic] = asyncio.ensure_future(self._have(topic))
        try:
            await asyncio.shield(made)
        except Exception:
            self._made.pop(topic, None)  # the next one tries again
            raise

    async def _have(self, topic: str) -> None:
        with explained(self._settings.place, f"make the topic {self.name(topic)}"):
            (described,) = await self._describe([topic])
            if described["error_code"]:
                await self._create([topic])
            found = await self._await_leaders([topic])
        self._counts[topic] = found[self.name(topic)]
