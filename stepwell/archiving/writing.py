"""Writing an archive: what the read models hold of finished instances, byte for byte as the log held it.

The read models have every accepted transition together by instance, which the log has not: so any number of instances
is written with no more than one of them in memory, from Kafka as from a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from stepwell import __version__
from stepwell.archiving.format import (
    FORMAT,
    VERSION,
    AskedLine,
    Beginning,
    Chosen,
    DefinitionLine,
    EndLine,
    Header,
    InstanceLine,
    Line,
    TransitionLine,
    encode_line,
    raw,
)
from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import ArchiveError
from stepwell.log.port import Log
from stepwell.private_files import make_directory, opened
from stepwell.process import now_ms
from stepwell.projections import tables
from stepwell.projections.cleaning import place_of
from stepwell.projections.queries import Queries
from stepwell.projections.rows import InstanceRow
from stepwell.projections.tables import OFFSET_BITS, OFFSETS
from stepwell.schemas.definitions.model import Definition, encode_definition

if sys.platform != "win32":
    import fcntl

_BLOCK: Final = 1 << 20  # bytes that are compressed and written at once, in a thread
_PAGE: Final = 500


class Written(NamedTuple):
    """How many instances and transitions are in a file."""

    instances: int
    transitions: int


class _File:
    """The file while it is written, under another name; its lines are gathered into blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._lines: list[bytes] = []
        self._size = 0
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = os.fdopen(opened(self.part, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")
        try:
            if sys.platform != "win32":
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ArchiveError(
                "another process is writing this file", place=str(path), remedy="Wait for it, or name another file."
            ) from None
        self._file.truncate(0)  # of somebody who was killed
        self._stream = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._file)

    async def put(self, line: Line) -> None:
        data = encode_line(line)
        self._lines.append(data)
        self._size += len(data)
        if self._size >= _BLOCK:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        block = b"".join(self._lines)
        self._lines, self._size = [], 0
        self._digest.update(block)
        self._stream.write(block)

    def finish(self, written: Written, definitions: int, *, force: bool) -> None:
        """Write the last line, see that all of it is on the disk, and give the file its name."""
        self._flush()
        end = EndLine(
            instances=written.instances,
            transitions=written.transitions,
            definitions=definitions,
            sha256=self._digest.hexdigest(),
        )
        self._stream.write(encode_line(Line(end=end)))
        self._stream.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if force:
            self.part.replace(self.path)
        else:
            os.link(self.part, self.path)  # fails where somebody has made it meanwhile
            self.part.unlink()
        if sys.platform == "win32":
            return  # where directories cannot be flushed
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def drop(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self.part.unlink(missing_ok=True)


async def write_archive(
    log: Log,
    queries: Queries,
    definitions: Definitions,
    path: Path,
    chosen: Chosen,
    *,
    beginnings: Sequence[Beginning] = (),
    force: bool = False,
) -> Written:
    """Write finished instances to a file. It is there whole, or not at all.

    Args:
        queries: Read models that hold all that has happened by now.
        definitions: The registry, read to its end.
        beginnings: Instead of all that were chosen: those that began in these beginnings of partitions.
        force: Replace a file that is there.

    Raises:
        ArchiveError: The file is there, or cannot be written.
        ReadModelsError: The read models cannot be read.
    """
    header = Header(
        format=FORMAT,
        version=VERSION,
        made_at=now_ms(),
        made_by=__version__,
        log=log.describe().where,
        partitions=log.partitions,
        chosen=chosen,
        beginnings=tuple(beginnings),
    )
    if not force and await asyncio.to_thread(path.exists):
        raise _is_there(path)
    with _told(path):
        await asyncio.to_thread(make_directory, path.parent)
        file = _File(path)
        try:
            written, known = await _write(file, header, queries, definitions, _numbers(queries, chosen, beginnings))
            await asyncio.to_thread(file.finish, written, known, force=force)
        except BaseException:
            file.drop()
            raise
    return written


async def _write(
    file: _File, header: Header, queries: Queries, definitions: Definitions, numbers: AsyncIterator[int]
) -> tuple[Written, int]:
    await file.put(Line(archive=header))
    known: set[str] = set()
    instances = transitions = 0
    async for number in numbers:
        await queries.all("BEGIN")  # all of an instance as of one moment
        try:
            row, end = await _row(queries, number)
            if 0 < (row.finished_at or 0) < header.chosen.finished_before:  # else it was reopened meanwhile
                if row.definition not in known and (plan := definitions.by_hash(row.definition)) is not None:
                    known.add(row.definition)
                    await file.put(_definition_line(row.definition, plan.definition))
                transitions += await _put_instance(file, queries, number, row, end)
                instances += 1
        finally:
            await queries.all("ROLLBACK")
    return Written(instances, transitions), len(known)


def _definition_line(digest: str, one: Definition) -> Line:
    value = raw(encode_definition(one))
    return Line(definition=DefinitionLine(hash=digest, name=one.name, version=one.version, definition=value))


async def _put_instance(file: _File, queries: Queries, number: int, row: InstanceRow, end: int | None) -> int:
    """Write an instance and its history; how many transitions that has."""
    query = "SELECT count(*), min(place) FROM history WHERE instance = ?"
    ((count, first),) = await queries.all(query, (number,))
    asked = await _asked(queries, row.instance_id, first, end)
    bases = await queries.all("SELECT at, state FROM bases WHERE instance = ?", (number,))
    base_at, base = (bases[0][0], raw(bases[0][1])) if bases else (0, None)
    line = InstanceLine(
        id=row.instance_id, workflow=row.workflow, version=row.version, status=row.status,
        definition=row.definition, priority=row.priority, started_at=row.started_at or 0,
        finished_at=row.finished_at or 0,
        sequence=row.sequence, error=row.error, transitions=count, asked=len(asked), base=base, base_at=base_at,
    )  # fmt: skip
    await file.put(Line(instance=line))
    after = -1
    while page := await queries.all(
        "SELECT place, value FROM history WHERE instance = ? AND place > ? ORDER BY place LIMIT ?",
        (number, after, _PAGE),
    ):
        for place, value in page:
            one = TransitionLine(partition=place >> OFFSET_BITS, offset=place & OFFSETS, value=raw(value))
            await file.put(Line(transition=one))
        after = page[-1][0]
    for entry in asked:
        await file.put(Line(asked=entry))
    return int(count)


async def _row(queries: Queries, number: int) -> tuple[InstanceRow, int | None]:
    """An instance's row, and the place where another one of its id begins, if one does."""
    found = await queries.all(
        "SELECT (SELECT name FROM workflows WHERE number = i.workflow), "
        f"{tables.columns_of(tables.INSTANCE_COLUMNS)} "
        "FROM instances i WHERE number = ?",
        (number,),
    )
    if not found:
        raise ArchiveError("another cleanup took away what is to be archived", remedy="Run it again.")
    workflow, instance_id, _, *values = found[0]
    row = InstanceRow(instance_id, workflow, *values)
    rows = await queries.all(
        "SELECT min(h.place) FROM instances i JOIN history h ON h.instance = i.number "
        "WHERE i.id = ? AND i.started_at > ? AND i.number <> ?",
        (row.instance_id, row.finished_at or 0, number),
    )
    return row, rows[0][0]


async def _asked(queries: Queries, instance_id: str, first: int | None, end: int | None) -> list[AskedLine]:
    rows = await queries.all(
        "SELECT place, at, by, via, command, command_id, outcome, message FROM audit "
        "WHERE instance_id = ? AND place >= ? AND place < ? ORDER BY place",
        (instance_id, first or 0, end or 1 << 62),
    )
    return [
        AskedLine(
            partition=place >> OFFSET_BITS, offset=place & OFFSETS, at=at, by=by, via=via, command=command,
            command_id=command_id, outcome=outcome, message=message,
        )
        for place, at, by, via, command, command_id, outcome, message in rows
    ]  # fmt: skip


async def _numbers(queries: Queries, chosen: Chosen, beginnings: Sequence[Beginning]) -> AsyncIterator[int]:
    if beginnings:
        for one in beginnings:
            async for number in _beginning_in(queries, one):
                yield number
        return
    conditions, parameters = ["finished_at > 0", "finished_at < ?"], list[Any]([chosen.finished_before])
    if chosen.workflow:
        conditions.append("workflow = (SELECT number FROM workflows WHERE name = ?)")
        parameters.append(chosen.workflow)
    if chosen.status:
        conditions.append(f"status IN ({', '.join('?' * len(chosen.status))})")
        parameters += chosen.status
    query = (
        f"SELECT finished_at, number FROM instances WHERE {' AND '.join(conditions)} "
        "AND (finished_at, number) > (?, ?) ORDER BY finished_at, number LIMIT ?"
    )
    behind = (0, 0)
    while page := await queries.all(query, (*parameters, *behind, _PAGE)):
        for _, number in page:
            yield number
        behind = tuple(page[-1])


async def _beginning_in(queries: Queries, beginning: Beginning) -> AsyncIterator[int]:
    """Those of a partition's beginning, in the order in which they began."""
    after, end = place_of(beginning.partition, 0) - 1, place_of(beginning.partition, beginning.cut)
    query = (
        "SELECT h.place, h.instance, h.place = (SELECT min(place) FROM history WHERE instance = h.instance) "
        "FROM history h WHERE h.place > ? AND h.place < ? ORDER BY h.place LIMIT ?"
    )
    while page := await queries.all(query, (after, end, _PAGE)):
        for _, number, is_first in page:
            if is_first:
                yield number
        after = page[-1][0]


def _is_there(path: Path) -> ArchiveError:
    return ArchiveError(
        "this file is there already",
        place=str(path),
        remedy="Name another one; --force replaces it, if you are sure.",
    )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise _is_there(path) from None
        raise ArchiveError(
            f"the archive cannot be written: {error.strerror or error}",
            place=str(path),
            remedy="Make room, or let this user write there. Nothing was deleted.",
        ) from error
