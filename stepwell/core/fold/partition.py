"""What the accepted transitions of one partition add up to: its instances, and where to go on."""

from __future__ import annotations

from bisect import bisect_left

from immutables import Map
from msgspec import Struct
from msgspec.structs import replace

from stepwell.core.fold.acceptance import Stamp
from stepwell.core.fold.evolve import evolve
from stepwell.core.fold.finished import FinishedWindow
from stepwell.core.fold.state import InstanceState
from stepwell.schemas.records.events import Transition


class Progress(Struct, frozen=True, gc=False):
    """How far a partition's commands have been followed.

    Attributes:
        command: Offset of the next record of ``commands``.
        start: Offset of the next record of ``starts``.
        ahead: Offsets from there on that were taken out of turn, in order.
    """

    command: int = 0
    start: int = 0
    ahead: tuple[int, ...] = ()

    def has_had(self, start: int) -> bool:
        """Whether a record of ``starts`` has had its turn, or was taken out of it."""
        return start < self.start or start in self.ahead

    def after(self, stamp: Stamp) -> Progress:
        """The progress after a transition."""
        command, start, ahead = self.command, self.start, self.ahead
        if stamp.source >= command:
            command = stamp.source + 1
        if stamp.started >= start:
            start = stamp.started + 1
        if stamp.ahead >= start and stamp.ahead not in ahead:
            at = bisect_left(ahead, stamp.ahead)
            ahead = (*ahead[:at], stamp.ahead, *ahead[at:])
        while ahead and ahead[0] <= start:
            start = max(start, ahead[0] + 1)
            ahead = ahead[1:]
        return Progress(command, start, ahead)


class PartitionState(Struct, frozen=True, gc=False):
    """A partition.

    Attributes:
        instances: Those that are live. Memory is bounded by them, not by history.
        finished: What is remembered of those that finished last.
        progress: Where to go on among the commands.
        at: Time of the newest transition, in milliseconds; times never go back within a partition.
    """

    instances: Map[str, InstanceState] = Map()
    finished: FinishedWindow = FinishedWindow()
    progress: Progress = Progress()
    at: int = 0


def enter(
    state: PartitionState, instance_id: str, instance: InstanceState | None, *, stamp: Stamp, at: int
) -> PartitionState:
    """The partition after a transition of one instance.

    Args:
        instance: The instance after it; None where the transition only answered for one that is not live.
        stamp: The transition's headers.
        at: Its time.
    """
    progress = state.progress.after(stamp)
    if instance is None:
        return replace(state, progress=progress, at=at)
    if instance.live:
        return replace(state, instances=state.instances.set(instance_id, instance), progress=progress, at=at)
    instances = state.instances.delete(instance_id) if instance_id in state.instances else state.instances
    command_id = instance.commands[0] if instance.commands else ""
    finished = state.finished.add(instance_id, instance.status, instance.sequence, command_id)
    return PartitionState(instances, finished, progress, at)


def follow(state: PartitionState, transition: Transition, stamp: Stamp) -> PartitionState:
    """The partition after one more accepted transition, folded from its events.

    Raises:
        LookupError: The events cannot follow; the log is not whole.
    """
    instance_id = transition.instance_id
    after = advance(state.instances.get(instance_id), transition)
    return enter(state, instance_id, after, stamp=stamp, at=transition.at)


def advance(instance: InstanceState | None, transition: Transition) -> InstanceState | None:
    """The instance after a transition: also one that has finished by it, and leaves the partition's memory.

    Raises:
        LookupError: The events cannot follow.
    """
    if transition.sequence:
        for event in transition.events:
            instance = evolve(instance, event, transition.at, transition.instance_id)
    return instance
