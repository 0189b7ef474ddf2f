"""One simulated world, from one seed: who lives in it, what goes wrong, and what is checked in the end.

A run has three parts. In the *storm* everything may fail that the log's port allows to fail. Then all is *healed*.
From there on everything that does not wait for a person must come to its end; a person resumes the rest. At last all
that can be read is read again, by fresh eyes, and compared with the truth (``oracle``).
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stepwell.log.port import Delivery, NewRecord, Record
from stepwell.log.simulated.log import STORMY, Faults, Rates, SimulatedLog, SimulatedStorage
from stepwell.testing.loop import VirtualLoop, run
from tests.simulation import actors
from tests.simulation.actors import Person, Process, Skew, Visitor
from tests.simulation.miniature import miniature
from tests.simulation.oracle import Oracle, ViolationError, require
from tests.simulation.scene import Hands, Moods, definitions

ENOUGH = 400.0  # virtual seconds after which everything must have ended once nothing fails any more
CHAOS = ("kill", "stop", "freeze", "lag", "lie", "full", "slow", "mistake", "jump")
JUMPS = (-10 * 365 * 24 * 3_600_000, -3_600_000, 90_000, 3_600_000, 10 * 365 * 24 * 3_600_000)  # milliseconds
MOST_DEATHS = 20
"""Of processes over one command, once nothing else fails. Three in a row are enough; but where several commands are
deadly, a death over another one in between, behind some progress, has the count begin anew (``docs/adr/0030``)."""


class Bias(NamedTuple):
    """How a scenario is made likelier; everything else is drawn from the seed.

    Attributes:
        storm: Seconds of trouble, at most.
        instances: How many are started at most.
        chaos: What goes wrong besides single operations; None: drawn.
        every: Seconds between two such troubles; None: drawn.
        rates: How often single operations fail; None: drawn.
        tail: Bytes after which a snapshot is taken; None: drawn.
        families: How many definitions begin with a child that is waited for; None: drawn.
        watching: How many of the clients' doings are waits for the end of an instance, besides those drawn.
        deadly: How many of all kinds of commands of all instances kill whoever decides them; None: drawn.
    """

    storm: float = 16.0
    instances: int = 5
    chaos: tuple[str, ...] | None = None
    every: float | None = None
    rates: Rates | None = None
    tail: int | None = None
    deadly: float | None = None
    families: float | None = None
    watching: float = 0.0


LONG = Bias(storm=90.0, instances=25)


class Result(NamedTuple):
    """What a run came to.

    Attributes:
        problem: What was broken; None if nothing.
        digest: A hash of all that happened, in order: the same for the same seed.
        counts: Faults and events by kind.
    """

    seed: int
    problem: BaseException | None
    digest: str
    counts: Counter[str]
    seconds: float


class World:
    """One run.

    Args:
        seed: Of everything.
        say: Told what happens, step by step; None: nobody listens.
    """

    def __init__(self, seed: int, bias: Bias, tell: Callable[[str], None] | None) -> None:
        self.seed, self.bias, self._tell = seed, bias, tell
        self.dice = random.Random(seed)
        self.side_dice = random.Random(seed)  # for what is looked at: looking changes nothing
        self.loop = asyncio.get_running_loop()
        self._hash = hashlib.blake2b(digest_size=12)
        dice = self.dice
        self.partitions = dice.choice((1, 1, 2, 3))
        self.plans = definitions(
            dice, dice.choice((1, 2, 3)), dice.choice((0.0, 0.0, 0.6)) if bias.families is None else bias.families
        )
        self.oracle = Oracle(self.partitions, {plan.hash: plan for plan in self.plans})
        faults = Faults(random.Random(dice.getrandbits(64)), bias.rates or _rates(dice))
        self.tight = dice.random() < 0.2  # records are small, so that what handlers give may not fit
        most = 16_384 if self.tight else 1_048_576
        self.storage = SimulatedStorage(
            partitions=self.partitions, faults=faults, observer=self, max_record_bytes=most
        )
        moods = Moods(*(value * dice.choice((0, 1, 1, 2)) for value in Moods()))
        self.hands = Hands(dice, moods, self.oracle, self.guarded)
        self.pace = dice.choice((1.0, 3.0, 8.0))  # what each client asks for in a second
        self.most_instances = dice.randrange(1, bias.instances + 1)
        drawn = random.Random(f"deadly {seed}").choice((0.0, 0.0, 0.0, 0.03, 0.1))
        self.deadly = drawn if bias.deadly is None else bias.deadly
        self.deaths: Counter[str] = Counter()  # by command, over a deadly one, since all was healed
        self.skews: list[Skew] = []  # of the engines' clocks
        self.started: dict[str, str] = {}  # instances, and by which command
        self.stormy = True
        self.some_worker_is_complete = False
        self.busy_visitors = 0
        self.problem: asyncio.Future[None] = self.loop.create_future()
        self._ids = 0
        self.processes: list[Process] = []
        self._engines = 0
        self._tasks: list[asyncio.Task[None]] = []

    # --- what everybody needs -------------------------------------------------------------------------------

    def make_id(self) -> str:
        """A fresh id."""
        self._ids += 1
        return f"id-{self._ids}"

    def is_deadly(self, command: Any) -> bool:
        """Whether the process that decides this dies over it: until its instance is quarantined."""
        instance_id = command.instance_id
        if not self.deadly or instance_id in self.oracle.quarantined:
            return False
        drawn = random.Random(f"{self.seed} {instance_id} {type(command).__name__}").random()
        if drawn >= self.deadly:
            return False
        self.storage.faults.counts["death over a command"] += 1
        which = f"{type(command).__name__} {instance_id} {getattr(command, 'command_id', '')}"
        self.deaths[which] += not self.stormy
        self.guarded(require, self.deaths[which] <= MOST_DEATHS, f"{self.deaths[which]} died over {command}")
        self.say(f"somebody dies over {command}")
        return True

    def say(self, text: str) -> None:
        """Tell what happens."""
        if self._tell is not None:
            self._tell(f"{self.loop.time():10.4f}  {text}")

    def violated(self, error: BaseException | str) -> None:
        """A law is broken: the run is over."""
        if not self.problem.done():
            found = error if isinstance(error, BaseException) else ViolationError(error)
            self.say(f"VIOLATION {found}")
            self.problem.set_exception(found)

    def guarded(self, check: Callable[..., None], *args: Any) -> None:
        """Check something from within the system under test, which must not notice."""
        try:
            check(*args)
        except Exception as error:
            self.violated(error)

    # --- what the storage tells -----------------------------------------------------------------------------

    def asked(self, log: SimulatedLog, what: str) -> None:
        """As ``Observer`` says."""
        if self._tell is not None:
            self.say(f"{log.name}: {what}")

    def landed(self, log: SimulatedLog, place: tuple[str, int], records: Sequence[Record]) -> None:
        """As ``Observer`` says."""
        topic, partition = place
        for record in records:
            self._hash.update(f"{self.loop.time()} {log.name} {place} {record.offset} {record.headers}".encode())
            self._hash.update(record.value)
            if self._tell is not None:
                stamp = " ".join(f"{key}={value}" for key, value in record.headers.items())
                text = record.value.decode()[:400] if topic != "snapshots" else f"{len(record.value)} bytes"
                self.say(f"{log.name}: landed {topic}[{partition}]@{record.offset} {stamp} {text}")
        chunks = self.storage.records("snapshots", partition) if topic == "events" else ()
        self.guarded(self.oracle.landed, topic, partition, records, chunks)

    def sends(self, log: SimulatedLog, to: Any, records: Sequence[NewRecord]) -> None:
        """As ``Observer`` says."""
        values = [record.value for record in records]
        if isinstance(to, str):
            self.guarded(self.oracle.enqueues, values)
        elif to[0] == "control":
            self.guarded(self.oracle.cancelling, values)
        elif to[0] == "commands":
            self.guarded(self.oracle.telling, values)

    def queued(self, queue: str, records: Sequence[NewRecord]) -> None:
        """As ``Observer`` says."""
        self.guarded(self.oracle.arrived, [record.value for record in records])
        for record in records:
            self._hash.update(f"{self.loop.time()} {queue} {record.headers}".encode())
            if self._tell is not None:
                self.say(f"queued {record.headers['id']} {record.headers['handler']}")

    def handed(self, log: SimulatedLog, deliveries: Sequence[Delivery]) -> None:
        """As ``Observer`` says."""
        self.guarded(self.oracle.handed, log.name, deliveries)

    def died(self, log: SimulatedLog) -> None:
        """As ``Observer`` says."""
        self.say(f"{log.name}: ended")
        self.oracle.dead.add(log.name)
        for process in self.processes:
            if process.log is log:
                process.died()

    # --- the run --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play it all.

        Raises:
            ViolationError: A law was broken.
        """
        play = self.loop.create_task(self._play())
        try:
            await asyncio.wait((play, self.problem), return_when=asyncio.FIRST_COMPLETED)
            if self.problem.done():
                self.problem.result()
            play.result()
        finally:
            for task in (play, *self._tasks, *(process.supervisor for process in self.processes)):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self.problem.cancel()

    async def _play(self) -> None:
        dice = self.dice
        for _ in range(dice.choice((1, 2, 2, 3))):
            self._add_engine()
        for number in range(dice.choice((1, 2, 3))):
            self._add(f"worker{number}", actors.worker(self))
        for number in range(dice.choice((1, 2))):
            self._add(f"client{number}", Visitor(self))
        for kind in self.bias.chaos if self.bias.chaos is not None else dice.sample(CHAOS, dice.randrange(5)):
            self._tasks.append(self.loop.create_task(self._repeatedly(kind)))
        await asyncio.sleep(self.bias.storm * (0.2 + 0.8 * dice.random()))
        self._heal()
        await Person(self).finish(ENOUGH)

    def _add(self, name: str, body: Any) -> None:
        self.processes.append(Process(self, name, body))

    def _add_engine(self) -> None:
        self._add(f"engine{self._engines}", actors.engine(self))
        self._engines += 1

    def _heal(self) -> None:
        self.say("HEALED")
        self.stormy = False
        for task in self._tasks:
            task.cancel()
        self.storage.faults.heal()
        self.storage.groups.lie = None
        self.hands.healed.set()
        for skew in self.skews:
            skew.jumped = 0
        for process in self.processes:
            if process.log is not None:
                process.log.lag = 0.0
                process.log.thaw()
                self.storage.expel(process.log, expelled=False)
        self.storage.regrouped.fire()
        self.storage.queued.fire()

    # --- trouble --------------------------------------------------------------------------------------------

    async def _repeatedly(self, kind: str) -> None:
        dice = self.dice
        every = self.bias.every or dice.choice((1.0, 3.0, 6.0))
        while True:
            await asyncio.sleep(dice.expovariate(1 / every))
            self.storage.faults.counts[kind] += 1
            self.say(f"TROUBLE {kind}")
            await getattr(self, f"_{kind}")()

    def _someone(self, prefix: str = "") -> Process | None:
        running = [process for process in self.processes if process.runs and process.name.startswith(prefix)]
        return self.dice.choice(running) if running else None

    async def _kill(self) -> None:
        process = self._someone()
        if process is not None and process.log is not None:
            process.log.die()

    async def _stop(self) -> None:
        process = self._someone()
        if process is not None:
            await process.stop()

    async def _freeze(self) -> None:
        """A process stops for a while, is taken for dead, and goes on where it was."""
        process = self._someone(self.dice.choice(("engine", "engine", "worker", "")))
        log = process.log if process is not None else None
        if log is not None:
            log.freeze()
            await self._meanwhile(log)
            log.thaw()

    async def _lag(self) -> None:
        """What a process writes takes long, while it reads as ever and does not know that it was replaced."""
        process = self._someone(self.dice.choice(("engine", "engine", "worker")))
        log = process.log if process is not None else None
        if log is not None:
            log.lag = self.dice.random() * 5
            await self._meanwhile(log)
            log.lag = 0.0

    async def _meanwhile(self, log: SimulatedLog) -> None:
        dice = self.dice
        await asyncio.sleep(dice.random() * 2)
        self.storage.expel(log, told=dice.random() < 0.4)
        if self._engines < 6 and dice.random() < 0.4:
            self._add_engine()
        await asyncio.sleep(dice.random() * 6)
        self.storage.expel(log, expelled=False)

    async def _mistake(self) -> None:
        """A process is taken for dead for a moment, although nothing is wrong with it."""
        process = self._someone(self.dice.choice(("engine", "worker", "worker")))
        log = process.log if process is not None else None
        if log is not None:
            self.storage.expel(log)
            await asyncio.sleep(self.dice.random() * 0.2)
            self.storage.expel(log, expelled=False)

    async def _lie(self) -> None:
        """Members are told what is not so: several have the same partition, or nobody has."""
        dice, whole = self.dice, range(self.partitions)
        kind, told = dice.choice(("all", "none", "some", "as before")), {}

        def lie(member: int, truth: frozenset[int]) -> frozenset[int]:
            if kind == "all":
                return frozenset(whole)
            if kind == "none":
                return frozenset()
            if member not in told:
                told[member] = truth if kind == "as before" else frozenset(p for p in whole if dice.random() < 0.6)
            return told[member]

        self.storage.groups.lie = lie
        self.storage.regrouped.fire()
        await asyncio.sleep(dice.random() * 4)
        self.storage.groups.lie = None
        self.storage.regrouped.fire()

    async def _jump(self) -> None:
        """The clock of an engine's machine is set wrong for a while."""
        if self.skews:
            skew = self.dice.choice(self.skews)
            skew.jumped = self.dice.choice(JUMPS)
            await asyncio.sleep(self.dice.random() * 4)
            skew.jumped = 0

    async def _full(self) -> None:
        self.storage.faults.full = True
        await asyncio.sleep(self.dice.random() * 2)
        self.storage.faults.full = False

    async def _slow(self) -> None:
        self.storage.faults.slowness = self.dice.choice((10.0, 50.0, 150.0))
        await asyncio.sleep(self.dice.random() * 3)
        self.storage.faults.slowness = 1.0

    @property
    def digest(self) -> str:
        """A hash of all that happened."""
        return self._hash.hexdigest()


def _rates(dice: random.Random) -> Rates:
    """How often what fails: each kind of fault is left out of some worlds, so that it does not hide others."""
    chosen = {
        name: getattr(STORMY, name) * dice.choice((0, 1, 1, 3))
        for name in STORMY._fields
        if isinstance(getattr(STORMY, name), float) and name != "straggling"
    }
    return STORMY._replace(**chosen)


def simulate(seed: int, bias: Bias | None = None, tell: Callable[[str], None] | None = None) -> Result:
    """Run one seed."""
    loop = VirtualLoop()
    found: list[World] = []

    async def main() -> None:
        world = World(seed, bias or Bias(), tell)
        found.append(world)
        with miniature(world):
            await world.run()

    problem: BaseException | None = None
    gc_was_on = gc.isenabled()
    gc.disable()  # finalizers run at moments of their own choosing
    try:
        run(main(), loop=loop)
    except Exception as error:
        problem = error
    finally:
        if gc_was_on:
            gc.enable()
    if problem is None:
        for context in loop.problems:
            if not actors.is_benign(context.get("exception")):
                problem = ViolationError(f"nobody has looked at this: {context}")
    (world,) = found
    counts = world.storage.faults.counts
    counts["transitions"] = world.oracle.count
    counts["take-overs"] = world.oracle.taken_over
    counts["snapshots"] = world.oracle.snapshots
    counts["rollbacks"] = world.oracle.rollbacks
    counts["instances"] = len(world.oracle.instances)
    counts["runs of handlers"] = world.hands.ran
    return Result(seed, problem, world.digest, counts, loop.time())
