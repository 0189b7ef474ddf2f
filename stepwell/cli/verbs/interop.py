"""Verbs for those who are not Stepwell: the feed, and the description of what can be written and read."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from stepwell.cli.output import print
from stepwell.cli.session import UsageError
from stepwell.errors import StepwellError


class MissingExtraError(StepwellError):
    """A verb needs a package that is not installed."""


async def feed(log: str | None) -> int:
    """Publish events until stopped."""
    try:
        from stepwell.consumers.outbound.feed_application import FeedApplication  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the feed needs {error.name}, which is not installed",
            place="stepwell feed",
            remedy="pip install 'stepwell[faststream]'",
        ) from None
    app = FeedApplication(log, _tell)
    async with app.lifespan_context():
        await app.start()
        try:
            await asyncio.shield(app.feeding)
        finally:
            await app.stop()
    return 0


def _tell(partitions: frozenset[int]) -> None:
    named = ", ".join(map(str, sorted(partitions))) or "none; others have them"
    print(f"publishes partitions: {named}", file=sys.stderr, flush=True)


async def asyncapi(log: str | None, *, as_yaml: bool, as_json: bool) -> int:
    """Print the description."""
    from stepwell import __version__  # noqa: PLC0415 - start-up time
    from stepwell.log.address import parse  # noqa: PLC0415
    from stepwell.log.kafka.settings import read_settings  # noqa: PLC0415
    from stepwell.schemas.records.asyncapi import describe  # noqa: PLC0415

    if as_yaml and as_json:
        raise UsageError("it is one or the other", place="--yaml --json")
    namespace, brokers = "stepwell", list[str]()
    if log is not None and (url := parse(log)).scheme == "kafka":
        settings = read_settings(url, os.environ)
        namespace, brokers = settings.namespace, settings.bootstrap.split(",")
    document = describe(version=__version__, namespace=namespace, brokers=brokers)
    if as_yaml:
        from stepwell.schemas.definitions.yaml_core import write_yaml  # noqa: PLC0415

        print(write_yaml(document), end="")
    else:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0
