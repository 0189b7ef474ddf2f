"""That a log was served with access tokens is remembered: who loses them must not so let everybody in.

A file that is gone, or a server that is started in another directory, would else be a server without tokens, where
whoever reaches it may do everything. The note stands beside the log, ``PATH.access``. For Kafka it stands in the
user's directory for state (``XDG_STATE_HOME``), since no working directory is the log's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from stepwell.errors import StepwellError
from stepwell.logs import Logger
from stepwell.own_files import claim
from stepwell.private_files import make_directory, opened
from stepwell.projections.places import path_for

_SUFFIX: Final = ".access"
_MOST: Final = 100_000  # bytes of a note: far more than a path has
_logger = Logger("stepwell.server")


class TokensGoneError(StepwellError):
    """A log was served with access tokens, and is to be served without."""


class _Note(Struct):
    """What is noted.

    Attributes:
        tokens: The file of access tokens, absolute.
    """

    tokens: str


def note_of(url: str | None) -> Path:
    """Where it is noted, for a log."""
    state = os.environ.get("XDG_STATE_HOME", "") or "~/.local/state"
    return path_for(url, _SUFFIX, directory=Path(state).expanduser() / "stepwell")


def remember(url: str | None, tokens: Path) -> None:
    """Note that a log is served with the tokens of a file.

    Where it cannot be noted, that is told, and nothing else is the worse for it.
    """
    file = note_of(url)
    note = msgspec.json.encode(_Note(os.path.abspath(tokens)))  # noqa: PTH100 - links stay as they are named
    try:
        if file.is_file() and file.read_bytes() == note:
            return
        make_directory(file.parent)
        part = file.with_name(f"{file.name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        with os.fdopen(opened(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as made:
            made.write(note)
        part.replace(file)
    except OSError as error:
        _logger.warning(
            "it cannot be noted that access tokens are used: without their file the next server would have none",
            file=str(file), reason=error.strerror or str(error),
        )  # fmt: skip


def remembered(url: str | None) -> str:
    """The file of tokens with which a log was served; empty if it never was. It is none of the steps' business.

    A note that says nothing any more is still one: the path is then ``a file that is not known any more``.
    """
    file = note_of(url)
    claim(file)
    try:
        with file.open("rb") as found:
            tokens = msgspec.json.decode(found.read(_MOST), type=_Note).tokens
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, msgspec.DecodeError):
        return "a file that is not known any more"
    claim(tokens)
    return tokens


def check_not_forgotten(url: str | None) -> None:
    """Check that a log that is to be served without tokens never was served with some.

    Raises:
        TokensGoneError: It was.
    """
    tokens = remembered(url)
    if tokens:
        there = os.path.exists(tokens)  # noqa: PTH110 - what is noted need be no path
        raise TokensGoneError(
            "this log was served with access tokens, and without them everybody may do everything",
            place=tokens,
            remedy=f"Name their file: --tokens {tokens}."
            if there
            else "The file is gone: `stepwell token NAME --role admin --tokens FILE` makes a new one; name it with "
            "--tokens. Or say that everybody on this machine may do everything: --open.",
        )
