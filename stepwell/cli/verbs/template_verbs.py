"""The verbs of templates, and of older versions of the orchestration schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from stepwell.cli.options import Json, Log, Params, Types, check_id
from stepwell.cli.signature import Argument, Option

Directory = Annotated[
    Path, Option("--directory", metavar="DIRECTORY", help="Where templates of your own are looked for.")
]


def templates(
    name: Annotated[
        str | None, Argument(metavar="NAME", help="Show this one; its name, or the path of its file.")
    ] = None,
    directory: Directory = Path("templates"),
    as_json: Json = False,
) -> Any:
    """List the templates that workflows can be created from, with their parameters; or show one.

    \b
    stepwell templates
    stepwell templates approval_chain
    """
    from stepwell.cli.verbs import creating  # noqa: PLC0415 - start-up time

    return creating.templates(name, directory, as_json=as_json)


def create(
    template: Annotated[str, Argument(metavar="TEMPLATE", help="A template's name, or the path of its file.")],
    param: Params = None,
    name: Annotated[str, Option("--name", metavar="NAME", help="What to call the workflow.")] = "",
    out: Annotated[
        Path | None,
        Option("--out", metavar="FILE", help="Write the definition there instead, YAML or JSON; - prints it."),
    ] = None,
    register: Annotated[bool, Option("--register", help="Register it; what happens anyway without --out.")] = False,
    start: Annotated[bool, Option("--start", help="Register it, and start an instance.")] = False,
    input_text: Annotated[
        str | None, Option("--input", metavar="JSON|@FILE", help="With --start: the instance's input.")
    ] = None,
    instance_id: Annotated[
        str | None,
        Option("--id", metavar="ID", check=check_id, help="With --start: name the instance."),
    ] = None,
    directory: Directory = Path("templates"),
    handlers: Types = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Create a workflow from a template: check its parameters, and register it.

    \b
    stepwell create approval_chain --param level1_approver=alice --param level2_approver=bob \\
        --param request_title="Budget Approval"
    stepwell create sample --name my-pipeline --out my-pipeline.yaml
    stepwell create sample --start --id sample-1
    """
    from stepwell.cli.verbs import creating  # noqa: PLC0415 - start-up time

    return creating.create(
        template,
        params=param or [],
        name=name,
        out=out,
        register=register,
        start=start,
        input_text=input_text,
        instance_id=instance_id,
        directory=directory,
        modules=handlers or (),
        as_json=as_json,
        log=log,
    )


def migrate(
    what: Annotated[
        list[str] | None,
        Argument(metavar="[status] [PATH]...", help="Files, directories with --all; `status` only looks."),
    ] = None,
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
) -> Any:
    """Bring definitions of the orchestration dialect to the newest version of its schema.

    The original is kept beside the file. Exit status: 0 done, or nothing to do; 2 a file that cannot be migrated.

    \b
    stepwell migrate status
    stepwell migrate workflows/invoices.json --dry-run
    stepwell migrate --all workflows
    """
    from stepwell.cli.verbs import migrating  # noqa: PLC0415 - start-up time

    return migrating.migrate(what or [], every=every, to=to, dry_run=dry_run, check=check, as_json=as_json)
