"""``GET /v1/instances``: pages of instances, by any of the filters that the read models know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from msgspec import Struct

from stepwell.projections.filters import InstanceFilter, Order
from stepwell.projections.rows import InstanceRow
from stepwell.projections.views import Views
from stepwell.schemas.records.statuses import InstanceStatus
from stepwell.server.access import Role, requires
from stepwell.server.http.describing import MORE_PARAMETERS
from stepwell.server.http.filtering import (
    FIELDS_PARAMETER,
    Limit,
    Text,
    Time,
    fields_of,
    part_parameter,
    text_parameter,
    time_of,
    time_parameter,
)
from stepwell.server.http.freshness import LAG_HEADER, LaggingResponse, read_views
from stepwell.server.http.reading import TAKES_FIELDS


class InstanceList(Struct, frozen=True):
    """A page of instances.

    Attributes:
        next: Give it back as `cursor`, with the same filters and order, for the page after; empty on the last one.
        total: How many instances there are in all; where it is not exact, at least so many.
    """

    items: list[InstanceRow]
    next: str
    total: int
    total_is_exact: bool


@get(
    "/v1/instances", guards=[requires(Role.VIEWER)], operation_id="listInstances",
    dependencies={"views": Provide(read_views)}, response_class=LaggingResponse, response_headers=[LAG_HEADER],
    opt=TAKES_FIELDS | {MORE_PARAMETERS: [FIELDS_PARAMETER]},
)  # fmt: skip
async def list_instances(
    request: Request[Any, Any, Any],
    views: NamedDependency[Views],
    status: Annotated[list[InstanceStatus] | None, QueryParameter(description="Any of these.")] = None,
    workflow: Annotated[Text, text_parameter("Name of the definition.")] = None,
    version: Annotated[Text, text_parameter("Version of the definition.")] = None,
    tag: Annotated[Text, text_parameter("A tag of the definition.")] = None,
    created_after: Annotated[Time, time_parameter("Started then or later.")] = None,
    created_before: Annotated[Time, time_parameter("Started earlier.")] = None,
    finished_after: Annotated[Time, time_parameter("Finished then or later.")] = None,
    finished_before: Annotated[Time, time_parameter("Finished earlier.")] = None,
    priority_min: Annotated[int | None, QueryParameter(ge=0, le=100, description="At least.")] = None,
    priority_max: Annotated[int | None, QueryParameter(ge=0, le=100, description="At most.")] = None,
    error: Annotated[Text, part_parameter("A text in any error that it has had.")] = None,
    parent: Annotated[Text, text_parameter("Id of the instance that has started it.")] = None,
    order: Annotated[
        Order, QueryParameter(description="With a minus, the latest or largest comes first.")
    ] = "-created",
    cursor: Annotated[Text, text_parameter("`next` of the page before; none for the first.")] = None,
    limit: Limit = 50,
    count: Annotated[
        Literal["exact"] | None, QueryParameter(description="Count all of them; else counting may end at 1,000.")
    ] = None,
) -> InstanceList:
    """Instances, by any number of filters that must all hold."""
    fields = fields_of(request.query_params.multi_items())
    wanted = InstanceFilter(
        status=tuple(status or ()),
        workflow=workflow or "",
        version=version or "",
        tag=tag or "",
        created_after=time_of(created_after, "created_after"),
        created_before=time_of(created_before, "created_before"),
        finished_after=time_of(finished_after, "finished_after"),
        finished_before=time_of(finished_before, "finished_before"),
        priority_min=priority_min,
        priority_max=priority_max,
        error=error or "",
        parent=parent or "",
        input=fields["input"],
        output=fields["output"],
    )
    page, total = await views.find(
        wanted, order=order, cursor=cursor or None, limit=limit, exact=count == "exact", fresh=False
    )
    return InstanceList(list(page), page.next, total, page.total_is_exact)
