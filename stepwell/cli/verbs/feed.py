"""``stepwell feed``."""

from __future__ import annotations

import asyncio
import sys

from stepwell.cli.exits import MissingExtraError
from stepwell.cli.options import LogUrl
from stepwell.cli.output import print


async def feed(log: LogUrl = None) -> int:
    """Publish every event to the topic NAMESPACE.feed of a log in Kafka, as CloudEvents, for other programs.

    Several share the partitions. Killed at any moment, it goes on where the feed ends. Needs stepwell[faststream].

    \b
    stepwell feed --log kafka://localhost:9092
    """
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
