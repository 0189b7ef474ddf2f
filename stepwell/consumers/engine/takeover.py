"""Taking a partition over: from a claim to a state that the next command can be decided on.

Nothing needs a volume or a sticky machine: the newest snapshot and the transitions after it are all there is to know.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.snapshots import load_snapshot
from stepwell.core.decide.effects import Effect, effects, is_under_way
from stepwell.core.fold.acceptance import CLAIM, KIND, read_stamp
from stepwell.core.fold.partition import PartitionState, advance, enter
from stepwell.errors import LogCorruptedError
from stepwell.log.port import EVENTS, Log, NewRecord
from stepwell.schemas.records.codec import decode_owned, encode
from stepwell.schemas.records.events import EVENTS_VERSION
from stepwell.schemas.records.partition_records import PartitionOwned
from stepwell.schemas.records.work import WorkItem


class Possession(NamedTuple):
    """A partition, taken over.

    Attributes:
        epoch: Offset of our claim.
        state: What the accepted transitions below it add up to.
        reader: Stands behind the claim.
        released: Offset of the last transition whose effects are known to be delivered.
        resend: Effects after that which are still unsettled.
        tail_bytes: Size of the transitions since the snapshot.
        tail_since: Time of the first of them, in milliseconds; 0 where there are none.
        claims: Those before ours with no accepted transition behind them.
    """

    epoch: int
    state: PartitionState
    reader: EventReader
    released: int
    resend: list[Effect]
    tail_bytes: int
    tail_since: int
    claims: list[PartitionOwned]


def claim_of(claimed: PartitionOwned) -> NewRecord:
    """The record that claims a partition."""
    return NewRecord("", encode(claimed), {KIND: CLAIM})


async def take_over(log: Log, partition: int, owner: str, now: int, process: str = "") -> Possession:
    """Claim a partition and learn its state.

    Args:
        owner: Who claims, for people who read the log.
        now: Milliseconds since 1970, likewise.
        process: Whose life it is.

    Raises:
        LogError: The log cannot be used.
        LogVersionError: It holds events that this program does not know; nothing is skipped.
        SurpriseError: Somebody else has taken it over meanwhile.
    """
    claim = PartitionOwned(EVENTS_VERSION, now, owner, process)
    (epoch,) = await log.append(EVENTS, partition, [claim_of(claim)])
    reader = EventReader(log, partition)
    state = await load_snapshot(log, reader, epoch)
    released = reader.position - 1 if reader.snapshot else -1  # a snapshot covers only what was delivered
    sent: list[tuple[int, Effect]] = []
    tail_bytes = tail_since = 0
    while reader.position <= epoch:
        before = reader.position
        for record in await reader.read(end=epoch + 1):
            stamp = read_stamp(record.headers)
            transition = reader.decode(record)
            instance_id = transition.instance_id
            earlier = state.instances.get(instance_id)
            after = advance(earlier, transition)
            state = enter(state, instance_id, after, stamp=stamp, at=transition.at)
            found = effects(earlier, transition, after)
            sent += [(record.offset, effect) for effect in found]
            released = max(released, stamp.released)
            tail_bytes += len(record.value)
            tail_since = tail_since or transition.at
        if reader.position == before:
            raise LogCorruptedError(
                f"the partition ends at {before}, before our claim at {epoch}",
                place=f"{EVENTS}[{partition}]",
                remedy="Records that were acknowledged are missing: restore the log from a backup.",
            )
    resend = [effect for offset, effect in sent if offset > released and is_unsettled(state, effect)]
    claims = []
    for record in reader.claims:
        with suppress(ValueError):  # nobody of ours; whoever claimed, the rule needs no more than the headers
            claims += [decode_owned(record.value)] if record.offset < epoch else []
    return Possession(epoch, state, reader, released, resend, tail_bytes, tail_since, claims)


def is_unsettled(state: PartitionState, effect: Effect) -> bool:
    """Whether an effect is still of use to anybody."""
    if not isinstance(effect, WorkItem):
        return True
    instance = state.instances.get(effect.instance_id)
    return instance is not None and is_under_way(instance, effect.step)
