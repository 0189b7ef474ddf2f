"""Files that hold what people gave Stepwell are made for their owner alone, or for a group that shares the work.

The log, its read models and archives hold every input and output. Others on the machine have no business with them,
whatever the ``umask`` says. What is there already keeps its mode, and is told about: whoever opened it to others may
have had a reason.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from pathlib import Path
from typing import Final

from stepwell.errors import StepwellError
from stepwell.logs import Logger

GROUP: Final = "STEPWELL_FILE_GROUP"
"""The environment variable that names a group, by its name or number, whose members may read and write them, too."""

_logger = Logger("stepwell.files")
_told: set[str] = set()


class FileGroupError(StepwellError):
    """There is no such group."""


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory, and those that it lies in, where they are missing: 0700, or 2770 for a group.

    Raises:
        FileGroupError: There is no group of the name that the environment gives.
        OSError: It cannot be made.
    """
    group = _group()
    missing: list[Path] = []
    path = Path(path)
    while not path.exists():
        missing.append(path)
        path = path.parent
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):
            one.mkdir(mode=0o700)
            if group is not None:
                os.chown(one, -1, group)
                one.chmod(0o2770)  # what is made in it belongs to the group, whoever makes it


def make_file(path: str | os.PathLike[str]) -> None:
    """Make an empty file where there is none: 0600, or 0660 for a group. One that is there is not even opened.

    To close a file of SQLite's would drop the locks that this process holds on it: sqlite.org/howtocorrupt.html, 2.2.

    Raises:
        FileGroupError: There is no group of the name that the environment gives.
        OSError: It cannot be made.
    """
    if not os.path.lexists(path):
        with contextlib.suppress(FileExistsError):
            os.close(opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def opened(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file as ``os.open`` does; one that is made is made private.

    Args:
        flags: As of ``os.open``.
    """
    group = _group()
    before = os.path.lexists(path)
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    if group is not None and not before:
        with contextlib.suppress(PermissionError):  # somebody else's, made at the same time
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, 0o660)
    return descriptor


def tell_if_open(path: str | os.PathLike[str]) -> None:
    """Warn once about a file that other users of this machine can read or write."""
    path = os.fspath(path)
    if path in _told:
        return
    mode = open_mode(path)
    if mode is not None:
        _told.add(path)
        _logger.warning(
            "others on this machine can get at a file of Stepwell's",
            file=path, mode=f"{mode:04o}", remedy=f"chmod {'o=' if _group() is not None else 'go='} {path}",
        )  # fmt: skip


def open_mode(path: str) -> int | None:
    """Return the mode of a file that other users can read or write; None if they cannot."""
    theirs = 0o007 if _group() is not None else 0o077
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 - text all the way
        above = os.stat(os.path.dirname(path) or os.curdir)  # noqa: PTH116, PTH120
    except OSError:
        return None
    return mode if mode & theirs and above.st_mode & 0o011 else None


def _group() -> int | None:
    return _number_of(os.environ.get(GROUP, "").strip())


@functools.cache
def _number_of(name: str) -> int | None:
    if not name:
        return None
    if name.isascii() and name.isdigit():
        return int(name)
    import grp  # noqa: PLC0415 - not for every platform

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise FileGroupError("there is no such group", place=f"{GROUP}={name}") from None
