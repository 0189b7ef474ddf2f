"""Where a document says versions: a version is the text that was written, so 1.10 is not 1.1.

YAML and JSON read 1.10 as a number, which forgets how it was written. So whoever reads a text asks here which of its
numbers are versions, and keeps those as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

_ANY: Final = "*"
_STEPS: Final = (("steps",), ("tasks",), ("nodes",), ("dag", "nodes"))
_CHILD: Final = ("workflow_trigger", "sub_workflow")  # steps whose settings name a version of another workflow
_KINDS: Final = ("type", "action", "handler", "activity_type")
_SETTINGS: Final = ("config", "parameters", "input")
_INNER: Final = ("definition",)  # of a template, and of a dialect's document

Parts = Callable[[Any], Iterator[tuple[Any, Any]]]
"""The entries of a mapping, or the parts of a list under any key; nothing of what is neither."""


def version_places(root: Any, parts: Parts, text: Callable[[Any], Any]) -> Iterator[tuple[Any, str]]:
    """Every mapping of a document that says a version, and the key under which it does.

    Args:
        root: The document.
        parts: How what is in a part of it is found.
        text: What a part says; a text, if it is one.
    """
    for top in (root, *_at(root, _INNER, parts)):
        for key, _ in parts(top):
            if key in ("version", "schema_version"):
                yield top, key
        for path in _STEPS:
            for step in _at(top, (*path, _ANY), parts):
                yield from _of_step(step, parts, text)


def _of_step(step: Any, parts: Parts, text: Callable[[Any], Any]) -> Iterator[tuple[Any, str]]:
    entries = {key: part for key, part in parts(step) if isinstance(key, str)}
    kinds = [text(entries[key]) for key in _KINDS if key in entries]
    if any(isinstance(kind, str) and kind in _CHILD for kind in kinds):
        for key in _SETTINGS:
            if key in entries and any(name == "version" for name, _ in parts(entries[key])):
                yield entries[key], "version"
    if "tasks" in entries:  # a group
        for _, inner in parts(entries["tasks"]):
            yield from _of_step(inner, parts, text)


def _at(node: Any, path: tuple[str, ...], parts: Parts) -> Iterator[Any]:
    if not path:
        yield node
        return
    for key, part in parts(node):
        if path[0] in (key, _ANY):
            yield from _at(part, path[1:], parts)
