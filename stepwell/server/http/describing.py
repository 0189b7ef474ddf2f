"""What is written into the OpenAPI description besides what Litestar finds out by itself."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, SecurityScheme, Server, Tag
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from stepwell import __version__
from stepwell.server.access import able, demand_of
from stepwell.server.http.problems import MEDIA_TYPE, Problem

_BODY: Final = "stepwell_request_body"
MORE_PARAMETERS: Final = "stepwell_parameters"
"""In the ``opt`` of a route that reads parameters by itself: their descriptions."""
DEFINITION_BODY: Final[dict[str, Any]] = {
    _BODY: {
        "required": True,
        "description": "A definition, in any dialect: docs/definitions.md, docs/dialects.md.",
        "content": {
            kind: {"schema": {"type": "object", "minProperties": 1, "additionalProperties": True}}
            for kind in ("application/json", "application/yaml")
        },
    }
}
"""For the ``opt`` of a route that reads a definition from its body by itself."""
_ABOUT: Final = """Start, watch and steer workflows that no crash can lose.

Every error is `application/problem+json` (RFC 9457) with `detail`, and where it helps `place` and `remedy`. Times are
milliseconds since 1970 unless a name or a format says otherwise.
"""
_TAGS: Final = {
    "instances": "Start, look at and steer instances.",
    "definitions": "Register and look at definitions.",
    "work": "Claim steps and report on them: for workers in any language.",
    "queries": "What many instances do and did, how well, and who asked for it: docs/queries.md.",
    "events": "What happens, as it happens: server-sent events.",
    "tickets": "For streams of events, where a client can send no token.",
    "health": "Whether everything runs.",
    "submit and trigger": "Graphs that are submitted first and triggered later.",
    "api/workflows": "Start by name and look.",
    "executions": "Execute with parameters and look.",
}
_REFERENCE: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {"$ref": _REFERENCE.format(name="Problem")}


def also(status: HTTPStatus, body: type, description: str) -> dict[int, ResponseSpec]:
    """A further answer of a route: for its ``responses``."""
    return {status.value: ResponseSpec(body, description=description, generate_examples=False)}


def describe(handlers: Sequence[ControllerRouterHandler], dependencies: Any) -> dict[str, Any]:
    """The OpenAPI description of routes, as plain data.

    Args:
        dependencies: What the application gives to handlers by name.
    """
    config = OpenAPIConfig(
        title="Stepwell",
        version=__version__,
        description=_ABOUT,
        servers=[Server(url="/")],
        use_handler_docstrings=True,
        security=[{"token": []}, {}],
        tags=[Tag(name, description) for name, description in _TAGS.items()],
        components=Components(
            security_schemes={
                "token": SecurityScheme(
                    type="http", scheme="bearer", description="Made by `stepwell token NAME --role ROLE`."
                )
            }
        ),
        path="/not-served",
    )
    # An application of its own that serves nobody: the pages that Litestar adds to one load from elsewhere.
    app = Litestar(list(handlers), dependencies=dependencies, openapi_config=config, logging_config=None)
    described: dict[str, Any] = app.openapi_schema.to_schema()
    bodies = [
        handler.parsed_fn_signature.parameters["data"].annotation
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "data" in handler.parsed_fn_signature.parameters
    ]
    # Litestar leaves limits out within unions, and does not say what takes no other keys.
    (_, exact) = msgspec.json.schema_components([Problem, *bodies], ref_template=_REFERENCE)
    described["components"]["schemas"].update(exact)
    for route in app.routes:
        item = described["paths"].get(route.path_format or "/") if isinstance(route, HTTPRoute) else None
        if item is None or not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            for method in handler.http_methods:
                if method.lower() in item and handler.resolve_include_in_schema():
                    _complete(item[method.lower()], handler)
    return described


def _complete(operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    """Say of an operation who may use it, what its body holds, and how its errors are told."""
    body = handler.opt.get(_BODY)
    if body is not None:
        operation["requestBody"] = body
    elif "requestBody" in operation and handler.parsed_fn_signature.parameters["data"].is_optional:
        operation["requestBody"]["required"] = False
    for parameter in operation.get("parameters", ()):
        _say_what_is_given(parameter)
    operation.setdefault("parameters", []).extend(handler.opt.get(MORE_PARAMETERS, ()))
    demand = demand_of(handler)
    if demand is not None:
        words = f"For {', '.join(able(demand.role))}."
        operation["description"] = f"{operation.get('description', '')}\n\n{words}".strip()
    responses = operation["responses"]
    for status in [status for status in responses if status.startswith("4")]:
        del responses[status]  # Litestar's own shape of errors, which nobody here is given
    problem = {MEDIA_TYPE: {"schema": _PROBLEM}}
    responses["4XX"] = {"description": "Not as it is asked for; `detail` and `remedy` say why.", "content": problem}
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
    responses.setdefault(
        "503",
        {
            "description": "The log is away, no engine has answered, or the read models are not so far yet.",
            "headers": retry,
            "content": problem,
        },
    )


def _say_what_is_given(parameter: dict[str, Any]) -> None:
    """Take null out of what a parameter may be: it is left out, for "null" would be a text."""
    schema = parameter.get("schema", {})
    given = [one for one in schema.get("oneOf", ()) if one.get("type") != "null"]
    if len(given) == 1:
        parameter["schema"] = {**{key: value for key, value in schema.items() if key != "oneOf"}, **given[0]}
