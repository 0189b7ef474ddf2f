"""A persistent priority queue: the steps that may not start yet, in written order.

A leftist heap (Okasaki, *Purely Functional Data Structures*, 3.1): push and pop cost O(log n) and leave the old
heap as it was, which is what a state needs whose earlier versions are still in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class _Node(NamedTuple):
    rank: int  # length of the right spine: at most log2(n + 1)
    item: tuple[int, str]
    left: _Node | None
    right: _Node | None


def _merge(a: _Node | None, b: _Node | None) -> _Node | None:
    if a is None:
        return b
    if b is None:
        return a
    if b.item < a.item:
        a, b = b, a
    merged = _merge(a.right, b)
    left_rank = a.left.rank if a.left else 0
    merged_rank = merged.rank if merged else 0
    if left_rank >= merged_rank:
        return _Node(merged_rank + 1, a.item, a.left, merged)
    return _Node(left_rank + 1, a.item, merged, a.left)


class Heap:
    """An immutable heap of ``(place in the definition, step id)``."""

    __slots__ = ("_root",)

    def __init__(self, items: Iterable[tuple[int, str]] = ()) -> None:
        root: _Node | None = None
        for item in items:
            root = _merge(root, _Node(1, item, None, None))
        self._root = root

    def __bool__(self) -> bool:
        return self._root is not None

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Every item, in order."""
        nodes, items = [self._root], []
        while nodes:
            node = nodes.pop()
            if node:
                items.append(node.item)
                nodes += (node.left, node.right)
        return iter(sorted(items))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Heap) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Heap({list(self)})"

    @property
    def top(self) -> tuple[int, str] | None:
        """The first item, or None."""
        return self._root.item if self._root else None

    def push(self, items: Iterable[tuple[int, str]]) -> Heap:
        """A heap with these items too."""
        root = self._root
        for item in items:
            root = _merge(root, _Node(1, item, None, None))
        return _of(root)

    def pop(self) -> Heap:
        """A heap without the first item; of an empty heap, itself."""
        return _of(_merge(self._root.left, self._root.right)) if self._root else self


def _of(root: _Node | None) -> Heap:
    heap = Heap.__new__(Heap)
    heap._root = root  # noqa: SLF001 - this is the constructor that __init__ cannot be
    return heap


EMPTY = Heap()
