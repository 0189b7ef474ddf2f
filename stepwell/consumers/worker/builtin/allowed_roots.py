"""Which directories steps may be given to work in: none that holds code, or what is Stepwell's own.

Whoever writes a definition chooses paths. Were they to lead to a module that this process can import, to the log or
to the access tokens, a step that writes a file would be a way to run code, or to become somebody else.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Final

from stepwell.consumers.worker.builtin._errors import FileSettingsError, PathRefused
from stepwell.own_files import claimed, holds

ROOTS: Final = "STEPWELL_FILE_ROOTS"
_REMEDY: Final = "Name a directory that holds nothing but files for steps, such as /var/lib/stepwell/files."
_PSEUDO: Final = ("/proc", "/sys", "/dev")  # what is there are no files, and leads to files of everywhere
_CODE: Final = tuple(all_suffixes())  # how the names of files end that Python imports


def roots(environment: Mapping[str, str], home: Path | None) -> list[str]:
    """The directories that steps may work in, resolved.

    Args:
        environment: ``STEPWELL_FILE_ROOTS`` names them, separated by ``os.pathsep``.
        home: What to take where nothing is named; None for nothing.

    Raises:
        FileSettingsError: There is none; or one may not be worked in.
    """
    named = [part for part in environment.get(ROOTS, "").split(os.pathsep) if part.strip()]
    for part in named:
        if not Path(part).is_dir():
            raise FileSettingsError(f"{part}: there is no such directory", place=ROOTS)
        reason = _reason(part)
        if reason:
            raise FileSettingsError(f"{part}: {reason}, so steps may not work there", place=ROOTS, remedy=_REMEDY)
    if not named and home is None:
        raise FileSettingsError(
            "no directory is named in which steps may work on files",
            place=ROOTS,
            remedy=f"Start the worker with {ROOTS}=DIRECTORY in its environment. {_REMEDY}",
        )
    return [os.path.realpath(part) for part in named or [str(home)]]


def check_roots(environment: Mapping[str, str] = os.environ) -> None:
    """Check the directories that are named, before any step asks.

    Raises:
        FileSettingsError: One is not there, or may not be worked in.
    """
    if environment.get(ROOTS, "").strip():
        roots(environment, None)


def check_no_code(found: str, given: str, at: str) -> None:
    """Check that a path is none that Python imports from: of the working directory, which may hold modules.

    Args:
        found: The path, resolved.
        given: As the definition names it.
        at: Where the definition names it.

    Raises:
        PathRefused: It is one.
    """
    code = found.casefold().endswith(_CODE)
    for entry in _code_places():
        inside = holds(entry, found)
        if inside and (code or not holds(entry, os.getcwd())):  # noqa: PTH109 - compared as text
            raise PathRefused(
                f"{given}: Python imports from there",
                place=at,
                path=given,
                remedy=f"Name other directories for steps to work in: {ROOTS}=DIRECTORY.",
            )


def _reason(root: str) -> str:
    """Why steps may not work in a directory; empty if they may."""
    real = os.path.realpath(root)
    if any(real == pseudo or real.startswith(f"{pseudo}/") for pseudo in _PSEUDO):
        return "holds no files of a disk"
    for own in claimed():
        if holds(root, own):
            return f"holds {own}, which is Stepwell's own"
        if holds(own, root):
            return f"lies in {own}, which is Stepwell's own"
    for entry in _code_places():
        if holds(root, entry):
            return f"holds {entry}, from which Python imports modules or is run"
        if holds(entry, root):
            return f"lies in {entry}, from which Python imports modules or is run"
    return ""


def _code_places() -> Iterator[str]:
    """Where this process imports modules from; and where its programs are."""
    entries = [os.path.abspath(entry or os.curdir) for entry in dict.fromkeys(sys.path)]  # noqa: PTH100 - also zip files
    yield from entries
    # Packages that a finder of their own has found, such as those that are installed to be edited.
    below = tuple(f"{entry.rstrip(os.sep)}{os.sep}" for entry in entries)
    for name, module in list(sys.modules.items()):
        if "." not in name:
            found = (os.path.abspath(path) for path in _paths_of(module))  # noqa: PTH100 - as above
            yield from (path for path in found if not path.startswith(below))
    yield os.path.dirname(os.path.abspath(sys.executable or sys.prefix))  # noqa: PTH100, PTH120
    yield sysconfig.get_path("scripts")


def _paths_of(module: object) -> list[str]:
    """The directories of a package; of another module none."""
    try:
        return [path for path in getattr(module, "__path__", ()) if isinstance(path, str)]
    except Exception:  # modules may be objects of any kind
        return []
