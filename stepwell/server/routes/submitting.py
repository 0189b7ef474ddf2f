"""Submit first, trigger later: ``POST /v1/workflow``, ``POST /v1/workflow/trigger/{execution_id}``, what came of it.

What was submitted is a registered definition, and nothing else is kept: the id that the submitter gets is a UUID of
version 8 whose first 60 bits are those of the definition's hash, and the rest random. So whoever shows it, whenever
and to whichever server of the log, is understood; and until somebody triggers it, it is pending. A definition whose
hash begins as another one's is refused when it is registered; should the log hold two all the same, so is the id.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Struct
from msgspec.structs import replace

from stepwell.client.client import Client
from stepwell.consumers.reading.views import InstanceView
from stepwell.core.plan.compile import Plan
from stepwell.errors import UnknownInstanceError
from stepwell.language import compile_plan
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.statuses import StepStatus
from stepwell.server.access import Role, requires
from stepwell.server.http.bodies import Start
from stepwell.server.http.describing import DEFINITION_BODY, also
from stepwell.server.http.freshness import POSITION_HEADER
from stepwell.server.http.problems import RefusedError
from stepwell.server.http.starting import start
from stepwell.server.routes.definitions import read

_HASH: Final = 8  # digits of a content's hash in a version
_RANDOM: Final = 62  # bits of an execution id that say nothing

STEP_STATES: Final = {
    StepStatus.PENDING.value: "PENDING",
    StepStatus.READY.value: "RUNNING",
    StepStatus.RUNNING.value: "RUNNING",
    StepStatus.WAITING.value: "RUNNING",
    StepStatus.SUCCEEDED.value: "COMPLETED",
    StepStatus.FAILED.value: "FAILED",
    StepStatus.SKIPPED.value: "SKIPPED",
    StepStatus.CANCELLED.value: "CANCELLED",
}
"""Our words for the state of a step, and those of this API. Ready is in the hands of workers."""


class Submitted(Struct, frozen=True):
    """A definition that was submitted, and may be triggered.

    Attributes:
        workflow_definition_id: The same for the same definition.
        execution_id: What to trigger, and to ask for.
    """

    workflow_definition_id: str
    execution_id: str
    message: str


class Trigger(Struct, frozen=True):
    """What an execution is given."""

    input_params: dict[str, Any] | None = None


class Triggered(Struct, frozen=True):
    """An execution that was started.

    Attributes:
        execution_id: The one that was triggered; a new one, where that had been started with other input.
    """

    execution_id: str
    message: str


class Execution(Struct, frozen=True):
    """How an execution is.

    Attributes:
        state: `PENDING`, `RUNNING`, `PAUSED`, `COMPLETED`, `FAILED` or `CANCELLED`.
        started_at: ISO 8601, in UTC; null until it is triggered.
        node_states: Of every node by id: `PENDING`, `RUNNING`, `COMPLETED`, `FAILED`, `SKIPPED` or `CANCELLED`.
    """

    id: str
    state: str
    started_at: str | None
    node_states: dict[str, str]


class Results(Struct, frozen=True):
    """What an execution has given.

    Attributes:
        output: Of the workflow; null until it has completed.
        node_outputs: Of every node that has succeeded, by id.
        error: Why it has failed.
    """

    id: str
    state: str
    output: Any
    node_outputs: dict[str, Any]
    error: ErrorInfo | None


@post(
    "/v1/workflow", guards=[requires(Role.OPERATOR)], operation_id="submit", opt=DEFINITION_BODY,
    status_code=HTTPStatus.CREATED,
)  # fmt: skip
async def submit(request: Request[Any, Any, Any], client: NamedDependency[Client]) -> Submitted:
    """Submit a definition, which waits in the state PENDING until it is triggered.

    Submitting the same again is another execution of the same definition. Where a name and version are taken by a
    definition of other content, this one becomes a version of its own: `1+0f3a9c2e`.
    """
    _, plan = await read(request, None, "")
    plan = await _registered(client, plan)
    return Submitted(_id_of(plan.hash, 0), new_execution(plan.hash), "Workflow submitted successfully")


@post(
    "/v1/workflow/trigger/{execution_id:str}", guards=[requires(Role.OPERATOR)], operation_id="trigger",
    status_code=HTTPStatus.OK, response_headers=[POSITION_HEADER],
    responses=also(HTTPStatus.ACCEPTED, Triggered, "In the log; no engine has decided it yet"),
)  # fmt: skip
async def trigger(
    client: NamedDependency[Client],
    execution_id: FromPath[str],
    data: JSONBody[Trigger | None] = None,
) -> Response[Triggered]:
    """Start what was submitted. With the same input again it is the same execution; with other input, a new one."""
    params: dict[str, Any] = (data.input_params if data else None) or {}
    plan = await plan_of(client, execution_id)
    definition = plan.definition
    asked = Start(definition.name, version=definition.version, input=params, id=execution_id, if_exists="use")
    begun = await start(client, asked)
    if begun.started.existed and (await client.get(execution_id)).input != params:
        another = msgspec.structs.replace(asked, id=_another(execution_id, plan.hash, params))
        begun = await start(client, another)
    started, status = begun.started, begun.status
    if status is HTTPStatus.ACCEPTED:
        message = "Workflow accepted; it starts when an engine is live"
    else:
        status = HTTPStatus.OK
        message = "Workflow was started already" if started.existed else "Workflow started successfully"
    return Response(Triggered(started.instance_id, message), status_code=status, headers=begun.headers)


@get("/v1/workflows/{execution_id:str}", guards=[requires(Role.VIEWER)], operation_id="getExecution")
async def status(client: NamedDependency[Client], execution_id: FromPath[str]) -> Execution:
    """The state of an execution and of its nodes."""
    found = await _found(client, execution_id)
    if isinstance(found, Plan):
        return Execution(execution_id, "PENDING", None, dict.fromkeys(found.steps, "PENDING"))
    states = {step_id: STEP_STATES[step.status] for step_id, step in found.steps.items()}
    return Execution(execution_id, found.status.upper(), iso(found.started_at), states)


@get("/v1/workflows/{execution_id:str}/results", guards=[requires(Role.VIEWER)], operation_id="getExecutionResults")
async def results(client: NamedDependency[Client], execution_id: FromPath[str]) -> Results:
    """What an execution has given so far, node by node; and in all, once it has completed."""
    found = await _found(client, execution_id)
    if isinstance(found, Plan):
        return Results(execution_id, "PENDING", None, {}, None)
    outputs = {step_id: step.output for step_id, step in found.steps.items() if step.status == StepStatus.SUCCEEDED}
    return Results(execution_id, found.status.upper(), found.output, outputs, found.error)


router: Router = Router("/", route_handlers=[submit, trigger, status, results], tags=["submit and trigger"])


async def _registered(client: Client, plan: Plan) -> Plan:
    """Register what was submitted, under a version of its own where its version is taken."""
    definition = plan.definition
    await client.registry.catch_up()
    there = client.registry.resolve(definition.name, definition.version)
    if there is not None and there.hash != plan.hash:
        another = replace(definition, version=f"{definition.version}+{plan.hash[:_HASH]}")
        plan = await asyncio.to_thread(compile_plan, another)
    return await client.registry.register(plan.definition, plan, sender=client.sender)


async def plan_of(client: Client, execution_id: str) -> Plan:
    """The definition of which an execution id speaks.

    Raises:
        UnknownInstanceError: It is no such id, or of no definition that is registered here.
        RefusedError: The definition cannot be told, or does not compile here.
    """
    prefix = _prefix(execution_id)
    if prefix is not None:
        await client.registry.catch_up()
        plan = client.registry.by_hash(prefix)
        if plan is not None:
            return plan
        if client.registry.knows(prefix):
            raise RefusedError(
                HTTPStatus.CONFLICT,
                client.registry.why_missing(prefix),
                place=execution_id,
                remedy="Start it by its name and version: POST /v1/instances.",
            )
    raise UnknownInstanceError(
        f"nothing was submitted that has the id {execution_id!r}",
        remedy="POST /v1/workflow gives an execution_id that can be triggered.",
    )


async def _found(client: Client, execution_id: str) -> InstanceView[Any] | Plan:
    """The instance; or, until it is triggered, the definition that waits for it."""
    try:
        return await client.get(execution_id)
    except UnknownInstanceError:
        return await plan_of(client, execution_id)


def new_execution(digest: str) -> str:
    """A fresh execution id of a definition."""
    return _id_of(digest, secrets.randbits(_RANDOM - 1) + 1)


def _another(execution_id: str, digest: str, params: dict[str, Any]) -> str:
    """The id of an execution with other input: always the same for the same, so that a repeat starts no third one."""
    text = execution_id.encode() + b"\0" + msgspec.json.encode(params, order="deterministic")
    return _id_of(digest, int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> (64 - _RANDOM))


def _id_of(digest: str, rest: int) -> str:
    """A UUID of version 8: 60 bits of a definition's hash, 62 others."""
    bits = int(digest[:15], 16)
    value = (bits >> 12) << 80 | 0x8 << 76 | (bits & 0xFFF) << 64 | 0b10 << 62 | rest
    return str(uuid.UUID(int=value))


def _prefix(execution_id: str) -> str | None:
    """The digits of a definition's hash that an id carries; None if it is no such id as it is written here."""
    try:
        value = uuid.UUID(execution_id)
    except ValueError:
        return None
    if value.version != 8 or str(value) != execution_id:
        return None
    return f"{value.int >> 80:012x}{value.int >> 64 & 0xFFF:03x}"


def iso(milliseconds: int | None) -> str | None:
    """A time as these APIs write it; None for one that has not come."""
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
