"""The verbs that run, check and steer workflows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
from stepwell.cli.signature import Argument, Option


def run(
    file: File,
    dialect: Dialect = None,
    input_text: Input = None,
    param: Params = None,
    handlers: Modules = None,
    strict_handlers: StrictHandlers = False,
    instance_id: Annotated[
        str | None,
        Option(
            "--id",
            metavar="ID",
            check=check_id,
            help="Name the instance; the same id again goes on where it stopped.",
        ),
    ] = None,
    going_on: Annotated[
        bool, Option("--continue", help="Only go on with the instance that --id names; start none.")
    ] = False,
    if_exists: IfExists = "refuse",
    priority: Priority = 0,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Run a workflow to its end, in this process, and print its output.

    Exit status: 0 completed, 1 failed or cancelled, 2 bad input, 3 waiting for a person.

    \b
    stepwell run order.yaml --handlers shop.steps --input '{"order": 1}' --id order-1
    stepwell run order.yaml --handlers shop.steps --id order-1     # after a crash: goes on
    """
    from stepwell.cli.verbs import running  # noqa: PLC0415 - start-up time

    return running.run(
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


def validate(
    file: File,
    dialect: Dialect = None,
    handlers: Modules = None,
    log: Annotated[
        str | None,
        Option("--log", metavar="URL", help="Look, too, whether this log knows the workflows that steps start."),
    ] = None,
    as_json: Json = False,
) -> Any:
    """Check a definition: its shape, its graph, its expressions; with --handlers, its handlers too.

    \b
    stepwell validate order.yaml --handlers shop.steps
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415

    return show.validate(file, handlers, dialect=dialect, log=log, as_json=as_json)


def plan(
    file: File,
    handlers: Modules = None,
    dialect: Dialect = None,
    as_yaml: Annotated[
        bool, Option("--yaml", "--canonical", help="Print the definition in the canonical form, as YAML.")
    ] = False,
    as_json: Json = False,
) -> Any:
    """Show in which batches the steps of a definition run, and what waits for what.

    \b
    stepwell plan order.yaml
    stepwell plan graph.json --yaml     # what a definition in another dialect is compiled to
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415

    return show.plan(file, handlers, dialect=dialect, as_yaml=as_yaml, as_json=as_json)


def dev(
    directory: Annotated[
        Path | None,
        Argument(metavar="DIRECTORY", help="Definitions to register, and to watch; `workflows` by default."),
    ] = None,
    workflows: Annotated[
        Path | None, Option("--workflows", metavar="DIR", help="The same, written as for `engine`.")
    ] = None,
    handlers: Modules = None,
    strict_handlers: StrictHandlers = False,
    queue: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    log: Log = None,
) -> Any:
    """Everything in one process: an engine, a worker, and the definitions of a directory, reloaded on change.

    \b
    stepwell dev workflows --handlers shop.steps
    """
    from stepwell.cli.verbs import developing  # noqa: PLC0415

    return developing.dev(
        directory,
        workflows,
        modules=handlers or [],
        strict=strict_handlers,
        queues=queue,
        concurrency=concurrency,
        log=log,
    )


def start(
    workflow: Annotated[
        str, Argument(metavar="WORKFLOW", help="A registered workflow's name, or a definition's file.")
    ],
    dialect: Dialect = None,
    handlers: Types = None,
    input_text: Input = None,
    param: Params = None,
    instance_id: Annotated[
        str | None, Option("--id", metavar="ID", check=check_id, help="Name the instance.")
    ] = None,
    if_exists: IfExists = "refuse",
    version: Annotated[str | None, Option(metavar="VERSION", help="A version; the newest by default.")] = None,
    priority: Priority = 0,
    wait: Annotated[
        bool, Option("--wait", help="Wait for its end, and print its output; exit statuses as for run.")
    ] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Start an instance and return at once; any engine and worker on this log, or `stepwell dev`, run it.

    \b
    stepwell start order --input '{"order": 1}' --id order-1
    stepwell start order.yaml --input @order.json --wait
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    return steering.start(
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


def replay(
    instance_id: Id,
    to: Annotated[int | None, Option("--to", metavar="N", help="Stop after event N.")] = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Show an instance as it was after any past event, folded from its history alone.

    \b
    stepwell replay order-1 --to 7
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415

    return show.status(instance_id, to, replayed=True, as_json=as_json, log=log)


def stop(instance_id: Id, reason: Reason = "", as_json: Json = False, log: Log = None) -> Any:
    """Pause an instance: no further step starts until `stepwell resume`.

    \b
    stepwell stop order-1 --reason "price is being checked"
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    return steering.steer(instance_id, "paused", lambda c: c.pause(instance_id, reason), as_json=as_json, log=log)


def resume(
    instance_id: Id,
    skip_failed: Annotated[bool, Option(help="Go on without the steps that failed; a gate asks anew.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Go on with a paused instance, or with a failed or cancelled one at the step that failed.

    \b
    stepwell resume order-1
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    return steering.steer(
        instance_id,
        "resumed",
        lambda c: c.resume(instance_id, skip_failed=skip_failed),
        as_json=as_json,
        log=log,
    )


def cancel(instance_id: Id, reason: Reason = "", as_json: Json = False, log: Log = None) -> Any:
    """End an instance; handlers that run are told.

    \b
    stepwell cancel order-1 --reason "ordered twice"
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    return steering.steer(instance_id, "cancelled", lambda c: c.cancel(instance_id, reason), as_json=as_json, log=log)


def rollback(
    instance_id: Id,
    checkpoint: Annotated[
        str | None,
        Option(
            metavar="POINT",
            help="A checkpoint's name or a settled step's id; where nothing is called so: `latest`, `start`, "
            "or an event's number. Without it, the step that was settled last.",
        ),
    ] = None,
    event: Annotated[int | None, Option(metavar="N", help="An event's number, whatever is called so.")] = None,
    pause: Annotated[bool, Option(help="Stay paused there.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Return to an earlier point: what came after is undone where it has a compensation, and runs anew.

    \b
    stepwell rollback order-1 --checkpoint paid
    stepwell rollback order-1 --event 17
    """
    from stepwell.cli.verbs import steering  # noqa: PLC0415

    return steering.steer(
        instance_id,
        "rolled back",
        lambda c: c.rollback(instance_id, steering.point(checkpoint, event), pause=pause),
        as_json=as_json,
        log=log,
    )
