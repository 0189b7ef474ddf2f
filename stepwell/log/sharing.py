"""Rules that more than one log follows: who gets which partitions of a group, and which work comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def priority_of(header: str | None) -> int:
    """The priority that a header asks for: 0 to 100; what is no number counts as 0."""
    try:
        return min(100, max(0, int(header or 0)))
    except ValueError:
        return 0


def share_out(partitions: int, members: Sequence[int], current: Mapping[int, int]) -> dict[int, int]:
    """Share out partitions evenly; whoever has one keeps it as far as evenness allows.

    Args:
        partitions: How many there are.
        members: Who takes part, in order of joining.
        current: Partition → member, as it was; former members may be in it.

    Returns:
        Partition → member, for all partitions; empty if there are no members.
    """
    if not members:
        return {}
    holding: dict[int, list[int]] = {member: [] for member in members}
    for partition, member in sorted(current.items()):
        if member in holding and partition < partitions:
            holding[member].append(partition)
    share, extra = divmod(partitions, len(members))
    # Whoever holds most takes the larger shares, so that fewest partitions move. Python's sort keeps the order of
    # joining among equals.
    ranked = sorted(members, key=lambda member: -len(holding[member]))
    result: dict[int, int] = {}
    open_places: list[int] = []
    for rank, member in enumerate(ranked):
        quota = share + (rank < extra)
        kept = holding[member][:quota]
        result.update(dict.fromkeys(kept, member))
        open_places += [member] * (quota - len(kept))
    free = [partition for partition in range(partitions) if partition not in result]
    result.update(zip(free, open_places, strict=True))
    return result
