"""A directory of definitions: registered as they are found, and again whenever one has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell.consumers.definitions import Definitions
from stepwell.core.checked import compile_loaded
from stepwell.core.plan import compile_plan
from stepwell.errors import LogError, StepwellError
from stepwell.schemas.definitions import Definition
from stepwell.schemas.load import read_definition
from stepwell.schemas.sender import NOBODY, Sender

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
    """

    def __init__(self, definitions: Definitions, directory: Path, sender: Sender = NOBODY) -> None:
        self._definitions = definitions
        self._sender = sender
        self._directory = directory
        self._seen: dict[Path, tuple[int, int]] = {}

    async def look(self) -> list[Registered]:
        """Register every file that is new, or has changed since it was looked at last; return what became of each.

        Raises:
            LogError: The log cannot be used; what was not registered will be at the next look.
        """
        found = [(path, stamp) for path, stamp in _stamps(definition_files(self._directory))]
        for gone in self._seen.keys() - {path for path, _ in found}:
            del self._seen[gone]
        made = []
        for path, stamp in found:
            if self._seen.get(path) != stamp:
                changed = path in self._seen
                made.append(
                    await register_file(self._definitions, path, changed=changed, update=True, sender=self._sender)
                )
                self._seen[path] = stamp
        return made


def _stamps(paths: Iterable[Path]) -> Iterator[tuple[Path, tuple[int, int]]]:
    for path in paths:
        try:
            stat = path.stat()
        except OSError:  # deleted since it was listed: the next look will not find it
            continue
        yield path, (stat.st_mtime_ns, stat.st_size)
