"""The feed as a FastStream application: what ``stepwell feed`` runs. FastStream is an extra: import this lazily.

FastStream gives the application its life, its place in an ASGI server, and its description. Records are published not
through it but by the log's own appender: the feed's promise needs one append at a time, none after one that failed,
and headers for each record; FastStream's batches have one set of headers for all (``docs/adr/0014``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from faststream import FastStream
from faststream.asgi import AsgiFastStream, AsgiResponse, AsyncAPIRoute, get
from faststream.asgi.types import ASGIApp, Scope
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from stepwell import __version__
from stepwell.consumers.outbound.feed import Feeder
from stepwell.errors import LogError
from stepwell.log.address import chosen_url, parse
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.kafka.settings import KafkaSettings, read_settings
from stepwell.log.port import FEED
from stepwell.schemas.records.asyncapi import describe
from stepwell.schemas.records.feed import feed_source
from stepwell.tasks import cancel_and_wait

_SASL: Final[dict[str, type[SASLPlaintext | SASLScram256 | SASLScram512]]] = {
    "PLAIN": SASLPlaintext,
    "SCRAM-SHA-256": SASLScram256,
    "SCRAM-SHA-512": SASLScram512,
}


def _security(settings: KafkaSettings) -> BaseSecurity | None:
    """What FastStream's broker must know to be let in."""
    context = settings.client().get("ssl_context")
    encrypted = settings.security_protocol.endswith("SSL")
    if settings.security_protocol.startswith("SASL"):
        kind = _SASL[settings.sasl_mechanism]
        return kind(settings.sasl_username, settings.sasl_password, ssl_context=context, use_ssl=encrypted)
    return BaseSecurity(ssl_context=context, use_ssl=True) if encrypted else None


class _Description:
    """What the feed's application says of itself: the one description that ``stepwell asyncapi`` prints too."""

    title = "Stepwell"
    description: str | None = None
    version: str | None = __version__
    contact = None
    license = None

    def __init__(self, namespace: str, brokers: list[str]) -> None:
        self._document = describe(version=__version__, namespace=namespace, brokers=brokers)

    def add_broker(self, _broker: Any, /) -> _Description:
        """It has its own idea of what there is."""
        return self

    def add_http_route(self, path: str, handler: Any) -> _Description:  # noqa: ARG002 - FastStream's names
        """Likewise."""
        return self

    def to_specification(self) -> ApplicationSchema:
        """In FastStream's words."""
        return ApplicationSchema.model_validate(self._document)


class FeedApplication(FastStream):
    """Its lifespan runs the feeder; its description is Stepwell's.

    ``stepwell feed`` runs it; so does ``faststream run``, or an ASGI server (``.as_asgi(asyncapi_path="/docs")``).

    Args:
        url: The log: ``kafka://HOST:PORT``; else ``STEPWELL_LOG``.
        told: Called with the partitions that this process has, whenever they change.

    Attributes:
        feeding: Ends only by an error that a person must look at; there once it has started.

    Raises:
        LogError: The URL is none of Kafka.
    """

    feeding: asyncio.Task[None]

    def __init__(self, url: str | None = None, told: Callable[[frozenset[int]], None] | None = None) -> None:
        chosen = parse(chosen_url(url))
        if chosen.scheme != "kafka":
            raise LogError(
                "the feed is for Kafka: nobody but Stepwell reads a file log",
                place=chosen.text,
                remedy="Name a log by --log kafka://HOST:PORT. On a file log, `stepwell history` and "
                "client.subscribe() show the same events.",
            )
        self._told = told
        settings = read_settings(chosen, os.environ)
        self.settings: KafkaSettings = settings
        broker = KafkaBroker(settings.bootstrap.split(","), security=_security(settings))
        description: Any = _Description(settings.namespace, settings.bootstrap.split(","))
        super().__init__(broker, lifespan=self._lifespan, specification=description)

    def as_asgi(
        self, asgi_routes: Sequence[tuple[str, ASGIApp]] = (), asyncapi_path: str | AsyncAPIRoute | None = None
    ) -> AsgiFastStream:
        """The same for an ASGI server, with ``/health``: 204 while it publishes, else 503.

        FastStream's own would drop the description, and let everybody who sees the page publish to the broker.
        """
        if isinstance(asyncapi_path, str):
            asyncapi_path = AsyncAPIRoute(asyncapi_path, try_it_out_path=None)

        @get(include_in_schema=False)
        async def health(_: Scope) -> AsgiResponse:
            feeding = getattr(self, "feeding", None)
            return AsgiResponse(status_code=503 if feeding is None or feeding.done() else 204)

        served = AsgiFastStream(
            *self.brokers,
            asgi_routes=[("/health", health), *asgi_routes],
            asyncapi_path=asyncapi_path,
            logger=self.logger,
            specification=self.schema,
        )
        served.lifespan_context = self.lifespan_context
        return served

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        log = await KafkaLog.open(self.settings, create=False)
        try:
            await log.have(FEED)
            feeder = Feeder(log, feed_source(self.settings.namespace), self._told)
            self.feeding = asyncio.ensure_future(feeder.run())
            self.feeding.add_done_callback(lambda _: self.exit())
            try:
                yield
            finally:
                await cancel_and_wait(self.feeding)
            if not self.feeding.cancelled():
                self.feeding.result()  # what ended it, for whoever runs the application
        finally:
            await log.close()
