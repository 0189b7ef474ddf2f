"""The verbs about what is registered: register, look, activate, deactivate; and the schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from stepwell.cli.options import Dialect, Json, Log, Modules, Reason
from stepwell.cli.signature import Argument, Option

Version = Annotated[str, Argument(metavar="NAME@VERSION", help="A registered version of a workflow.")]


def register(
    sources: Annotated[
        list[str],
        Argument(
            metavar="FILE|DIRECTORY|MODULE:NAME …",
            help="Definitions: YAML or JSON, whole directories, or a workflow that is built in Python.",
        ),
    ],
    activate: Annotated[
        bool, Option("--activate/--no-activate", help="Whether new versions may be started at once.")
    ] = True,
    dialect: Dialect = None,
    handlers: Modules = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Register definitions, so that they can be started by name. What is registered already stays as it is.

    A wrong one is told, and does not keep the others from being registered.
    Exit status: 0 all are registered, 2 at least one is not.

    \b
    stepwell register order.yaml returns.yaml
    stepwell register workflows --no-activate
    stepwell register shop.workflows:order
    """
    from stepwell.cli.verbs import registering  # noqa: PLC0415 - start-up time

    return registering.register(
        sources, activate=activate, dialect=dialect, modules=handlers or (), as_json=as_json, log=log
    )


def definitions(
    workflow: Annotated[str | None, Option("--workflow", metavar="NAME", help="Only this one's versions.")] = None,
    tag: Annotated[str | None, Option("--tag", metavar="TAG", help="Only those that have this tag.")] = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Show what is registered: versions, which of them can be started, tags.

    \b
    stepwell definitions
    stepwell definitions --workflow order --json
    """
    from stepwell.cli.verbs import registering  # noqa: PLC0415 - start-up time

    return registering.definitions(workflow, tag, as_json=as_json, log=log)


def activate(version: Version, reason: Reason = "", as_json: Json = False, log: Log = None) -> Any:
    """Let starts take a version again.

    \b
    stepwell activate order@2
    """
    from stepwell.cli.verbs import registering  # noqa: PLC0415 - start-up time

    return registering.switch(version, active=True, reason=reason, as_json=as_json, log=log)


def deactivate(version: Version, reason: Reason = "", as_json: Json = False, log: Log = None) -> Any:
    """Let no further start take a version; instances that run keep it.

    \b
    stepwell deactivate order@2 --reason "charges twice"
    """
    from stepwell.cli.verbs import registering  # noqa: PLC0415 - start-up time

    return registering.switch(version, active=False, reason=reason, as_json=as_json, log=log)


def schema(
    types: Annotated[
        list[str] | None, Option("--type", metavar="NAME", help="A step type of your own to allow, too.")
    ] = None,
    output: Annotated[
        Path | None, Option("--output", metavar="FILE", help="Write it to a file instead of printing it.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON, as without it.")] = False,
) -> Any:
    """Print the JSON Schema of definitions, with which editors check and complete YAML.

    \b
    stepwell schema --output stepwell.schema.json
    # and as the first line of a definition:
    # yaml-language-server: $schema=stepwell.schema.json
    """
    from stepwell.cli.verbs import registering  # noqa: PLC0415 - start-up time

    return registering.schema(types or [], output, as_json=as_json)
