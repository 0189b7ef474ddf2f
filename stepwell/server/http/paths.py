"""Ids and names in paths: each segment of a path is decoded by itself, so that one with a slash in it stays one.

A client writes the id ``eu/7`` as ``eu%2F7``. Servers decode the path first and split it then, which makes two
segments of that. So the path is split as it came; within a segment, a slash goes through the router in disguise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

_SIGN: Final = "\x1f"  # no id and no name has it
_DISGUISES: Final = {"/": f"{_SIGN}s", _SIGN: f"{_SIGN}u"}
_MEANINGS: Final = {disguise: letter for letter, disguise in _DISGUISES.items()}
_DISGUISED: Final = re.compile("|".join(map(re.escape, _MEANINGS)))
_HIDDEN: Final = re.compile(rb"%(?:2[fF]|1[fF])")


def split_first(scope: Any) -> None:
    """Give a request's path slashes between its segments alone, before it is routed."""
    raw: bytes = scope.get("raw_path") or b""
    if _HIDDEN.search(raw):
        segments = raw.decode("ascii", "replace").split("/")
        scope["path"] = "/".join(re.sub(f"[/{_SIGN}]", _disguise, unquote(segment)) for segment in segments)


def _disguise(found: re.Match[str]) -> str:
    return _DISGUISES[found[0]]


def as_meant(text: str) -> str:
    """A path, or a part of it, with the slashes that its segments have."""
    return _DISGUISED.sub(lambda found: _MEANINGS[found[0]], text) if _SIGN in text else text


def parameters(found: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a path, as they were meant."""
    return {name: as_meant(value) if isinstance(value, str) else value for name, value in found.items()}
