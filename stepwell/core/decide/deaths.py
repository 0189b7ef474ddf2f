"""What a partition's owners have died over, as their claims tell.

A command may make the process that decides it compute for ever, or eat all memory. No error is caught there: somebody
kills the process, the next one takes the partition over and decides the same command. So an owner that has just taken
over says in the log what it is about to decide (``PartitionOwned.deciding``), and only then decides it. A claim that
names something, with no accepted transition behind it, by a process that nobody has heard of since: that process has
died over what it named.

A process that claims again, or is a member of the group, is alive: it has lost the partition, or an append.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from stepwell.schemas.records.partition_records import Deciding, PartitionOwned

MOST_DEATHS: Final = 3
"""How many processes may die over one command before its instance is quarantined."""


def died_over(claims: Sequence[PartitionOwned], alive: Collection[str]) -> list[PartitionOwned]:
    """The claims whose processes died over what they had named, the newest first.

    Args:
        claims: Those since the last accepted transition, in order.
        alive: Processes that live.
    """
    found = []
    living = {*alive, ""}  # an older Stepwell's claims say nothing
    for claim in reversed(claims):
        if claim.deciding is not None and claim.process not in living:
            found.append(claim)
        living.add(claim.process)
    return found


def is_same(one: Deciding, other: Deciding) -> bool:
    """Whether both name the same command alone."""
    return one.count == other.count == 1 and (one.instance_id, one.command, one.place) == (
        other.instance_id,
        other.command,
        other.place,
    )


def deaths_over(claims: Sequence[PartitionOwned], named: Deciding) -> int:
    """How many processes in a row have died over a command.

    Args:
        claims: Of those that have died, the newest first.
        named: The command, which lies among what they have named.
    """
    found = [claim.deciding for claim in claims if claim.deciding is not None]
    alone = next((one for one in found if is_same(one, named)), None)
    if alone is not None:
        return alone.deaths + 1
    return 1 if any(one.count > 1 for one in found) else 0  # it may have been any of those
