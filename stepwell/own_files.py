"""Which files of this machine are Stepwell's own: the log, its locks, read models, access tokens.

Whoever opens or makes one names it here, so that steps which work on files can be kept away from it, whatever name
they find it under. A file is known by its device and inode, which hard links share, and by its place: a directory
and the beginning of a name, since SQLite and the log put files beside theirs (``log.db-wal``, ``log.db-members``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

Identity = tuple[int, int]
"""Device and inode: what a file is, whatever it is called."""

_claimed: dict[str, None] = {}  # a set that keeps its order
_DEEPEST: Final = 4  # directories within one another that are looked through; ours have two


def claim(path: str | os.PathLike[str]) -> None:
    """Name a file or directory that is Stepwell's own; with it goes whatever is beside it under a longer name."""
    _claimed.setdefault(os.path.abspath(os.fspath(path)))  # noqa: PTH100 - links stay as they are named


def disclaim(path: str | os.PathLike[str]) -> None:
    """Remove a claim, because the file or directory is gone for good."""
    _claimed.pop(os.path.abspath(os.fspath(path)), None)  # noqa: PTH100 - as it was claimed


def claimed() -> list[str]:
    """What was named, in this process; and what the environment of this process names."""
    named = (os.environ.get(variable) for variable in ("STEPWELL_TOKENS", "STEPWELL_VIEWS"))
    return [*_claimed, *(os.path.abspath(os.path.expanduser(path)) for path in named if path)]  # noqa: PTH100, PTH111


def identity(path: str) -> Identity | None:
    """Identify the file at a path, following links; None if there is none."""
    try:
        known = os.stat(path)  # noqa: PTH116 - compared by what it gives
    except (OSError, ValueError):
        return None
    return known.st_dev, known.st_ino


def upwards(path: str) -> Iterator[Identity]:
    """A path, and each directory that it lies in, as far as they are there."""
    try:
        path = os.path.realpath(path)
    except OSError:  # somebody changes it while it is looked at
        path = os.path.abspath(path)  # noqa: PTH100 - as above
    while True:
        found = identity(path)
        if found is not None:
            yield found
        above = os.path.dirname(path)  # noqa: PTH120 - text, not I/O
        if above == path:
            return
        path = above


def holds(directory: str, path: str) -> bool:
    """Whether a path is a directory or lies inside it, whether it exists or not, and however both are written."""
    mine = identity(directory)
    return mine is not None and mine in upwards(path)


class OwnFiles:
    """Stepwell's own files as they are now: made anew for each look."""

    def __init__(self) -> None:
        self._known: set[Identity] = set()
        self._places: list[tuple[Identity, str]] = []
        for path in claimed():
            real = os.path.realpath(path)
            for one in {path, real}:  # a link of ours is not to be replaced, either
                directory, name = os.path.split(one)
                place = identity(directory)
                if place is not None:
                    self._places.append((place, name.casefold()))
                    self._add_beside(directory, name.casefold())

    def _add_beside(self, directory: str, start: str) -> None:
        try:
            names = os.listdir(directory)  # noqa: PTH208 - texts are wanted
        except OSError:
            return
        for name in names:
            if name.casefold().startswith(start):
                self._add(os.path.join(directory, name), _DEEPEST)  # noqa: PTH118 - text, not I/O

    def _add(self, path: str, depth: int) -> None:
        found = identity(path)
        if found is not None:
            self._known.add(found)
        if depth and os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - as above
            try:
                names = os.listdir(path)  # noqa: PTH208
            except OSError:
                return
            for name in names:
                self._add(os.path.join(path, name), depth - 1)  # noqa: PTH118

    def has(self, known: os.stat_result) -> bool:
        """Whether this is one of them."""
        return (known.st_dev, known.st_ino) in self._known

    def has_place(self, directory: os.stat_result, name: str) -> bool:
        """Whether a name in a directory is theirs, also where nothing stands there yet."""
        here = (directory.st_dev, directory.st_ino)
        return here in self._known or any(
            here == place and name.casefold().startswith(start) for place, start in self._places
        )
