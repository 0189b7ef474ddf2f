"""Random histories in a log: several instances whose events interleave, between claims and records that do not count."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from stepwell.core.fold.acceptance import CLAIM, KIND, SNAPSHOT, TRANSITION, Stamp, stamp_headers
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.partition import PartitionState, enter
from stepwell.core.fold.snapshots import encode_partition
from stepwell.core.fold.state import InstanceState
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS, SNAPSHOTS, Log, NewRecord
from stepwell.projections.store import Store
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import EVENTS_VERSION, CommandRejected, Transition
from stepwell.schemas.records.partition_records import PartitionOwned, PartitionSnapshotted
from stepwell.schemas.records.sender import BY, COMMAND, VIA
from tests.core.model import Engine, definition, moody_fate, play


def histories(
    rnd: random.Random, instances: int, prefix: str = "i", commands: int = 40
) -> dict[str, list[Transition]]:
    """What happens to instances of random definitions, commands and outcomes."""
    found = {}
    for number in range(instances):
        name = f"{prefix}{number}"
        engine = Engine(definition(rnd, most_steps=6), moody_fate(rnd), instance_id=name)
        for _ in play(engine, rnd, commands=rnd.randrange(2, commands)):
            pass
        found[name] = list(engine.transitions)
    return found


class Writer:
    """Writes a partition as its owners do: what counts, and now and then what does not."""

    def __init__(self, log: Log, partition: int, rnd: random.Random) -> None:
        self.log = log
        self.partition = partition
        self.rnd = rnd
        self.epoch = -1
        self.index = 0
        self.former = -1
        self.state = PartitionState()
        self.snapshot = -1
        self.refused: list[int] = []

    async def append(self, value: bytes, headers: dict[str, str], key: str = "") -> int:
        (offset,) = await self.log.append(EVENTS, self.partition, [NewRecord(key, value, headers)])
        return offset

    async def claim(self) -> None:
        self.former = self.epoch
        self.epoch = await self.append(encode(PartitionOwned(EVENTS_VERSION, 0, "x")), {KIND: CLAIM})
        self.index = 0

    async def write(self, transition: Transition) -> None:
        dice = self.rnd.random()
        if self.epoch < 0 or dice < 0.03:
            await self.claim()
        if dice < 0.06 and self.former >= 0:  # a replaced owner's late word
            late = stamp_headers(TRANSITION, Stamp(self.former, self.rnd.randrange(1, 9), snapshot=self.snapshot))
            self.refused.append(await self.append(encode(transition), late, transition.instance_id))
        self.index += 1
        stamp = Stamp(self.epoch, self.index, snapshot=self.snapshot)
        headers = stamp_headers(TRANSITION, stamp)
        if self.rnd.random() < 0.2:
            headers |= {BY: self.rnd.choice(("ann", "bob")), VIA: "cli x", COMMAND: "CancelWorkflow"}
        await self.append(encode(transition), headers, transition.instance_id)
        after = self.state.instances.get(transition.instance_id)
        if transition.sequence:
            after = fold([transition], after)
        self.state = enter(self.state, transition.instance_id, after, stamp=stamp, at=transition.at)
        if self.rnd.random() < 0.1:  # the same record once more
            self.refused.append(await self.append(encode(transition), headers, transition.instance_id))

    async def take_snapshot(self) -> None:
        """As an owner does, at the end of what there is."""
        chunks = [NewRecord("", chunk) for chunk in encode_partition(self.state)]
        offsets = await self.log.append(SNAPSHOTS, self.partition, chunks)
        covers = await self.log.end(EVENTS, self.partition) - 1
        taken = PartitionSnapshotted(
            EVENTS_VERSION, self.state.at, covers, self.epoch, self.index, offsets[0], len(chunks), 0,
            tuple(self.refused),
        )  # fmt: skip
        self.index += 1
        stamp = Stamp(self.epoch, self.index, snapshot=self.snapshot)
        self.snapshot = await self.append(encode(taken), stamp_headers(SNAPSHOT, stamp))


async def write_all(log: Log, rnd: random.Random, found: dict[str, list[Transition]]) -> dict[int, Writer]:
    """Write histories into the log, interleaved at random."""
    writers = {partition: Writer(log, partition, rnd) for partition in range(log.partitions)}
    left = {name: list(transitions) for name, transitions in found.items()}
    while left:
        name = rnd.choice(sorted(left))
        writer = writers[partition_for(name, log.partitions)]
        await writer.write(left[name].pop(0))
        if rnd.random() < 0.05:
            nobody = f"nobody-{rnd.randrange(3)}"
            if partition_for(nobody, log.partitions) == writer.partition:
                answer = CommandRejected("CancelWorkflow", "unknown_instance", "there is none")
                await writer.write(Transition(EVENTS_VERSION, 0, nobody, 0, (answer,)))
        if not left[name]:
            del left[name]
    return writers


async def dump(store: Store) -> dict[str, Any]:
    """All that the read models hold, without the numbers that depend on the order of reading."""
    ids = dict(await store.all("SELECT number, id FROM instances"))
    workflows = dict(await store.all("SELECT number, name FROM workflows"))
    names = dict(await store.all("SELECT number, name FROM names"))
    columns = "id, workflow, version, status, definition, priority, started_at, finished_at, updated_at, sequence, \
        active, failed_step, error, reason, incident, parent, input_hash"
    return {
        "instances": sorted(
            (row[0], workflows[row[1]], *row[2:]) for row in await store.all(f"SELECT {columns} FROM instances")
        ),
        "attempts": sorted((ids[row[0]], *row[1:]) for row in await store.all("SELECT * FROM attempts")),
        "history": sorted((row[0], ids[row[1]], *row[2:]) for row in await store.all("SELECT * FROM history")),
        "fields": sorted((names[row[0]], row[1], ids[row[2]]) for row in await store.all("SELECT * FROM fields")),
        "errors": sorted((ids[row[1]], *row[2:]) for row in await store.all("SELECT * FROM errors")),
        "counts": sorted(await store.all("SELECT * FROM counts WHERE count <> 0")),
        "hours": sorted(await store.all("SELECT * FROM hours WHERE count <> 0")),
        "audit": sorted(await store.all("SELECT * FROM audit")),
        "texts": await store.all("SELECT count(*) FROM error_texts"),
        "positions": sorted(await store.all("SELECT partition, offset, epoch, number FROM positions")),
    }


async def folded(store: Store) -> dict[str, InstanceState]:
    """The instances as the histories in the file say."""
    ids = dict(await store.all("SELECT number, id FROM instances"))
    loaded = await store.load(sorted(set(ids.values())))
    return {name: tracked.state for name, tracked in loaded.items() if tracked.state is not None}


def file_of(folder: Path) -> Path:
    return folder / "views" / "1.db"
