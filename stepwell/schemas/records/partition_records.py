"""Records on ``events`` that are about a partition, not about an instance: claims, and where a snapshot is."""

from __future__ import annotations

from msgspec import Struct


class PartitionSnapshotted(Struct, frozen=True, gc=False, omit_defaults=True):
    """Points to a snapshot of a partition; the value of a record on ``events``, fenced like every transition.

    Attributes:
        covers: The snapshot holds everything up to this offset; -1 for nothing.
        epoch: The acceptance rule's epoch after that offset.
        index: Its index after that offset.
        first: Offset of the snapshot's first chunk on ``snapshots``.
        chunks: How many there are.
        size: Bytes in all.
        refused: Offsets of all transitions up to ``covers`` that do not count. They are few, and whoever knows
            them can read the history of one instance without reading the whole partition.
        owner: Who took it, for people: its claim may be cleaned away while it goes on.
    """

    version: int
    at: int
    covers: int
    epoch: int
    index: int
    first: int
    chunks: int
    size: int
    refused: tuple[int, ...] = ()
    owner: str = ""


class Deciding(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an owner is about to decide, so that whoever takes over knows what it died over.

    Attributes:
        count: How many commands. Where it is one, the next three say which:
        instance_id: whose it is,
        command: its type,
        place: and where it stands, such as ``starts@17``, or the timer's name.
        commands: Those below this offset of ``commands`` have had their turn, or are among them;
        starts: the same of ``starts``;
        due: and all timers up to this time, in milliseconds. 0 where there are no timers among them.
        deaths: How many processes have died over it before.
    """

    count: int
    instance_id: str = ""
    command: str = ""
    place: str = ""
    commands: int = 0
    starts: int = 0
    due: int = 0
    deaths: int = 0


class PartitionOwned(Struct, frozen=True, gc=False, omit_defaults=True):
    """Claims a partition; the record's own offset is the new epoch.

    Attributes:
        owner: Who claims, for people.
        process: Whose life this is: no other process has the same, and none after a restart.
        deciding: What is decided next, where that may be what the owner before has died over.
    """

    version: int
    at: int
    owner: str
    process: str = ""
    deciding: Deciding | None = None
