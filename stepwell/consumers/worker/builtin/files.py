"""The ``file_operation`` step: files below the directories that the worker was told of, see ``_roots``.

===========  ========================================================================================================
read         ``{path, format, encoding}`` → ``{path, content, size}``
write        ``{path, content, format, encoding, overwrite, make_dirs}`` → ``{path, size}``; without ``content``, the
             step's input is written
copy, move   ``{path, to, overwrite, make_dirs}`` → ``{path, to, size}``
list         ``{path, pattern, recursive}`` → ``{path, entries, count}``
checksum     ``{path, algorithm}`` → ``{path, algorithm, checksum, size}``
===========  ========================================================================================================

``format`` is ``text``, ``json`` or ``base64``. What is written takes its place in one moment, whole and safe on the
disk, so that no reader ever sees half a file.

Steps run at least once, so each operation may be repeated: writing the same again changes nothing, also where
``overwrite`` is false, and a move whose source is gone and whose destination is there was done before.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import errno
import fnmatch
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from stepwell.consumers.worker.builtin._errors import (
    FileExists,
    FileNotFound,
    FileOperationError,
    FileSettingsError,
    WrongKindOfFile,
)
from stepwell.consumers.worker.builtin._roots import (
    Place,
    is_hidden,
    opened,
    place_of,
    replacement,
    same_content,
)
from stepwell.consumers.worker.builtin._settings import Settings
from stepwell.consumers.worker.context import StepContext
from stepwell.core.expressions.values import kind
from stepwell.step_types.file_operation import CHECKSUMS, FORMATS, OPERATIONS, TYPE

MAX_CONTENT_BYTES: Final = 943_718  # what a step can return; the worker looks once more at the whole output
MAX_ENTRIES: Final = 10_000
MAX_DEPTH: Final = 100  # directories within one another
_CHUNK: Final = 1 << 20


class FileContentError(FileOperationError):
    """A file, or what shall be written, does not fit its format. Not retryable."""


class PayloadTooLarge(FileOperationError):  # noqa: N818 - a kind of error that retry policies know
    """A file is larger than what a step can return.

    Args:
        size: How large, in bytes (or entries, of a list).
        limit: The most.
    """

    def __init__(self, message: str, *, size: int, limit: int, path: str, remedy: str = "") -> None:
        self.size = size
        self.limit = limit
        super().__init__(message, path=path, remedy=remedy)


def file_operation(data: Any, ctx: StepContext, home: Path | None = None) -> dict[str, Any]:
    """Run a ``file_operation`` step. It blocks: the worker runs it in a thread.

    Args:
        data: The step's input; written where ``content`` is not given.
        ctx: ``config`` says what to do, see above.
        home: Where it works if the environment names no directory for it; None for nowhere.

    Raises:
        FileSettingsError: ``config`` is wrong, or there is no directory to work in.
        PathRefused: A path leads out of the directories that steps may work in, or to what is not for them.
        FileNotFound: There is no such file.
        FileExists: There is another one, and ``overwrite`` is false.
        FileAccessDenied: The worker's user may not.
        WrongKindOfFile: It is a directory, or is none.
        FileContentError: The content does not fit its format.
        PayloadTooLarge: There is more than a step can return.
        FileOperationError: The system says no.
    """
    settings = Settings(ctx.config, "config", TYPE.keys, FileSettingsError)
    operation = settings.choice("operation", OPERATIONS)
    settings = Settings(ctx.config, "config", ("operation", *OPERATIONS[operation]), FileSettingsError)
    place = place_of(settings.text("path"), settings.at("path"), home=home)
    return _OPERATIONS[operation](settings, place, data, ctx)


def file_operation_here(data: Any, ctx: StepContext) -> Any:
    """The same for whoever runs definitions of their own: where no directory is named, in the working directory."""
    return file_operation(data, ctx, Path.cwd())


def _read(settings: Settings, place: Place, _data: Any, _ctx: StepContext) -> dict[str, Any]:
    shape = settings.choice("format", FORMATS, "text")
    encoding = _encoding(settings)
    with opened(place) as (file, known):
        most = MAX_CONTENT_BYTES * 3 // 4 if shape == "base64" else MAX_CONTENT_BYTES
        raw = file.read(most + 1) if known.st_size <= most else b""
        size = max(known.st_size, len(raw))
    if size > most:
        raise PayloadTooLarge(
            f"{place.given}: has {size:,} bytes, and a step can return {most:,}",
            size=size, limit=most, path=place.given,
            remedy="Pass its path on, and read it in a handler.",
        )  # fmt: skip
    return {"path": place.given, "content": _decoded(raw, shape, encoding, place), "size": len(raw)}


def _decoded(raw: bytes, shape: str, encoding: str, place: Place) -> Any:
    if shape == "base64":
        return base64.b64encode(raw).decode()
    try:
        text = raw.decode(encoding)
        return msgspec.json.decode(text.removeprefix("\ufeff")) if shape == "json" else text
    except UnicodeDecodeError as error:
        message = f"{place.given}: is no text in {encoding} (byte {error.start})"
        remedy = "Say which encoding it has, or read it with format: base64."
        raise FileContentError(message, path=place.given, remedy=remedy) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise FileContentError(f"{place.given}: is no JSON: {error}", path=place.given) from None


def _write(settings: Settings, place: Place, data: Any, ctx: StepContext) -> dict[str, Any]:
    raw = _encoded(settings, settings.get("content") if "content" in settings else data)
    _put(settings, place, io.BytesIO(raw), ctx)
    return {"path": place.given, "size": len(raw)}


def _encoded(settings: Settings, content: Any) -> bytes:
    shape = settings.choice("format", FORMATS, "text" if isinstance(content, str) else "json")
    encoding = _encoding(settings)
    if shape == "json":
        return (msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n").encode(encoding)
    if not isinstance(content, str):
        raise FileContentError(f"a text is needed, not {kind(content)}", place=settings.at("content"))
    try:
        return base64.b64decode(content, validate=True) if shape == "base64" else content.encode(encoding)
    except binascii.Error as error:
        raise FileContentError(f"is no base64: {error}", place=settings.at("content")) from None
    except UnicodeEncodeError as error:
        message = f"{encoding} has nothing for {content[error.start]!r}"
        raise FileContentError(message, place=settings.at("content")) from None


def _encoding(settings: Settings) -> str:
    name = settings.text("encoding", "utf-8")
    try:
        known = codecs.lookup(name).name not in _NO_CHARSETS
        "a".encode(name)
    except (LookupError, ValueError, TypeError):
        known = False
    if not known:
        raise settings.wrong("encoding", f'unknown encoding "{name}"', "It looks like utf-8 or latin-1.")
    return name


_NO_CHARSETS: Final = frozenset({"idna", "punycode", "undefined", "raw_unicode_escape", "unicode_escape"})


def _put(settings: Settings, place: Place, source: BinaryIO, ctx: StepContext) -> int:
    """Give a place a file's content; return its size."""
    overwrite = _overwrites(settings)
    size = 0
    with place.parent(make=settings.flag("make_dirs")) as directory:
        try:
            with replacement(directory, place, overwrite=overwrite) as file:
                while chunk := source.read(_CHUNK):
                    _go_on(place, ctx)
                    file.write(chunk)
                    size += len(chunk)
        except FileExistsError:
            source.seek(0)
            if not same_content(place, source):
                raise
    return size


def _go_on(place: Place, ctx: StepContext) -> None:
    """End what was cancelled or took too long: a thread cannot be ended from outside."""
    if ctx.cancelled:
        raise FileOperationError(f"{place.given}: nobody waits for it any more", path=place.given)


def _overwrites(settings: Settings) -> bool:
    return settings.flag("overwrite") if "overwrite" in settings else True


def _destination(settings: Settings, place: Place) -> Place:
    to = place_of(settings.text("to"), settings.at("to"), home=place.home)
    if (to.root, to.parts) == (place.root, place.parts):
        raise settings.wrong("to", "is the same file")
    return to


def _copy(settings: Settings, place: Place, _data: Any, ctx: StepContext) -> dict[str, Any]:
    to = _destination(settings, place)
    with opened(place) as (source, _):
        size = _put(settings, to, source, ctx)
    return {"path": place.given, "to": to.given, "size": size}


def _move(settings: Settings, place: Place, _data: Any, ctx: StepContext) -> dict[str, Any]:
    to = _destination(settings, place)
    try:
        with opened(place) as (_, known):
            size = known.st_size
    except FileNotFound:
        with contextlib.suppress(FileOperationError), opened(to) as (_, known):
            return {"path": place.given, "to": to.given, "size": known.st_size}  # a repeat: it was moved before
        raise
    with place.parent() as source, to.parent(make=settings.flag("make_dirs")) as target:
        if not to.parts:
            raise WrongKindOfFile(f"{to.given}: is a directory", path=to.given)
        try:
            if _overwrites(settings):
                os.rename(place.name, to.name, src_dir_fd=source, dst_dir_fd=target)
            else:
                _link(place, source, to, target)
                os.unlink(place.name, dir_fd=source)
        except OSError as error:
            if error.errno == errno.EISDIR:
                raise WrongKindOfFile(f"{to.given}: is a directory", path=to.given) from None
            if error.errno != errno.EXDEV:
                raise
            with opened(place) as (file, _):  # another file system
                _put(settings, to, file, ctx)
            os.unlink(place.name, dir_fd=source)
        os.fsync(target)
        os.fsync(source)
    return {"path": place.given, "to": to.given, "size": size}


def _link(place: Place, source: int, to: Place, target: int) -> None:
    """Give a file a second name, unless it has it already."""
    try:
        os.link(place.name, to.name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        ours = os.stat(place.name, dir_fd=source, follow_symlinks=False)
        theirs = os.stat(to.name, dir_fd=target, follow_symlinks=False)
        if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
            remedy = "With overwrite: true it is replaced."
            raise FileExists(f"{to.given}: is there already", path=to.given, remedy=remedy) from None


def _list(settings: Settings, place: Place, _data: Any, ctx: StepContext) -> dict[str, Any]:
    pattern, recursive = settings.text("pattern", "*"), settings.flag("recursive")
    entries: list[dict[str, Any]] = []
    with place.directory() as directory:
        for path, known in _entries(directory, "", 0 if recursive else MAX_DEPTH):
            _go_on(place, ctx)
            if place.own.has(known) or not fnmatch.fnmatchcase(
                path if "/" in pattern else path.rpartition("/")[2], pattern
            ):
                continue
            if len(entries) >= MAX_ENTRIES:
                raise PayloadTooLarge(
                    f"{place.given}: has more than {MAX_ENTRIES:,} entries",
                    size=MAX_ENTRIES + 1, limit=MAX_ENTRIES, path=place.given,
                    remedy="Name fewer by a pattern.",
                )  # fmt: skip
            entries.append(_entry(place, path, known))
    entries.sort(key=lambda entry: str(entry["path"]))
    return {"path": place.given, "entries": entries, "count": len(entries)}


def _entries(directory: int, below: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    """What is in a directory, and in those below it; links are followed nowhere."""
    with os.scandir(directory) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        if is_hidden(name):
            continue
        path = f"{below}{name}"
        try:
            known = os.stat(name, dir_fd=directory, follow_symlinks=False)
            yield path, known
            if not stat.S_ISDIR(known.st_mode) or depth >= MAX_DEPTH:
                continue
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:  # removed meanwhile
            continue
        try:
            yield from _entries(inner, f"{path}/", depth + 1)
        finally:
            os.close(inner)


def _entry(place: Place, path: str, known: os.stat_result) -> dict[str, Any]:
    mode = known.st_mode
    kinds = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))
    return {
        "name": _shown(path.rpartition("/")[2]),
        "path": _shown(f"{place.given.rstrip('/')}/{path}" if place.given != "." else path),
        "type": next((name for is_it, name in kinds if is_it(mode)), "other"),
        "size": known.st_size,
        "modified": datetime.fromtimestamp(int(known.st_mtime), UTC).isoformat().replace("+00:00", "Z"),
    }


def _shown(name: str) -> str:
    """A name of a file as text: names may hold bytes that are none."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _checksum(settings: Settings, place: Place, _data: Any, ctx: StepContext) -> dict[str, Any]:
    algorithm = settings.choice("algorithm", CHECKSUMS, "sha256")
    digest, size = hashlib.new(algorithm, usedforsecurity=False), 0
    with opened(place) as (file, _):
        while chunk := file.read(_CHUNK):
            _go_on(place, ctx)
            digest.update(chunk)
            size += len(chunk)
    return {"path": place.given, "algorithm": algorithm, "checksum": digest.hexdigest(), "size": size}


_OPERATIONS: Final = {
    "read": _read,
    "write": _write,
    "copy": _copy,
    "move": _move,
    "list": _list,
    "checksum": _checksum,
}
