"""A partition's state as chunks of bytes, and back.

Taken from a persistent map, a snapshot is consistent at no cost while work goes on. Its first chunk holds what
belongs to the partition itself, the others its instances, in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from immutables import Map
from msgspec import Struct

from stepwell.core.decision import Finished
from stepwell.core.partition import PartitionState
from stepwell.core.state import InstanceState, decode_instance, encode_instance

CHUNK_BYTES: Final = 256 * 1024  # far below a record's limit, large enough that few are needed


class _Frame(Struct, frozen=True):
    """The first chunk: everything but the instances.

    Attributes:
        finished: Each as (number, id, what is kept of it).
    """

    position: int
    at: int
    oldest: int
    newest: int
    order: tuple[tuple[int, str], ...]
    finished: dict[str, Finished]


_encoder = msgspec.json.Encoder(order="deterministic")
_frames = msgspec.json.Decoder(_Frame)
_instances = msgspec.json.Decoder(list[msgspec.Raw])


def encode_partition(state: PartitionState) -> Iterator[bytes]:
    """The chunks of a snapshot; equal states give equal bytes. Lazy: the caller may pause between chunks."""
    order = tuple(sorted(state.order.items()))
    yield _encoder.encode(_Frame(state.position, state.at, state.oldest, state.newest, order, dict(state.finished)))
    chunk: list[bytes] = []
    size = 0
    for instance_id in sorted(state.instances):
        encoded = encode_instance(state.instances[instance_id])
        if chunk and size + len(encoded) > CHUNK_BYTES:
            yield b"[" + b",".join(chunk) + b"]"
            chunk, size = [], 0
        chunk.append(encoded)
        size += len(encoded)
    if chunk:
        yield b"[" + b",".join(chunk) + b"]"


def decode_partition(chunks: Iterable[bytes]) -> PartitionState:
    """Read a snapshot's chunks, in order.

    Raises:
        msgspec.DecodeError: They are none.
        StopIteration: There are none.
    """
    iterator = iter(chunks)
    frame = _frames.decode(next(iterator))
    instances: dict[str, InstanceState] = {}
    for chunk in iterator:
        for raw in _instances.decode(chunk):
            instance = decode_instance(bytes(raw))
            instances[instance.id] = instance
    return PartitionState(
        instances=Map(instances),
        finished=Map(frame.finished),
        order=Map(dict(frame.order)),
        oldest=frame.oldest,
        newest=frame.newest,
        position=frame.position,
        at=frame.at,
    )
