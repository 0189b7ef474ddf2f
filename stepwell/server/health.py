"""``GET /v1/health``: the log, the engines and the workers, each on its own."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final, Literal

from litestar import Response, Router, get
from litestar.di import NamedDependency
from msgspec import Struct

from stepwell.client import Client
from stepwell.errors import LogError
from stepwell.server.access import Role, requires
from stepwell.server.problems import RETRY_AFTER

_PATIENCE: Final = 5.0  # seconds; who asks for health wants to hear of trouble, not to wait it out

Status = Literal["up", "down"]


class PartHealth(Struct, frozen=True, omit_defaults=True):
    """How one part is.

    Attributes:
        detail: Why it is down.
        live: How many of them are live, where there may be several.
        names: What they call themselves.
    """

    status: Status
    detail: str = ""
    live: int | None = None
    names: list[str] = []


class Health(Struct, frozen=True):
    """How everything is.

    Attributes:
        status: ``down`` if any part is.
        parts: ``log``, ``engines``, ``workers``.
    """

    status: Status
    parts: dict[str, PartHealth]


async def look(client: Client) -> Health:
    """Look how everything is."""
    try:
        async with asyncio.timeout(_PATIENCE):
            crew = await client.crew()
    except (LogError, TimeoutError) as error:
        detail = error.sentence if isinstance(error, LogError) else f"no answer within {_PATIENCE:g} s"
        unknown = PartHealth("down", "not known while the log is away")
        return Health("down", {"log": PartHealth("down", detail), "engines": unknown, "workers": unknown})
    engines, workers = [engine.name for engine in crew.engines], [worker.name for worker in crew.workers]
    lacking = f"partitions without a live owner: {', '.join(map(str, crew.unowned))}" if crew.unowned else ""
    if not engines:
        lacking = "no engine is live: nothing is decided"
    parts = {
        "log": PartHealth("up"),
        "engines": PartHealth("down" if lacking else "up", lacking, len(engines), engines),
        "workers": PartHealth(
            "up" if workers else "down", "" if workers else "no worker is live: steps wait", len(workers), workers
        ),
    }
    return Health("down" if any(part.status == "down" for part in parts.values()) else "up", parts)


@get("/v1/health", guards=[requires(Role.VIEWER)], tags=["health"], operation_id="health")
async def health(client: NamedDependency[Client]) -> Response[Health]:
    """Whether the log can be reached, and engines and workers are live; 503 if anything is down."""
    found = await look(client)
    if found.status == "up":
        return Response(found)
    headers = {"Retry-After": RETRY_AFTER}
    return Response(found, status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)


router = Router("/", route_handlers=[health])
