"""What a partition remembers of the instances that have left memory, so that a late duplicate start is still known.

The oldest are forgotten a block at a time. A full block is a plain dictionary that never changes again: thousands
of entries in a handful of objects, which costs the garbage collector next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from immutables import Map
from msgspec import Struct

from stepwell.schemas.records.statuses import WorkflowStatus

BLOCK: Final = 1_000
BLOCKS: Final = 10
"""How many ends make a block, and how many full blocks are kept: 10,000 to 10,999 finished instances are known.

Part of the fold: every reader must forget the same ones. Changing either needs a new EVENTS_VERSION.
"""


class Finished(Struct, frozen=True, gc=False, array_like=True):
    """What is kept of an instance that has left memory.

    Attributes:
        number: Its place in the order of forgetting.
        command_id: Of the command that started it.
    """

    status: WorkflowStatus
    sequence: int
    number: int
    command_id: str = ""


class FinishedWindow(Struct, frozen=True, gc=False):
    """The instances that finished last.

    Attributes:
        blocks: Full ones, the oldest first.
        recent: The block that is being filled.
        newest: The number that the next one gets.
    """

    blocks: tuple[dict[str, Finished], ...] = ()
    recent: Map[str, Finished] = Map()
    newest: int = 0

    def get(self, instance_id: str) -> Finished | None:
        """What is kept of an instance: of its last end, where it was reopened and finished again."""
        found = self.recent.get(instance_id)
        if found is not None:
            return found
        return next((block[instance_id] for block in reversed(self.blocks) if instance_id in block), None)

    def __contains__(self, instance_id: str) -> bool:
        return self.get(instance_id) is not None

    @property
    def forgets(self) -> bool:
        """Whether some that have finished are known no more."""
        return self.newest // BLOCK > BLOCKS

    def __len__(self) -> int:
        return len(self.recent) + sum(map(len, self.blocks))

    def add(self, instance_id: str, status: WorkflowStatus, sequence: int, command_id: str) -> FinishedWindow:
        """One more has finished; a full block too many is forgotten."""
        recent = self.recent.set(instance_id, Finished(status, sequence, self.newest, command_id))
        newest = self.newest + 1
        if newest % BLOCK:
            return FinishedWindow(self.blocks, recent, newest)
        return FinishedWindow((*self.blocks, dict(recent))[-BLOCKS:], Map(), newest)

    def entries(self) -> Iterator[tuple[str, Finished]]:
        """All that is kept, in the order of the ends."""
        for block in (*self.blocks, self.recent):
            yield from sorted(block.items(), key=lambda entry: entry[1].number)

    @classmethod
    def of(cls, entries: Iterable[tuple[str, Finished]], newest: int) -> FinishedWindow:
        """The window with these entries, in the order of the ends."""
        blocks: dict[int, dict[str, Finished]] = {}
        for instance_id, finished in entries:
            blocks.setdefault(finished.number // BLOCK, {})[instance_id] = finished
        recent = blocks.pop(newest // BLOCK, {})
        return cls(tuple(blocks.values())[-BLOCKS:], Map(recent), newest)
