"""Definitions written to files: whole or not at all, and never over something that nobody has kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Final

from stepwell.cli.exits import UsageError
from stepwell.schemas.definitions.yaml_core import write_yaml

_INDENT: Final = re.compile(r"^([ \t]+)\S", re.MULTILINE)


def as_yaml(data: Any) -> str:
    """Plain data as YAML, in its order."""
    return write_yaml(data, width=110, blocks=True)


def as_json(data: Any, *, like: str = "") -> str:
    """Plain data as JSON, indented as another text is."""
    found = _INDENT.search(like)
    indent = found[1] if found else None if like and "\n" not in like.strip() else "  "
    return json.dumps(data, ensure_ascii=False, indent=indent) + "\n"


def is_json(text: str) -> bool:
    """Whether a text is written as JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def write(path: Path, text: str) -> None:
    """Write a file: afterwards it has the old content or the new one, also if the machine fails.

    Raises:
        UsageError: It cannot be written.
    """
    beside = ""
    try:
        number, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        Path(beside).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise UsageError(f"cannot be written: {error.strerror or error}", place=str(path)) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        UsageError: It is there, or cannot be written.
    """
    if path.exists():
        raise UsageError("exists already, and is not written over", place=str(path), remedy="Name another --out.")
    write(path, text)


def keep(path: Path, version: str) -> Path:
    """Copy a file to ``NAME.VERSION.bak`` beside it, or ``NAME.VERSION.bak.2`` and so on where that is taken.

    Raises:
        UsageError: It cannot be copied.
    """
    number = 1
    while True:
        copy = path.with_name(f"{path.name}.{version}.bak" + (f".{number}" if number > 1 else ""))
        try:
            with copy.open("xb") as file:
                file.write(path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UsageError(f"cannot be kept: {error.strerror or error}", place=str(copy)) from None
        else:
            return copy
