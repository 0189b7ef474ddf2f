"""Who is live on a log: engines and workers, with what they say of themselves and what the log says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from stepwell.consumers.reading.events import EventReader, find_back
from stepwell.core.fold.acceptance import CLAIM, KIND, TRANSITION, read_stamp
from stepwell.log.port import ENGINES, EVENTS, WORKERS, Log, Record
from stepwell.schemas.records.codec import decode_owned


class LiveEngine(Struct, frozen=True):
    """An engine.

    Attributes:
        id: What the log knows it by.
        name: What it calls itself.
        max_runs: Steps in the hands of workers at which it takes no further starts; 0 where it does not say.
        partitions: Those that it was the last to claim.
    """

    id: str
    name: str
    max_runs: int
    partitions: list[int]


class LiveWorker(Struct, frozen=True):
    """A worker.

    Attributes:
        id: What the log knows it by.
        name: What it calls itself.
        queues: What it takes steps from.
        concurrency: How many steps it runs at once.
        handlers: Registered names and built-in step types that it can run.
        prefixes: Modules from which it imports handlers.
    """

    id: str
    name: str
    queues: list[str]
    concurrency: int
    handlers: list[str]
    prefixes: list[str]


class LiveMembers(Struct, frozen=True):
    """All that are live on a log.

    Attributes:
        partitions: How many partitions the log has.
        unowned: Those that no live engine has claimed (yet): nothing of theirs is decided.
    """

    engines: list[LiveEngine]
    workers: list[LiveWorker]
    partitions: int
    unowned: list[int]


async def live_members(log: Log) -> LiveMembers:
    """Look who is there.

    Raises:
        LogError: The log cannot be read.
    """
    engines, workers = await log.members(ENGINES), await log.members(WORKERS)
    owners = [await last_owner(log, partition) for partition in range(log.partitions)]
    names = {engine.about.get("name") or engine.id for engine in engines}
    return LiveMembers(
        [
            LiveEngine(
                engine.id,
                name := engine.about.get("name") or engine.id,
                _number(engine.about, "max_runs"),
                [partition for partition, owner in enumerate(owners) if owner == name],
            )
            for engine in engines
        ],
        [
            LiveWorker(
                worker.id,
                worker.about.get("name") or worker.id,
                _words(worker.about, "queues"),
                _number(worker.about, "concurrency"),
                _words(worker.about, "handlers"),
                _words(worker.about, "prefixes"),
            )
            for worker in workers
        ],
        log.partitions,
        [partition for partition, owner in enumerate(owners) if owner not in names],
    )


async def last_owner(log: Log, partition: int) -> str:
    """The name of whoever claimed a partition last, as the log itself says; empty if nobody ever did.

    A claim's own offset is its epoch, and every transition names its epoch. Of the last few records the highest
    counts: a replaced owner may have written late.
    """
    epoch = await find_back(log, partition, await log.end(EVENTS, partition), _newest_epoch)
    if epoch is None:
        return ""
    found = await log.read(EVENTS, partition, epoch, limit=1)
    if found and found[0].offset == epoch and found[0].headers.get(KIND) == CLAIM:
        return decode_owned(found[0].value).owner
    snapshot = await EventReader(log, partition).seek_snapshot()  # the claim was cleaned away: it was taken since
    return snapshot.owner if snapshot is not None else ""


def _newest_epoch(records: Sequence[Record]) -> int | None:
    newest = max(map(_epoch, records), default=-1)
    return newest if newest >= 0 else None


def _epoch(record: Record) -> int:
    kind = record.headers.get(KIND)
    if kind == CLAIM:
        return record.offset
    return read_stamp(record.headers).epoch if kind == TRANSITION else -1


def _words(about: Mapping[str, str], key: str) -> list[str]:
    return [word for word in about.get(key, "").split(",") if word]


def _number(about: Mapping[str, str], key: str) -> int:
    text = about.get(key, "")
    return int(text) if text.isascii() and text.isdecimal() else 0
