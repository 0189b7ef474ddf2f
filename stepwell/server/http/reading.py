"""How bodies and parameters are read: by their exact types, and all that does not fit is told."""

from __future__ import annotations

import functools
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

import msgspec
from litestar import Request, Response
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from stepwell.errors import visible
from stepwell.schemas.definitions.json_text import JsonError, parse_json
from stepwell.schemas.definitions.shapes import unknown_key
from stepwell.server.http.paths import parameters
from stepwell.server.http.problems import RefusedError, methods_of
from stepwell.suggest import suggest

EVENT_STREAM: Final = "text/event-stream"
FIELDS: Final = ("input.", "output.")  # how parameters begin that name fields
_OURS: Final = "/v1/"  # clients of other engines may send parameters that mean nothing here, to other routes
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
        body = (await self.body()).removeprefix(BOM_UTF8)
        data = self.route_handler.parsed_fn_signature.parameters.get("data")
        try:
            read = _decoder(Any if data is None else data.annotation).decode(body)
            parse_json(body.decode())  # msgspec takes the last of two values of one key
        except msgspec.ValidationError as error:
            found = _PLACE.match(str(error))
            place = f"body{found['place']}" if found else "body"
            message = found["what"] if found else str(error)
            unknown = _UNKNOWN.match(message)
            if unknown and data is not None:
                message = unknown_key(unknown[1], _fields_at(data.annotation, found["place"] if found else ""))
            raise RefusedError(HTTPStatus.BAD_REQUEST, message, place=place, remedy=_REMEDY) from None
        except JsonError as error:
            place = f"body.{error.place}" if error.place else "body"
            raise RefusedError(HTTPStatus.BAD_REQUEST, error.what, place=visible(place), remedy=_REMEDY) from None
        except RecursionError:  # msgspec's own limit
            raise RefusedError(HTTPStatus.BAD_REQUEST, "is nested too deeply", place="body") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, _no_json(body, error), place="body") from None
        return read


def _no_json(body: bytes, error: Exception) -> str:
    """Why a body is no JSON."""
    if not body.strip():
        return "is empty"
    try:  # msgspec has no words for half of a character, which it takes for no JSON
        json.dumps(parse_json(body.decode()), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "holds half of a character (a surrogate)"
    except (JsonError, UnicodeDecodeError, RecursionError):
        pass
    return f"is no JSON: {error}"


def _fields_at(kind: Any, place: str) -> list[str]:
    """The fields of the struct at a place, such as ``.starts[0]``, within what a type describes."""
    for part in re.findall(r"[^.\[\]]+", place):
        fields = {field.encode_name: field.type for field in _struct_fields(kind)}
        lists = [inner for inner in _inside(kind) if get_origin(inner) is list]
        kind = fields[part] if part in fields else get_args(lists[0])[0] if lists else Any
    return [field.encode_name for field in _struct_fields(kind)]


def _struct_fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a struct, also within a union or an annotation."""
    structs = [inner for inner in _inside(kind) if isinstance(inner, type) and issubclass(inner, msgspec.Struct)]
    return msgspec.structs.fields(structs[0]) if structs else ()


def _inside(kind: Any) -> list[Any]:
    """What a type is without annotations, and the members of a union."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _inside(get_args(kind)[0])
    return [part for member in get_args(kind) for part in _inside(member)] if origin in (Union, UnionType) else [kind]


_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`\Z")
_REMEDY: Final = "GET /openapi.json describes what it holds; /docs shows it."


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def check_segment(text: str | None, place: str) -> None:
    """Refuse a new id or name that no path could name: clients take ``.`` and ``..`` out of paths, encoded or not.

    Raises:
        RefusedError: 422.
    """
    if text in (".", ".."):
        raise RefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f'"{text}" cannot be named in a path',
            place=place,
            remedy="Choose another one: clients take it for the directory.",
        )


async def prepare(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Check parameters; answer OPTIONS with the methods of a path, of which Litestar's own answer leaves some out.

    Raises:
        RefusedError: 400: a parameter is "null", which Litestar takes for one that was not given; or there are
            parameters that a route of ours does not know.
    """
    if request.method != "OPTIONS":
        request.scope["path_params"] = parameters(request.scope["path_params"])
        if request.scope["path"].startswith(_OURS):
            check_parameters(request)
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
    """The query parameters of a route, and those of all that answer from the read models."""
    found: dict[str, _Kind] = {}
    if getattr(handler, "media_type", None) != EVENT_STREAM:
        found |= {"fresh": _Kind(repeatable=False, is_text=False), "after": _Kind(repeatable=False, is_text=True)}
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
