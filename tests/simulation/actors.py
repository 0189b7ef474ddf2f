"""Who takes part in a simulation: processes that are started, killed, frozen and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stepwell.client.client import Client
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.engine.ledger import Ledger
from stepwell.consumers.engine.owner import PartitionOwner
from stepwell.consumers.engine.takeover import Possession
from stepwell.consumers.engine.tenure import Tenure
from stepwell.consumers.reading.events import Accepted, EventReader
from stepwell.consumers.reading.histories import accepted_of
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.consumers.worker.worker import Worker
from stepwell.core.fold.state import StepState
from stepwell.errors import (
    CommandRejectedError,
    LogClosedError,
    LogCorruptedError,
    LogError,
    LogVersionError,
    RecordTooLargeError,
    StepwellError,
    UnknownInstanceError,
    UnknownWorkflowError,
)
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, STARTS, NewRecord
from stepwell.log.simulated.log import SimulatedLog
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    PauseWorkflow,
    RejectStep,
    RescheduleTimers,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from tests.simulation.oracle import ViolationError, require
from tests.simulation.scene import HANDLERS, as_registered

if TYPE_CHECKING:
    from tests.simulation.world import World

NEVER_TROUBLE = (LogCorruptedError, LogVersionError, RecordTooLargeError)  # no fault leads to these


class Process:
    """Something that a supervisor keeps running: a new log object each time.

    Attributes:
        log: Of the incarnation that runs now.
    """

    def __init__(self, world: World, name: str, body: Callable[[SimulatedLog], Awaitable[None]]) -> None:
        self.world = world
        self.name = name
        self.log: SimulatedLog | None = None
        self._body = body
        self._number = 0
        self._work: asyncio.Future[None] | None = None
        self.supervisor = asyncio.get_running_loop().create_task(self._supervise(), name=name)

    @property
    def runs(self) -> bool:
        """Whether it is up, as far as anybody knows."""
        return self.log is not None and not self.log.closed

    async def _supervise(self) -> None:
        dice = self.world.dice
        while True:
            self._number += 1
            self.log = await self.world.storage.open(f"{self.name}.{self._number}")
            self._work = asyncio.ensure_future(self._body(self.log))
            try:
                await asyncio.wait((self._work,))
                self._look_at_its_end(self._work)
            finally:
                self.log.die()  # first, so that what is frozen can end
                if not self._work.done():
                    self._work.cancel()
                    await asyncio.gather(self._work, return_exceptions=True)
            await asyncio.sleep(dice.random() * (2 if self.world.stormy else 0.1))

    def _look_at_its_end(self, work: asyncio.Future[None]) -> None:
        error = None if work.cancelled() else work.exception()
        if error is None:
            return
        if not isinstance(error, LogError) or isinstance(error, NEVER_TROUBLE):
            self.world.violated(error if isinstance(error, ViolationError) else f"{self.name} ended with {error!r}")

    def died(self) -> None:
        """Its log object has died: so has the rest of it."""
        if self._work is not None:
            self._work.cancel()

    async def stop(self) -> None:
        """Ask it to stop, as a deployment does, and start it anew."""
        work, log = self._work, self.log
        if work is not None and log is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await log.close()


class WatchedOwner(PartitionOwner):
    """An owner whose beliefs are compared with the truth."""

    world: World

    async def run(self) -> None:
        try:
            await super().run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if isinstance(error, NEVER_TROUBLE) or not isinstance(error, (LogError, SurpriseError)):
                self.world.violated(error if isinstance(error, ViolationError) else f"an owner ended with {error!r}")
            raise
        finally:
            if self.tenure is not None:
                self.tenure.ledger.compare()  # type: ignore[attr-defined]

    def _begin(self, possession: Possession, *args: Any) -> Tenure:
        world = self.world
        world.say(f"owner of {self.partition} took over at {possession.epoch}")
        world.guarded(world.oracle.took_over, self.partition, possession.epoch, possession.state)
        return super()._begin(possession, *args)


class WatchedLedger(Ledger):
    """A ledger whose beliefs are compared with the truth."""

    world: World

    def _confirm(self, *args: Any) -> None:
        super()._confirm(*args)
        if self.world.side_dice.random() < 0.15:
            self.compare()

    def compare(self) -> None:
        """What it believes to be proved is."""
        self.world.guarded(self.world.oracle.confirmed, self.partition, self.proved, self.confirmed)


class Skew:
    """By how many milliseconds the clock of one machine is off.

    Attributes:
        jumped: Because somebody has set it wrong, for a while.
    """

    def __init__(self, always: int) -> None:
        self.always = always
        self.jumped = 0

    @property
    def now(self) -> int:
        """All in all."""
        return self.always + self.jumped


def engine(world: World) -> Callable[[SimulatedLog], Awaitable[None]]:
    """An engine whose clock is a little off, and that may take starts one by one."""
    skew = Skew(world.dice.choice((0, 0, -3000, 2000, 60, 3_600_000)))
    world.skews.append(skew)
    most = world.dice.choice((1, 3, 1_000))

    async def body(log: SimulatedLog) -> None:
        await Engine(
            log, clock=lambda: world.storage.now() + skew.now, name=log.name, most_runs=most, process=log.name
        ).run()

    return body


def worker(world: World) -> Callable[[SimulatedLog], Awaitable[None]]:
    """A worker; now and then one that lacks a handler."""
    dice = world.dice
    lacking = dice.choice(HANDLERS) if dice.random() < 0.15 and world.some_worker_is_complete else None
    world.some_worker_is_complete = True
    concurrency, hand_back = dice.choice((1, 3, 20)), dice.random() < 0.5
    most = 2 + world.seed % 4  # deliveries

    async def body(log: SimulatedLog) -> None:
        handlers = world.hands.of_worker(lacking, log.name, most)
        made = Worker(log, handlers, concurrency=concurrency, hand_back=hand_back, name=log.name, max_deliveries=most)
        await made.run(grace=dice.choice((0.0, 0.5)))

    return body


class Visitor:
    """A process that uses the client: starts, steers and looks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice

    async def __call__(self, log: SimulatedLog) -> None:
        client = Client(log, make_id=self.world.make_id)
        tasks: list[asyncio.Future[None]] = []
        try:
            for plan in self.world.plans:
                await self._patiently(lambda plan=plan: client.register(as_registered(plan)))
            heard: dict[str, int] = {}
            if self.dice.random() < 0.3:
                await self._patiently(
                    lambda: client.subscriber.listen(lambda found: self._hear(heard, found), lambda _: None)
                )
            while self.world.stormy:
                await asyncio.sleep(self.dice.expovariate(self.world.pace))
                tasks = [task for task in tasks if not task.done() or task.result()]
                if len(tasks) < 10:
                    tasks.append(asyncio.ensure_future(self._guarded(client)))
            await asyncio.gather(*tasks)
            await asyncio.Event().wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.subscriber.close()

    async def _patiently(self, act: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await act()
            except LogClosedError:
                raise
            except (LogError, TimeoutError) as error:
                if isinstance(error, NEVER_TROUBLE):
                    raise
                await asyncio.sleep(0.5)

    def _hear(self, heard: dict[str, int], accepted: Accepted) -> None:
        """A subscriber hears only what counts, each transition once, in order."""
        transition = accepted.transition
        if transition.sequence:
            self.world.guarded(
                require,
                transition in self.world.oracle.instances[transition.instance_id].history,
                f"a subscriber has heard of what does not count: {transition}",
            )
            last = heard.get(transition.instance_id, 0)
            self.world.guarded(require, transition.sequence > last, f"a subscriber has heard twice: {transition}")
            heard[transition.instance_id] = transition.sequence

    async def _guarded(self, client: Client) -> None:
        self.world.busy_visitors += 1
        try:
            await self._act(client)
        except ViolationError as error:
            self.world.violated(error)
        except NEVER_TROUBLE:
            raise
        except (LogError, TimeoutError, CommandRejectedError, UnknownInstanceError, UnknownWorkflowError):
            return
        finally:
            self.world.busy_visitors -= 1

    async def _act(self, client: Client) -> None:
        dice, world = self.dice, self.world
        known = sorted(world.started)
        kind = dice.random()
        if world.bias.watching and dice.random() < world.bias.watching:
            kind = 1.0
        if not known or (kind < 0.3 and len(known) < world.most_instances):
            await self._start(client, world.make_id(), f"start-{world.make_id()}")
        elif kind < 0.4:  # again: what was answered already, by the same command or another one
            instance_id = dice.choice(known)
            command_id = world.started[instance_id] if dice.random() < 0.5 else world.make_id()
            await self._start(client, instance_id, command_id)
        elif kind < 0.75:
            children = {*world.oracle.live()}.difference(known)
            await self._insist(client, self._steer(dice.choice([*known, *sorted(children)])))
        elif kind < 0.78:
            await self._misplace(client, dice.choice(known))
        elif kind < 0.82:
            await self._read(client)
        elif kind < 0.92:
            instance_id = dice.choice(known)
            found = await accepted_of(client.log, instance_id)
            world.oracle.history(instance_id, [accepted.transition for accepted in found])
        else:
            instance_id = dice.choice(known)
            seen = await client.wait(instance_id, lambda state: not state.live, timeout=20)
            ended = seen.status in ("completed", "failed", "cancelled")
            require(ended, f"{instance_id}: said to have ended, and it is {seen.status}")

    async def _start(self, client: Client, instance_id: str, command_id: str) -> None:
        plan = self.dice.choice(self.world.plans).definition
        data = {"n": self.dice.randrange(4), "k": [1]}
        version = self.dice.choice((None, plan.version))
        self.world.started.setdefault(instance_id, command_id)
        await self._insist(
            client,
            StartWorkflow(
                instance_id,
                workflow=plan.name,
                version=version,
                input=data,
                priority=self.dice.choice((0, 0, 5, 100)),
                command_id=command_id,
            ),
        )

    async def _misplace(self, client: Client, instance_id: str) -> None:
        """What a stranger's program puts into the log: in the wrong partition, or what is no command at all."""
        dice, count = self.dice, self.world.partitions
        record = NewRecord(instance_id, b"no command")
        partition = dice.randrange(count)
        if count > 1 and dice.random() < 0.7:
            partition = (partition_for(instance_id, count) + 1) % count
            command = self._steer(instance_id)
            record = NewRecord(
                instance_id, encode(command), client.acting(by=f"for {command.command_id}").sender.headers
            )
        await client.log.append(dice.choice((COMMANDS, STARTS)), partition, [record])

    def _steer(self, instance_id: str) -> Any:
        dice, command_id = self.dice, self.world.make_id()
        state = self.world.oracle.instances[instance_id].state
        targets: list[int | str] = ["latest", "start", "shared", "s0"]
        if state is not None:
            targets += [1 + dice.randrange(state.sequence), *sorted(state.checkpoints)]
            gates = sorted(step_id for step_id, step in state.steps.items() if step.gate is not None)
            if gates and dice.random() < 0.7:
                kind = ApproveStep if dice.random() < 0.7 else RejectStep
                named, asked = dice.choice(("", *gates)), state.steps[dice.choice(gates)].gate
                may = ("ann", "bob") if asked is None else asked.approvers
                return kind(instance_id, named, dice.choice((*may, *may, "eve")), "", command_id)
            timers = sorted(timer for timer in state.timers if timer)
            if timers and dice.random() < 0.2:
                return RescheduleTimers(instance_id, dice.choice(timers), dice.choice((0.0, 2.0)), command_id)
        return dice.choice((
            lambda: PauseWorkflow(instance_id, "lunch", command_id),
            lambda: ResumeWorkflow(instance_id, dice.choice(("retry", "skip")), command_id),
            lambda: ResumeWorkflow(instance_id, dice.choice(("retry", "skip")), command_id),
            lambda: RescheduleTimers(instance_id, "", None, command_id),
            lambda: RollbackWorkflow(instance_id, dice.choice(targets), dice.random() < 0.2, command_id),
            lambda: CancelWorkflow(instance_id, "enough", command_id),
        ))()  # fmt: skip

    async def _insist(self, client: Client, command: Any) -> None:
        """Send a command until it is answered, as a careful client does; others give up."""
        client = client.acting(by=f"for {command.command_id}")
        for _ in range(100):
            try:
                event = await client.send(command, timeout=3)
                if event is not None:
                    self.world.oracle.answered(command.command_id, event)
            except LogClosedError:
                raise
            except (LogError, TimeoutError):
                if self.dice.random() < 0.3:
                    return
                await asyncio.sleep(self.dice.random())
                continue
            if self.dice.random() < 0.9:  # else once more, as if the answer had been lost on its way
                return

    async def _read(self, client: Client) -> None:
        """Read a partition, from its beginning or from a snapshot."""
        await read_partition(
            self.world, client.log, self.dice.randrange(self.world.partitions), self.dice.random() < 0.5
        )


async def read_partition(world: World, log: Any, partition: int, from_snapshot: bool) -> None:
    """Read a partition and compare what counts with the truth."""
    reader = EventReader(log, partition)
    if from_snapshot:
        await reader.seek_snapshot()
    first, offsets = reader.position, []
    end = await log.end("events", partition)
    while reader.position < end:
        offsets += [record.offset for record in await reader.read(end=end)]
    world.oracle.read(partition, first, reader.position, offsets)


class Person:
    """After everything is healed: resumes what waits for a person, until all has ended."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def finish(self, limit: float) -> None:
        """Raise where something does not end within so many seconds."""
        world, loop = self.world, asyncio.get_running_loop()
        log = await world.storage.open("person")
        client = Client(log, make_id=world.make_id)
        asked: dict[str, int] = {}
        deadline = loop.time() + limit
        oracle = world.oracle
        while oracle.live() or oracle.unanswered() or oracle.started_for_nobody() or world.busy_visitors:
            if loop.time() > deadline:
                live = world.oracle.live()
                stuck = {name: (str(state.status), state.timers, state.steps) for name, state in live.items()}
                lost = world.oracle.unanswered()
                nobody = world.oracle.started_for_nobody()
                raise ViolationError(
                    f"{len(live)} instances never end: {stuck}; commands lost: {lost}; started for nobody: {nobody}"
                )
            for instance_id, state in world.oracle.live().items():
                # What a parent holds goes on with it, and with nobody else's word.
                if state.status == "paused" and not state.held:
                    asked[instance_id] = count = asked.get(instance_id, 0) + 1
                    require(count < 80, f"{instance_id}: paused again and again: {state.incident}")
                    if count > 20 and world.oracle.instances[instance_id].is_shut:
                        await self._give_up(client, instance_id)
                    else:
                        await self._resume(client, instance_id, "retry" if count < 3 else "skip")
                for step_id, step in sorted(state.steps.items()):
                    if step.gate is not None:
                        await self._approve(client, instance_id, step_id, step)
            await asyncio.sleep(0.5)
        await self._look(client)
        await client.close()

    async def _resume(self, client: Client, instance_id: str, failed_steps: Any) -> None:
        command = ResumeWorkflow(instance_id, failed_steps, self.world.make_id())
        try:
            await client.send(command, timeout=60)
        except (CommandRejectedError, TimeoutError):
            return

    async def _give_up(self, client: Client, instance_id: str) -> None:
        """Nobody can be asked to open its gate, and nobody may skip one."""
        with suppress(CommandRejectedError, TimeoutError):
            await client.cancel(instance_id, "its gate cannot be asked")

    async def _approve(self, client: Client, instance_id: str, step_id: str, step: StepState) -> None:
        assert step.gate is not None
        voted = {vote.by for vote in step.votes}
        by = next(name for name in (*step.gate.approvers, "ann", "bob") if name not in voted)
        try:
            await client.acting(by="a person").approve(instance_id, step_id, by=by)
        except (CommandRejectedError, TimeoutError):
            return

    async def _look(self, client: Client) -> None:
        """Everything that can be read adds up to the truth."""
        world = self.world
        for partition in range(world.partitions):
            for from_snapshot in (True, False):
                await read_partition(world, client.log, partition, from_snapshot)
        for instance_id, known in sorted(world.oracle.instances.items()):
            if known.history:
                least = len(known.history)
                found = await accepted_of(client.log, instance_id)
                world.oracle.history(instance_id, [accepted.transition for accepted in found], least=least)


def is_benign(error: BaseException | None) -> bool:
    """Whether an error that nobody has looked at is one that faults lead to."""
    return isinstance(error, (StepwellError, asyncio.CancelledError)) and not isinstance(error, NEVER_TROUBLE)
