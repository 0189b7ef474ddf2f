"""Which files ``file_operation`` may touch: those below the directories of ``STEPWELL_FILE_ROOTS``.

A path is resolved, links and all, and must then lie below a root. After that it is walked once more from the root,
a directory at a time and following no link: whoever puts a link there between the look and the use gets an error.
Stepwell's own files are known by device and inode, so no hard link leads to them either; and names that begin with
a dot, where programs keep their settings and secrets (``.env``, ``.git``), are out of bounds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from stepwell.consumers.worker.builtin._errors import (
    FileAccessDenied,
    FileExists,
    FileNotFound,
    FileOperationError,
    FileSettingsError,
    PathRefused,
    WrongKindOfFile,
)
from stepwell.consumers.worker.builtin.allowed_roots import ROOTS, check_no_code, roots
from stepwell.own_files import OwnFiles

LONGEST_PATH: Final = 4_000
"""Bytes. A directory at a time one could go deeper, to where other programs find nothing any more."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not keep us waiting
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PASSING: Final = frozenset({
    errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A path that steps may work on.

    Attributes:
        given: As the definition names it.
        root: The directory that it lies below, resolved.
        parts: The way from there, resolved; empty for the root itself.
        own: What steps have no business with.
        home: The root where the environment names none.
    """

    given: str
    root: str
    parts: tuple[str, ...]
    own: OwnFiles
    home: Path | None

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1] if self.parts else "."

    @contextlib.contextmanager
    def parent(self, *, make: bool = False) -> Iterator[int]:
        """The directory that it lies in, opened.

        Args:
            make: Make the directories that are missing.
        """
        with explained(self.given), self._walked(self.parts[:-1], make=make) as directory:
            if self.own.has_place(os.fstat(directory), self.name):
                raise self.refused()
            with contextlib.suppress(OSError):  # there is nothing yet
                self.check(os.stat(self.name, dir_fd=directory, follow_symlinks=False))
            yield directory

    @contextlib.contextmanager
    def directory(self) -> Iterator[int]:
        """The directory that it is, opened."""
        with explained(self.given), self._walked(self.parts) as directory:
            yield directory

    def check(self, known: os.stat_result) -> None:
        """Check that what was found is not Stepwell's own.

        Raises:
            PathRefused: It is.
        """
        if self.own.has(known):
            raise self.refused()

    def refused(self) -> PathRefused:
        """The error for what is Stepwell's own."""
        return PathRefused(f"{self.given}: is Stepwell's own, and not for steps", path=self.given)

    @contextlib.contextmanager
    def _walked(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        directory = os.open(self.root, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            self.check(os.fstat(directory))
            for part in parts:
                if self.own.has_place(os.fstat(directory), part):
                    raise self.refused()
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=directory)
                inner = os.open(part, _DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = inner
                self.check(os.fstat(directory))
            yield directory
        finally:
            os.close(directory)


def place_of(given: str, at: str, environment: Mapping[str, str] = os.environ, *, home: Path | None = None) -> Place:
    """Find a path below the roots.

    Args:
        given: Absolute, or relative to the first root.
        at: Where the definition names it.
        home: The root where the environment names none; None for none.

    Raises:
        FileSettingsError: It is no path, or a root is none.
        PathRefused: It leads elsewhere, or to what steps have no business with.
    """
    if not given.strip() or "\0" in given:
        raise FileSettingsError("is no path", place=at, path=given)
    allowed = roots(environment, home)
    try:
        found = os.path.realpath(Path(allowed[0], given))
    except (OSError, ValueError) as error:
        raise FileSettingsError(f"is no path: {error}", place=at, path=given) from None
    if len(os.fsencode(found)) > LONGEST_PATH:
        raise FileSettingsError(f"is longer than {LONGEST_PATH:,} bytes", place=at)
    for root in allowed:
        if found == root or found.startswith(root.rstrip("/") + "/"):
            parts = tuple(part for part in found[len(root) :].split("/") if part)
            hidden = next(filter(is_hidden, parts), None)
            if hidden is not None:
                raise PathRefused(
                    f"{given}: names that begin with a dot are not for steps ({hidden})",
                    place=at,
                    path=given,
                    remedy="Settings, secrets and Stepwell's own files have such names. Choose another name.",
                )
            if home is not None:  # nobody has checked it as a root
                check_no_code(found, given, at)
            return Place(given, root, parts, OwnFiles(), home)
    raise PathRefused(
        f"{given}: leads out of the directories that steps may work in",
        place=at,
        path=given,
        remedy=f"They are named by {ROOTS} in the environment of the worker, separated by {os.pathsep}.",
    )


def is_hidden(name: str) -> bool:
    """Whether a name is one of those that programs keep to themselves."""
    return name.startswith(".")


@contextlib.contextmanager
def explained(given: str) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except FileOperationError:
        raise
    except FileNotFoundError:
        raise FileNotFound(f"{given}: there is no such file or directory", path=given) from None
    except FileExistsError:
        raise FileExists(f"{given}: is there already", path=given, remedy=_OVERWRITE) from None
    except PermissionError as error:
        raise FileAccessDenied(f"{given}: {error.strerror}", path=given) from None
    except IsADirectoryError:
        raise WrongKindOfFile(f"{given}: is a directory", path=given) from None
    except NotADirectoryError:
        raise WrongKindOfFile(f"{given}: is no directory, or a part of it is none", path=given) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = f"{given}: has become a link while it was looked at"
            raise PathRefused(message, path=given) from None
        passing = error.errno in _PASSING
        raise FileOperationError(f"{given}: {error.strerror or error}", path=given, retryable=passing) from None


_OVERWRITE: Final = "With overwrite: true it is replaced."


@contextlib.contextmanager
def opened(place: Place) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A regular file, opened for reading, and what the system knows of it."""
    with place.parent() as directory:
        if not place.parts:
            raise WrongKindOfFile(f"{place.given}: is a directory", path=place.given)
        descriptor = os.open(place.name, _READ, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            known = os.fstat(descriptor)
            if not stat.S_ISREG(known.st_mode):
                what = "is a directory" if stat.S_ISDIR(known.st_mode) else "is no regular file"
                raise WrongKindOfFile(f"{place.given}: {what}", path=place.given)
            place.check(known)
            yield file, known


@contextlib.contextmanager
def replacement(directory: int, place: Place, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that takes a place at the end of the block, whole and safe on the disk; or not at all.

    Args:
        directory: The directory of the place, opened.
        overwrite: Whether it may take the place of another.
    """
    if not place.parts:
        raise WrongKindOfFile(f"{place.given}: is a directory", path=place.given)
    temporary = f".{secrets.token_hex(8)}.part"  # not made from the name, which may be as long as names can be
    descriptor = os.open(temporary, _CREATE, 0o666, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                known = os.stat(place.name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISDIR(known.st_mode):
                    raise WrongKindOfFile(f"{place.given}: is a directory", path=place.given)
                os.fchmod(descriptor, stat.S_IMODE(known.st_mode) & 0o777)
            yield file
            file.flush()
            os.fsync(descriptor)
        if overwrite:
            os.replace(temporary, place.name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.link(temporary, place.name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        os.fsync(directory)
    finally:
        with contextlib.suppress(OSError):  # it has taken its place
            os.unlink(temporary, dir_fd=directory)


def same_content(place: Place, file: Any) -> bool:
    """Whether a place holds what a file holds."""
    with contextlib.suppress(FileOperationError), opened(place) as (other, _):
        while True:
            ours, theirs = file.read(1 << 20), other.read(1 << 20)
            if ours != theirs:
                return False
            if not ours:
                return True
    return False
