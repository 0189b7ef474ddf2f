"""``stepwell webhooks``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from stepwell import logs
from stepwell.cli.options import LogUrl, RetryFor
from stepwell.cli.output import print, print_json
from stepwell.cli.service import Attempt, run_service
from stepwell.cli.signature import Argument, Option
from stepwell.consumers.outbound.webhook_file import Webhook, read_webhooks
from stepwell.consumers.outbound.webhooks import Webhooks
from stepwell.log.port import Log
from stepwell.schemas.records.feed import feed_source


async def webhooks(
    file: Annotated[Path, Argument(metavar="FILE", help="Who is told what: YAML or JSON, see docs/events.md.")],
    check: Annotated[bool, Option("--check", help="Only check FILE and its secrets.")] = False,
    retry_for: RetryFor = 300.0,
    as_json: Annotated[
        bool, Option("--json", help="Print one JSON object a line; with --check, one and nothing else.")
    ] = False,
    log: LogUrl = None,
) -> int:
    """Post events to those who want to be told, until stopped; several processes share the receivers.

    Each gets its events in order and at least once, signed with the secret that its environment variable holds.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell webhooks webhooks.yaml --check
    stepwell webhooks webhooks.yaml --log file:/var/lib/stepwell/log.db --json
    """
    hooks = read_webhooks(file)
    if check:
        return _tell(hooks, as_json=as_json)
    logs.configure(as_json=as_json)
    logger = logs.Logger("stepwell.webhooks")
    for hook in hooks:
        if hook.secret_env is None:
            logger.warning("webhook not signed: its receiver cannot know who posts", webhook=hook.name)

    def attempt_on(opened: Log) -> Attempt:
        settings = getattr(opened, "settings", None)  # of a log in Kafka
        source = feed_source(getattr(settings, "namespace", "stepwell"))

        def attempt(at_work: Callable[[], None]) -> Awaitable[None]:
            made = Webhooks(opened, hooks, source, lambda names: logger.info("delivers", webhooks=",".join(names)))
            return made.run(at_work)

        return attempt

    about = {"file": str(file), "webhooks": ",".join(_named(hooks))}
    return await run_service("webhooks", attempt_on, about, retry_for=retry_for, as_json=as_json, log=log)


def _tell(hooks: list[Webhook], *, as_json: bool) -> int:
    """Say what a file of webhooks asks for; return the exit status."""
    if as_json:
        print_json({
            "webhooks": [
                {
                    "name": hook.name, "host": hook.host, "events": hook.events, "workflow": hook.workflow,
                    "signed": hook.secret_env is not None,
                }
                for hook in hooks
            ]
        })  # fmt: skip
        return 0
    width = max(len(hook.name) for hook in hooks)
    for hook in hooks:
        of = f" of {hook.workflow}" if hook.workflow else ""
        signed = "signed" if hook.secret_env else "not signed"
        print(f"{hook.name:<{width}}  {hook.host}  {', '.join(hook.events)}{of}  {signed}")
    return 0


def _named(hooks: list[Webhook]) -> list[str]:
    return [hook.name for hook in hooks]
