"""The file: gzip'd JSON, one object a line, of which each has one key that says what it is.

``archive``     the first line: format, version, when, of which log, and what was chosen
``definition``  a definition that instances behind it are pinned to
``instance``    an instance; behind it come, as many as it says,
``transition``  its accepted transitions, each as the log held it, with partition and offset, in order, and
``asked``       who asked something of it
``end``         the last line: counts, and the SHA-256 of all lines before it

``zcat FILE | jq`` shows it to people, and any program can read it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from stepwell.archiving.planning import Witness

FORMAT: Final = "stepwell-archive"
VERSION: Final = 1
LONGEST_LINE: Final = 64 * 1024 * 1024  # bytes; a record of the log has some megabytes at the most


class Chosen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was to be archived.

    Attributes:
        finished_before: Only what had finished before this time, in milliseconds since 1970.
        workflow: Only instances of this one; empty for all.
        status: Only these; empty for all.
    """

    finished_before: int
    workflow: str = ""
    status: tuple[str, ...] = ()


class Beginning(Struct, frozen=True, kw_only=True):
    """The beginning of a partition, all of whose instances are in the file: what a cleanup may delete.

    Attributes:
        cut: Every instance that began below this offset is here.
        upto: All that has happened to them lies below this offset.
        witness: By which the log is known again.
    """

    partition: int
    cut: int
    upto: int
    witness: Witness


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line.

    Attributes:
        made_at: Milliseconds since 1970.
        made_by: The version of Stepwell.
        log: Where the log is, for people.
        partitions: How many it has.
        beginnings: Of a file that a cleanup has made: what it may delete.
    """

    format: str
    version: int
    made_at: int
    made_by: str
    log: str
    partitions: int
    chosen: Chosen
    beginnings: tuple[Beginning, ...] = ()


class DefinitionLine(Struct, frozen=True, kw_only=True):
    """A definition.

    Attributes:
        hash: As the instances behind it are pinned to it: whole, or its first 16 digits.
        definition: In the canonical form.
    """

    hash: str
    name: str
    version: str
    definition: Raw


class InstanceLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance. Times are milliseconds since 1970.

    Attributes:
        id: It need not be the only one of its id: ids can be used again.
        definition: Hash of the definition, or its first 16 digits.
        sequence: How many events it has had.
        error: What failed it, as ``Type: message``.
        transitions: How many lines of those follow,
        asked: and how many of these.
        base: Where its history begins in the middle: the state that it goes on from,
        base_at: and that state's time.
    """

    id: str
    workflow: str
    version: str
    status: str
    definition: str
    priority: int
    started_at: int
    finished_at: int
    sequence: int
    error: str = ""
    transitions: int = 0
    asked: int = 0
    base: Raw | None = None
    base_at: int = 0


class TransitionLine(Struct, frozen=True, kw_only=True):
    """A transition, where it was, and the record's value."""

    partition: int
    offset: int
    value: Raw


class AskedLine(Struct, frozen=True, kw_only=True):
    """Who asked for something: an entry of the audit trail; see ``projections.queries.AuditRow``."""

    partition: int
    offset: int
    at: int
    by: str
    via: str
    command: str
    command_id: str
    outcome: str
    message: str


class EndLine(Struct, frozen=True, kw_only=True):
    """The last line.

    Attributes:
        sha256: Of the bytes of all lines before it, as hexadecimal digits.
    """

    instances: int
    transitions: int
    definitions: int
    sha256: str


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Any line: one of these is set."""

    archive: Header | None = None
    definition: DefinitionLine | None = None
    instance: InstanceLine | None = None
    transition: TransitionLine | None = None
    asked: AskedLine | None = None
    end: EndLine | None = None


class _Opening(Struct, frozen=True):
    format: str = ""
    version: int = 0


class _FirstLine(Struct, frozen=True):
    archive: _Opening = _Opening()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode
_decode_first = msgspec.json.Decoder(_FirstLine).decode


def encode_line(line: Line) -> bytes:
    """A line, with its end."""
    return _encode(line) + b"\n"


def decode_line(data: bytes) -> Line:
    """Read a line.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _decode(data)


def opening(data: bytes) -> tuple[str, int]:
    """Format and version that a first line names, whatever else is in it.

    Raises:
        msgspec.DecodeError: It is none.
    """
    found = _decode_first(data).archive
    return found.format, found.version


def raw(value: bytes) -> Raw:
    """A JSON value of the log as part of a line: its bytes as they are, unless it has several lines itself."""
    return Raw(value if b"\n" not in value else msgspec.json.format(value, indent=-1))


def plain(line: Any) -> Any:
    """A line's content as plain data."""
    return msgspec.to_builtins(line)
