"""Definitions over HTTP: register, validate, look, switch; and templates."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET

from stepwell.client.client import Client
from stepwell.consumers.registry.children import missing_children
from stepwell.consumers.registry.definitions import RegisteredVersion
from stepwell.core.plan.compile import Plan
from stepwell.errors import UnknownWorkflowError
from stepwell.language import compile_loaded, literal_credentials, read_definition
from stepwell.schemas.definitions.blueprint import OWN_DIRECTORY, Blueprint, find_blueprints, instantiate
from stepwell.schemas.definitions.loaded import Loaded
from stepwell.server.access import Actor, Role, actor_of, requires
from stepwell.server.http.bodies import (
    Creation,
    DefinitionList,
    DefinitionView,
    Registered,
    Switch,
    Switched,
    TemplateList,
    TemplateView,
    Validated,
    plan_view,
)
from stepwell.server.http.describing import DEFINITION_BODY, also
from stepwell.server.http.problems import RefusedError
from stepwell.server.http.reading import check_segment
from stepwell.server.http.turns import Turns, check_size

_PLACE: Final = "body"  # how messages name what was sent

Dialect = Annotated[
    str | None, QueryParameter(description="How it is written, where its shape does not tell: docs/dialects.md.")
]
Named = Annotated[str, QueryParameter(description="What it is called if it does not say so itself.")]


@post(
    "/v1/definitions", guards=[requires(Role.OPERATOR)], operation_id="register", opt=DEFINITION_BODY,
    responses=also(HTTPStatus.OK, Registered, "It is registered already, and stays as it is"),
)  # fmt: skip
async def register(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    activate: Annotated[
        bool, QueryParameter(description="Whether a version that is new may be started at once.")
    ] = True,
    dialect: Dialect = None,
    name: Named = "",
) -> Response[Registered]:
    """Register a definition, in YAML or JSON and any dialect."""
    loaded, plan = await read(request, dialect, name)
    return await add(client, plan, loaded.dialect, activate=activate)


@post(
    "/v1/validate", guards=[requires(Role.VIEWER)], operation_id="validate", status_code=HTTPStatus.OK,
    opt=DEFINITION_BODY,
)  # fmt: skip
async def validate(request: Request[Any, Any, Any], dialect: Dialect = None, name: Named = "") -> Validated:
    """Check a definition without registering it, and show what it is compiled to."""
    loaded, plan = await read(request, dialect, name)
    definition = plan.definition
    return Validated(definition.name, definition.version, plan.hash, loaded.dialect, plan_view(plan), definition)


@get("/v1/definitions", guards=[requires(Role.VIEWER)], operation_id="listDefinitions")
async def list_all(
    client: NamedDependency[Client],
    workflow: Annotated[str | None, QueryParameter(description="Only this one's versions.")] = None,
    tag: Annotated[str | None, QueryParameter(description="Only those that have this tag.")] = None,
) -> DefinitionList:
    """What is registered."""
    return DefinitionList(await client.definitions(workflow=workflow, tag=tag))


@get("/v1/definitions/{name:str}", guards=[requires(Role.VIEWER)], operation_id="getDefinition")
async def get_current(client: NamedDependency[Client], name: FromPath[str]) -> DefinitionView:
    """The version of a workflow that a start takes; the newest one where all are inactive."""
    found = await client.definitions(workflow=name)
    if not found:
        raise client.registry.unknown(name, None)
    about = next((version for version in found if version.current), found[-1])
    return _shown(client, about)


@get("/v1/definitions/{name:str}/{version:str}", guards=[requires(Role.VIEWER)], operation_id="getVersion")
async def get_version(client: NamedDependency[Client], name: FromPath[str], version: FromPath[str]) -> DefinitionView:
    """One version, with its steps and its plan."""
    found = [about for about in await client.definitions(workflow=name) if about.version == version]
    if not found:
        raise client.registry.unknown(name, version)
    return _shown(client, found[0])


@post(
    "/v1/definitions/{name:str}/{version:str}/activate", guards=[requires(Role.OPERATOR)],
    operation_id="activate", status_code=HTTPStatus.OK,
)  # fmt: skip
async def activate(
    client: NamedDependency[Client], name: FromPath[str], version: FromPath[str], data: JSONBody[Switch | None] = None
) -> Switched:
    """Let starts take a version again."""
    changed = await client.activate(name, version, reason=data.reason if data else "")
    return Switched(name, version, active=True, changed=changed)


@post(
    "/v1/definitions/{name:str}/{version:str}/deactivate", guards=[requires(Role.OPERATOR)],
    operation_id="deactivate", status_code=HTTPStatus.OK,
)  # fmt: skip
async def deactivate(
    client: NamedDependency[Client], name: FromPath[str], version: FromPath[str], data: JSONBody[Switch | None] = None
) -> Switched:
    """Let no further start take a version; instances that run keep it."""
    changed = await client.deactivate(name, version, reason=data.reason if data else "")
    return Switched(name, version, active=False, changed=changed)


@get("/v1/templates", guards=[requires(Role.VIEWER)], operation_id="listTemplates")
async def list_templates() -> TemplateList:
    """The templates that workflows can be created from: the shipped ones, and those of the server's own directory."""
    return TemplateList([_template(blueprint) for blueprint in (await _blueprints()).values()])


@post(
    "/v1/templates/{template:str}", guards=[requires(Role.OPERATOR)], operation_id="createFromTemplate",
    responses=also(HTTPStatus.OK, Registered, "It is registered already, and stays as it is"),
)  # fmt: skip
async def create(
    request: Request[Any, Any, Any],
    client: NamedDependency[Client],
    template: FromPath[str],
    data: JSONBody[Creation | None] = None,
) -> Response[Registered]:
    """Create a workflow from a template: check its parameters, and register it."""
    # By name alone: what the terminal takes for a path would read any file of the server.
    blueprint = (await _blueprints()).get(template)
    if blueprint is None:
        raise UnknownWorkflowError(
            f"there is no template {template!r}", remedy="GET /v1/templates shows those that there are."
        )
    turns: Turns = request.app.state["turns"]
    async with turns.turn(actor_of(request)):
        loaded, plan = await asyncio.to_thread(_instantiated, blueprint, data or Creation())
    return await add(client, plan, loaded.dialect)


def _instantiated(blueprint: Blueprint, data: Creation) -> tuple[Loaded, Plan]:
    plain = instantiate(blueprint, data.parameters, name=data.name)
    loaded = read_definition(plain, place=f"template {blueprint.template}")
    return loaded, compile_loaded(loaded)


router: Router = Router(
    "/",
    route_handlers=[
        register, validate, list_all, get_current, get_version, activate, deactivate, list_templates, create,
    ],
    tags=["definitions"],
)  # fmt: skip


async def read(request: Request[Any, Any, Any], dialect: str | None, name: str) -> tuple[Loaded, Plan]:
    """The definition that a request's body holds, read and compiled.

    Raises:
        RefusedError: 400 where it is no text, or no JSON though it says so; 413 where it is larger than who asks may
            send; 429 where too many of theirs wait to be read.
        DefinitionError: It is not valid.
    """
    body = await request.body()
    actor: Actor = actor_of(request)
    check_size(actor, len(body))
    if not body.strip():
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, "is empty", place=_PLACE, remedy="Send a definition, YAML or JSON."
        )
    # In a thread: a large one takes seconds, in which the engine of this process would stand still.
    turns: Turns = request.app.state["turns"]
    async with turns.turn(actor):
        return await asyncio.to_thread(_read, body, request.content_type[0], dialect, name)


def _read(body: bytes, content_type: str, dialect: str | None, name: str) -> tuple[Loaded, Plan]:
    body = body.removeprefix(BOM_UTF8)
    try:
        if content_type.endswith("json"):
            msgspec.json.decode(body, type=msgspec.Raw)
        text = body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        kind = "JSON" if content_type.endswith("json") else "UTF-8 text"
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"is no {kind}: {error}", place=_PLACE) from None
    # A line break, for a text without one would be taken for the path of a file.
    loaded = read_definition(f"{text}\n", place=_PLACE, dialect=dialect, name=name)
    return loaded, compile_loaded(loaded)


async def add(client: Client, plan: Plan, dialect: str, *, activate: bool = True) -> Response[Registered]:
    """Register what was compiled; 201 where it is new, else 200."""
    definition = plan.definition
    await client.registry.catch_up()
    is_new = client.registry.resolve(definition.name, definition.version) is None
    if is_new:
        check_segment(definition.name, "name")
        check_segment(definition.version, "version")
    await client.registry.register(definition, plan, activate=activate, sender=client.sender)
    active = client.registry.is_active(definition.name, definition.version)
    warnings = [f"{place}: {reason}" for place, reason, _ in missing_children(definition, client.registry)]
    warnings += [f"{place}: a credential is written out" for place in literal_credentials(definition)]
    made = Registered(
        definition.name, definition.version, plan.hash, dialect, is_new=is_new, active=active,
        warnings=warnings or UNSET,
    )  # fmt: skip
    return Response(made, status_code=HTTPStatus.CREATED if is_new else HTTPStatus.OK)


def _shown(client: Client, about: RegisteredVersion) -> DefinitionView:
    plan = client.registry.by_hash(about.hash)
    if plan is None:  # by an older Stepwell, perhaps
        raise RefusedError(
            HTTPStatus.CONFLICT, f"{about.name}@{about.version} does not compile here; register it again"
        )
    return DefinitionView(about, plan_view(plan), plan.definition)


async def _blueprints() -> dict[str, Blueprint]:
    return await asyncio.to_thread(find_blueprints, OWN_DIRECTORY)


def _template(blueprint: Blueprint) -> TemplateView:
    return TemplateView(
        template=blueprint.template,
        version=blueprint.version,
        description=blueprint.description,
        parameters=blueprint.parameters,
        use_for=list(blueprint.use_for),
        agents=blueprint.agents,
        input_example=blueprint.input_example,
        source="shipped" if blueprint.source == "shipped" else Path(blueprint.source).name,
    )
