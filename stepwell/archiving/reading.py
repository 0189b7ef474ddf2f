"""Reading an archive back: what is in it, and any of its instances as it was after any of its events."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

import msgspec

from stepwell.archiving.format import (
    FORMAT,
    LONGEST_LINE,
    VERSION,
    AskedLine,
    DefinitionLine,
    EndLine,
    Header,
    InstanceLine,
    Line,
    decode_line,
    opening,
)
from stepwell.arguments import path_of
from stepwell.command_line import command
from stepwell.consumers.reading.histories import EventRecord, event_records, time_of
from stepwell.consumers.reading.views import InstanceView, view
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.state import InstanceState, decode_instance
from stepwell.core.plan.compile import Plan
from stepwell.errors import (
    ArchiveDamagedError,
    ArchiveError,
    ArchiveVersionError,
    DefinitionError,
    UnknownInstanceError,
)
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import Definition, decode_definition
from stepwell.schemas.records.codec import decode_transition
from stepwell.schemas.records.events import Transition
from stepwell.schemas.records.pins import ByHash


class ArchivedTransition(NamedTuple):
    """A transition, and where it was in the log."""

    partition: int
    offset: int
    transition: Transition


class ArchivedInstance:
    """An instance of an archive.

    Attributes:
        summary: What there is to say of it in a line.
        transitions: All that has happened to it.
        asked: Who asked what of it, as far as anybody has put a name to it.
        definition: What it is pinned to; None where that was not known when it was archived.
    """

    def __init__(
        self,
        summary: InstanceLine,
        transitions: list[ArchivedTransition],
        asked: list[AskedLine],
        definition: Definition | None,
    ) -> None:
        self.summary = summary
        self.transitions = transitions
        self.asked = asked
        self.definition = definition

    @property
    def id(self) -> str:
        """Its id."""
        return self.summary.id

    def state(self, to: int | None = None) -> InstanceState | None:
        """The instance as it was right after an event, folded from its history.

        Args:
            to: The event's sequence; None for the newest.
        """
        base = None if self.summary.base is None else decode_instance(bytes(self.summary.base))
        return fold((one.transition for one in self.transitions), base, to=to)

    def view(self, to: int | None = None) -> InstanceView:
        """The same as ``client.get`` and ``client.replay`` give it.

        Raises:
            ArchiveError: There is no such event.
        """
        state = None if to is not None and to < 1 else self.state(to)
        if state is None or (to is not None and to > state.sequence):
            raise ArchiveError(
                f"there is no event {to}; its events are 1 to {self.summary.sequence}", place=self.summary.id
            )
        as_of = 0 if to is None else time_of((one.transition for one in self.transitions), to)
        return view(state, self.plan(), as_of)

    def plan(self) -> Plan | None:
        """Its definition, compiled; None where it is not known, or no longer compiles."""
        try:
            return None if self.definition is None else compile_plan(self.definition)
        except DefinitionError:  # rules have become stricter since: its steps are known from its history
            return None

    def history(self) -> list[EventRecord]:
        """Everything that ever happened to it, as ``client.history`` gives it."""
        return [
            record for one in self.transitions for record in event_records(one.transition, one.partition, one.offset)
        ]


class Archive:
    """A file that ``stepwell archive`` or ``stepwell cleanup`` has written. Any number may read it at once.

    It is read from its beginning, one instance after the other, so memory stays bounded however large it is.

    Args:
        path: The file.

    Attributes:
        header: When it was made, of which log, and what was chosen.

    Raises:
        ArchiveError: There is no such file, or it is none of ours.
        ArchiveVersionError: It is of a newer Stepwell.
        ArchiveDamagedError: Nothing of it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = path_of(ArchiveError, "path", path)
        with _Lines(self.path) as lines:
            self.header: Header = lines.header()

    def __iter__(self) -> Iterator[ArchivedInstance]:
        """All instances, in the order of the file.

        Raises:
            ArchiveDamagedError: Behind the last one that can be read.
        """
        with _Lines(self.path) as lines:
            lines.header()
            yield from lines.instances()

    def summaries(self) -> Iterator[ArchivedInstance]:
        """The same without their histories: quicker, for a list.

        Raises:
            ArchiveDamagedError: Behind the last one that can be read.
        """
        with _Lines(self.path) as lines:
            lines.header()
            yield from lines.instances(_NOBODY)

    def get(self, instance_id: str) -> ArchivedInstance:
        """One instance; of several with the same id, the last.

        Raises:
            UnknownInstanceError: There is none of this id.
            ArchiveDamagedError: There is none among those that can be read.
        """
        found = None
        try:
            with _Lines(self.path) as lines:
                lines.header()
                for one in lines.instances(instance_id):
                    if one.id == instance_id:
                        found = one
        except ArchiveDamagedError:
            if found is None:
                raise
        if found is None:
            raise UnknownInstanceError(
                f"this archive holds no instance {instance_id!r}",
                place=str(self.path),
                remedy=f"`{command('archived', str(self.path))}` lists what is in it.",
            )
        return found

    def check(self) -> EndLine:
        """Read all of it.

        Returns:
            What its last line says, which is right.

        Raises:
            ArchiveDamagedError: It is not whole.
        """
        with _Lines(self.path) as lines:
            lines.header()
            for _ in lines.instances(_NOBODY):
                pass
            return lines.end()


_NOBODY: Final = ""  # no instance has this id


class _Lines:
    """The lines of a file, from the first on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._definitions = ByHash[DefinitionLine]()
        self._instances = 0
        self._transitions = 0
        self._last = ""
        self._end: EndLine | None = None

    def __enter__(self) -> Self:
        try:
            self._file: IO[bytes] = self._path.open("rb")
        except OSError as error:
            raise ArchiveError(
                f"the archive cannot be read: {error.strerror or error}", place=str(self._path)
            ) from error
        self._stream = gzip.GzipFile(fileobj=self._file, mode="rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._file.close()

    def header(self) -> Header:
        """Read the first line."""
        try:
            data = self._stream.readline(LONGEST_LINE)
            found, version = opening(data)
        except (OSError, EOFError, zlib.error, msgspec.DecodeError):
            found, version, data = "", 0, b""
        if found != FORMAT:
            raise ArchiveError(
                "this file is no archive of Stepwell, or nothing of it can be read",
                place=str(self._path),
                remedy="Name a file that `stepwell archive` or `stepwell cleanup` has written.",
            )
        if version > VERSION:
            raise ArchiveVersionError(
                f"an archive of format {version}; this Stepwell reads formats up to {VERSION}: nothing of this one",
                place=str(self._path),
                remedy="Update Stepwell (pip install --upgrade stepwell).",
            )
        self._digest.update(data)
        header = self._decoded(data).archive
        if header is None:
            raise self._damaged("its first line is not what it should be")
        return header

    def instances(self, wanted: str | None = None) -> Iterator[ArchivedInstance]:
        """All instances; the histories of all, or only of those with a wanted id."""
        while (line := self._next()).end is None:
            if line.definition is not None:
                self._definitions.put(line.definition.hash, line.definition)
            elif line.instance is not None:
                one = self._instance(line.instance, decode=wanted in {None, line.instance.id})
                self._instances += 1
                self._transitions += line.instance.transitions
                self._last = line.instance.id
                yield one
            else:
                raise self._damaged("a line is not where it should be")
        self._check_end(line.end)

    def _instance(self, summary: InstanceLine, *, decode: bool) -> ArchivedInstance:
        transitions, asked = [], []
        for _ in range(summary.transitions):
            line = self._next().transition
            if line is None:
                raise self._damaged(f"a part of {summary.id!r} is missing")
            if decode:
                place = f"{self._path}: events[{line.partition}]@{line.offset}"
                transition = decode_transition(bytes(line.value), place)
                transitions.append(ArchivedTransition(line.partition, line.offset, transition))
        for _ in range(summary.asked):
            entry = self._next().asked
            if entry is None:
                raise self._damaged(f"a part of {summary.id!r} is missing")
            asked.append(entry)
        written = self._definitions.get(summary.definition) if decode else None
        definition = None if written is None else self._definition(written)
        return ArchivedInstance(summary, transitions, asked, definition)

    def _definition(self, written: DefinitionLine) -> Definition | None:
        try:
            return decode_definition(bytes(written.definition))
        except ValueError:  # of a newer Stepwell: the history alone says what has happened
            return None

    def _next(self) -> Line:
        try:
            data = self._stream.readline(LONGEST_LINE)
        except EOFError:
            raise self._damaged("it ends in the middle") from None
        except (OSError, zlib.error) as error:
            raise self._damaged(f"it cannot be unpacked any further ({error})") from None
        if not data.endswith(b"\n"):
            raise self._damaged("it ends in the middle")
        line = self._decoded(data)
        if line.end is None:
            self._digest.update(data)
        return line

    def _decoded(self, data: bytes) -> Line:
        try:
            return decode_line(data)
        except msgspec.DecodeError as error:
            raise self._damaged(f"a line cannot be read ({error})") from None

    def _check_end(self, end: EndLine) -> None:
        if end.sha256 != self._digest.hexdigest():
            raise self._damaged("its checksum is wrong: something in it was changed")
        if (end.instances, end.transitions) != (self._instances, self._transitions):
            raise self._damaged("it does not hold as much as it says")
        try:
            more = self._stream.read(1)
        except (OSError, EOFError, zlib.error):
            more = b"?"
        if more:
            raise self._damaged("something follows its end")
        self._end = end

    def end(self) -> EndLine:
        """The last line, once all was read."""
        if self._end is None:
            raise self._damaged("it ends in the middle")
        return self._end

    def _damaged(self, why: str) -> ArchiveDamagedError:
        last = f", up to {self._last!r}" if self._last else ""
        what = "instance" if self._instances == 1 else "instances"
        return ArchiveDamagedError(
            f"the archive is damaged: {why}; {self._instances:,} {what} can be read{last}",
            readable=self._instances,
            place=str(self._path),
            remedy="Restore it from a copy.",
        )


def summary_of(one: ArchivedInstance) -> dict[str, Any]:
    """An instance in a list, as ``stepwell list`` has it."""
    line = one.summary
    return {
        "instance_id": line.id, "workflow": line.workflow, "version": line.version, "status": line.status,
        "priority": line.priority, "started_at": line.started_at, "finished_at": line.finished_at,
        "sequence": line.sequence, "error": line.error,
    }  # fmt: skip
