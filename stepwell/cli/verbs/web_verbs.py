"""The verbs of the HTTP server: serve, and tokens for those who use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepwell.cli.options import (
    DEFAULT_QUEUES,
    Concurrency,
    Json,
    Log,
    MaxDeliveries,
    Modules,
    Queues,
    StrictHandlers,
    Workflows,
)
from stepwell.cli.session import finish
from stepwell.cli.verbs.service_verbs import Lines, RetryFor

app = typer.Typer(rich_markup_mode=None)

Tokens = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="FILE",
        envvar="STEPWELL_TOKENS",
        help="The file of access tokens; .stepwell/tokens where there is one.",
    ),
]


@app.command()
def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Where to listen; elsewhere than here only with tokens.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65_535, help="0 takes a free one, and says which.")
    ] = 8080,
    tokens: Tokens = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Without tokens, though there were some: everybody here may do everything.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin", metavar="ORIGIN", help="Let pages of this origin use the server; may be repeated."
        ),
    ] = None,
    http_only: Annotated[
        bool, typer.Option("--http-only", help="No engine and no worker: they run elsewhere.")
    ] = False,
    apart: Annotated[
        bool, typer.Option("--apart", help="Engine and worker in a process of their own, so that two cores are used.")
    ] = False,
    workflows: Workflows = None,
    handlers: Modules = None,
    strict_handlers: StrictHandlers = True,
    queue: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    grace: Annotated[
        float,
        typer.Option(
            "--grace", metavar="SECONDS", min=0, help="When stopped, how long steps that run may take to finish."
        ),
    ] = 20.0,  # with the answers under way less than the 30 seconds after which Kubernetes kills
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: Log = None,
) -> None:
    """Serve HTTP: the API, /docs and /redoc; with an engine and a worker in the same process.

    Ctrl-C or SIGTERM answers what is under way, and lets steps finish; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell serve --handlers shop.steps
    stepwell serve --handlers shop.steps --apart
    stepwell token ops --role operator && stepwell serve --host 0.0.0.0 --http-only --log kafka://broker:9092
    """
    from stepwell.cli.verbs import web  # noqa: PLC0415 - start-up time

    finish(
        lambda: web.serve(
            host=host,
            port=port,
            tokens=tokens,
            open_=open_,
            origins=cors_origin or [],
            http_only=http_only,
            apart=apart,
            workflows=workflows,
            modules=handlers or [],
            strict=strict_handlers,
            queues=queue,
            concurrency=concurrency,
            grace=grace,
            retry_for=retry_for,
            as_json=as_json,
            log=log,
        ),
        web.fast_loop,
    )


@app.command(hidden=True)
def serve_parts(
    handlers: Modules = None,
    strict_handlers: StrictHandlers = True,
    queue: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    grace: Annotated[float, typer.Option("--grace", metavar="SECONDS", min=0, help="As of serve.")] = 20.0,
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: Log = None,
) -> None:
    """Run what `stepwell serve --apart` runs beside it; ends when standard input does.

    \b
    stepwell serve --apart
    """
    from stepwell.cli import child_process  # noqa: PLC0415 - start-up time

    finish(
        lambda: child_process.parts(
            modules=handlers or [],
            strict=strict_handlers,
            queues=queue,
            concurrency=concurrency,
            grace=grace,
            retry_for=retry_for,
            as_json=as_json,
            log=log,
        )
    )


@app.command()
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: what approvals and the audit will say.")],
    role: Annotated[
        str,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="monitor: health and metrics; viewer: reads; operator: also starts and steers; "
            "approver: also decides; worker: claims steps; admin.",
        ),
    ],
    tokens: Tokens = None,
    as_json: Json = False,
) -> None:
    """Make an access token for `stepwell serve`, print it once, and add its SHA-256 to a file.

    To revoke it, take its line out of the file; the server sees that within a second.

    \b
    stepwell token ops --role operator
    stepwell token alice --role approver --tokens /etc/stepwell/tokens
    """
    from stepwell.cli.verbs import web  # noqa: PLC0415 - start-up time

    finish(lambda: web.token(name, role, tokens, as_json=as_json))
