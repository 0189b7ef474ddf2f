"""``file_operation``: reads, writes, copies, moves and lists files, in the directories that the worker allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Struct

from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import Check, flag, literal_of, one_of, problems_of, text

OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "read": ("path", "format", "encoding"),
    "write": ("path", "content", "format", "encoding", "overwrite", "make_dirs"),
    "copy": ("path", "to", "overwrite", "make_dirs"),
    "move": ("path", "to", "overwrite", "make_dirs"),
    "list": ("path", "pattern", "recursive"),
    "checksum": ("path", "algorithm"),
}
"""The operations, and what each takes."""

FORMATS: Final = ("text", "json", "base64")
CHECKSUMS: Final = ("sha256", "sha512", "sha1", "md5", "blake2b")
_TEXT: Final = {"type": "string"}


class FileOperationConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of a ``file_operation`` step."""

    operation: Annotated[
        Literal["read", "write", "copy", "move", "list", "checksum"],
        Setting("What is done: `read`, `write`, `copy`, `move`, `list` or `checksum`.", schema=_TEXT),
    ]
    path: Annotated[str, Setting("The file, or the directory.", called=("source", "file_path"))]
    to: Annotated[str | None, Setting("Where it is copied or moved to.", called=("destination", "target"))] = None
    content: Annotated[Any, Setting("What is written.", default="the step's input", called=("data",))] = None
    format: Annotated[
        Literal["text", "json", "base64"] | None,
        Setting(
            "What the file holds: `text`, `json`, or `base64` for any bytes.",
            default="`text`; to write what is no text, `json`",
            schema=_TEXT,
        ),
    ] = None
    encoding: Annotated[str | None, Setting("The encoding of text and JSON.", default="`utf-8`")] = None
    pattern: Annotated[
        str | None, Setting("A pattern of names, or of paths if it holds a slash: `*.csv`, `2026/*`.", default="`*`")
    ] = None
    recursive: Annotated[
        bool | None, Setting("Whether what is below is listed, too; links are not followed.", default="false")
    ] = None
    algorithm: Annotated[
        str | None,
        Setting(f"The kind of checksum: {', '.join(f'`{name}`' for name in CHECKSUMS)}.", default="`sha256`"),
    ] = None
    overwrite: Annotated[bool | None, Setting("Whether a file of other content may be replaced.", default="true")] = (
        None
    )
    make_dirs: Annotated[bool | None, Setting("Whether missing directories are made.", default="false")] = None


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    literal = literal_of(config)
    yield from problems_of(_CHECKS, literal, at)
    operation = literal.get("operation")
    if not isinstance(operation, str) or operation not in OPERATIONS:
        return
    taken = OPERATIONS[operation]
    all_keys = {key for keys in OPERATIONS.values() for key in keys}
    for key in config:
        if key in all_keys and key not in taken:
            yield f'{at}.{key}: the operation "{operation}" takes none; it takes {", ".join(taken)}'
    if "to" in taken and "to" not in config:
        yield f'{at}: the operation "{operation}" needs "to"'


_CHECKS: Final[Mapping[str, Check]] = {
    "operation": one_of(OPERATIONS, "operation"),
    "path": text,
    "to": text,
    "format": one_of(FORMATS, "format"),
    "encoding": text,
    "pattern": text,
    "recursive": flag,
    "algorithm": one_of(CHECKSUMS, "algorithm"),
    "overwrite": flag,
    "make_dirs": flag,
}

TYPE: Final = StepType(
    name="file_operation",
    config=FileOperationConfig,
    check=_check,
    unknown_keys_last=True,
    runs="files:file_operation_here",
    runs_for_services="files:file_operation",
    blocking=True,
    text="Read, write, copy, move or list files, in the directories that the worker allows.",
    takes="written where nothing else is",
    gives="what the operation found",
    call=Call(positional=("operation", "path")),
)
