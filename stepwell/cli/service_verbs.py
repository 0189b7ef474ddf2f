"""The verbs of processes that run for long, and of looking who is there."""

from __future__ import annotations

from typing import Annotated

import typer

from stepwell.cli.options import Concurrency, Json, Log, Modules
from stepwell.cli.session import finish

app = typer.Typer(rich_markup_mode=None)

Lines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for log collectors.")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What it is called; its host and process id by default.")
]
RetryFor = Annotated[
    float,
    typer.Option(
        "--retry-for", metavar="SECONDS", min=0, help="How long to wait out trouble with the log, then exit with 75."
    ),
]


@app.command()
def engine(
    name: Name = None,
    max_runs: Annotated[
        int | None,
        typer.Option(
            "--max-runs", metavar="N", min=1, help="Steps in the hands of workers at which no more starts are taken."
        ),
    ] = None,
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: Log = None,
) -> None:
    """Decide workflows until stopped; any number of engines share the log's partitions.

    Ctrl-C or SIGTERM gives the partitions to the others; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell engine --log file:/var/lib/stepwell/log.db --json
    """
    from stepwell.cli import serving  # noqa: PLC0415 - start-up time

    finish(lambda: serving.engine(name=name, max_runs=max_runs, retry_for=retry_for, as_json=as_json, log=log))


@app.command()
def worker(
    handlers: Modules = None,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME", help="A queue to take steps from; `default` without any."),
    ] = None,
    concurrency: Concurrency = None,
    name: Name = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace", metavar="SECONDS", min=0, help="When stopped, how long steps that run may take to finish."
        ),
    ] = 25.0,  # a little less than the 30 seconds after which Kubernetes kills, unless told otherwise
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: Log = None,
) -> None:
    """Run steps until stopped; any number of workers share the queues.

    Ctrl-C or SIGTERM takes no more, lets what runs finish, and hands back the rest; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell worker --handlers shop --concurrency 16
    stepwell worker --handlers shop.mail --queue mail --queue letters --grace 60
    """
    from stepwell.cli import serving  # noqa: PLC0415 - start-up time

    finish(
        lambda: serving.worker(
            modules=handlers or [],
            queues=queue or ["default"],
            concurrency=concurrency,
            name=name,
            grace=grace,
            retry_for=retry_for,
            as_json=as_json,
            log=log,
        )
    )


@app.command()
def workers(as_json: Json = False, log: Log = None) -> None:
    """Show the live engines and workers: partitions, queues, handlers, concurrency.

    \b
    stepwell workers
    """
    from stepwell.cli import serving  # noqa: PLC0415 - start-up time

    finish(lambda: serving.show_crew(as_json=as_json, log=log))
