"""Parts that run beside a test, and looks at what the log holds."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import time
from collections import Counter

from stepwell.client.client import Client
from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.clock import Clock
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.engine.owner import PartitionOwner
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.snapshots import load_snapshot
from stepwell.consumers.registry.definitions import Definitions
from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.handlers import Handlers
from stepwell.consumers.worker.worker import Worker
from stepwell.core.fold.acceptance import read_stamp
from stepwell.core.fold.partition import PartitionState, follow
from stepwell.core.fold.snapshots import encode_partition
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, EVENTS, STARTS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import StartWorkflow
from stepwell.schemas.records.events import StepReady
from tests.patience import HANG


async def until(condition, timeout=HANG):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(0.005)


async def stop(task):
    """Cancel a task; an error that it had met before comes out."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def running(*coroutines):
    """Run coroutines beside the block; what fails by itself fails the test."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield tasks[0] if len(tasks) == 1 else tasks
    finally:
        for task in reversed(tasks):
            await stop(task)


async def line_about(process, words):
    """The first line of a process that logs JSON whose event holds these words."""
    told = {}
    while words not in told.get("event", ""):
        line = await asyncio.wait_for(process.stdout.readline(), HANG)
        assert line, (await process.stderr.read()).decode()
        told = json.loads(line)
    return told


def handlers_of(prefixes=(), **functions):
    """Handlers by name."""
    handlers = Handlers(prefixes, BUILTIN)
    for name, function in functions.items():
        handlers.register(name, function)
    return handlers


def steps(*ids, after=None, **more):
    """Steps one after the other, of the handler ``work``."""
    return [
        {"id": step_id, "handler": "work", "depends_on": [before] if before else [], **more}
        for step_id, before in zip(ids, (after, *ids), strict=False)
    ]


def workflow(*given, name="w", **more):
    return {"name": name, "version": "1", "steps": list(given), **more}


@contextlib.asynccontextmanager
async def client_on(log):
    """A client of a log that outlives it."""
    client = Client(log)
    try:
        yield client
    finally:
        await client.views.models.close()
        await client.subscriber.close()


@contextlib.asynccontextmanager
async def stage(log, handlers=None, *definitions, **worker):
    """A client of a log with an engine and, where there are handlers, a worker."""
    parts = [Engine(log).run()]
    if handlers is not None:
        parts.append(Worker(log, handlers, **worker).run())
    async with client_on(log) as client:
        for definition in definitions:
            await client.register(definition)
        async with running(*parts):
            await until(client.engine_is_live)
            yield client


class Gate:
    """A handler that waits until it is let through, and counts what came."""

    def __init__(self):
        self.open = asyncio.Event()
        self.runs = Counter()
        self.fails = set()

    async def __call__(self, data, ctx):
        self.runs[ctx.instance_id, ctx.step_id] += 1
        await self.open.wait()
        if (ctx.instance_id, ctx.step_id) in self.fails:
            raise ValueError("no")
        return {"n": data.get("n", 0) + 1}


async def ends(client, *ids, timeout=HANG):
    return await asyncio.gather(*(client.wait(i, lambda state: not state.live, timeout=timeout) for i in ids))


async def send(log, *commands, topic=COMMANDS):
    """Append commands as any client in any language would; several for one partition in one commit."""
    batches = {}
    for command in commands:
        partition = partition_for(command.instance_id, log.partitions)
        batches.setdefault(partition, []).append(NewRecord(command.instance_id, encode(command)))
    await asyncio.gather(*(log.append(topic, partition, batch) for partition, batch in batches.items()))


def start(instance_id, workflow="w", command_id="", **more):
    return StartWorkflow(instance_id, workflow=workflow, command_id=command_id or f"start-{instance_id}", **more)


class Claimant:
    """Owns partition 0 again and again, whatever any group says.

    Attributes:
        owner: The newest owner.
        owners: All of them.
        surprises: What made it claim anew.
    """

    def __init__(self, log, partition=0, *, informed=True):
        self.log = log
        self.definitions = Definitions(log)
        self.partition = partition
        self.owners = []
        self.surprises = []
        self.admission = Admission()
        self._informed = informed  # whether it knows the definitions before it claims

    @property
    def owner(self):
        return self.owners[-1]

    @property
    def ledger(self):
        """The newest owner's; None while it takes over."""
        tenure = self.owner.tenure
        return None if tenure is None else tenure.ledger

    @property
    def confirmed(self):
        """What the newest owner believes; nothing while it takes over."""
        ledger = self.ledger if self.owners else None
        return PartitionState() if ledger is None else ledger.confirmed

    async def run(self, *, again=True):
        if self._informed:
            await self.definitions.catch_up()
        while True:
            owner = PartitionOwner(
                self.log, self.partition, self.definitions, self.admission, name="claimant", clock=Clock()
            )
            self.owners.append(owner)
            try:
                await owner.run()
            except Exception as error:
                if not again:
                    raise
                self.surprises.append(error)
            await asyncio.sleep(0.002)

    async def idle(self):
        """Wait until everything that was asked for is decided, proved and delivered."""
        asked = await self.log.end(COMMANDS, self.partition), await self.log.end(STARTS, self.partition)
        await until(lambda: self.rests(*asked))

    def rests(self, commands, starts):
        tenure = self.owner.tenure if self.owners else None
        if tenure is None:
            return False
        ledger = tenure.ledger
        return ledger.source + 1 >= commands and ledger.started + 1 >= starts and tenure.is_at_rest


async def accepted(log, partition=0):
    """The accepted transitions of a partition, from its beginning."""
    reader = EventReader(log, partition)
    found = []
    end = await log.end(EVENTS, partition)
    while reader.position < end:
        found += [(record, reader.decode(record)) for record in await reader.read(end=end)]
    return found


async def refolded(log, partition=0):
    """What a partition's transitions add up to, from its beginning."""
    state = PartitionState()
    for record, transition in await accepted(log, partition):
        state = follow(state, transition, read_stamp(record.headers))
    return state


async def refolded_from_snapshot(log, partition=0):
    """The same from the newest snapshot on, and that snapshot (None if there is none)."""
    end = await log.end(EVENTS, partition)
    reader = EventReader(log, partition)
    state = await load_snapshot(log, reader, end)
    snapshot = reader.snapshot
    while reader.position < end:
        for record in await reader.read(end=end):
            state = follow(state, reader.decode(record), read_stamp(record.headers))
    return state, snapshot


def plain(state):
    """A partition's state as bytes: equal states give equal bytes."""
    return b"".join(encode_partition(state))


async def whole_history(log):
    """All accepted transitions, after checking that no event is missing, twice or different when read again."""
    found = []
    for partition in range(log.partitions):
        following = Counter()
        own = await accepted(log, partition)
        for _, transition in own:
            if transition.sequence:
                expected = following[transition.instance_id] + 1
                assert transition.sequence == expected, transition
                following[transition.instance_id] += len(transition.events)
        state, _ = await refolded_from_snapshot(log, partition)
        assert plain(state) == plain(await refolded(log, partition))
        found += own
    return found


def events_of(history, kind, instance_id=None):
    """The events of one type in a history, each with its transition."""
    return [
        (transition, event)
        for _, transition in history
        for event in transition.events
        if isinstance(event, kind) and instance_id in (None, transition.instance_id)
    ]


def routed(history):
    """Every run that was routed to workers: (instance, sequence of its event) to its event."""
    return {
        (transition.instance_id, number): event
        for _, transition in history
        for number, event in enumerate(transition.events, transition.sequence)
        if isinstance(event, StepReady)
    }


# What many tests of workers run.


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


async def outcome(client, data=None, *, name="w", timeout=HANG):
    """Run one instance to its end."""
    run = await client.start(name, {} if data is None else data)
    return await run.result(timeout=timeout)


def one_step(**more):
    return workflow({"id": "a", "handler": "work", **more})
