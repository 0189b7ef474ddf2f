"""Instances over HTTP: start, look, steer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from stepwell.client.client import Client
from stepwell.errors import CommandRejectedError, StepwellError, UnknownInstanceError
from stepwell.ids import new_id
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    Command,
    PauseWorkflow,
    RejectStep,
    RescheduleTimers,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import CommandRejected
from stepwell.server.access import Access, Actor, Role, requires
from stepwell.server.http.bodies import (
    Batch,
    BatchAnswer,
    BatchEntry,
    Decision,
    History,
    Instance,
    Reschedule,
    Result,
    Resume,
    Rollback,
    Start,
    Started,
    Steered,
    Why,
)
from stepwell.server.http.describing import also
from stepwell.server.http.freshness import POSITION_HEADER, position_headers
from stepwell.server.http.problems import POSITION, RefusedError, UndecidedError, problem_of
from stepwell.server.http.starting import LONGEST_KEY, LONGEST_WAIT, start
from stepwell.server.routes.listing import list_instances

_MOST_EVENTS: Final = 10_000  # of one answer

Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        description="A request that comes again with the same key does nothing anew.",
    ),
]
Id = FromPath[str]


@post(
    "/v1/instances", guards=[requires(Role.OPERATOR)], operation_id="start", response_headers=[POSITION_HEADER],
    responses=also(HTTPStatus.OK, Started, "There is an instance of this id already; nothing was changed")
    | also(HTTPStatus.ACCEPTED, Started, "In the log; no engine has decided it yet"),
)  # fmt: skip
async def start_one(
    client: NamedDependency[Client],
    data: JSONBody[Start],
    key: Key = None,
    wait: Annotated[
        float, QueryParameter(ge=0, le=LONGEST_WAIT, description="How many seconds to wait for its end.")
    ] = 0.0,
) -> Response[Started]:
    """Start an instance. The same id again, or the same `Idempotency-Key`, finds the instance that exists."""
    begun = await start(client, data, key=key or "", wait=wait)
    location = f"/v1/instances/{quote(begun.started.instance_id, safe='')}"
    return Response(begun.started, status_code=begun.status, headers={"Location": location, **begun.headers})


@post(
    "/v1/instances/batch", guards=[requires(Role.OPERATOR)], operation_id="startBatch", status_code=HTTPStatus.OK,
    response_headers=[POSITION_HEADER],
)  # fmt: skip
async def start_batch(
    client: NamedDependency[Client], data: JSONBody[Batch], key: Key = None
) -> Response[BatchAnswer]:
    """Start several instances; each is taken or refused on its own. A key covers the batch in its order."""
    positions: list[str] = []

    async def one(number: int, asked: Start) -> BatchEntry:
        own = f"{key}\0{number}" if key else ""
        try:
            begun = await start(client, asked, key=own)
        except StepwellError as error:
            problem, headers = problem_of(error)
            positions.append(headers.get(POSITION, ""))
            return BatchEntry(problem.status, problem=problem)
        positions.append(begun.position)
        return BatchEntry(begun.status.value, begun.started)

    found = await asyncio.gather(*(one(number, asked) for number, asked in enumerate(data.starts)))
    return Response(BatchAnswer(list(found)), headers=position_headers(positions))


@get("/v1/instances/{instance_id:str}", guards=[requires(Role.VIEWER)], operation_id="getInstance")
async def get_one(client: NamedDependency[Client], instance_id: Id) -> Instance:
    """An instance as it is now, with every step."""
    return await client.get(instance_id)


@get("/v1/instances/batch", guards=[requires(Role.VIEWER)], operation_id="getInstanceCalledBatch")
async def get_batch(client: NamedDependency[Client]) -> Instance:
    """The instance that somebody has called `batch`, should there be one: its path is that of batches, too."""
    return await client.get("batch")


@get("/v1/instances/{instance_id:str}/result", guards=[requires(Role.VIEWER)], operation_id="getResult")
async def get_result(
    client: NamedDependency[Client],
    instance_id: Id,
    wait: Annotated[
        float, QueryParameter(ge=0, le=LONGEST_WAIT, description="How many seconds to wait for its end.")
    ] = 0.0,
) -> Result:
    """How an instance has ended; or, once `wait` is over, that it has not."""
    found = await client.get(instance_id)
    if wait and not found.finished:
        try:
            found = await client.wait(instance_id, lambda state: not state.live, timeout=wait)
        except TimeoutError:
            found = await client.get(instance_id)
    return Result(instance_id, found.status, found.finished, found.output, found.error)


@get("/v1/instances/{instance_id:str}/history", guards=[requires(Role.VIEWER)], operation_id="getHistory")
async def get_history(
    client: NamedDependency[Client],
    instance_id: Id,
    after: Annotated[int, QueryParameter(ge=0, description="Only events of a higher sequence.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=_MOST_EVENTS, description="How many at most.")] = 1_000,
) -> History:
    """Everything that ever happened to an instance, in order."""
    events = [event for event in await client.history(instance_id) if event.sequence > after]
    return History(events[:limit], more=len(events) > limit)


@get("/v1/instances/{instance_id:str}/replay", guards=[requires(Role.VIEWER)], operation_id="replay")
async def replay(
    client: NamedDependency[Client],
    instance_id: Id,
    to: Annotated[
        int | None, QueryParameter(ge=1, description="The event's sequence; without it, the newest.")
    ] = None,
) -> Instance:
    """An instance as it was right after an event, folded from its history alone."""
    return await client.replay(instance_id, to)


def _steering(verb: str, role: Role) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Declares a route that steers an instance."""
    return post(
        f"/v1/instances/{{instance_id:str}}/{verb}",
        guards=[requires(role)],
        operation_id=verb,
        status_code=HTTPStatus.OK,
        response_headers=[POSITION_HEADER],
    )


@_steering("cancel", Role.OPERATOR)
async def cancel(
    client: NamedDependency[Client],
    instance_id: Id,
    data: JSONBody[Why | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """End an instance; handlers that run are told."""
    reason = data.reason if data else ""
    command = CancelWorkflow(instance_id, reason, command_id=_command_id("cancel", instance_id, key))
    return await steer(client, command, "cancel", again=key is not None)


@_steering("pause", Role.OPERATOR)
async def pause(
    client: NamedDependency[Client],
    instance_id: Id,
    data: JSONBody[Why | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """Start no further step; what runs may finish."""
    reason = data.reason if data else ""
    command = PauseWorkflow(instance_id, reason, command_id=_command_id("pause", instance_id, key))
    return await steer(client, command, "pause", again=key is not None)


@_steering("resume", Role.OPERATOR)
async def resume(
    client: NamedDependency[Client],
    instance_id: Id,
    data: JSONBody[Resume | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """Go on with a paused instance; or, at the step that failed, with a failed or cancelled one."""
    skip: Any = "skip" if data and data.skip_failed else "retry"
    command = ResumeWorkflow(instance_id, skip, command_id=_command_id("resume", instance_id, key))
    return await steer(client, command, "resume", again=key is not None)


@_steering("reschedule", Role.OPERATOR)
async def reschedule(
    client: NamedDependency[Client],
    instance_id: Id,
    data: JSONBody[Reschedule | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """Move timers: mend those that are due absurdly late because a clock was wrong, or move one to another time."""
    asked = data or Reschedule()
    command = RescheduleTimers(
        instance_id, asked.step_id, asked.delay_seconds, command_id=_command_id("reschedule", instance_id, key)
    )
    return await steer(client, command, "reschedule", again=key is not None)


@_steering("rollback", Role.OPERATOR)
async def rollback(
    client: NamedDependency[Client],
    instance_id: Id,
    data: JSONBody[Rollback | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """Return to an earlier point and run on from there; what has a compensation is undone in reverse order."""
    asked = data or Rollback()
    command = RollbackWorkflow(
        instance_id, asked.to, asked.pause, command_id=_command_id("rollback", instance_id, key)
    )
    return await steer(client, command, "rollback", again=key is not None)


@_steering("approve", Role.APPROVER)
async def approve(
    client: NamedDependency[Client],
    actor: NamedDependency[Actor],
    access: NamedDependency[Access],
    instance_id: Id,
    data: JSONBody[Decision | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """Approve what a step waits for."""
    asked = data or Decision()
    by, command_id = _by(asked.by, actor, access), _command_id("approve", instance_id, key)
    command = ApproveStep(instance_id, asked.step_id, by, asked.comment, command_id=command_id)
    return await steer(client, command, "approve", again=key is not None)


@_steering("reject", Role.APPROVER)
async def reject(
    client: NamedDependency[Client],
    actor: NamedDependency[Actor],
    access: NamedDependency[Access],
    instance_id: Id,
    data: JSONBody[Decision | None] = None,
    key: Key = None,
) -> Response[Steered]:
    """Reject what a step waits for."""
    asked = data or Decision()
    by, command_id = _by(asked.by, actor, access), _command_id("reject", instance_id, key)
    command = RejectStep(instance_id, asked.step_id, by, asked.comment, command_id=command_id)
    return await steer(client, command, "reject", again=key is not None)


router: Router = Router(
    "/",
    route_handlers=[
        start_one, start_batch, get_one, get_batch, get_result, get_history, replay, cancel, pause, resume,
        reschedule, rollback, approve, reject, list_instances,
    ],
    tags=["instances"],
)  # fmt: skip


async def steer(client: Client, command: Command, name: str, *, again: bool = False) -> Response[Steered]:
    """Send a command, and wait until an engine has followed it.

    Args:
        again: Whether it may be a repeat, of which an engine says nothing: then the history tells.

    Raises:
        CommandRejectedError: It will not.
        UndecidedError: None has answered.
    """
    position = await _was_followed(client, command) if again else ""
    if not position:
        try:
            answer = await client.ask(command)
        except TimeoutError as error:
            position = await _was_followed(client, command) if again else ""  # it was sent twice at once
            if not position:
                raise UndecidedError(str(error), place=command.instance_id, remedy=_AGAIN) from None
        else:
            if answer is None:
                raise UndecidedError(
                    "no engine is live; the command is in the log and will be decided by the next one",
                    place=command.instance_id,
                    remedy=_AGAIN,
                )
            position = answer.position
    return Response(Steered(command.instance_id, name), headers=position_headers([position]))


async def _was_followed(client: Client, command: Command) -> str:
    """Where a command of this id was answered before; empty if it was not.

    Raises:
        CommandRejectedError: It was rejected then.
    """
    command_id = getattr(command, "command_id", "")
    try:
        history = await client.history(command.instance_id)
    except UnknownInstanceError:
        return ""
    found = next((record for record in history if getattr(record.event, "command_id", "") == command_id), None)
    if found is None:
        return ""
    position = f"{found.partition}@{found.offset}"
    if isinstance(found.event, CommandRejected):
        raise CommandRejectedError(
            found.event.code, found.event.message, instance_id=command.instance_id, position=position
        )
    return position


_AGAIN: Final = "Look again later; or ask again with the same Idempotency-Key, which does nothing twice."


def _command_id(name: str, instance_id: str, key: str | None) -> str:
    """What the engine knows a command by: the same for the same key."""
    if key is None:
        return new_id()
    return hashlib.sha256(f"{name}\0{instance_id}\0{key}".encode()).hexdigest()[:32]


def _by(said: str, actor: Actor, access: Access) -> str:
    """Who decides: the holder of the token; without tokens, whoever the body says."""
    if access.open:
        return said
    if said and said != actor.name:
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            f"the token is of {actor.name}, who cannot decide as {said}",
            place="by",
            remedy="Leave `by` out; or use the token of whoever decides.",
        )
    return actor.name
