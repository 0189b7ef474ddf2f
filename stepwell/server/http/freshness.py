"""How far the answers are behind the log, and waiting until they are not: read your own write.

Read models follow the log. Answers come at once, from what is there, and ``Stepwell-Lag`` says how many records are
missing. Every answer to a command carries ``Stepwell-Position``; whoever gives that back waits until it is followed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Litestar, Request
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from stepwell.client.client import Client
from stepwell.errors import visible
from stepwell.projections.views import Views
from stepwell.server.http.discretion import DiscreetResponse
from stepwell.server.http.problems import POSITION, NotYetError, RefusedError
from stepwell.server.http.reading import check_parameters

LAG: Final = "Stepwell-Lag"
LONGEST_WAIT: Final = 5.0  # seconds; who is behind for longer catches up by the minute, and is asked again

_ONE: Final = re.compile(r"(0|[1-9][0-9]{0,9})@(0|[1-9][0-9]{0,17})")  # ASCII digits, and within 63 bits
_PATTERN: Final = r"^[0-9]{1,5}@[0-9]{1,15}(,[0-9]{1,5}@[0-9]{1,15}){0,9}$"
_SHOWN: Final = 60  # characters of a wrong position or name that a message quotes

Fresh = Annotated[
    bool, QueryParameter(description="Wait until all that is in the log when it is asked is in the answer.")
]
After = Annotated[
    str | None,
    QueryParameter(
        schema_extra={"pattern": _PATTERN},
        description=f"Wait for this: `{POSITION}` of an answer to a command. It may be given as a header, too.",
    ),
]
POSITION_HEADER: Final = ResponseHeader(
    POSITION,
    description="Where the answer is in the log, `PARTITION@OFFSET`; several of a batch, by commas. "
    "Routes that read take it as `after`.",
    documentation_only=True,
)
LAG_HEADER: Final = ResponseHeader(
    LAG, description="How many records of the log are not in the answer yet.", documentation_only=True
)


def position_headers(positions: Iterable[str]) -> dict[str, str]:
    """The header of an answer to commands.

    Args:
        positions: Of their answers; empty ones are left out, and of each partition the last one is enough.
    """
    newest = latest(position for position in positions if position)
    return {POSITION: ",".join(f"{partition}@{offset}" for partition, offset in newest.items())} if newest else {}


def latest(positions: Iterable[str]) -> dict[int, int]:
    """The largest offset of each partition."""
    found: dict[int, int] = {}
    for position in positions:
        partition, _, offset = position.partition("@")
        found[int(partition)] = max(int(offset), found.get(int(partition), -1))
    return dict(sorted(found.items()))


def read_positions(text: str, partitions: int, place: str) -> dict[int, int]:
    """Read positions, as ``position_headers`` writes them.

    Raises:
        RefusedError: 400: there are none, or of no log with so many partitions.
    """
    remedy = f"Give back what an answer to a command said as {POSITION}, unchanged."
    parts = [part.strip() for part in text.split(",")]
    if not all(map(_ONE.fullmatch, parts)):
        raise RefusedError(
            HTTPStatus.BAD_REQUEST,
            f"is no position: {visible(text[:_SHOWN])!r}; one is PARTITION@OFFSET",
            place=place,
            remedy=remedy,
        )
    found = latest(parts)
    if max(found) >= partitions:
        raise RefusedError(
            HTTPStatus.BAD_REQUEST,
            f"this log has the partitions 0 to {partitions - 1}, and no {max(found)}",
            place=place,
            remedy=remedy,
        )
    return found


async def read_views(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    fresh: Fresh = False,
    after: After = None,
) -> Views:
    """What a route reads from, once it is as fresh as the request wants it: the dependency ``views``.

    Raises:
        RefusedError: 400: the position is none, or there are parameters that the route does not know.
        NotYetError: It was not so fresh in time.
    """
    check_parameters(request)
    given = request.headers.get(POSITION.lower())
    models = client.views.models
    offsets: dict[int, int] = {}
    for place, text in (("after", after), (POSITION, given)):
        if text is None:
            continue
        for partition, offset in read_positions(text, client.log.partitions, place).items():
            offsets[partition] = max(offset + 1, offsets.get(partition, 0))
    try:
        async with asyncio.timeout(LONGEST_WAIT):
            if offsets:
                async with models.asking(offsets=offsets):
                    pass
            if fresh:
                await models.catch_up()
            request.state.lag = await models.behind()
    except TimeoutError:
        raise NotYetError(
            f"the read models have not come so far within {LONGEST_WAIT:g} s",
            place="after" if after else POSITION if given else "fresh" if fresh else "",
            remedy="Ask again later; GET /v1/lag says how far they are.",
        ) from None
    return client.views


class LaggingResponse(DiscreetResponse):
    """An answer of the read models, which says how far behind the log it is."""

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **more: Any) -> ASGIResponse:
        """As the class above, with the header."""
        self.headers[LAG] = str(request.state.lag)
        return super().to_asgi_response(app, request, **more)
