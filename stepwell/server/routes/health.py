"""``GET /v1/health``: the log, the engines, the workers and the read models, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal

from litestar import Response, Router, get
from litestar.di import NamedDependency
from msgspec import Struct

from stepwell.client.client import Client
from stepwell.diagnosis.overview import Report, health_of
from stepwell.projections.health_score import Health, Level
from stepwell.server.access import Role, requires
from stepwell.server.http.problems import RETRY_AFTER

_PATIENCE: Final = 5.0  # seconds; who asks for health wants to hear of trouble, not to wait it out

Status = Literal["up", "degraded", "down"]
_STATUSES: Final[Mapping[Level, Status]] = {"healthy": "up", "warning": "degraded", "critical": "down"}


class PartHealth(Struct, frozen=True, omit_defaults=True):
    """How one part is.

    Attributes:
        status: ``down``: it is needed, and does not work; ``degraded``: it works, and somebody should look.
        words: What was seen.
        code: Of the alert that this is, where it is not up.
        remedy: What to do.
    """

    status: Status
    words: str
    code: str = ""
    remedy: str = ""


class HealthReport(Struct, frozen=True):
    """How everything is.

    Attributes:
        status: The worst of the parts.
        parts: ``log``, ``engines``, ``workers``, ``read_models``; only ``log`` where it does not answer.
        workflows: Scores of every version that has run within 24 hours or is live, the lowest first: docs/health.md.
            However low, they are no reason for a 503: this server works.
    """

    status: Status
    parts: dict[str, PartHealth]
    workflows: list[Health]


async def look(client: Client) -> HealthReport:
    """Look how everything is."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return _report(await health_of(client))
    except TimeoutError:
        silent = PartHealth("down", f"no answer within {_PATIENCE:g} s", "no_log", "Look at the log first.")
        return HealthReport("down", {"log": silent}, [])


def _report(found: Report) -> HealthReport:
    parts = {part.name: PartHealth(_STATUSES[part.level], part.words, part.code, part.remedy) for part in found.parts}
    statuses = {part.status for part in parts.values()}
    worst: Status = "down" if "down" in statuses else "degraded" if "degraded" in statuses else "up"
    return HealthReport(worst, parts, found.workflows)


@get("/v1/health", guards=[requires(Role.MONITOR)], tags=["health"], operation_id="health")
async def health(client: NamedDependency[Client]) -> Response[HealthReport]:
    """Whether the log, engines, workers and read models work, and how well workflows do; 503 if a part is down.

    An engine or worker that is not there is down once something waits for it.
    """
    found = await look(client)
    if found.status != "down":
        return Response(found)
    headers = {"Retry-After": RETRY_AFTER}
    return Response(found, status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)


router: Router = Router("/", route_handlers=[health])
