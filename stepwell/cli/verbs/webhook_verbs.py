"""The verbs of telling others what happens: webhooks, and the durable names of whoever reads events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from stepwell.cli.options import Json, Log
from stepwell.cli.signature import Argument, Option
from stepwell.cli.verbs.service_verbs import RetryFor


def webhooks(
    file: Annotated[Path, Argument(metavar="FILE", help="Who is told what: YAML or JSON, see docs/events.md.")],
    check: Annotated[bool, Option("--check", help="Only check FILE and its secrets.")] = False,
    retry_for: RetryFor = 300.0,
    as_json: Annotated[
        bool, Option("--json", help="Print one JSON object a line; with --check, one and nothing else.")
    ] = False,
    log: Log = None,
) -> Any:
    """Post events to those who want to be told, until stopped; several processes share the receivers.

    Each gets its events in order and at least once, signed with the secret that its environment variable holds.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell webhooks webhooks.yaml --check
    stepwell webhooks webhooks.yaml --log file:/var/lib/stepwell/log.db --json
    """
    from stepwell.cli.verbs import outbound  # noqa: PLC0415 - start-up time

    if check:
        return outbound.check(file, as_json=as_json)
    return outbound.post(file, retry_for=retry_for, as_json=as_json, log=log)


def subscriptions(
    forget: Annotated[
        str | None, Option("--forget", metavar="NAME", help="Forget how far this name has come.")
    ] = None,
    as_json: Json = False,
    log: Log = None,
) -> Any:
    """Show the durable names of those who read events: how far each has come, and how many records it is behind.

    \b
    stepwell subscriptions
    stepwell subscriptions --forget webhook:billing
    """
    from stepwell.cli.verbs import outbound  # noqa: PLC0415 - start-up time

    return outbound.show(forget, as_json=as_json, log=log)
