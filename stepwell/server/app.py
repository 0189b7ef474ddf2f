"""The Litestar application: routers, who may use them, and how errors are told."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from stepwell.client.client import Client
from stepwell.consumers.worker.remote.lending import Lending
from stepwell.schemas.records.sender import tidy
from stepwell.server.access import Access, Actor, actor_of
from stepwell.server.http.describing import describe
from stepwell.server.http.discretion import DiscreetResponse
from stepwell.server.http.origins import cors_of
from stepwell.server.http.paths import split_first
from stepwell.server.http.reading import StrictRequest, prepare
from stepwell.server.http.refusing import answering, noting
from stepwell.server.http.turns import Turns
from stepwell.server.routes import definitions, health, instances, metrics, named, queries, stream, submitting, work
from stepwell.server.routes.metrics import Exporter, Meter
from stepwell.server.routes.pages import pages
from stepwell.server.routes.stream import Streams

MOST_BODY: Final = 16 * 1024 * 1024  # bytes of a request's body: a definition of 8 MiB, a batch of many starts

ROUTERS: Final[tuple[ControllerRouterHandler, ...]] = (
    definitions.router,
    instances.router,
    submitting.router,
    named.router,
    work.router,
    queries.router,
    stream.router,
    health.router,
    metrics.router,
)


def create_app(client: Client, *, access: Access, more: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """The application.

    Handlers are given ``client: NamedDependency[Client]`` and ``actor: NamedDependency[Actor]``: who asks, which is
    also in ``request.state.actor``. Each says what it demands by ``guards=[requires(Role.VIEWER)]``.

    Args:
        client: Asks the engines, and reads the log. It belongs to the event loop that serves the application.
        access: Finds out who asks.
        more: Routers besides our own.
    """
    routers = [*ROUTERS, *more]
    lending, meter = Lending(client.log), Meter()
    exporter = Exporter(meter)
    access.note = noting(client)
    dependencies = {
        "client": Provide(_acting(client, access), sync_to_thread=False),
        "access": Provide(lambda: access, sync_to_thread=False, use_cache=True),
        "lending": Provide(lambda: lending, sync_to_thread=False, use_cache=True),
        "exporter": Provide(lambda: exporter, sync_to_thread=False, use_cache=True),
        "actor": Provide(_actor, sync_to_thread=False),
    }
    app = _Measured(
        [*routers, pages(lambda: describe(routers, dependencies))],
        dependencies=dependencies,
        # Set before it stops, for answers that have no end; and ended before that, for those that wait.
        state=State({"stopping": asyncio.Event(), "lending": lending, "turns": Turns(), "streams": Streams()}),
        guards=[access.guard],
        exception_handlers={Exception: answering(access.note)},
        on_shutdown=[lending.close],
        before_request=prepare,
        response_class=DiscreetResponse,
        request_class=StrictRequest,
        request_max_body_size=MOST_BODY,
        logging_config=None,
        openapi_config=None,
        cors_config=cors_of(access.origins),
        debug=False,
    )
    app.meter, app.access = meter, access
    return app


class _Measured(Litestar):
    """An application whose requests are counted: around everything, so that errors are counted as they are told."""

    __slots__ = ("access", "meter")
    meter: Meter
    access: Access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As the class above."""
        if scope["type"] == "http":
            split_first(scope)
            send = self.access.watch(scope, self.meter.watch(scope, send))
        await super().__call__(scope, receive, send)


def _acting(client: Client, access: Access) -> Callable[[Request[Any, Any, Any]], Client]:
    """What gives handlers the client of whoever asks: what it sends is recorded under their name and address."""

    @functools.lru_cache(maxsize=1_000)
    def of(actor: Actor) -> Client:
        # Without tokens nobody knows who it is; a name with odd characters shall not be in the way of its holder.
        return client.acting(by="" if access.open else tidy(actor.name), via=actor.via)

    def acting(request: Request[Any, Any, Any]) -> Client:
        return of(actor_of(request)) if "actor" in request.scope["state"] else client

    return acting


def _actor(request: Request[Any, Any, Any]) -> Actor:
    return actor_of(request)
