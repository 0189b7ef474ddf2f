"""What the verbs about the registry do."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.cli.drawing import count, short
from stepwell.cli.output import print
from stepwell.cli.session import BAD_INPUT, OutputError, UsageError, at, client_of, import_handlers
from stepwell.cli.sources import given, is_python
from stepwell.cli.verbs.show import print_json
from stepwell.errors import LogError, StepwellError
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.consumers.registry.definitions import RegisteredVersion
    from stepwell.consumers.registry.folder import Folder, Registered
    from stepwell.logs import Logger

DEFAULT_DIRECTORY = Path("workflows")


async def register(
    sources: Sequence[str],
    *,
    dialect: str | None,
    modules: Sequence[str],
    activate: bool,
    as_json: bool,
    log: str | None,
) -> int:
    """Register files, directories and workflows built in Python; return the exit status."""
    from stepwell.consumers.registry.children import tell_children  # noqa: PLC0415 - start-up time

    import_handlers(modules)  # before the definitions: they may hold step types of their own
    found = list(_found(sources))
    async with client_of(log, create=True) as client:
        made = [await _register(client, source, dialect=dialect, activate=activate) for source in found]
        of_files = [one for one, source in zip(made, found, strict=True) if isinstance(source, Path)]
        tell_children([one.definition for one in of_files if one.definition is not None], client.registry)
    for one in made:
        if one.error is not None:
            with contextlib.suppress(OSError):  # nobody is left to be told
                print(f"error: {one.told}", file=sys.stderr)
    if as_json:
        print_json({
            "registered": [
                {
                    "source": str(one.path), "name": one.definition.name, "version": one.definition.version,
                    "is_new": one.is_new, "active": one.active,
                }
                for one in made
                if one.definition is not None
            ],
            "refused": [
                {
                    "source": str(one.path), "problems": getattr(one.error, "problems", [one.error.message]),
                    "remedy": one.error.remedy, "type": type(one.error).__name__,
                }
                for one in made
                if one.error is not None
            ],
        })  # fmt: skip
    else:
        for one in made:
            if one.definition is not None:
                print(f"{one.definition.reference}: {_became(one, activate=activate)} ({one.path})")
    return BAD_INPUT if any(one.error for one in made) else 0


def _became(one: Registered, *, activate: bool) -> str:
    if one.is_new:
        return "registered" if one.active else "registered, inactive: nothing starts it yet"
    if one.active:
        return "is registered already" + ("" if activate else "; it is active, and stays so")
    return "is registered already, and inactive"


def _found(sources: Iterable[str]) -> Iterable[Path | str]:
    from stepwell.consumers.registry.folder import definition_files, holds_definition  # noqa: PLC0415 - start-up time

    for source in sources:
        path = Path(source)
        if path.is_dir():
            files = definition_files(path)
            held = [file for file in files if holds_definition(file)]
            tell_passed_over(
                [file for file in files if file not in set(held)], lambda text: print(text, file=sys.stderr)
            )
            if not held:
                raise UsageError(
                    "holds no definitions",
                    place=source,
                    remedy="They are files that end in .yaml, .yml or .json, with steps, tasks or a dag.",
                )
            yield from held
        elif is_python(source):
            yield source
        else:
            yield path


async def _register(client: Client, source: Path | str, *, dialect: str | None, activate: bool) -> Registered:
    from stepwell.consumers.registry.folder import Registered, register_file  # noqa: PLC0415 - start-up time

    if isinstance(source, Path):
        return await register_file(client.registry, source, dialect=dialect, activate=activate, sender=client.sender)
    try:
        built = given(source)
        known = {(found.name, found.version) for found in await client.definitions()}
        definition = await client.register(built, activate=activate)
    except LogError:
        raise
    except StepwellError as error:
        return Registered(Path(source), error=error)
    active = client.registry.is_active(definition.name, definition.version)
    return Registered(
        Path(source), definition, is_new=(definition.name, definition.version) not in known, active=active
    )


async def definitions(workflow: str | None, tag: str | None, *, as_json: bool, log: str | None) -> int:
    """Print what is registered."""
    async with client_of(log) as client:
        found = await client.definitions(workflow=workflow, tag=tag)
        names = list(client.registry.names())
    if as_json:
        print_json({"definitions": found, "total": len(found)})
        return 0
    if workflow is not None and workflow not in names:
        hint = suggest(workflow, names) or f"; there are {', '.join(sorted(names)) or 'none'}"
        print(f"no workflow {workflow!r} is registered{hint}")
    elif not found:
        here = at(log)
        print(f"nothing is registered{f' with the tag {tag!r}' if tag else f': `stepwell register FILE{here}`'}")
    width = max((len(f"{one.name}@{one.version}") for one in found), default=0)
    for one in found:
        print(_line(one, width))
    return 0


def _line(one: RegisteredVersion, width: int) -> str:
    state = "current" if one.current else "active" if one.active else "inactive"
    when = datetime.fromtimestamp(one.registered_at / 1000).astimezone()
    tags = f"  [{', '.join(one.tags)}]" if one.tags else ""
    about = f"  {short(one.description, 60)}" if one.description else ""
    named = f"{one.name}@{one.version}"
    return f"{named:<{width}}  {state:<8}  {count(one.steps, 'step'):<8}  {when:%Y-%m-%d %H:%M:%S}{tags}{about}"


async def switch(named: str, *, active: bool, reason: str, as_json: bool, log: str | None) -> int:
    """Activate or deactivate a version."""
    name, sign, version = named.rpartition("@")
    if not sign or not name or not version:
        raise UsageError("is not of the form NAME@VERSION", place=named, remedy="`stepwell definitions` shows them.")
    async with client_of(log) as client:
        change = client.activate if active else client.deactivate
        changed = await change(name, version, reason=reason)
        current = next((one.version for one in await client.definitions(workflow=name) if one.current), None)
    if as_json:
        print_json({"name": name, "version": version, "active": active, "changed": changed, "current": current})
        return 0
    word = "active" if active else "inactive"
    then = (
        "no version can be started now" if current is None
        else f"a start that names no version takes {current}"
    )  # fmt: skip
    print(f"{named}: {'is' if changed else 'was'} {word}{'' if changed else ' already'}; {then}")
    return 0


async def schema(types: Sequence[str], output: Path | None, *, as_json: bool) -> int:
    """Print the JSON Schema of definitions, or write it to a file."""
    from stepwell.language import definition_schema  # noqa: PLC0415 - start-up time

    del as_json  # it is JSON either way
    text = json.dumps(definition_schema(types), indent=2, ensure_ascii=False)
    if output is None:
        print(text)
        return 0
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {error.strerror}") from None
    print(f"{output} is written. First line of a definition beside it: # yaml-language-server: $schema={output.name}")
    return 0


# --- the directory of an engine -------------------------------------------------------------------------------


def chosen_directory(directory: Path | None) -> Path | None:
    """Where the definitions are that a process registers when it starts; None for nowhere.

    Raises:
        UsageError: It was named, and is none.
    """
    if directory is None:
        return DEFAULT_DIRECTORY if DEFAULT_DIRECTORY.is_dir() else None
    if not directory.is_dir():
        raise UsageError(
            "there is no such directory",
            place=str(directory),
            remedy="--workflows names the directory that holds your definitions.",
        )
    return directory


_NAMED = 5  # files that were passed over, of which the others are counted


def tell_passed_over(paths: Sequence[Path], say: Callable[[str], object]) -> None:
    """Say in one line which files of a directory hold no definition."""
    if paths:
        more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
        say(f"passed over, as they hold no definition: {', '.join(map(str, paths[:_NAMED]))}{more}")


async def look(folder: Folder, logger: Logger) -> None:
    """Register the files of a directory, and log what became of them.

    Raises:
        LogError: The log cannot be used.
    """
    made = await folder.look()
    tell_passed_over(folder.passed_over, logger.info)
    for one in made:
        if one.definition is None:
            logger.warning("definition refused", file=str(one.path), error=" ".join(str(one.error).split()))
        else:
            logger.info(
                "registered" if one.is_new else "is registered already",
                workflow=one.definition.name,
                version=one.definition.version,
                active=one.active,
                file=str(one.path),
            )
