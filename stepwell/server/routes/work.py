"""Steps for workers in any language: claim, heartbeat, complete, fail, release. See docs/http-workers.md."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, field

from stepwell.consumers.worker.remote.lending import (
    DEFAULT_LEASE,
    LONGEST_LEASE,
    LONGEST_WAIT,
    MOST_CLAIMED,
    SHORTEST_LEASE,
    ClaimedStep,
    LeaseState,
    Lending,
    Reported,
)
from stepwell.core.plan.limits import MAX_NAME
from stepwell.errors import NOT_PLAIN, is_plain
from stepwell.schemas.definitions.model import LONGEST_SECONDS
from stepwell.schemas.records.events import ErrorInfo
from stepwell.server.access import Role, requires
from stepwell.server.http.problems import RefusedError
from stepwell.tasks import cancel_and_wait

_LONGEST_NAME: Final = 200

WorkerName = Annotated[str, Meta(min_length=1, max_length=_LONGEST_NAME)]
# Workers tell each other of these, separated by commas.
QueueName = Annotated[str, Meta(min_length=1, max_length=_LONGEST_NAME, pattern="^[^,]+$")]
HandlerName = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern="^[^,]+$")]


class Claiming(Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker asks for.

    Attributes:
        worker: Who it is, for people; best its host and process.
        handlers: What it can run: names of handlers, as definitions have them.
        queues: Where it takes steps from.
        limit: The most steps that it takes now.
        wait_seconds: How long to wait for the first.
        lease_seconds: How long it has each step without a heartbeat.
    """

    worker: WorkerName
    handlers: Annotated[list[HandlerName], Meta(min_length=1, max_length=1_000)]
    queues: Annotated[list[QueueName], Meta(min_length=1, max_length=100)] = field(
        default_factory=lambda: ["default"]
    )
    limit: Annotated[int, Meta(ge=1, le=MOST_CLAIMED)] = 1
    wait_seconds: Annotated[float, Meta(ge=0, le=LONGEST_WAIT)] = 0.0
    lease_seconds: Annotated[float, Meta(ge=SHORTEST_LEASE, le=LONGEST_LEASE)] = DEFAULT_LEASE


class Claimed(Struct, frozen=True):
    """Steps that are the worker's until their leases run out; none if none came in time."""

    steps: list[ClaimedStep]


class Beat(Struct, frozen=True, forbid_unknown_fields=True):
    """A sign of life.

    Attributes:
        progress: How far the step is, as people shall see it; without it, only the lease begins anew.
    """

    progress: Any = None


class Completion(Struct, frozen=True, forbid_unknown_fields=True):
    """What a step came to.

    Attributes:
        output: Any JSON value.
        context: What it sets in the instance's shared context.
    """

    output: Any = None
    context: dict[str, Any] = {}


class StepError(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a step could not be done.

    Attributes:
        type: Name of the kind of error: what retry policies go by.
        kinds: Names of the families that it belongs to.
        retryable: Whether another attempt makes sense; null leaves it to the step's policy.
        retry_after: Seconds to wait before it.
    """

    type: Annotated[str, Meta(min_length=1, max_length=_LONGEST_NAME)]
    message: str = ""
    kinds: Annotated[list[WorkerName], Meta(max_length=20)] = []
    traceback: str = ""
    retryable: bool | None = None
    retry_after: Annotated[float, Meta(gt=0, le=LONGEST_SECONDS)] | None = None


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    """A step that could not be done."""

    error: StepError


Claim = FromPath[str]


def _check_names(**names: str) -> None:
    """Refuse a name that would spoil the line in which people read it.

    Raises:
        RefusedError: 422.
    """
    for place, name in names.items():
        if not is_plain(name):
            raise RefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"{name!a} {NOT_PLAIN}", place=place.replace("_", ".")
            )


@post("/claim", guards=[requires(Role.WORKER)], operation_id="claimSteps", status_code=HTTPStatus.OK)
async def claim(
    request: Request[Any, Any, Any], lending: NamedDependency[Lending], data: JSONBody[Claiming]
) -> Claimed:
    """Take steps out of the queues, or wait for some.

    What a worker takes is its own until the lease runs out; then it goes back to its queue, as it does when the
    worker hangs up before it has been answered.
    """
    _check_names(worker=data.worker)
    claiming = lending.claim(
        data.worker,
        data.queues,
        data.handlers,
        limit=data.limit,
        wait=data.wait_seconds,
        lease=data.lease_seconds,
    )
    working = asyncio.ensure_future(claiming)
    gone = asyncio.ensure_future(request.receive())  # the body has been read: what comes next is the end
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            return Claimed(working.result())
    finally:
        await cancel_and_wait(working, gone)
    if not working.cancelled() and working.exception() is None:
        await asyncio.gather(*(lending.release(step.claim) for step in working.result()), return_exceptions=True)
    return Claimed([])  # nobody reads it


@post(
    "/{claim_id:str}/heartbeat", guards=[requires(Role.WORKER)], operation_id="heartbeat", status_code=HTTPStatus.OK
)
async def heartbeat(
    lending: NamedDependency[Lending], claim_id: Claim, data: JSONBody[Beat | None] = None
) -> LeaseState:
    """Let the lease begin anew, and hear whether the step was cancelled."""
    return lending.heartbeat(claim_id, None if data is None else data.progress)


@post(
    "/{claim_id:str}/complete", guards=[requires(Role.WORKER)], operation_id="completeStep", status_code=HTTPStatus.OK
)
async def complete(lending: NamedDependency[Lending], claim_id: Claim, data: JSONBody[Completion]) -> Reported:
    """Report what a step came to. Answered once that is in the log; saying it again does no harm."""
    return await lending.complete(claim_id, data.output, data.context)


@post("/{claim_id:str}/fail", guards=[requires(Role.WORKER)], operation_id="failStep", status_code=HTTPStatus.OK)
async def fail(lending: NamedDependency[Lending], claim_id: Claim, data: JSONBody[Failure]) -> Reported:
    """Report that a step could not be done; whether it is tried again is up to its retry policy."""
    error = data.error
    _check_names(error_type=error.type)
    return await lending.fail(
        claim_id,
        ErrorInfo(error.type, error.message, tuple(error.kinds), error.traceback, error.retryable, error.retry_after),
    )


@post(
    "/{claim_id:str}/release",
    guards=[requires(Role.WORKER)],
    operation_id="releaseStep",
    status_code=HTTPStatus.NO_CONTENT,
)
async def release(lending: NamedDependency[Lending], claim_id: Claim) -> None:
    """Give a step back, for any worker to take at once."""
    await lending.release(claim_id)


router: Router = Router("/v1/work", route_handlers=[claim, heartbeat, complete, fail, release], tags=["work"])
