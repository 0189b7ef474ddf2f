"""Makes go wrong what the plan says, and mends it again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from aiokafka import TopicPartition
from msgspec import Struct

from stepwell.errors import LogError
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, EVENTS, STARTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import StartWorkflow
from tests.chaos.driver import Driver
from tests.chaos.follower import Follower
from tests.chaos.parts import Brokers, Part, in_hand
from tests.chaos.plan import BROKER, PROCESSES, Fault

QUEUE = "steps.default"
BACK = "broker back"


class Hit(Struct):
    """A fault that was made, and what it hit.

    Attributes:
        at: When, in seconds since 1970.
        partitions: Those whose owner or leader it was.
        runs: Those that a worker had in hand: instance, step, run.
    """

    kind: str
    at: float
    partitions: list[int] = []
    runs: list[tuple[str, str, int]] = []


class Injector:
    """Follows a plan.

    Attributes:
        made: How often each kind was made.
        hits: What they hit, where anything recovers from them.
        problems: Processes that have ended by themselves.
    """

    def __init__(
        self, log: KafkaLog, driver: Driver, follower: Follower, parts: Sequence[Part], brokers: Brokers, folder: Path
    ) -> None:
        self._log = log
        self._driver = driver
        self._follower = follower
        self._parts = {role: [part for part in parts if part.role == role] for role in ("engine", "worker")}
        self._brokers = brokers
        self._folder = folder
        self.made: Counter[str] = Counter()
        self.hits: list[Hit] = []
        self.problems: list[str] = []

    async def follow(self, plan: Sequence[Fault]) -> None:
        """Make all faults; done when all of them are mended."""
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                await asyncio.sleep(max(0.0, began + fault.at - asyncio.get_running_loop().time()))
                self.look()
                if fault.kind in PROCESSES:
                    role = fault.kind.rpartition(" ")[2]
                    part = self._parts[role][fault.number]
                    if not part.busy:  # else it is broken already: the plan knows nothing of how long that takes
                        part.busy = True
                        group.create_task(self._break(fault, part))
                elif fault.kind == BROKER:
                    if not self._brokers.busy:
                        self._brokers.busy = True
                        group.create_task(self._kill_broker(fault))
                else:
                    group.create_task(self._repeat(fault))

    def look(self) -> None:
        """Whether a process has ended that nobody has killed."""
        for part in (*self._parts["engine"], *self._parts["worker"]):
            if not part.busy and part.ended is not None:
                self.problems.append(f"{part.name} has ended by itself with status {part.ended}; see its log")
                part.start()

    def _made(self, fault: Fault) -> None:
        """Count it, and note it beside the processes' logs, for whoever wants to understand them."""
        self.made[fault.kind] += 1
        now = datetime.now(tz=UTC).isoformat()
        with (self._folder / "faults.txt").open("a") as file:
            file.write(f"{now} {fault.kind} {fault.number} for {fault.seconds} s\n")

    # --- processes and brokers ------------------------------------------------------------------------------

    async def _break(self, fault: Fault, part: Part) -> None:
        self._made(fault)
        kills = fault.kind.startswith("kill")
        hit = Hit(fault.kind, time.time())
        if part.role == "engine":
            hit.partitions = self._follower.owned_by(part.name)
        if kills:
            part.kill()
        else:
            part.freeze()
        if part.role == "worker":
            hit.runs = sorted(in_hand(self._folder, part.pids[-1]))
        self.hits.append(hit)
        await asyncio.sleep(fault.seconds)
        if kills:
            part.start()
        else:
            part.thaw()
        part.busy = False

    async def _kill_broker(self, fault: Fault) -> None:
        self._made(fault)
        await self._brokers.kill(fault.number)
        led = [number for number in range(self._log.partitions) if self._leader(number) == fault.number + 1]
        hit = Hit(fault.kind, time.time(), led or list(range(self._log.partitions)))
        await asyncio.sleep(fault.seconds)
        await self._brokers.start(fault.number)
        self.hits += (hit, Hit(BACK, time.time(), hit.partitions))
        self._brokers.busy = False

    def _leader(self, partition: int) -> int | None:
        """Who led a partition of the events, as far as this process has heard."""
        place = TopicPartition(self._log.topics.name(EVENTS), partition)
        leader: int | None = self._log._client.cluster.leader_for_partition(place)
        return leader

    # --- repeats --------------------------------------------------------------------------------------------

    async def _repeat(self, fault: Fault) -> None:
        rng = Random(fault.number)
        try:
            if fault.kind == "repeat command":
                done = await self._repeat_command(rng)
            else:
                done = await self._repeat_record(rng)
        except LogError:  # no broker at the moment; whether it has landed does not matter
            return
        if done:
            self._made(fault)

    async def _repeat_command(self, rng: Random) -> bool:
        """A client that has not heard an answer sends the same command again."""
        if not self._driver.recent:
            return False
        command = rng.choice(list(self._driver.recent))
        topic = STARTS if isinstance(command, StartWorkflow) else COMMANDS
        place = partition_for(command.instance_id, self._log.partitions)
        await self._log.append(topic, place, [NewRecord(command.instance_id, encode(command))])
        return True

    async def _repeat_record(self, rng: Random) -> bool:
        """A producer that sends again what it has sent: a transition, an outcome, a start, a step for a worker."""
        topic = rng.choice([EVENTS, COMMANDS, STARTS, QUEUE])
        partition = rng.randrange(self._log.topics.count(topic))
        end = await self._log.end(topic, partition)
        count = rng.randint(1, 20)
        found = await self._log.read(topic, partition, max(0, end - count), limit=count)
        copies = [NewRecord(record.key, record.value, record.headers) for record in found]
        if topic == EVENTS:  # a claim is no repeat: it is what a zombie does, and those are here in person
            copies = [copy for copy in copies if copy.headers["kind"] != "claim"]
        if copies:
            await self._log.append(topic, partition, copies)
        return bool(copies)
