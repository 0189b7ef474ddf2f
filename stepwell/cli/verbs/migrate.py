"""``stepwell migrate``: files of the orchestration dialect, brought to another version of its schema."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from stepwell.cli.drawing import count
from stepwell.cli.exits import BAD_INPUT, UsageError
from stepwell.cli.files import as_json as json_text
from stepwell.cli.files import as_yaml, is_json, keep, write
from stepwell.cli.options import Json
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Argument, Option
from stepwell.command_line import command
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.text import parse_text, read_text
from stepwell.schemas.migration.migrate import CURRENT, VERSIONS, schema_version
from stepwell.schemas.migration.migrate import migrate as migrated

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_COMMENT: Final = re.compile(r"^\s*#|\s#", re.MULTILINE)
_DIRECTORY: Final = Path("workflows")


async def migrate(
    what: Annotated[
        Sequence[str],
        Argument(metavar="[status] [PATH]...", help="Files, directories with --all; `status` only looks."),
    ] = (),
    every: Annotated[
        bool, Option("--all", help="Every definition below a directory, ./workflows by default.")
    ] = False,
    to: Annotated[
        str,
        Option("--to", metavar="VERSION", help="Another version than the newest; an older one is possible."),
    ] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Change nothing, print what would change.")] = False,
    check: Annotated[
        bool, Option("--check", help="With status: exit status 1 if anything is not of the newest version.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Bring definitions of the orchestration dialect to the newest version of its schema.

    The original is kept beside the file. Exit status: 0 done, or nothing to do; 2 a file that cannot be migrated.

    \b
    stepwell migrate status
    stepwell migrate workflows/invoices.json --dry-run
    stepwell migrate --all workflows
    """
    looks = bool(what) and what[0] == "status" and not Path("status").is_file()
    paths = [Path(path) for path in (what[1:] if looks else what)]
    if to and to not in VERSIONS:
        raise UsageError(f"there is no such version; there are {', '.join(VERSIONS)}", place=f"--to {to}")
    if check and not looks:
        raise UsageError("goes with status", place="--check", remedy="stepwell migrate status --check")
    if not paths and not every and not looks:
        raise UsageError(
            "needs a file, or --all", remedy="stepwell migrate FILE, stepwell migrate --all, stepwell migrate status"
        )
    files = []
    for path, named in _files(paths, directories=every or looks):
        found = _looked_at(path, to or CURRENT, named=named)
        if found.state == "older" and not looks:
            _carry_out(path, found, dry_run=dry_run)
        if found.state != "other" or named or looks:
            files.append(found)
    if as_json:
        print_json({"current": CURRENT, "files": files})
    elif looks:
        _show_status(files)
    else:
        _show_done(files, dry_run=dry_run)
    if any(file.state == "wrong" or (file.problems and not looks) for file in files):
        return BAD_INPUT
    return int(check and any(file.state == "older" for file in files))


class _File(msgspec.Struct, omit_defaults=True):
    """What is to be done with a file, and what was.

    Attributes:
        state: ``current``, ``older`` (or newer than wanted), ``migrated``, ``other`` (another dialect) or ``wrong``.
        kept: Where the original is.
    """

    file: str
    state: str
    version: str | None = None
    to: str | None = None
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    kept: str | None = None
    comments_lost: bool = False
    diff: str = ""


def _files(paths: Sequence[Path], *, directories: bool) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it was named itself."""
    for path in paths or [_DIRECTORY]:
        if path.is_dir() and directories:
            for found in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
                if found.suffix in _SUFFIXES and found.is_file() and not hidden:
                    yield found, False
        elif path.is_dir():
            raise UsageError("is a directory", place=str(path), remedy=command("migrate", "--all", str(path)))
        elif not paths:
            raise UsageError("there is no such directory", place=str(path), remedy="Name a file or a directory.")
        else:
            yield path, True


def _looked_at(path: Path, to: str, *, named: bool) -> _File:
    """What would have to be done with a file."""
    version = None
    try:
        data = parse_text(read_text(path), str(path))
        version = schema_version(data)
        if version is None:
            if not named:
                return _File(str(path), "other")
            problem = "is no definition of the orchestration dialect; only that one has versions of its schema"
            return _File(str(path), "other", problems=(problem,))
        done = migrated(data, to=to, place=str(path))
    except DefinitionError as error:
        return _File(str(path), "wrong", version=version, problems=tuple(error.problems))
    return _File(str(path), "older" if done.changes else "current", version, to, done.changes, done.notes)


def _carry_out(path: Path, file: _File, *, dry_run: bool) -> None:
    path = path.resolve() if path.is_symlink() else path  # the link stays one
    text = read_text(path)
    done = migrated(parse_text(text, file.file), to=file.to or CURRENT, place=file.file)
    in_json = is_json(text)
    new = json_text(done.data, like=text) if in_json else as_yaml(done.data)
    file.comments_lost = not in_json and _COMMENT.search(text) is not None
    if dry_run:
        file.diff = _diff(file, text, new)
        return
    _check(new, done.data, file)
    file.kept = str(keep(path, done.before))
    write(path, new)
    file.state = "migrated"


def _check(text: str, data: Any, file: _File) -> None:
    """See that what is about to be written is read as what is meant; nothing is written otherwise."""
    if parse_text(text, file.file) != data:
        raise DefinitionError(["cannot be written so that it is read as the same"], place=file.file)


def _diff(file: _File, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"{file.file} ({file.version})",
        f"{file.file} ({file.to})",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _show_status(files: Sequence[_File]) -> None:
    for file in files:
        if file.state == "other":
            print(f"{file.file}: another dialect, which has no versions")
        elif file.state == "current":
            print(f"{file.file}: {file.version}, nothing to do")
        elif file.state == "older":
            print(f"{file.file}: {file.version}, would become {file.to}")
        else:
            _show_problems(file)
        for line in (*file.changes, *file.notes):
            print(f"    {line}")
    older = sum(file.state == "older" for file in files)
    print(f"{count(len(files), 'file')}, {older} to migrate" if files else "no definitions")


def _show_problems(file: _File) -> None:
    shown = "\n  ".join(file.problems)
    print(f"error: {file.file}: {shown}", file=sys.stderr)


def _show_done(files: Sequence[_File], *, dry_run: bool) -> None:
    for file in files:
        if file.diff:
            print(file.diff, end="")
        elif file.state == "migrated":
            print(f"{file.file}: {file.version} → {file.to}; the original is {file.kept}")
        elif file.state == "current":
            print(f"{file.file}: {file.version}, nothing to do")
        elif file.problems:
            _show_problems(file)
        for note in file.notes:
            print(f"note: {file.file}: {note}", file=sys.stderr)
        if file.comments_lost:
            where = "" if dry_run else f"; they are in {file.kept}"
            print(f"note: {file.file}: comments of YAML are not kept{where}", file=sys.stderr)
    if not files:
        print("no definitions to migrate")
