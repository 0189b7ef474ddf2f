"""How far a partition of a workers' queue is settled: a position, and what is settled or in hand beyond it.

Kafka keeps a position for each group and partition, and with it a text of at most 4,096 bytes. What was settled out
of turn stands in that text, so that nobody runs it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

LIMIT: Final = 4096  # bytes: the broker's offset.metadata.max.bytes, unless somebody has changed it
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class QueuePosition(NamedTuple):
    """A partition, as far as it is settled.

    Attributes:
        low: Everything below is settled.
        done: What is settled above.
        held: What is in the hands of workers that do not have the partition, or had it last: offset to name.
        heard: Up to where in ``hands`` the above was followed.
        lost: How often what is not settled was in the hands of workers that have died.
    """

    low: int = 0
    done: frozenset[int] = frozenset()
    held: Mapping[int, str] = {}
    heard: int = 0
    lost: Mapping[int, int] = {}


_LOST: Final = "#"  # begins the name under which records stand that were lost so often; no worker is called so


def encode(
    low: int, done: Iterable[int], held: Mapping[int, str], heard: int, lost: Mapping[int, int] | None = None
) -> tuple[str, int]:
    """The text beside ``low``, and the offset below which all of ``done`` stands in it.

    What does not fit is left out, highest first. ``v1;HEARD;gap,length,gap,length…;NAME=OFFSET,OFFSET…`` in base 36,
    all offsets counted from ``low``; ``#TIMES=OFFSET…`` for what was lost so often.
    """
    by_name: dict[str, list[str]] = {}
    named = [*sorted(held.items()), *sorted((offset, f"{_LOST}{times}") for offset, times in (lost or {}).items())]
    for offset, name in named:
        by_name.setdefault(name, []).append(_base36(offset - low))
    hands = "".join(f";{name}={','.join(offsets)}" for name, offsets in sorted(by_name.items()))
    head = f"v1;{_base36(heard)};"
    room = LIMIT - len(head) - len(hands)
    if room < 0:  # so many hands can only be after a rebalance of thousands: what they hold may run twice
        hands, room = "", LIMIT - len(head)
    parts: list[str] = []
    at = low
    for start, end in _ranges(done):
        part = f"{',' if parts else ''}{_base36(start - at)},{_base36(end - start)}"
        room -= len(part)
        if room < 0:
            return f"{head}{''.join(parts)}{hands}", start
        parts.append(part)
        at = end
    return f"{head}{''.join(parts)}{hands}", 1 << 62


def decode(low: int, text: str) -> QueuePosition:
    """The other way; a text that is not ours says nothing."""
    version, _, rest = text.partition(";")
    if version != "v1":
        return QueuePosition(low)
    heard, ranges, *hands = rest.split(";")
    done: set[int] = set()
    at = low
    numbers = [int(one, 36) for one in ranges.split(",")] if ranges else []
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        done.update(range(at + gap, at + gap + length))
        at += gap + length
    held: dict[int, str] = {}
    lost: dict[int, int] = {}
    for hand in hands:
        name, _, text = hand.partition("=")
        offsets = [low + int(one, 36) for one in text.split(",")]
        if name.startswith(_LOST):
            lost.update(dict.fromkeys(offsets, int(name.removeprefix(_LOST))))
        else:
            held.update(dict.fromkeys(offsets, name))
    return QueuePosition(low, frozenset(done), held, int(heard, 36), lost)


def _ranges(offsets: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Consecutive ones together: first, and one behind the last."""
    start = end = -1
    for offset in sorted(offsets):
        if offset != end:
            if start >= 0:
                yield start, end
            start = offset
        end = offset + 1
    if start >= 0:
        yield start, end


def _base36(number: int) -> str:
    if number < 36:
        return _DIGITS[number]
    return _base36(number // 36) + _DIGITS[number % 36]
