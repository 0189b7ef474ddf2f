"""A persistent priority queue: the steps that may not start yet, in written order.

A leftist heap (Okasaki, *Purely Functional Data Structures*, 3.1) of runs. A run is what was pushed at once, in
order: the thousands of steps that a wide fan-out puts off are one node, and popping from it costs the same however
many there are. Push and pop cost O(log n) for n runs and leave the old heap as it was, which is what a state needs
whose earlier versions are still in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

Item = tuple[int, str]


class _Node(NamedTuple):
    rank: int  # length of the right spine: at most log2(n + 1)
    first: Item  # of what is left of the run
    run: tuple[Item, ...]
    at: int  # where the first stands in the run
    left: _Node | None
    right: _Node | None


def _single(run: tuple[Item, ...], at: int) -> _Node | None:
    return _Node(1, run[at], run, at, None, None) if at < len(run) else None


def _merge(a: _Node | None, b: _Node | None) -> _Node | None:
    if a is None:
        return b
    if b is None:
        return a
    if b.first < a.first:
        a, b = b, a
    merged = _merge(a.right, b)
    left_rank = a.left.rank if a.left else 0
    merged_rank = merged.rank if merged else 0
    if left_rank >= merged_rank:
        return _Node(merged_rank + 1, a.first, a.run, a.at, a.left, merged)
    return _Node(left_rank + 1, a.first, a.run, a.at, merged, a.left)


class Heap:
    """An immutable heap of ``(place in the definition, step id)``."""

    __slots__ = ("_root",)

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._root = _single(tuple(sorted(items)), 0)

    def __bool__(self) -> bool:
        return self._root is not None

    def __iter__(self) -> Iterator[Item]:
        """Every item, in order."""
        nodes, items = [self._root], list[Item]()
        while nodes:
            node = nodes.pop()
            if node:
                items += node.run[node.at :]
                nodes += (node.left, node.right)
        return iter(sorted(items))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Heap) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Heap({list(self)})"

    @property
    def top(self) -> Item | None:
        """The first item, or None."""
        return self._root.first if self._root else None

    def push(self, items: Iterable[Item]) -> Heap:
        """A heap with these items too."""
        return _of(_merge(self._root, _single(tuple(sorted(items)), 0)))

    def pop(self) -> Heap:
        """A heap without the first item; of an empty heap, itself."""
        root = self._root
        if root is None:
            return self
        return _of(_merge(_single(root.run, root.at + 1), _merge(root.left, root.right)))


def _of(root: _Node | None) -> Heap:
    heap = Heap.__new__(Heap)
    heap._root = root  # noqa: SLF001 - this is the constructor that __init__ cannot be
    return heap


EMPTY = Heap()
