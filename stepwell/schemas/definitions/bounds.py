"""How large a definition may be before anything is made of it: what a few lines may grow to is counted first.

Ten lines of YAML, each an alias for the one before taken ten times, hold ten thousand million values; a hundred
thousand brackets break the parser's stack. So the reader counts while it reads, and aliases count in full.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

MOST_BYTES: Final = 8 * 1024 * 1024  # a definition of 10,000 steps has about 2 MB
MOST_NODES: Final = 500_000
"""Keys and values that YAML is read to, each of which takes some 300 bytes and 5 µs; JSON costs far less."""
MOST_VALUES: Final = 1_000_000
"""Values of a definition, with each alias and each merge key in full."""
MOST_NESTED: Final = 200
"""Levels of lists and mappings: as many as templates take."""
LONGEST_NUMBER: Final = 400
"""Characters of a number: no finite one needs more, and reading a million takes minutes."""

_LEAST_INT, _MOST_INT = -(1 << 63), (1 << 64) - 1  # what JSON readers agree about
_PLAIN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")
)
_NUMBER_TAGS: Final = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


class TooLargeError(ValueError):
    """What is read is more than a definition may be."""


class CountingLoader:
    """Mixed into a loader of PyYAML: counts nodes and levels while they are composed.

    Both implementations call these two methods around each node, the one in C before it goes a level down its stack.
    """

    _nodes = 0
    _levels = 0

    def descend_resolver(self, node: Any, _index: Any) -> None:
        """Go into a part of a node."""
        self._nodes += 1
        self._levels += 1
        if self._levels > MOST_NESTED:
            raise TooLargeError(f"line {node.start_mark.line + 1}: is nested more than {MOST_NESTED} deep")
        if self._nodes > MOST_NODES:
            raise TooLargeError(f"has more than {MOST_NODES:,} keys and values; write a large one in JSON")

    def ascend_resolver(self) -> None:
        """Leave it."""
        self._levels -= 1


def check_text(text: str) -> None:
    """Refuse a text that is too long to be read.

    Raises:
        TooLargeError: It is.
    """
    if len(text) > MOST_BYTES or (len(text) > MOST_BYTES // 4 and len(text.encode(errors="replace")) > MOST_BYTES):
        raise TooLargeError(f"has more than {MOST_BYTES:,} bytes")


def nodes_of(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node of composed YAML in the order of the text, each once, however many aliases lead to it."""
    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.SequenceNode):
            left.extend(reversed(node.value))
        elif isinstance(node, yaml.MappingNode):
            left.extend(part for pair in reversed(node.value) for part in reversed(pair))


def wrong_nodes(root: yaml.Node) -> Iterator[tuple[int, str]]:
    """What of composed YAML must not be constructed: lines, and what is wrong there."""
    for node in nodes_of(root):
        line = node.start_mark.line + 1
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            yield line, f"the tag {tag[:60]} is not allowed; write plain values"
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBER_TAGS and len(node.value) > LONGEST_NUMBER:
            yield line, f"a number of {len(node.value):,} characters; put it in quotes"


def odd_scalar(loader: Any, root: yaml.Node) -> str:
    """Which value of composed YAML could not be made what its tag, or its look, says: ``!!int x``."""
    for node in nodes_of(root):
        if isinstance(node, yaml.ScalarNode):
            try:
                loader.construct_object(node)
            except Exception:  # as whoever asks
                kind = node.tag.rpartition(":")[2]
                return f'line {node.start_mark.line + 1}: "{node.value[:60]}" is no {kind}; put it in quotes'
    return "is no YAML"


def check_expanded(root: yaml.Node) -> None:
    """Refuse YAML that would grow too large with its aliases and merge keys, or that holds itself.

    Raises:
        TooLargeError: It would.
    """
    sizes: dict[int, int] = {}
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    open_: set[int] = set()
    while stack:
        node, done = stack.pop()
        key = id(node)
        if isinstance(node, yaml.ScalarNode):
            sizes[key] = 1 + len(node.value) // 16
            continue
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        if done:
            open_.discard(key)
            sizes[key] = 1 + sum([sizes[id(part)] for part in parts])
            if sizes[key] > MOST_VALUES:
                line = node.start_mark.line + 1
                raise TooLargeError(f"line {line}: has more than {MOST_VALUES:,} values with its aliases")
        elif key in open_:
            raise TooLargeError(f"line {node.start_mark.line + 1}: an alias stands for what it is part of")
        elif key not in sizes:
            open_.add(key)
            stack.append((node, True))
            for part in parts:
                if id(part) in open_:
                    raise TooLargeError(f"line {part.start_mark.line + 1}: an alias stands for what it is part of")
                if id(part) not in sizes:
                    stack.append((part, False))


def wrong_values(data: Any) -> str:
    """What JSON cannot hold of plain data, or a definition must not: the first of it, with its place; or nothing.

    Aliases count each time that they are met, so that data which holds itself is too much, too.
    """
    count = length = 0
    level: list[tuple[Any, Any, Any]] = [(data, None, None)]  # value, the entry that holds it, its key in there
    for _ in range(MOST_NESTED + 1):
        below: list[tuple[Any, Any, Any]] = []
        for entry in level:
            value = entry[0]
            kind = type(value)
            if kind is str:
                length += len(value)
            elif kind is float or kind is int:
                if wrong := _wrong_number(value):
                    return f"{_named(entry)}: {wrong}"
            elif isinstance(value, Mapping):
                odd = [key for key in value if not isinstance(key, str)]
                if odd:
                    return f'{_named(entry)}: the key {_short(odd[0])} is no text; write "{_short(odd[0])}"'
                length += sum(map(len, value))
                below += [(part, entry, key) for key, part in value.items()]
            elif isinstance(value, (list, tuple)):
                below += [(part, entry, number) for number, part in enumerate(value)]
            elif value is not None and isinstance(value, (set, frozenset, bytes, bytearray, complex)):
                return f"{_named(entry)}: JSON cannot hold a {kind.__name__}"
            if length > MOST_BYTES:
                return f"has texts of more than {MOST_BYTES:,} characters"
            if count + len(below) > MOST_VALUES:
                return f"has more than {MOST_VALUES:,} values"
        count += len(below)
        if not below:
            return ""
        level = below
    return f"{_named(level[0])[:200]}: is nested more than {MOST_NESTED} deep"


def _wrong_number(value: float) -> str:
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{value} is no number that JSON can hold"
    return "" if _LEAST_INT <= value <= _MOST_INT else "a number beyond 64 bits; put it in quotes"


def _named(entry: Any) -> str:
    return place_of(entry) or "the top"


def place_of(entry: Any) -> str:
    """The place of an entry: of a value, the entry that holds it, and its key in there."""
    parts: list[str] = []
    while entry[1] is not None:
        _, entry_above, key = entry
        parts.append(f"[{key}]" if isinstance(key, int) else f".{str(key)[:60]}")
        entry = entry_above
    return "".join(reversed(parts)).removeprefix(".")


def not_finite(data: Any) -> str | None:
    """Where the first number of plain data is that is NaN or infinite; None if there is none."""
    left: list[tuple[Any, Any, Any]] = [(data, None, None)]
    seen: set[int] = set()  # of what holds others, for it may hold itself
    while left:
        entry = left.pop()
        value = entry[0]
        if isinstance(value, float):
            if not math.isfinite(value):
                return place_of(entry)
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            parts = value.items() if isinstance(value, Mapping) else enumerate(value)
            left.extend(
                [(part, entry, key) for key, part in parts if isinstance(part, (float, Mapping, list, tuple))][::-1]
            )
    return None


def _short(key: Any) -> str:
    try:
        return repr(key)[:60].strip("'")
    except (ValueError, RecursionError):  # a number of too many digits; a tuple in a tuple in …
        return type(key).__name__
