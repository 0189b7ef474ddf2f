"""Membership in a consumer group: heartbeats, rebalances, and who else is there.

The group only says who takes which partitions. Nothing is ever fetched through it: the partitions stay paused, so
that a handler may take as long as it likes without the member being thought idle.
"""

from __future__ import annotations

import asyncio
import secrets
from asyncio import Task
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiokafka.errors as kafka
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as BrokerPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.structs import OffsetAndMetadata

from stepwell.log.kafka.errors import HOPELESS, TROUBLE, explain, explained
from stepwell.log.kafka.settings import KafkaSettings
from stepwell.log.kafka.shares import Assignor, Says, decode_says
from stepwell.log.kafka.topics import Topics
from stepwell.log.port import Member, TopicPartition
from stepwell.log.wake import Signal
from stepwell.logs import Logger
from stepwell.tasks import cancel_and_wait

if TYPE_CHECKING:  # aiokafka has no types: what a base class of ours is stands here
    _RebalanceListener = object
else:
    from aiokafka import ConsumerRebalanceListener as _RebalanceListener

_logger = Logger("stepwell.log.kafka")

_LOOK: Final = 1.0  # seconds between two looks at whether aiokafka has met trouble
_PAUSE: Final = 0.5  # seconds before joining anew after trouble
_ASK_AGAIN: Final = 0.05  # seconds, while a group is being shared out
_SETTLED: Final = ("Stable", "Empty", "Dead")  # a group's states in which its members are known


class GroupMember(_RebalanceListener):
    """One member of a group.

    Args:
        group: As the port knows it.
        topics: Whose partitions it takes, as the port knows them.
        losing: Awaited before the group is shared out anew; what is committed in it still counts.
        gained: Called when it has been.
        owned: Partitions by topic, those first that the member would rather keep.
        counted: Called when the group counts it in again.

    Attributes:
        name: Its own name, for as long as it lives.
        places: The partitions that it has; during a rebalance, those that it had.
        live: The names of those who were in the group when it was last shared out.
        moved: Fires when the group has been shared out anew.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Topics,
        group: str,
        of: Sequence[str],
        about: Mapping[str, str],
        losing: Callable[[], Awaitable[None]] | None = None,
        gained: Callable[[], None] | None = None,
        owned: Callable[[], Mapping[str, Sequence[int]]] | None = None,
        counted: Callable[[], None] | None = None,
    ) -> None:
        self.name: str = secrets.token_hex(6)
        self.group = group
        self.places: frozenset[TopicPartition] = frozenset()
        self._settings = settings
        self._topics = topics
        self._of = {topics.name(topic): topic for topic in of}
        self._about = dict(about)
        self._losing = losing
        self._gained = gained
        self._owned = owned
        self._counted = counted
        self._assignor = Assignor(self._say, lambda name: topics.count(topics.own(name)))
        self._consumer: Any = None
        self._task: Task[None] | None = None
        self._joined = False
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()  # when the group's last word was asked for
        self.moved: Signal = Signal(self._loop)

    @property
    def live(self) -> frozenset[str]:
        """See above."""
        return self._assignor.live

    def _say(self) -> Says:
        if self._owned is not None:
            owned = self._owned()
        else:
            owned = {
                topic: sorted(number for one, number in self.places if one == topic) for topic in self._of.values()
            }
        named = {self._topics.name(topic): partitions for topic, partitions in owned.items()}
        return Says(self.name, self._about, named, self._assignor.round)

    # Joining and leaving.

    async def join(self) -> None:
        """Join, and wait for the first share.

        Raises:
            LogError: The group cannot be joined.
        """
        self._joined = True
        with explained(self._settings.place, f"join the group {self._topics.name(self.group)}"):
            await self._start()
        self._task = asyncio.get_running_loop().create_task(self._watch(), name=f"stepwell-group-{self.group}")

    async def _start(self) -> None:
        session = int(self._settings.session_timeout * 1000)
        patience = max(session, 5000)  # what the others get to come back for a rebalance
        consumer = AIOKafkaConsumer(
            **self._settings.client(),
            group_id=self._topics.name(self.group),
            enable_auto_commit=False,
            partition_assignment_strategy=(self._assignor,),
            session_timeout_ms=session,
            heartbeat_interval_ms=min(session // 4, 3000),
            rebalance_timeout_ms=patience,
            request_timeout_ms=patience + 5000,  # joining takes as long as the slowest member
            consumer_timeout_ms=60_000,  # its fetcher has nothing to do: no need to look five times a second
        )
        consumer.subscribe(list(self._of), listener=self)
        self._consumer = consumer
        try:
            async with asyncio.timeout(self._settings.connect_timeout + patience / 1000):
                await consumer.start()
        except BaseException:
            await asyncio.shield(self._drop(consumer))
            raise
        coordinator = consumer._coordinator  # noqa: SLF001 - it tells nobody of its heartbeats
        coordinator._do_heartbeat = self._listening(coordinator._do_heartbeat)  # noqa: SLF001 - likewise
        self._hear(self._loop.time())

    def _listening(self, beat: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        """A heartbeat that we hear of, too."""

        async def heard() -> bool:
            # Not when it is answered: a process that was frozen meanwhile finds an answer that is long out of date.
            asked = self._loop.time()
            alive = await beat()
            if alive:
                self._hear(asked)
            return alive

        return heard

    def _hear(self, asked: float) -> None:
        again = not self.is_counted
        self._heard = max(self._heard, asked)
        if again and self._counted is not None:
            self._counted()

    @property
    def is_counted(self) -> bool:
        """Whether the group is known to count us in.

        Whoever was silent for longer than a session (frozen, or cut off) must think that others have what was theirs.
        """
        return self._loop.time() - self._heard <= self._settings.session_timeout

    async def _watch(self) -> None:
        """Hear of trouble, and begin anew with a fresh consumer where aiokafka's has given up (#1098, #905)."""
        while True:
            try:
                await self._consumer.getmany(timeout_ms=int(_LOOK * 1000))  # nothing comes: all is paused
            except Exception as error:  # whatever it is: nobody would notice that we are in no group any more
                _logger.warning("joining the group anew", group=self.group, error=repr(error))
                await self._drop(self._consumer)
                await asyncio.sleep(_PAUSE)
                with suppress(Exception):  # the next look finds a consumer that was stopped
                    await self._start()

    async def _drop(self, consumer: Any) -> None:
        """Stop a consumer without leaving the group in its name."""
        if consumer._coordinator is not None:  # noqa: SLF001 - its own stop would leave, or wait for the broker
            consumer._coordinator.reset_generation()  # noqa: SLF001
        with suppress(*TROUBLE, KeyError):
            async with asyncio.timeout(_PAUSE * 4):
                await consumer.stop()
        with suppress(*TROUBLE):
            await consumer._client.close()  # noqa: SLF001 - left open where the above was cut short

    async def leave(self, *, tidy: bool = True) -> None:
        """Leave; the others take over at once, or without ``tidy``, as after a crash."""
        if not self._joined:
            return
        self._joined = False
        if self._task is not None:
            await cancel_and_wait(self._task, report=True)
        if tidy:
            with suppress(*TROUBLE, KeyError):
                async with asyncio.timeout(self._settings.session_timeout):
                    await self._consumer.stop()
                    return
        await self._drop(self._consumer)

    # What aiokafka tells.

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 - aiokafka's signature
        """The group is about to be shared out anew; until then our partitions are still ours."""
        if self._losing is not None:
            await self._losing()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """The group has been shared out."""
        self._consumer.pause(*assigned)
        for one in assigned:
            self._consumer.seek(one, 0)  # any position will do, and then it does not go and look for one
        self.places = frozenset((self._of[one.topic], one.partition) for one in assigned)
        self._hear(self._loop.time())
        self.moved.fire()
        if self._gained is not None:
            self._gained()

    # Positions.

    async def commit(self, positions: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        """Note positions, each with a text; whether they were noted. Not so when the group has moved on.

        Raises:
            LogError: Nothing is known about it.
        """
        wanted = {
            BrokerPartition(self._topics.name(topic), number): position
            for (topic, number), position in positions.items()
        }
        try:
            async with asyncio.timeout(self._settings.append_timeout):
                await self._consumer.commit(wanted)
        except (kafka.CommitFailedError, kafka.IllegalStateError):
            return False
        except (*TROUBLE, KeyError) as error:
            raise explain(error, self._settings.place, "commit positions of workers") from error
        return True

    async def note(self, reached: Mapping[TopicPartition, int]) -> None:
        """Note, for who watches the group, up to where our partitions were read; in topics that it does not share
        out, too. Nothing of it is ever read back.

        Raises:
            LogError: It may not have been noted.
        """
        ours = {number for _, number in self.places}
        wanted = {
            BrokerPartition(self._topics.name(topic), number): OffsetAndMetadata(offset, "")
            for (topic, number), offset in reached.items()
            if number in ours  # else they are another's, who knows better
        }
        coordinator = self._consumer._coordinator  # noqa: SLF001 - its own commit wants topics that are shared out
        try:
            async with asyncio.timeout(self._settings.session_timeout):
                await coordinator.commit_offsets(None, wanted)
        except kafka.CommitFailedError:
            return  # the group is being shared out anew; whoever gets them notes theirs
        except (*TROUBLE, KeyError) as error:
            raise explain(error, self._settings.place, f"commit positions of {self.group}") from error


class GroupDirectory:
    """Who is in which group, by the broker's word."""

    def __init__(self, settings: KafkaSettings, topics: Topics, admin: AIOKafkaAdminClient) -> None:
        self._settings = settings
        self._topics = topics
        self._admin = admin

    async def _describe(self, group: str) -> tuple[str, list[Any]]:
        """A group's state, and its members."""
        name = self._topics.name(group)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.append_timeout
        while True:
            try:
                (answer,) = await self._admin.describe_consumer_groups([name])
                (found,) = answer.groups
                code, _, state, _, _, members, *_ = found
                if code:
                    raise kafka.for_code(code)(name)
            except TROUBLE as error:
                if isinstance(error, HOPELESS) or loop.time() > deadline:
                    raise explain(error, self._settings.place, f"look at the group {name}") from error
                await asyncio.sleep(_ASK_AGAIN)
            else:
                return state, members

    async def members(self, group: str) -> list[Member]:
        """As the port says. While a group is being shared out, Kafka does not tell what its members say."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.append_timeout
        state, members = await self._describe(group)
        while state not in _SETTLED and loop.time() < deadline:
            await asyncio.sleep(_ASK_AGAIN)
            state, members = await self._describe(group)
        said = [decode_says(metadata) for _, _, _, metadata, _ in members]
        return [Member(says.name, group, says.about) for says in said if says is not None]

    async def share(self, group: str, name: str, topic: str) -> frozenset[int] | None:
        """A member's partitions of a topic; None while the group is being shared out."""
        state, members = await self._describe(group)
        if state != "Stable":
            return None
        for _, _, _, metadata, assignment in members:
            says = decode_says(metadata)
            if says is not None and says.name == name:
                places = ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions()
                return frozenset(one.partition for one in places if one.topic == self._topics.name(topic))
        return frozenset()

    async def committed(self, group: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        """The positions that were noted for partitions; nothing for those without.

        Raises:
            LogError: They cannot be learnt.
        """
        names = {BrokerPartition(self._topics.name(topic), number): (topic, number) for topic, number in places}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.append_timeout
        while True:
            try:
                found = await self._admin.list_consumer_group_offsets(
                    self._topics.name(group), partitions=list(names)
                )
            except (*TROUBLE, AttributeError) as error:  # AttributeError: its error path asks for what is not there
                if isinstance(error, HOPELESS) or loop.time() > deadline:
                    raise explain(error, self._settings.place, "learn the positions of workers") from error
                await asyncio.sleep(_ASK_AGAIN)
            else:
                return {names[one]: (held.offset, held.metadata) for one, held in found.items() if held.offset >= 0}
