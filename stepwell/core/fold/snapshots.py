"""A partition's state as chunks of bytes, and back.

Taken from a persistent map, a snapshot is consistent at no cost while work goes on. It is a text of JSON lines: one
for what belongs to the partition itself, then some for the finished instances it remembers, then one for each live
instance in the order of their ids. The text is cut into chunks wherever one is full, so that an instance may be
larger than a record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
from immutables import Map
from msgspec import Struct

from stepwell.core.fold.finished import Finished, FinishedWindow
from stepwell.core.fold.partition import PartitionState, Progress
from stepwell.core.fold.state import InstanceState, decode_instance, encode_instance

CHUNK_BYTES: Final = 256 * 1024  # far below a record's limit, large enough that few are needed
_LINE_OF_FINISHED: Final = 1_000  # how many a line holds


class _Frame(Struct, frozen=True, gc=False, omit_defaults=True):
    """The first line: everything but the instances.

    Attributes:
        position: Offset of the next record of ``commands``,
        started: and of ``starts``; ``ahead`` was taken out of turn.
        finished: How many lines of finished instances follow.
    """

    position: int
    at: int
    oldest: int
    newest: int
    finished: int
    started: int = 0
    ahead: tuple[int, ...] = ()


# A finished instance's number, its id, and what is kept of it; None where an older Stepwell knew of a later end.
_Finished = tuple[int, str, Finished | None]

_encode = msgspec.json.Encoder().encode
_frames = msgspec.json.Decoder(_Frame)
_finished = msgspec.json.Decoder(list[_Finished])


def encode_partition(state: PartitionState) -> Iterator[bytes]:
    """The chunks of a snapshot; equal states give equal bytes. Lazy: the caller may pause between chunks."""
    buffer = bytearray()
    for line in _lines(state):
        buffer += line
        buffer += b"\n"
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)


def _lines(state: PartitionState) -> Iterator[bytes]:
    entries: list[_Finished] = [(kept.number, name, kept) for name, kept in state.finished.entries()]
    oldest = entries[0][0] if entries else state.finished.newest
    lines, progress = -(-len(entries) // _LINE_OF_FINISHED), state.progress
    yield _encode(
        _Frame(
            progress.command,
            state.at,
            oldest,
            state.finished.newest,
            lines,
            started=progress.start,
            ahead=progress.ahead,
        )
    )
    for first in range(0, len(entries), _LINE_OF_FINISHED):
        yield _encode(entries[first : first + _LINE_OF_FINISHED])
    for instance_id in sorted(state.instances):
        yield encode_instance(state.instances[instance_id])


def decode_partition(chunks: Iterable[bytes]) -> PartitionState:
    """Read a snapshot's chunks, in order.

    Raises:
        ValueError: They are none, or not whole (msgspec's errors are ValueErrors).
    """
    text = b"".join(chunks)
    if not text.endswith(b"\n"):
        raise ValueError("the snapshot is not whole")
    lines = iter(text[:-1].split(b"\n"))
    frame = _frames.decode(next(lines))
    finished: list[tuple[str, Finished]] = []
    for line in islice(lines, frame.finished):
        finished += [(instance_id, kept) for _, instance_id, kept in _finished.decode(line) if kept is not None]
    instances: dict[str, InstanceState] = {}
    for line in lines:
        instance = decode_instance(line)
        instances[instance.id] = instance
    return PartitionState(
        instances=Map(instances),
        finished=FinishedWindow.of(finished, frame.newest),
        progress=Progress(frame.position, frame.started, frame.ahead),
        at=frame.at,
    )
