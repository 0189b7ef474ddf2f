"""Places in a document: how they are written, where they stand in its text, and which one a message means.

A definition is checked in its canonical form, but it may have been written in another one, and in a text with lines.
What is wrong is told in the words of what was written: ``line 12: tasks.load.dependencies[0]: unknown task …``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

Path = tuple[str | int, ...]
"""Keys and indexes, from the top."""

_MERGE: Final = "<<"


class Problem(NamedTuple):
    """Something that is wrong at a place of the document as it was written."""

    path: Path
    text: str


def show(path: Path) -> str:
    """A path as people write it: ``steps[3].depends_on``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).lstrip(".")


def locate(message: str, data: Any) -> tuple[Path, str] | None:
    """Read the place at the beginning of a message, as far as the data has it.

    Args:
        message: Such as ``steps[3].config.rules[0]: needs "type"``.
        data: The data that the message speaks of. Its keys say where a key of the place ends, whatever is in it.

    Returns:
        The path, and what follows: the rest of the place, a colon, the text. None where the message names no place.
    """
    path: list[str | int] = []
    position, node = 0, data
    while True:
        if isinstance(node, (list, tuple)):
            index = _INDEX.match(message, position)
            if index is None or int(index[1]) >= len(node):
                break
            part: str | int = int(index[1])
            position, node = index.end(), node[int(index[1])]
        elif isinstance(node, Mapping):
            begin = position + (message[position : position + 1] == "." and bool(path))
            fits = [key for key in node if message.startswith(key, begin) and _ends(message, begin + len(key))]
            if not fits or (path and begin == position):
                break
            key: str = max(fits, key=len)
            part, position, node = key, begin + len(key), node[key]
        else:
            break
        path.append(part)
    if path or _BEGINNING.match(message):
        return tuple(path), message[position:]
    return None


_INDEX: Final = re.compile(r"\[(\d+)\]")
_BEGINNING: Final = re.compile(r"[a-z_]+(?:: |\.)")


def _ends(message: str, position: int) -> bool:
    return message[position : position + 1] in (".", "[", ":", " ")


class Lines:
    """Where the parts of a text begin. Read only once something is wrong, so that what is right loads fast.

    Args:
        text: YAML, or JSON.
        loader: The YAML loader that the text was read with.
    """

    def __init__(self, text: str, loader: Any) -> None:
        self._text = text
        self._loader = loader
        self._root: Any = None
        self._was_read = False
        self._parts: dict[int, dict[str, tuple[Any, Any]]] = {}  # of the mappings that were asked for, by id

    def line(self, path: Path) -> int | None:
        """The line, from 1, of the nearest part of the path that is there; None if the text cannot be read."""
        node = self._read()
        if node is None:
            return None
        line: int = node.start_mark.line + 1
        for part in path:
            found = self._below(node, part)
            if found is None:
                break
            mark, node = found
            line = mark.line + 1
        return line

    def _read(self) -> Any:
        if not self._was_read:
            self._was_read = True
            text = self._text.encode(errors="replace").decode()  # half a surrogate pair is told by others
            if text.lstrip().startswith("{"):
                text = text.replace("\t", " ")  # JSON may be indented by tabs, YAML may not
            loader = self._loader(text)
            try:
                self._root = loader.get_single_node()
            except (yaml.YAMLError, ValueError, RecursionError):
                self._root = None
            finally:
                loader.dispose()
        return self._root

    def _below(self, node: Any, part: str | int) -> tuple[Any, Any] | None:
        """The mark and the node of one part of a sequence or a mapping."""
        if isinstance(node, yaml.SequenceNode):
            fits = isinstance(part, int) and part < len(node.value)
            return (node.value[part].start_mark, node.value[part]) if fits else None
        if not isinstance(node, yaml.MappingNode):
            return None
        parts = self._parts.get(id(node))
        if parts is None:
            named = [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
            parts = self._parts[id(node)] = {key.value: (key.start_mark, value) for key, value in named}
        if part in parts:
            return parts[str(part)]
        if _MERGE in parts:
            value = parts[_MERGE][1]
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                found = self._below(other, part)
                if found is not None:
                    return found
        return None
