"""A directory of definitions: registered as they are found, and again whenever one has changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell.consumers.registry.children import tell_children
from stepwell.consumers.registry.definitions import Definitions
from stepwell.errors import DefinitionError, LogError, StepwellError
from stepwell.language import compile_loaded, compile_plan, read_definition
from stepwell.schemas.definitions.bounds import MOST_BYTES
from stepwell.schemas.definitions.json_text import without_bom
from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.definitions.text import parse_text
from stepwell.schemas.records.sender import NOBODY, Sender
from stepwell.suggest import near_words

SUFFIXES: Final = (".yaml", ".yml", ".json")
_HASH: Final = 8  # digits of a content's hash in a version


class Registered(Struct, frozen=True):
    """What became of one file.

    Attributes:
        definition: What it holds; None where it could not be registered.
        is_new: Whether this version was not known before.
        active: Whether starts may take it.
        error: Why it could not be registered, with every problem that was found.
        changed: Whether the file had been looked at before, in another state.
    """

    path: Path
    definition: Definition | None = None
    is_new: bool = False
    active: bool = False
    error: StepwellError | None = None
    changed: bool = False

    @property
    def told(self) -> str:
        """The error with the file's name, once."""
        text = str(self.error)
        return text if str(self.path) in text else f"{self.path}: {text}"


def definition_files(directory: Path) -> list[Path]:
    """The files of a directory, and of those below it, that are named as definitions are; hidden ones are not."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.suffix in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )


def holds_definition(path: Path) -> bool:
    """Whether a file that merely lies in a directory is one that somebody means as a definition.

    Data lies beside definitions, some of it large. A file is passed over that is a list or a text, or a mapping
    without a key that every definition has in one dialect or another (nor one that is misspelt). Nothing long is
    parsed that does not even hold such a word. What cannot be told is looked at, and what is wrong with it is told.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = without_bom(data[:MOST_BYTES].decode(errors="replace"))
    except (OSError, ValueError):
        return True
    if not text.strip():
        return True
    if _LIST.match(text) or (len(text) > _SHORT and not _WORD.search(text)):
        return False
    if len(data) > MOST_BYTES or _TOP.search(text):
        return True
    try:
        found = parse_text(text, str(path))
    except DefinitionError:
        return _KEY.search(text) is not None
    if not isinstance(found, dict):
        return False
    begun = "name" in found and found.keys() <= _KEYS  # all that there is belongs to a definition
    return begun or any(map(_is_sign, found))


def _is_sign(key: str) -> bool:
    return key in _SIGNS or bool(near_words(key, _SIGNS, cutoff=0.8))


_SHORT: Final = 10_000  # characters that are parsed in any case
_KEYS: Final = frozenset(Definition.__struct_fields__)
_SIGNS: Final = ("steps", "tasks", "dag", "definition")
_WORD: Final = re.compile(r"st\w*ps?\b|ta\w*ks?\b|\bdag\b|\bdef\w*n\b", re.IGNORECASE)
_TOP: Final = re.compile(r"^[\"']?(?:steps|tasks|dag|definition)[\"']?\s*:", re.MULTILINE)
_KEY: Final = re.compile(r"(?:^\s*|[{,]\s*)[\"']?(?:steps|tasks|dag|definition)[\"']?\s*:", re.MULTILINE)
_LIST: Final = re.compile(r"(?:\s|#[^\n]*\n|%[^\n]*\n|---(?=\s))*(?:\[|-\s)")


async def register_file(
    definitions: Definitions,
    path: Path,
    *,
    dialect: str | None = None,
    activate: bool = True,
    changed: bool = False,
    update: bool = False,
    sender: Sender = NOBODY,
) -> Registered:
    """Register what a file holds.

    Args:
        dialect: How it is written, where its shape does not tell.
        activate: Whether a new version may be started at once.
        changed: Whether it had been looked at before.
        update: Register a file that has changed, but still says the same version, as one of its own: ``1+0f3a9c2e``
            for version 1, with a part of its content's hash. Otherwise it is refused.
        sender: Who registers it, for people.

    Returns:
        What became of it: a file that is wrong is no exception here, since it keeps no other from being registered.

    Raises:
        LogError: The log cannot be used.
    """
    try:
        compiled = compile_loaded(read_definition(path, dialect=dialect))
        definition = compiled.definition
        await definitions.catch_up()
        written = definitions.resolve(definition.name, definition.version)
        if update and written is not None and written.hash != compiled.hash:
            definition = replace(definition, version=f"{definition.version}+{compiled.hash[:_HASH]}")
            compiled = compile_plan(definition)
        is_new = definitions.resolve(definition.name, definition.version) is None
        await definitions.register(definition, compiled, activate=activate, sender=sender)
        if update and changed and not is_new:
            await _prefer(definition, definitions, sender)
    except LogError:
        raise
    except StepwellError as error:
        return Registered(path, error=error, changed=changed)
    active = definitions.is_active(definition.name, definition.version)
    return Registered(path, definition, is_new=is_new, active=active, changed=changed)


async def _prefer(wanted: Definition, definitions: Definitions, sender: Sender) -> None:
    """Of what a file has held under one version, let starts take what it was edited back to.

    Only where the edit was seen: an engine that starts with an older copy of the directory takes nothing away.
    """
    said = wanted.version.partition("+")[0]
    held = [
        one for one in definitions.summaries() if one.name == wanted.name and one.version.partition("+")[0] == said
    ]
    position = next(one.position for one in held if one.version == wanted.version)
    for one in held:
        if one.active and one.position > position:
            reason = f"the file holds {wanted.version} again"
            await definitions.switch(wanted.name, one.version, active=False, reason=reason, sender=sender)
    reason = "the file was edited"
    await definitions.switch(wanted.name, wanted.version, active=True, reason=reason, sender=sender)


class Folder:
    """Definitions in a directory, looked at again and again.

    Args:
        definitions: Where they are registered.
        sender: Who registers them, for people.

    Attributes:
        passed_over: The files that the last look found for the first time, or changed, and that are no definitions.
    """

    def __init__(self, definitions: Definitions, directory: Path, sender: Sender = NOBODY) -> None:
        self._definitions = definitions
        self._sender = sender
        self._directory = directory
        self._seen: dict[Path, tuple[int, int]] = {}
        self.passed_over: list[Path] = []

    async def look(self) -> list[Registered]:
        """Register every file that is new, or has changed since it was looked at last; return what became of each.

        Raises:
            LogError: The log cannot be used; what was not registered will be at the next look.
        """
        found = [(path, stamp) for path, stamp in _stamps(definition_files(self._directory))]
        for gone in self._seen.keys() - {path for path, _ in found}:
            del self._seen[gone]
        made = []
        self.passed_over = []
        for path, stamp in found:
            if self._seen.get(path) != stamp:
                if not await asyncio.to_thread(holds_definition, path):
                    self.passed_over.append(path)
                    self._seen[path] = stamp
                    continue
                changed = path in self._seen
                made.append(
                    await register_file(self._definitions, path, changed=changed, update=True, sender=self._sender)
                )
                self._seen[path] = stamp
        # Once all are known, in whichever order they were found.
        tell_children([one.definition for one in made if one.definition is not None], self._definitions)
        return made


def _stamps(paths: Iterable[Path]) -> Iterator[tuple[Path, tuple[int, int]]]:
    for path in paths:
        try:
            stat = path.stat()
        except OSError:  # deleted since it was listed: the next look will not find it
            continue
        yield path, (stat.st_mtime_ns, stat.st_size)
