"""The log is the fence: which records of an events partition count.

Who owns a partition is itself written in it, so that every reader decides the same way, at any time and on any
machine, without asking anybody:

- A claim (``PartitionOwned``) takes the partition over. **Its own offset is the new epoch.**
- A transition names the ``epoch`` under which it was written and its ``index`` within that epoch: 1, 2, 3, …
- **A transition counts if its epoch is the offset of the last claim before it, and its index is the next one.**

Anything else is ignored by everybody: what a replaced owner writes late (its epoch is no longer the last claim's),
a record that was appended twice (its index is no longer the next), and whatever follows a gap (an append that was
lost: the ones after it must not count without it). One record holds all that one command led to, so a command is
accepted whole or not at all.

An owner learns for free whether its own transitions count. If the acknowledgements of index 1 … n named exactly the
offsets epoch + 1 … epoch + n, then no foreign record lies between, so transition n counts (``proves``). Any other
offset means that somebody else wrote: then the owner must read, and let the rule decide.

This needs of the log only that a partition is one ordered sequence and that acknowledged records stay. It needs no
transactions, no leases and no clocks. ``tests/core/test_acceptance.py`` checks it against owners that all believe
they own the partition, with appends that come late, twice, in another order or never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

KIND: Final = "kind"
CLAIM: Final = "claim"
TRANSITION: Final = "transition"
SNAPSHOT: Final = "snapshot-taken"  # a transition of the partition itself: PartitionSnapshotted

EPOCH: Final = "epoch"
INDEX: Final = "index"
SOURCE: Final = "source"
SNAPSHOT_AT: Final = "snapshot"
RELEASED: Final = "released"
STARTED: Final = "started"
AHEAD: Final = "ahead"


class Stamp(Struct, frozen=True, gc=False):
    """The headers of a transition.

    Attributes:
        source: Offset of its command on ``commands``, or of the last one before, where it had none of its own.
        snapshot: Offset on ``events`` of the newest snapshot record accepted so far; -1 before the first.
        released: Offset of the last transition whose effects are all known to be delivered.
        started: Offset on ``starts`` up to which every command has had its turn; -1 before the first.
        ahead: Offset on ``starts`` of this transition's own command, where it was taken out of turn; else -1.
    """

    epoch: int
    index: int
    source: int = -1
    snapshot: int = -1
    released: int = -1
    started: int = -1
    ahead: int = -1


class Acceptance(Struct, frozen=True, gc=False):
    """The rule as a fold: what a reader knows between two records.

    Attributes:
        epoch: Offset of the last claim; -1 before the first.
        index: Index of the last transition that counted under it; 0 for none.
    """

    epoch: int = -1
    index: int = 0

    @property
    def offset(self) -> int:
        """Where that transition, or the claim itself, stands for whoever has written everything since the claim."""
        return self.epoch + self.index

    def read(self, offset: int, headers: Mapping[str, str]) -> tuple[Acceptance, bool]:
        """Read one record: what is known after it, and whether it is a transition that counts."""
        kind = headers.get(KIND)
        if kind == CLAIM:
            return Acceptance(offset, 0), False
        if kind in (TRANSITION, SNAPSHOT):
            stamp_epoch, stamp_index = headers.get(EPOCH), headers.get(INDEX)
            if stamp_epoch == str(self.epoch) and stamp_index == str(self.index + 1) and self.epoch >= 0:
                return Acceptance(self.epoch, self.index + 1), True
        return self, False


def stamp_headers(kind: str, stamp: Stamp) -> dict[str, str]:
    """The headers of a transition about to be appended."""
    headers = {
        KIND: kind,
        EPOCH: str(stamp.epoch),
        INDEX: str(stamp.index),
        SOURCE: str(stamp.source),
        SNAPSHOT_AT: str(stamp.snapshot),
        RELEASED: str(stamp.released),
    }
    if stamp.started >= 0:
        headers[STARTED] = str(stamp.started)
    if stamp.ahead >= 0:
        headers[AHEAD] = str(stamp.ahead)
    return headers


def read_stamp(headers: Mapping[str, str]) -> Stamp:
    """Read the headers of a transition.

    Raises:
        KeyError, ValueError: They are not those of a transition.
    """
    epoch, index, source, snapshot, released = (
        int(headers[name]) for name in (EPOCH, INDEX, SOURCE, SNAPSHOT_AT, RELEASED)
    )
    return Stamp(epoch, index, source, snapshot, released, int(headers.get(STARTED, -1)), int(headers.get(AHEAD, -1)))


def proves(epoch: int, index: int, offset: int) -> bool:
    """Whether an acknowledgement proves that the transition counts, given that all before it did."""
    return offset == epoch + index
