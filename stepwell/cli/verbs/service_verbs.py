"""The verbs of processes that run for long, of looking who is there, and of what other programs may read."""

from __future__ import annotations

from typing import Annotated, Any

from stepwell.cli.options import (
    DEFAULT_QUEUES,
    Concurrency,
    Json,
    Log,
    MaxDeliveries,
    Modules,
    Queues,
    StrictHandlers,
    Types,
    Workflows,
)
from stepwell.cli.signature import Option

Lines = Annotated[bool, Option("--json", help="Print one JSON object a line, for log collectors.")]
Name = Annotated[
    str | None, Option("--name", metavar="NAME", help="What it is called; its host and process id by default.")
]
RetryFor = Annotated[
    float,
    Option(
        "--retry-for", metavar="SECONDS", min=0, help="How long to wait out trouble with the log, then exit with 75."
    ),
]


def engine(
    name: Name = None,
    max_runs: Annotated[
        int | None,
        Option(
            "--max-runs", metavar="N", min=1, help="Steps in the hands of workers at which no more starts are taken."
        ),
    ] = None,
    workflows: Workflows = None,
    handlers: Types = None,
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: Log = None,
) -> Any:
    """Decide workflows until stopped; any number of engines share the log's partitions.

    Ctrl-C or SIGTERM gives the partitions to the others; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell engine --log file:/var/lib/stepwell/log.db --json
    stepwell engine --workflows /etc/stepwell/workflows
    """
    from stepwell.cli.verbs import serving  # noqa: PLC0415 - start-up time

    return serving.engine(
        name=name,
        max_runs=max_runs,
        workflows=workflows,
        modules=handlers or (),
        retry_for=retry_for,
        as_json=as_json,
        log=log,
    )


def worker(
    workflows: Workflows = None,
    handlers: Modules = None,
    strict_handlers: StrictHandlers = False,
    queue: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    name: Name = None,
    grace: Annotated[
        float,
        Option("--grace", metavar="SECONDS", min=0, help="When stopped, how long steps that run may take to finish."),
    ] = 25.0,  # a little less than the 30 seconds after which Kubernetes kills, unless told otherwise
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: Log = None,
) -> Any:
    """Run steps until stopped; any number of workers share the queues.

    Ctrl-C or SIGTERM takes no more, lets what runs finish, and hands back the rest; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell worker --handlers shop --concurrency 16
    stepwell worker --handlers shop.mail --queue mail --queue letters --grace 60
    """
    from stepwell.cli.verbs import serving  # noqa: PLC0415 - start-up time

    return serving.worker(
        workflows=workflows,
        modules=handlers or [],
        strict=strict_handlers,
        queues=queue,
        concurrency=concurrency,
        name=name,
        grace=grace,
        retry_for=retry_for,
        as_json=as_json,
        log=log,
    )


def workers(
    done: Annotated[
        bool, Option("--done", help="What each worker has done, too; those that have left as well.")
    ] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Show the live engines and workers: partitions, queues, handlers, concurrency.

    \b
    stepwell workers
    stepwell workers --done
    """
    from stepwell.cli.verbs import serving  # noqa: PLC0415 - start-up time

    return serving.show_crew(done=done, as_json=as_json, log=log)


def feed(log: Log = None) -> Any:
    """Publish every event to the topic NAMESPACE.feed of a log in Kafka, as CloudEvents, for other programs.

    Several share the partitions. Killed at any moment, it goes on where the feed ends. Needs stepwell[faststream].

    \b
    stepwell feed --log kafka://localhost:9092
    """
    from stepwell.cli.verbs import interop  # noqa: PLC0415 - start-up time

    return interop.feed(log)


def asyncapi(
    as_yaml: Annotated[bool, Option("--yaml", help="Print YAML instead of JSON.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print JSON, as without it.")] = False,
    log: Log = None,
) -> Any:
    """Print the AsyncAPI 3 description of what other programs may write and read: commands, starts, the feed.

    \b
    stepwell asyncapi --yaml > stepwell.asyncapi.yaml
    """
    from stepwell.cli.verbs import interop  # noqa: PLC0415 - start-up time

    return interop.asyncapi(log, as_yaml=as_yaml, as_json=as_json)
