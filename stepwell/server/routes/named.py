"""Start by name: the thin routes ``/api/workflows…`` and ``/executions…``, in the words of where they are from."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from msgspec import Struct

from stepwell.client.client import Client
from stepwell.consumers.reading.views import InstanceView
from stepwell.consumers.registry.definitions import RegisteredVersion
from stepwell.projections.views import Views
from stepwell.schemas.records.commands import InstanceId
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.statuses import StepStatus
from stepwell.server.access import Role, requires
from stepwell.server.http.bodies import IfExists, Start
from stepwell.server.http.describing import also
from stepwell.server.http.freshness import LAG_HEADER, POSITION_HEADER, LaggingResponse, read_views
from stepwell.server.http.starting import start
from stepwell.server.routes.submitting import iso


class Workflow(Struct, frozen=True):
    """A workflow that can be started.

    Attributes:
        id: What to start it by: its name.
        version: The one that a start takes.
        task_count: How many tasks there are.
    """

    id: str
    name: str
    version: str
    description: str
    tags: list[str]
    task_count: int


class WorkflowList(Struct, frozen=True):
    """The workflows that can be started."""

    workflows: list[Workflow]
    total: int


class StartRequest(Struct, frozen=True):
    """What a workflow is started with.

    Attributes:
        parameters: Its input.
        instance_id: What to call the instance; the same again starts no second one.
        if_exists: Where the id belongs to an instance that was started for something else: `refuse` this start with
            409, or `use` the one that exists.
    """

    parameters: dict[str, Any] | None = None
    instance_id: InstanceId | None = None
    if_exists: IfExists = "refuse"


class StartAnswer(Struct, frozen=True):
    """An instance that was started.

    Attributes:
        workflow_id: The workflow's name.
        instance_id: What to ask `/api/workflows/{id}/status` for.
        status: `started`; `exists` where there was one already; `accepted` where no engine has decided yet.
    """

    workflow_id: str
    instance_id: str
    status: str


class TaskStatus(Struct, frozen=True):
    """How a task is.

    Attributes:
        status: Such as `pending`, `running`, `succeeded`.
        started_at: ISO 8601, in UTC; null if it has not,
        completed_at: likewise.
    """

    status: str
    attempts: int
    output: Any
    error: ErrorInfo | None
    started_at: str | None
    completed_at: str | None


class WorkflowStatus(Struct, frozen=True):
    """How an instance is.

    Attributes:
        status: `pending`, `running`, `paused`, `completed`, `failed` or `cancelled`.
        progress: Which share of its tasks has ended, from 0 to 1.
    """

    workflow_id: str
    instance_id: str
    status: str
    progress: float
    started_at: str | None
    completed_at: str | None
    output: Any
    error: ErrorInfo | None
    tasks: dict[str, TaskStatus]


class Execute(Struct, frozen=True):
    """What a workflow is executed with.

    Attributes:
        parameters: Its input.
    """

    parameters: dict[str, Any] = {}


class ExecuteAnswer(Struct, frozen=True):
    """An execution that was started.

    Attributes:
        execution_id: What to ask `/executions/{execution_id}` for.
        status: `running`; `pending` where no engine has decided yet.
    """

    execution_id: str
    workflow_id: str
    status: str


class ExecutionView(Struct, frozen=True):
    """How an execution is.

    Attributes:
        status: `pending`, `running`, `paused`, `completed`, `failed` or `cancelled`.
        result: Its output, once it has completed.
    """

    execution_id: str
    workflow_id: str
    workflow_version: str
    status: str
    parameters: Any
    result: Any
    error: ErrorInfo | None
    started_at: str | None
    completed_at: str | None
    tasks: dict[str, TaskStatus]


@get("/api/workflows", guards=[requires(Role.VIEWER)], operation_id="apiListWorkflows", tags=["api/workflows"])
async def list_workflows(client: NamedDependency[Client]) -> WorkflowList:
    """The workflows that can be started."""
    found = [_workflow(version) for version in await client.definitions() if version.current]
    return WorkflowList(found, len(found))


@post(
    "/api/workflows/{workflow_id:str}/start", guards=[requires(Role.OPERATOR)], operation_id="apiStartWorkflow",
    tags=["api/workflows"], response_headers=[POSITION_HEADER],
    responses=also(HTTPStatus.OK, StartAnswer, "There is an instance of this id already; nothing was changed")
    | also(HTTPStatus.ACCEPTED, StartAnswer, "In the log; no engine has decided it yet"),
)  # fmt: skip
async def start_workflow(
    client: NamedDependency[Client],
    workflow_id: FromPath[str],
    data: JSONBody[StartRequest | None] = None,
) -> Response[StartAnswer]:
    """Start a workflow by its name."""
    asked = data or StartRequest()
    begun = await start(client, _start(workflow_id, asked.parameters, asked.instance_id, asked.if_exists))
    started = begun.started
    word = "exists" if started.existed else "started" if started.decided else "accepted"
    answer = StartAnswer(workflow_id, started.instance_id, word)
    return Response(answer, status_code=begun.status, headers=begun.headers)


@get(
    "/api/workflows/{workflow_id:str}/status", guards=[requires(Role.VIEWER)], operation_id="apiWorkflowStatus",
    tags=["api/workflows"],
    dependencies={"views": Provide(read_views)}, response_class=LaggingResponse, response_headers=[LAG_HEADER],
)  # fmt: skip
async def workflow_status(
    client: NamedDependency[Client], views: NamedDependency[Views], workflow_id: FromPath[str]
) -> WorkflowStatus:
    """How an instance is, by its id; or, by a workflow's name, how its newest instance is."""
    instance_id = workflow_id
    if await views.instance(workflow_id, fresh=False) is None:
        newest, _ = await views.instances(workflow=workflow_id, limit=1, exact=False, fresh=False)
        instance_id = newest[0].instance_id if newest else workflow_id  # so new, perhaps, that only the log has it
    found = await client.get(instance_id)
    settled = sum(step.finished_at is not None or step.status == StepStatus.SKIPPED for step in found.steps.values())
    return WorkflowStatus(
        workflow_id=found.workflow,
        instance_id=found.instance_id,
        status=found.status,
        progress=settled / len(found.steps) if found.steps else 1.0,
        started_at=iso(found.started_at),
        completed_at=iso(found.finished_at),
        output=found.output,
        error=found.error,
        tasks=_tasks(found),
    )


@post(
    "/executions/workflows/{workflow_id:str}/execute", guards=[requires(Role.OPERATOR)], operation_id="execute",
    tags=["executions"], response_headers=[POSITION_HEADER],
    responses=also(HTTPStatus.ACCEPTED, ExecuteAnswer, "In the log; no engine has decided it yet"),
)  # fmt: skip
async def execute(
    client: NamedDependency[Client],
    workflow_id: FromPath[str],
    data: JSONBody[Execute | None] = None,
) -> Response[ExecuteAnswer]:
    """Execute a workflow, by its name or `name@version`, with parameters."""
    begun = await start(client, _start(workflow_id, (data or Execute()).parameters))
    word = "running" if begun.started.decided else "pending"
    answer = ExecuteAnswer(begun.started.instance_id, workflow_id, word)
    return Response(answer, status_code=begun.status, headers=begun.headers)


@get(
    "/executions/{execution_id:str}",
    guards=[requires(Role.VIEWER)],
    operation_id="getExecutionById",
    tags=["executions"],
)
async def get_execution(client: NamedDependency[Client], execution_id: FromPath[str]) -> ExecutionView:
    """How an execution is, with its tasks."""
    found = await client.get(execution_id)
    return ExecutionView(
        execution_id=found.instance_id,
        workflow_id=found.workflow,
        workflow_version=found.version,
        status=found.status,
        parameters=found.input,
        result=found.output,
        error=found.error,
        started_at=iso(found.started_at),
        completed_at=iso(found.finished_at),
        tasks=_tasks(found),
    )


router: Router = Router("/", route_handlers=[list_workflows, start_workflow, workflow_status, execute, get_execution])


def _start(
    workflow_id: str, parameters: Any, instance_id: str | None = None, if_exists: IfExists = "refuse"
) -> Start:
    name, sign, version = workflow_id.rpartition("@")
    if not (sign and name and version):
        return Start(workflow_id, input=parameters, id=instance_id, if_exists=if_exists)
    return Start(name, version=version, input=parameters, id=instance_id, if_exists=if_exists)


def _workflow(version: RegisteredVersion) -> Workflow:
    return Workflow(
        version.name, version.name, version.version, version.description, list(version.tags), version.steps
    )


def _tasks(found: InstanceView[Any]) -> dict[str, TaskStatus]:
    return {
        step_id: TaskStatus(
            step.status, step.attempts, step.output, step.error, iso(step.started_at), iso(step.finished_at)
        )
        for step_id, step in found.steps.items()
    }
