"""How bodies and parameters are read: by their exact types, and all that does not fit is told."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from stepwell.core.suggestions import suggest
from stepwell.errors import visible
from stepwell.server.problems import RefusedError, methods_of

FIELDS: Final = ("input.", "output.")  # how parameters begin that name fields
_TAKES_FIELDS: Final = "stepwell_fields"
TAKES_FIELDS: Final[dict[str, Any]] = {_TAKES_FIELDS: True}
"""For the ``opt`` of a route that takes fields of inputs and outputs as parameters, whatever they are called."""
_SHOWN: Final = 60  # characters of a wrong name that a message quotes
_PLACE: Final = re.compile(r"(?P<what>.*?) - at `\$(?P<place>[^`]*)`\Z", re.DOTALL)


class StrictRequest(Request[Any, Any, Any]):
    """Reads a JSON body as its handler declares it.

    Litestar would read it as anything first, and then take ``0`` for false and ``"5"`` for a number.
    """

    async def json(self) -> Any:
        """The body as the type of the handler's ``data``.

        Raises:
            RefusedError: 400: it is no JSON, or does not fit.
        """
        body = await self.body()
        data = self.route_handler.parsed_fn_signature.parameters.get("data")
        try:
            return _decoder(Any if data is None else data.annotation).decode(body)
        except msgspec.ValidationError as error:
            found = _PLACE.match(str(error))
            place = f"body{found['place']}" if found else "body"
            message = found["what"] if found else str(error)
            raise RefusedError(HTTPStatus.BAD_REQUEST, message, place=place, remedy=_REMEDY) from None
        except RecursionError:  # msgspec's own limit
            raise RefusedError(HTTPStatus.BAD_REQUEST, "is nested too deeply", place="body") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"is no JSON: {error}", place="body") from None


_REMEDY: Final = "GET /openapi.json describes what it holds; /docs shows it."


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


async def prepare(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Answer OPTIONS with the methods of a path, of which Litestar's own answer leaves some out.

    Raises:
        RefusedError: 400: a parameter is "null", which Litestar takes for one that was not given.
    """
    if request.method != "OPTIONS":
        if b"null" in request.scope["query_string"]:
            _refuse_null(request)
        return None
    return Response(None, status_code=HTTPStatus.NO_CONTENT, headers={"Allow": methods_of(request)})


def check_parameters(request: Request[Any, Any, Any]) -> None:
    """Refuse parameters that a route does not know: a filter that is misspelt must not find everything.

    Raises:
        RefusedError: 400.
    """
    handler = request.route_handler
    known = _known(handler)
    counted: dict[str, int] = {}
    for name, _ in request.query_params.multi_items():
        counted[name] = counted.get(name, 0) + 1
    for name, count in counted.items():
        if handler.opt.get(_TAKES_FIELDS) and name.startswith(FIELDS):
            continue
        shown = visible(name[:_SHOWN])
        if name not in known:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"there is no such parameter{suggest(name[:_SHOWN], known)}",
                place=shown,
                remedy=f"It takes {', '.join(sorted(known))}.",
            )
        if count > 1 and not known[name].repeatable:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "is given more than once", place=shown)


@functools.cache
def _known(handler: BaseRouteHandler) -> Mapping[str, _Kind]:
    """The query parameters of a route, and those of all that read from the read models."""
    found = {"fresh": _Kind(repeatable=False, is_text=False), "after": _Kind(repeatable=False, is_text=True)}
    for name, field in handler.parsed_fn_signature.parameters.items():
        if isinstance(field.kwarg_definition, QueryParameter):
            kinds = list(_kinds(field))
            found[field.kwarg_definition.name or name] = _Kind(
                repeatable=any(kind.is_non_string_sequence for kind in kinds),
                is_text=any(kind.annotation is str for kind in kinds),
            )
    return found


def _kinds(field: FieldDefinition) -> Iterator[FieldDefinition]:
    """A type, and all that it is made of."""
    yield field
    for inner in field.inner_types:
        yield from _kinds(inner)


class _Kind(NamedTuple):
    """How a parameter may be given."""

    repeatable: bool
    is_text: bool


def _refuse_null(request: Request[Any, Any, Any]) -> None:
    known = _known(request.route_handler)
    for name, value in request.query_params.multi_items():
        if value == "null" and name in known and not known[name].is_text:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "is null", place=name, remedy="Leave it out instead.")
