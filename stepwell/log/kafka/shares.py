"""Who gets which partitions of a group: equal shares, and as little moving about as that allows.

Kafka lets one member decide for all. aiokafka's own sticky assignor has open bugs (#1175, #1176); and what a member
says about itself, which others want to know, travels in the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocol, ConsumerProtocolMemberAssignment

from stepwell.log.port import NO_HEADERS


class Says(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a member tells its group when it joins.

    Attributes:
        name: Who it is; stays the same when Kafka gives it a new member id.
        owned: The partitions that it had, by topic; those first that it would rather keep.
        round: Of the sharing out that gave it those; of two that claim a partition, the newer claim counts.
    """

    name: str
    about: Mapping[str, str] = NO_HEADERS
    owned: Mapping[str, Sequence[int]] = {}
    round: int = 0


class Shares(msgspec.Struct, frozen=True):
    """What a member is told with its partitions.

    Attributes:
        live: The names of all who are in the group now.
        round: Counts how often the group was shared out.
    """

    live: Sequence[str]
    round: int


_decode_says = msgspec.json.Decoder(Says).decode
_decode_shares = msgspec.json.Decoder(Shares).decode


def decode_says(metadata: bytes) -> Says | None:
    """What a member said, out of what Kafka keeps of it; None for a stranger."""
    try:
        return _decode_says(ConsumerProtocol.METADATA.decode(metadata).user_data)
    except (ValueError, TypeError):  # msgspec's errors are ValueErrors
        return None


def share_out(
    counts: Mapping[str, int], members: Mapping[str, tuple[Sequence[str], Says]]
) -> dict[str, dict[str, list[int]]]:
    """Share out partitions.

    Args:
        counts: How many partitions each topic has.
        members: By member id, the topics that it wants, and what it says.

    Returns:
        By member id and topic, its partitions. Within a topic, no share is larger than another by more than one.
    """
    shares: dict[str, dict[str, list[int]]] = {member: {} for member in members}
    totals = dict.fromkeys(members, 0)
    for topic, count in sorted(counts.items()):
        takers = sorted(member for member, (topics, _) in members.items() if topic in topics)
        if not takers:
            continue
        claims = {}
        for member in sorted(takers, key=lambda one: members[one][1].round):
            for partition in members[member][1].owned.get(topic, ()):
                claims[partition] = member  # the newer claim
        kept = {
            member: [one for one in members[member][1].owned.get(topic, ()) if claims[one] == member and one < count]
            for member in takers
        }
        least, extra = divmod(count, len(takers))
        for member in sorted(takers, key=lambda one: (-len(kept[one]), totals[one], one)):
            most = least + (1 if extra and len(kept[member]) > least else 0)
            extra -= most - least
            del kept[member][most:]
        free = sorted(set(range(count)).difference(*kept.values()))
        for partition in free:
            member = min(takers, key=lambda one: (len(kept[one]), totals[one] + len(kept[one]), one))
            kept[member].append(partition)
        for member in takers:
            shares[member][topic] = sorted(kept[member])
            totals[member] += len(kept[member])
    return shares


class Assignor:
    """What aiokafka asks when a group is shared out.

    Args:
        say: What our member says, as of now.
        count: How many partitions a topic has, as far as the log knows: a broker that has just come up may not.
    """

    name: Final = "stepwell"

    def __init__(self, say: Callable[[], Says], count: Callable[[str], int]) -> None:
        self._say = say
        self._count = count
        self.live: frozenset[str] = frozenset()
        self.round: int = 0

    def metadata(self, topics: Sequence[str]) -> Any:
        """What to join with."""
        return ConsumerProtocol.METADATA(0, sorted(topics), msgspec.json.encode(self._say()))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Decide for all, as the group's leader."""
        said = {}
        for member, metadata in members.items():
            says = decode_says(metadata.encode())
            said[member] = (metadata.subscription, Says(member) if says is None else says)
        topics = {topic for wanted, _ in said.values() for topic in wanted}
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) or self._count(topic) for topic in topics}
        shares = share_out(counts, said)
        number = max(says.round for _, says in said.values()) + 1
        told = msgspec.json.encode(Shares(sorted(says.name for _, says in said.values()), number))
        return {
            member: ConsumerProtocolMemberAssignment(0, sorted(share.items()), told)
            for member, share in shares.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Hear what the leader has decided."""
        told = _decode_shares(assignment.user_data)
        self.live, self.round = frozenset(told.live), told.round
