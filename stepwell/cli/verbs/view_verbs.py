"""The verbs that look: one instance, all of them, and how all is going."""

from __future__ import annotations

from typing import Annotated, Any

from stepwell.cli.options import Id, Input, Json, Log, Params, check_id
from stepwell.cli.signature import Argument, Option

Since = Annotated[
    str | None,
    Option("--since", metavar="TIME", help="From this time on: ISO, or an age such as 90s, 15m, 2h, 7d."),
]
Limit = Annotated[int, Option("--limit", metavar="N", min=1, max=1_000, help="How many to show.")]
Least = Annotated[int | None, Option(metavar="N", min=0, max=100, help="Of this priority or more.")]
Most = Annotated[int | None, Option(metavar="N", min=0, max=100, help="Of this priority or less.")]


def status(
    instance_id: Id,
    attempts: Annotated[
        bool, Option("--attempts", help="Every attempt at every step: worker, when, how long, error.")
    ] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Show an instance: its steps, times, attempts and errors.

    \b
    stepwell status order-1
    stepwell status order-1 --attempts
    """
    from stepwell.cli.verbs import show  # noqa: PLC0415 - start-up time

    return show.status(instance_id, None, attempts=attempts, as_json=as_json, log=log)


def history(
    instance_id: Id,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as more happens, until it has ended.")] = False,
    types: Annotated[
        list[str] | None,
        Option("--types", metavar="TYPE", help="Only events of this type, with wildcards: step.*; repeat it."),
    ] = None,
    full: Annotated[bool, Option("--full", help="Cut nothing, and show tracebacks.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Print everything that ever happened to an instance, one event a line.

    \b
    stepwell history order-1
    stepwell history order-1 --types 'step.failed' --full
    stepwell history order-1 --follow
    stepwell history order-1 --json | jq '.events[] | select(.type == "step.failed")'
    """
    from stepwell.cli.verbs import histories  # noqa: PLC0415 - start-up time

    return histories.history(instance_id, follow=follow, types=types or [], full=full, as_json=as_json, log=log)


def debug(instance_id: Id, as_json: Json = False, log: Log = None) -> Any:
    """Say why an instance is stuck, or why it failed, and what to do.

    It names the step, its input, its error and all attempts; what waits for what; and the commands that help.

    \b
    stepwell debug order-1
    """
    from stepwell.cli.verbs import debugging  # noqa: PLC0415 - start-up time

    return debugging.debug(instance_id, as_json=as_json, log=log)


def monitor(
    instance_id: Annotated[
        str | None, Argument(metavar="[ID]", check=check_id, help="An instance; without one, all of them.")
    ] = None,
    duration: Annotated[
        float | None, Option("--duration", metavar="SECONDS", min=0, help="Stop after so long.")
    ] = None,
    interval: Annotated[
        float, Option("--interval", metavar="SECONDS", min=0.05, max=3600, help="Between two looks.")
    ] = 1.0,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object a line.")] = False,
    log: Log = None,
) -> Any:
    """Watch an instance until it ends; or all that goes on. Runs nothing itself.

    On a terminal it redraws; elsewhere it prints lines. Exit status 0, however it goes.

    \b
    stepwell monitor order-1
    stepwell monitor --duration 600 --interval 5
    """
    from stepwell.cli.verbs import monitoring  # noqa: PLC0415 - start-up time

    return monitoring.monitor(instance_id, duration, interval, as_json=as_json, log=log)


def list_(
    status: Annotated[
        list[str] | None,
        Option(
            "--status",
            metavar="STATUS",
            help="Only pending, running, paused, completed, failed or cancelled ones; repeat it.",
        ),
    ] = None,
    workflow: Annotated[str | None, Option(metavar="NAME", help="Only of this workflow.")] = None,
    version: Annotated[str | None, Option(metavar="VERSION", help="Only of this version.")] = None,
    tag: Annotated[str | None, Option(metavar="TAG", help="Only of workflows with this tag.")] = None,
    since: Annotated[
        str | None,
        Option(metavar="TIME", help="Started from then on: ISO, or an age: 90s, 15m, 2h, 7d."),
    ] = None,
    until: Annotated[str | None, Option(metavar="TIME", help="Started before.")] = None,
    finished_since: Annotated[str | None, Option(metavar="TIME", help="Ended from then on.")] = None,
    finished_until: Annotated[str | None, Option(metavar="TIME", help="Ended before.")] = None,
    priority_min: Least = None,
    priority_max: Most = None,
    input_: Annotated[
        list[str] | None,
        Option("--input", metavar="NAME=VALUE", help="With this in the input; customer.id=17; repeat it."),
    ] = None,
    output: Annotated[
        list[str] | None, Option("--output", metavar="NAME=VALUE", help="With this in the output; repeat it.")
    ] = None,
    error: Annotated[str, Option(metavar="TEXT", help="With this text in any error it has had.")] = "",
    parent: Annotated[str, Option(metavar="ID", help="Only children of this instance.")] = "",
    order: Annotated[
        str,
        Option(metavar="ORDER", help="created, finished, priority; with a minus the largest first."),
    ] = "-created",
    limit: Limit = 20,
    cursor: Annotated[str | None, Option(metavar="TEXT", help="Go on where a page before ended.")] = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """List instances, the newest first.

    \b
    stepwell list --status failed --since 2h
    stepwell list --workflow order --input customer.id=17 --priority-min 50
    stepwell list --error "does not answer" --order -finished
    """
    from stepwell.cli.verbs import listing  # noqa: PLC0415 - start-up time
    from stepwell.cli.views import fields_of, in_order, time_of  # noqa: PLC0415
    from stepwell.projections.filters import InstanceFilter  # noqa: PLC0415

    given: dict[str, tuple[str, Any]] = {
        "status": ("--status", tuple(dict.fromkeys(status or ()))),
        "workflow": ("--workflow", workflow or ""),
        "version": ("--version", version or ""),
        "tag": ("--tag", tag or ""),
        "created_after": ("--since", time_of(since, "--since")),
        "created_before": ("--until", time_of(until, "--until")),
        "finished_after": ("--finished-since", time_of(finished_since, "--finished-since")),
        "finished_before": ("--finished-until", time_of(finished_until, "--finished-until")),
        "priority_min": ("--priority-min", priority_min),
        "priority_max": ("--priority-max", priority_max),
        "input": ("--input", fields_of(input_ or (), "--input")),
        "output": ("--output", fields_of(output or (), "--output")),
        "error": ("--error", error),
        "parent": ("--parent", parent),
    }
    in_order(given)
    wanted = InstanceFilter(**{name: value for name, (_, value) in given.items()})
    named = {name: option for name, (option, value) in given.items() if value not in (None, "", (), {})}
    return listing.list_instances(wanted, named, order=order, limit=limit, cursor=cursor, as_json=as_json, log=log)


def errors(
    text: Annotated[str, Argument(metavar="[TEXT]", help="Only errors with this text in them.")] = "",
    instance_id: Annotated[
        str | None, Option("--instance", metavar="ID", check=check_id, help="Only of this instance.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Print the last errors of all instances, those that were retried, too.

    \b
    stepwell errors
    stepwell errors "connection refused"
    """
    from stepwell.cli.verbs import listing  # noqa: PLC0415 - start-up time

    return listing.errors(text, instance_id or "", limit, as_json=as_json, log=log)


def audit(
    by: Annotated[str, Option("--by", metavar="NAME", help="Only what they have asked for.")] = "",
    instance_id: Annotated[
        str | None, Option("--instance", metavar="ID", check=check_id, help="Only about this instance.")
    ] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Print who asked for what, when and from where, and what became of it.

    \b
    stepwell audit --instance order-1
    stepwell audit --by ann --since 7d
    """
    from stepwell.cli.verbs import listing  # noqa: PLC0415 - start-up time
    from stepwell.cli.views import time_of  # noqa: PLC0415

    moment = time_of(since, "--since")
    return listing.audit(by, instance_id or "", moment, limit, as_json=as_json, log=log)


def work(
    status: Annotated[
        list[str] | None,
        Option("--status", metavar="STATUS", help="Only ready, running or waiting; repeat it."),
    ] = None,
    queue: Annotated[str, Option("--queue", metavar="NAME", help="Only of this queue.")] = "",
    limit: Limit = 50,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Print what is under way in all instances, what has been so for the longest first.

    \b
    stepwell work --status ready
    stepwell work --queue mail
    """
    from stepwell.cli.verbs import listing  # noqa: PLC0415 - start-up time

    return listing.work(status or [], queue, limit, as_json=as_json, log=log)


def cached(
    workflow: Annotated[str, Argument(metavar="WORKFLOW[@VERSION]", help="A registered workflow.")],
    input_text: Input = None,
    param: Params = None,
    max_age: Annotated[
        str | None, Option("--max-age", metavar="AGE", help="Only if it has completed since: 15m, 2h, 7d.")
    ] = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Print the result of the newest instance that completed with an equal input: it need not be computed again.

    Exit status: 0 there is one, 1 there is none.

    \b
    stepwell cached report --input '{"month": "2026-11"}' --max-age 7d
    stepwell cached report@2 --param month=2026-11 || stepwell start report --param month=2026-11
    """
    from stepwell.cli.verbs import listing  # noqa: PLC0415 - start-up time
    from stepwell.cli.views import seconds_of  # noqa: PLC0415

    oldest = seconds_of(max_age, "--max-age")
    return listing.cached(workflow, input_text, param or [], oldest, as_json=as_json, log=log)


def stats(
    workflow: Annotated[
        str | None, Argument(metavar="[WORKFLOW[@VERSION]]", help="Only of this workflow, or version.")
    ] = None,
    steps: Annotated[bool, Option("--steps", help="Those of the steps, too.")] = False,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Print statistics: totals, success rate, durations; of steps their attempts, failure rate, durations, CPU.

    \b
    stepwell stats
    stepwell stats order --steps
    """
    from stepwell.cli.verbs import statistics  # noqa: PLC0415 - start-up time

    return statistics.stats(workflow, steps=steps, as_json=as_json, log=log)


def health(as_json: Json = False, log: Log = None) -> Any:
    """Print how all is going: log, engines, workers, read models, and each workflow with a score from 0 to 100.

    Exit status: 0 nothing is critical, 1 something is, 2 the log cannot be opened.

    \b
    stepwell health
    stepwell health --json | jq .level
    """
    from stepwell.cli.verbs import statistics  # noqa: PLC0415 - start-up time

    return statistics.health(as_json=as_json, log=log)


def alerts(as_json: Json = False, log: Log = None) -> Any:
    """Print what somebody should look at, and what to do about it.

    Exit status: 0 nothing is critical, 1 something is, 2 the log cannot be opened.

    \b
    stepwell alerts
    """
    from stepwell.cli.verbs import statistics  # noqa: PLC0415 - start-up time

    return statistics.alerts(as_json=as_json, log=log)


def models_status(as_json: Json = False, log: Log = None) -> Any:
    """Print where the read models are, which generation, and how far they are behind the log.

    \b
    stepwell projections status
    """
    from stepwell.cli.verbs import statistics  # noqa: PLC0415 - start-up time

    return statistics.models_status(as_json=as_json, log=log)


def models_rebuild(as_json: Json = False, log: Log = None) -> Any:
    """Make the read models anew from the log, while the old ones are still asked.

    \b
    stepwell projections rebuild
    """
    from stepwell.cli.verbs import statistics  # noqa: PLC0415 - start-up time

    return statistics.models_rebuild(as_json=as_json, log=log)
