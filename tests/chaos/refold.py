"""What a log adds up to: ``python -m tests.chaos.refold URL beginning|snapshot FOLDER END END …``.

From the beginning by the acceptance rule in our own words, or from the newest snapshot by the readers that engines
and clients use. Writes the state of each partition, byte for byte, to FOLDER.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.snapshots import load_snapshot
from stepwell.core.fold.acceptance import read_stamp
from stepwell.core.fold.partition import PartitionState, follow
from stepwell.core.fold.snapshots import encode_partition
from stepwell.log.port import EVENTS, Log, Record
from stepwell.log.urls import open_log
from stepwell.schemas.records.codec import decode_transition
from tests.chaos.follower import Rule


async def accepted(log: Log, partition: int, end: int) -> tuple[Rule, list[Record]]:
    """The transitions of instances that count, below ``end``."""
    rule, found = Rule(), []
    while rule.position < end:
        records = await log.read(EVENTS, partition, rule.position, limit=end - rule.position)
        if not records:
            raise AssertionError(f"events[{partition}] ends at {rule.position}; it was {end} before")
        found += [record for record in records if rule.take(record)]
    return rule, found


def folded(records: Sequence[Record], state: PartitionState, partition: int) -> bytes:
    for record in records:
        transition = decode_transition(record.value, f"events[{partition}]@{record.offset}")
        state = follow(state, transition, read_stamp(record.headers))
    return b"".join(encode_partition(state))


async def from_beginning(log: Log, partition: int, end: int) -> bytes:
    _, records = await accepted(log, partition, end)
    return folded(records, PartitionState(), partition)


async def from_snapshot(log: Log, partition: int, end: int) -> tuple[bytes, int]:
    """The state, and where it was folded from."""
    reader = EventReader(log, partition)
    state = await load_snapshot(log, reader, end)
    first = reader.position
    records: list[Record] = []
    while reader.position < end:
        records += await reader.read(end=end)
    return folded(records, state, partition), first


async def main(url: str, start: str, folder: Path, *ends: str) -> None:
    log = await open_log(url, create=False)
    firsts = []
    for partition, end in enumerate(map(int, ends)):
        if start == "snapshot":
            state, first = await from_snapshot(log, partition, end)
        else:
            state, first = await from_beginning(log, partition, end), 0
        (folder / f"{start}-{partition}.json").write_bytes(state)
        firsts.append(first)
    await log.close()
    print(json.dumps(firsts))  # noqa: T201 - what the other process reads


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:]))
