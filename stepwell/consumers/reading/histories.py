"""What happened to one instance: its events one by one, and what they add up to. Read anew from the log each time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from stepwell.consumers.reading.cleanups import cleaned_away
from stepwell.consumers.reading.events import Accepted, EventReader, whole
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.state import InstanceState
from stepwell.errors import UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import Log
from stepwell.schemas.records.events import Event, Transition


class EventRecord(Struct, frozen=True):
    """An event, with what belongs to its record.

    Attributes:
        sequence: Its number within the instance, from 1; 0 for an answer that is no part of a history.
        type: Such as ``step.succeeded``.
        at: Milliseconds since 1970.
        partition: Where it is in the log,
        offset: and at which record,
        number: and as which of the record's events, from 0.
        position: How far a subscription has come with it, to go on behind it later; empty elsewhere.
        workflow: The name of the instance's definition, where a subscription knows it.
        life: As in ``Transition``.
    """

    instance_id: str
    sequence: int
    type: str
    at: int
    event: Event
    partition: int = 0
    offset: int = -1
    number: int = 0
    position: str = ""
    workflow: str = ""
    life: int = 0


async def accepted_of(log: Log, instance_id: str) -> list[Accepted]:
    """An instance's transitions, with their records; none where the log holds none of this id."""
    return (await look_up(log, instance_id)).whole


class InstanceRecords(NamedTuple):
    """What the log holds of an id.

    Attributes:
        reader: Stands where the log was read to.
        left: Its transitions that are left, and all mere answers.
        whole: Those of them from which a state can be folded, and all mere answers.
    """

    reader: EventReader
    left: list[Accepted]
    whole: list[Accepted]

    @property
    def cut(self) -> bool:
        """Whether it has had a history, of which nothing can be folded any more."""
        return any(one.transition.sequence for one in self.left) and not any(
            one.transition.sequence for one in self.whole
        )


async def look_up(log: Log, instance_id: str) -> InstanceRecords:
    """Read what the log holds of an id now."""
    reader = EventReader(log, partition_for(instance_id, log.partitions))
    await reader.seek_snapshot()
    await reader.catch_up()
    left = await reader.left_of(instance_id)
    return InstanceRecords(reader, left, whole(left))


async def _known(log: Log, instance_id: str) -> list[Accepted]:
    """An instance's transitions, where there are any.

    Raises:
        UnknownInstanceError: The log holds none of this id (any more).
    """
    found = await look_up(log, instance_id)
    if found.whole and not found.cut:
        return found.whole
    raise await cleaned_away(log, instance_id, surely=found.cut) or unknown_instance(instance_id)


async def events_of(log: Log, instance_id: str) -> list[EventRecord]:
    """Everything that ever happened to an instance, in order.

    Raises:
        UnknownInstanceError: The log holds none of this id.
    """
    found = await _known(log, instance_id)
    partition = partition_for(instance_id, log.partitions)
    return [
        record
        for accepted in found
        for record in event_records(accepted.transition, partition, accepted.record.offset)
    ]


async def state_of(log: Log, instance_id: str, to: int | None = None) -> InstanceState:
    """An instance as it was right after an event: folded from its history, nothing else.

    Args:
        to: The event's sequence; None for the newest.

    Raises:
        UnknownInstanceError: The log holds none of this id.
    """
    return (await state_and_time_of(log, instance_id, to))[0]


async def state_and_time_of(log: Log, instance_id: str, to: int | None = None) -> tuple[InstanceState, int]:
    """The same, and when that event happened, in milliseconds since 1970."""
    transitions = [accepted.transition for accepted in await _known(log, instance_id)]
    state = fold(transitions, to=to)
    if state is None:
        raise await cleaned_away(log, instance_id, surely=False) or unknown_instance(instance_id)
    return state, time_of(transitions, state.sequence)


def time_of(transitions: Iterable[Transition], sequence: int) -> int:
    """When an event of an instance happened, in milliseconds since 1970; 0 where it is not among these."""
    return max((one.at for one in transitions if 0 < one.sequence <= sequence), default=0)


def unknown_instance(instance_id: str) -> UnknownInstanceError:
    """The error for an id that the log does not hold."""
    return UnknownInstanceError(
        f"the log holds no instance {instance_id!r}",
        remedy="`stepwell list` shows the instances; --log (or STEPWELL_LOG) says which log is looked at.",
    )


def event_records(transition: Transition, partition: int, offset: int) -> list[EventRecord]:
    """The events of a transition, one by one."""
    return [
        EventRecord(
            instance_id=transition.instance_id,
            sequence=number if transition.sequence else 0,
            type=str(event.__struct_config__.tag),
            at=transition.at,
            event=event,
            partition=partition,
            offset=offset,
            number=number - transition.sequence,
            life=transition.life,
        )
        for number, event in enumerate(transition.events, transition.sequence)
    ]
