"""``stepwell webhooks`` and ``stepwell subscriptions``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from stepwell import logs
from stepwell.cli.exits import UsageError
from stepwell.cli.output import print
from stepwell.cli.session import client_of
from stepwell.cli.verbs.serving import Attempt, serve
from stepwell.cli.verbs.show import print_json
from stepwell.consumers.outbound.webhook_file import Webhook, read_webhooks
from stepwell.log.port import Log


async def check(file: Path, *, as_json: bool) -> int:
    """Say what a file of webhooks asks for; return the exit status."""
    hooks = read_webhooks(file)
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


async def post(file: Path, *, retry_for: float, as_json: bool, log: str | None) -> int:
    """Deliver until stopped; return the exit status."""
    from stepwell.consumers.outbound.webhooks import Webhooks  # noqa: PLC0415 - start-up time
    from stepwell.schemas.records.feed import feed_source  # noqa: PLC0415

    hooks = read_webhooks(file)
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
    return await serve("webhooks", attempt_on, about, retry_for=retry_for, as_json=as_json, log=log)


def _named(hooks: list[Webhook]) -> list[str]:
    return [hook.name for hook in hooks]


async def show(forget: str | None, *, as_json: bool, log: str | None) -> int:
    """Print the durable names, or forget one; return the exit status."""
    async with client_of(log) as client:
        if forget is not None and not await client.forget_subscription(forget):
            raise UsageError(
                f"there is no durable name {forget!r}",
                place="--forget",
                remedy="`stepwell subscriptions` shows those that there are.",
            )
        found = await client.subscriptions()
    if as_json:
        print_json({"subscriptions": found, **({"forgotten": forget} if forget is not None else {})})
        return 0
    if forget is not None:
        print(f"forgotten: {forget}; whoever uses this name next begins anew")
        return 0
    width = max((len(info.name) for info in found), default=0)
    for info in found:
        at = datetime.fromtimestamp(info.at / 1000).astimezone()
        print(f"{info.name:<{width}}  {info.lag:>7} behind  {at:%Y-%m-%d %H:%M:%S}  {info.position}")
    if not found:
        print("no durable names")
    return 0
