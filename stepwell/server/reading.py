"""How bodies are read: by their exact types, at once, and every byte that does not fit is told."""

from __future__ import annotations

import functools
import re
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response

from stepwell.server.problems import RefusedError, methods_of

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


async def tell_methods(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Answer OPTIONS with the methods of a path, of which Litestar's own answer leaves some out."""
    if request.method != "OPTIONS":
        return None
    return Response(None, status_code=HTTPStatus.NO_CONTENT, headers={"Allow": methods_of(request)})
