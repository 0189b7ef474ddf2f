"""The timers of a partition, in the order in which they are due."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Final, NamedTuple, get_args

from stepwell.core.fold.state import QUARANTINED, InstanceState
from stepwell.schemas.records.events import Event, Transition, WorkflowReopened


def _with(field: str) -> frozenset[type[Event]]:
    return frozenset(kind for kind in get_args(Event) if field in kind.__struct_fields__)


# What an event says of timers is in its own fields: when the timer of its step is due, or that of the instance where
# it names no step; or when several are due. What is reopened brings all that it has.
_SETS_ONE: Final = _with("due")
_MAY_MOVE_ALL: Final = _with("dues") | {WorkflowReopened}


class DueTimer(NamedTuple):
    """A timer, and when it is due, in milliseconds since 1970.

    Attributes:
        old: Whether it was there when the partition was taken over.
    """

    due: int
    instance_id: str
    timer: str
    old: bool = False

    def holds(self, instance: InstanceState | None) -> bool:
        """Whether it is still to fire. Of a quarantined instance none does, until it is resumed."""
        return (
            instance is not None and instance.timers.get(self.timer) == self.due and instance.incident != QUARANTINED
        )


class DueTimers:
    """A heap of timers; the state says which of them still hold."""

    def __init__(self) -> None:
        self._heap: list[DueTimer] = []

    def arm(self, instance: InstanceState, *, old: bool = False) -> None:
        """Note all that an instance has."""
        for timer, due in instance.timers.items():
            heapq.heappush(self._heap, DueTimer(due, instance.id, timer, old))

    def note(self, transition: Transition, after: InstanceState) -> None:
        """Note those that a transition has set."""
        for event in transition.events:
            kind = type(event)
            if kind in _MAY_MOVE_ALL:
                self.arm(after)
            elif kind in _SETS_ONE and event.due is not None:  # type: ignore[union-attr]
                timer = getattr(event, "step_id", "")
                heapq.heappush(self._heap, DueTimer(event.due, after.id, timer))  # type: ignore[union-attr]

    def take(self, now: int, most: int, instances: Mapping[str, InstanceState]) -> list[DueTimer]:
        """Those that are due, in order, so many at most."""
        found: list[DueTimer] = []
        while self._heap and self._heap[0].due <= now and len(found) < most:
            one = heapq.heappop(self._heap)
            if one.holds(instances.get(one.instance_id)):
                found.append(one)
        return found

    def next(self) -> int | None:
        """When the next one is due, in milliseconds since 1970."""
        return self._heap[0].due if self._heap else None
