"""What the accepted transitions of one partition add up to: its instances, and where to go on."""

from __future__ import annotations

from typing import Final

from immutables import Map
from msgspec import Struct
from msgspec.structs import replace

from stepwell.core.acceptance import Stamp
from stepwell.core.decision import Finished
from stepwell.core.evolve import evolve
from stepwell.core.state import InstanceState
from stepwell.schemas.events import Transition

FINISHED_KEPT: Final = 10_000
"""How many finished instances a partition remembers, so that a late duplicate start is still known.

Part of the fold: every reader must forget the same ones. Changing it needs a new EVENTS_VERSION.
"""


class Place(Struct, frozen=True):
    """How far a partition's commands have been followed.

    Attributes:
        command: Offset of the next record of ``commands``.
        start: Offset of the next record of ``starts``.
        ahead: Offsets from there on that were taken out of turn, in order.
    """

    command: int = 0
    start: int = 0
    ahead: tuple[int, ...] = ()

    def after(self, stamp: Stamp) -> Place:
        """The place after a transition."""
        command, start, ahead = self.command, self.start, self.ahead
        if stamp.source >= command:
            command = stamp.source + 1
        if stamp.started >= start:
            start = stamp.started + 1
        if stamp.ahead >= start and stamp.ahead not in ahead:
            ahead = tuple(sorted((*ahead, stamp.ahead)))
        while ahead and ahead[0] <= start:
            start = max(start, ahead[0] + 1)
            ahead = ahead[1:]
        return Place(command, start, ahead)


class PartitionState(Struct, frozen=True):
    """A partition.

    Attributes:
        instances: Those that are live. Memory is bounded by them, not by history.
        finished: Those that finished last.
        order: Their ids by a running number, the oldest at ``oldest``.
        place: Where to go on among the commands.
        at: Time of the newest transition, in milliseconds; times never go back within a partition.
    """

    instances: Map[str, InstanceState] = Map()
    finished: Map[str, Finished] = Map()
    order: Map[int, str] = Map()
    oldest: int = 0
    newest: int = 0
    place: Place = Place()
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
    place = state.place.after(stamp)
    if instance is None:
        return replace(state, place=place, at=at)
    if instance.live:
        finished = state.finished.delete(instance_id) if instance_id in state.finished else state.finished
        return replace(
            state, instances=state.instances.set(instance_id, instance), finished=finished, place=place, at=at
        )
    instances = state.instances.delete(instance_id) if instance_id in state.instances else state.instances
    command_id = instance.commands[0] if instance.commands else ""
    entry = Finished(instance.status, instance.sequence, state.newest, command_id)
    finished = state.finished.set(instance_id, entry)
    order = state.order.set(state.newest, instance_id)
    oldest, newest = state.oldest, state.newest + 1
    while newest - oldest > FINISHED_KEPT:
        forgotten = order[oldest]
        order = order.delete(oldest)
        kept = finished.get(forgotten)
        if kept is not None and kept.number == oldest:  # it may have been reopened and finished again since
            finished = finished.delete(forgotten)
        oldest += 1
    return PartitionState(instances, finished, order, oldest, newest, place, at)


def follow(state: PartitionState, transition: Transition, stamp: Stamp) -> PartitionState:
    """The partition after one more accepted transition, folded from its events.

    Raises:
        LookupError: The events cannot follow; the log is not whole.
    """
    instance_id = transition.instance_id
    instance = state.instances.get(instance_id)
    if transition.sequence:
        for event in transition.events:
            instance = evolve(instance, event, transition.at, instance_id)
    return enter(state, instance_id, instance, stamp=stamp, at=transition.at)
