"""The ``stepwell`` command. Each verb is thin: it asks the client and prints."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from stepwell.cli.environment import OPTION, take_env_file
from stepwell.cli.options import (
    DEFAULT_QUEUES,
    Concurrency,
    Dialect,
    File,
    Id,
    IfExists,
    Input,
    Json,
    Log,
    MaxDeliveries,
    Modules,
    Params,
    Priority,
    Queues,
    Reason,
    StrictHandlers,
    Types,
    check_id,
)
from stepwell.cli.output import print
from stepwell.cli.session import BAD_INPUT, finish, flushed, leave, print_error, show_error
from stepwell.cli.verbs import (
    approval_verbs,
    archive_verbs,
    registry_verbs,
    service_verbs,
    template_verbs,
    view_verbs,
    web_verbs,
    webhook_verbs,
)
from stepwell.logs import in_sentences
from stepwell.stdout import escape_what_cannot_be_written, open_what_is_closed, reserved

app = typer.Typer(
    name="stepwell",
    help="Run workflows that no crash can lose. Everything that ever happened is in the log.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        from stepwell import __version__  # noqa: PLC0415

        print(f"stepwell {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    env_file: Annotated[
        str | None,
        typer.Option(
            OPTION, metavar="FILE", help="A file of NAME=VALUE lines for the environment; of any verb, anywhere."
        ),
    ] = None,  # taken before anything is parsed
) -> None:
    """Run workflows that no crash can lose."""


@app.command()
def run(
    file: File,
    dialect: Dialect = None,
    input_text: Input = None,
    param: Params = None,
    handlers: Modules = None,
    strict_handlers: StrictHandlers = False,
    instance_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            callback=check_id,
            help="Name the instance; the same id again goes on where it stopped.",
        ),
    ] = None,
    going_on: Annotated[
        bool, typer.Option("--continue", help="Only go on with the instance that --id names; start none.")
    ] = False,
    if_exists: IfExists = "refuse",
    priority: Priority = 0,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Run a workflow to its end, in this process, and print its output.

    Exit status: 0 completed, 1 failed or cancelled, 2 bad input, 3 waiting for a person.

    \b
    stepwell run order.yaml --handlers shop.steps --input '{"order": 1}' --id order-1
    stepwell run order.yaml --handlers shop.steps --id order-1     # after a crash: goes on
    """
    from stepwell.cli.verbs import running  # noqa: PLC0415 - start-up time

    finish(
        lambda: running.run(
            file,
            dialect=dialect,
            input_text=input_text,
            params=param or [],
            modules=handlers or [],
            strict=strict_handlers,
            instance_id=instance_id,
            going_on=going_on,
            if_exists=if_exists,
            priority=priority,
            concurrency=concurrency,
            as_json=as_json,
            log=log,
        )
    )


@app.command()
def validate(
    file: File,
    dialect: Dialect = None,
    handlers: Modules = None,
    log: Annotated[
        str | None,
        typer.Option(
            "--log", metavar="URL", help="Look, too, whether this log knows the workflows that steps start."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a definition: its shape, its graph, its expressions; with --handlers, its handlers too.

    \b
    stepwell validate order.yaml --handlers shop.steps
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415

    finish(lambda: show.validate(file, handlers, dialect=dialect, log=log, as_json=as_json))


@app.command()
def plan(
    file: File,
    handlers: Modules = None,
    dialect: Dialect = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", "--canonical", help="Print the definition in the canonical form, as YAML.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show in which batches the steps of a definition run, and what waits for what.

    \b
    stepwell plan order.yaml
    stepwell plan graph.json --yaml     # what a definition in another dialect is compiled to
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415

    finish(lambda: show.plan(file, handlers, dialect=dialect, as_yaml=as_yaml, as_json=as_json))


@app.command()
def dev(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIRECTORY", help="Definitions to register, and to watch; `workflows` by default."),
    ] = None,
    workflows: Annotated[
        Path | None, typer.Option("--workflows", metavar="DIR", help="The same, written as for `engine`.")
    ] = None,
    handlers: Modules = None,
    strict_handlers: StrictHandlers = False,
    queue: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    log: Log = None,
) -> None:
    """Everything in one process: an engine, a worker, and the definitions of a directory, reloaded on change.

    \b
    stepwell dev workflows --handlers shop.steps
    """
    from stepwell.cli.verbs import developing  # noqa: PLC0415

    finish(
        lambda: developing.dev(
            directory,
            workflows,
            modules=handlers or [],
            strict=strict_handlers,
            queues=queue,
            concurrency=concurrency,
            log=log,
        )
    )


@app.command()
def start(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="A registered workflow's name, or a definition's file.")
    ],
    dialect: Dialect = None,
    handlers: Types = None,
    input_text: Input = None,
    param: Params = None,
    instance_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", callback=check_id, help="Name the instance.")
    ] = None,
    if_exists: IfExists = "refuse",
    version: Annotated[str | None, typer.Option(metavar="VERSION", help="A version; the newest by default.")] = None,
    priority: Priority = 0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end, and print its output; exit statuses as for run.")
    ] = False,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Start an instance and return at once; any engine and worker on this log, or `stepwell dev`, run it.

    \b
    stepwell start order --input '{"order": 1}' --id order-1
    stepwell start order.yaml --input @order.json --wait
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    finish(
        lambda: steering.start(
            workflow,
            dialect=dialect,
            modules=handlers or (),
            input_text=input_text,
            params=param or [],
            instance_id=instance_id,
            version=version,
            priority=priority,
            wait=wait,
            if_exists=if_exists,
            as_json=as_json,
            log=log,
        )
    )


@app.command()
def replay(
    instance_id: Id,
    to: Annotated[int | None, typer.Option("--to", metavar="N", help="Stop after event N.")] = None,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Show an instance as it was after any past event, folded from its history alone.

    \b
    stepwell replay order-1 --to 7
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415

    finish(lambda: show.status(instance_id, to, replayed=True, as_json=as_json, log=log))


@app.command()
def stop(instance_id: Id, reason: Reason = "", as_json: Json = False, log: Log = None) -> None:
    """Pause an instance: no further step starts until `stepwell resume`.

    \b
    stepwell stop order-1 --reason "price is being checked"
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    finish(
        lambda: steering.steer(
            instance_id, "paused", lambda c: c.pause(instance_id, reason), as_json=as_json, log=log
        )
    )


@app.command()
def resume(
    instance_id: Id,
    skip_failed: Annotated[bool, typer.Option(help="Go on without the steps that failed; a gate asks anew.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Go on with a paused instance, or with a failed or cancelled one at the step that failed.

    \b
    stepwell resume order-1
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    finish(
        lambda: steering.steer(
            instance_id,
            "resumed",
            lambda c: c.resume(instance_id, skip_failed=skip_failed),
            as_json=as_json,
            log=log,
        )
    )


@app.command()
def cancel(instance_id: Id, reason: Reason = "", as_json: Json = False, log: Log = None) -> None:
    """End an instance; handlers that run are told.

    \b
    stepwell cancel order-1 --reason "ordered twice"
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    finish(
        lambda: steering.steer(
            instance_id, "cancelled", lambda c: c.cancel(instance_id, reason), as_json=as_json, log=log
        )
    )


@app.command()
def rollback(
    instance_id: Id,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="POINT",
            help="A checkpoint's name or a settled step's id; where nothing is called so: `latest`, `start`, "
            "or an event's number. Without it, the step that was settled last.",
        ),
    ] = None,
    event: Annotated[int | None, typer.Option(metavar="N", help="An event's number, whatever is called so.")] = None,
    pause: Annotated[bool, typer.Option(help="Stay paused there.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> None:
    """Return to an earlier point: what came after is undone where it has a compensation, and runs anew.

    \b
    stepwell rollback order-1 --checkpoint paid
    stepwell rollback order-1 --event 17
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    finish(
        lambda: steering.steer(
            instance_id,
            "rolled back",
            lambda c: c.rollback(instance_id, steering.point(checkpoint, event), pause=pause),
            as_json=as_json,
            log=log,
        )
    )


app.add_typer(view_verbs.app)
app.add_typer(approval_verbs.app)
app.add_typer(template_verbs.app)
app.add_typer(service_verbs.app)
app.add_typer(registry_verbs.app)
app.add_typer(web_verbs.app)
app.add_typer(webhook_verbs.app)
app.add_typer(archive_verbs.app)


def entry() -> None:
    """The console script: runs a verb and ends the process."""
    leave(command())


def command() -> int:
    """Run the verb that the arguments name: every error is one message, never a traceback.

    Returns:
        The exit status.
    """
    as_json = "--json" in sys.argv[1:]
    open_what_is_closed()
    escape_what_cannot_be_written()
    with reserved() if as_json else contextlib.nullcontext():
        return _command(as_json=as_json)


def _command(*, as_json: bool) -> int:
    try:
        with in_sentences():
            if any(word.startswith(OPTION) for word in sys.argv[1:]):
                sys.argv[1:] = take_env_file(sys.argv[1:])  # first: options are read from the environment, too
            app()
    except SystemExit as ended:
        wrong = getattr(ended.__context__, "format_message", None)  # what typer has just told on stderr
        if as_json and ended.code == BAD_INPUT and wrong is not None:
            print_error(wrong(), "UsageError")
        return flushed(ended.code)
    except Exception as error:
        return flushed(show_error(error, as_json=as_json))
    return flushed(0)
