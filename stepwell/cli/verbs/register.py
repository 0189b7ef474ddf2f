"""``stepwell register``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from stepwell.cli.exits import BAD_INPUT, UsageError
from stepwell.cli.folders import tell_passed_over
from stepwell.cli.imports import import_handlers
from stepwell.cli.options import Dialect, Json, LogUrl, Modules
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of
from stepwell.cli.signature import Argument, Option
from stepwell.cli.sources import given, is_python
from stepwell.consumers.registry.children import tell_children
from stepwell.consumers.registry.folder import Registered, definition_files, holds_definition, register_file
from stepwell.errors import LogError, StepwellError

if TYPE_CHECKING:
    from stepwell.client.client import Client


async def register(
    sources: Annotated[
        Sequence[str],
        Argument(
            metavar="FILE|DIRECTORY|MODULE:NAME …",
            help="Definitions: YAML or JSON, whole directories, or a workflow that is built in Python.",
        ),
    ],
    activate: Annotated[
        bool, Option("--activate/--no-activate", help="Whether new versions may be started at once.")
    ] = True,
    dialect: Dialect = None,
    modules: Modules = (),
    as_json: Json = False,
    log: LogUrl = None,
) -> int:
    """Register definitions, so that they can be started by name. What is registered already stays as it is.

    A wrong one is told, and does not keep the others from being registered.
    Exit status: 0 all are registered, 2 at least one is not.

    \b
    stepwell register order.yaml returns.yaml
    stepwell register workflows --no-activate
    stepwell register shop.workflows:order
    """
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
