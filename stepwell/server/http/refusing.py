"""Tells the audit of requests that were refused: with 401 or 403."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response

from stepwell.client.client import Client
from stepwell.schemas.records.sender import Sender
from stepwell.server.access import address_of, name_of, route_of
from stepwell.server.http.problems import Problem, RefusedError, answer

_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def noting(client: Client) -> Callable[[Any, Exception], None]:
    """What notes an error that ends a request, given the request's scope, if it is a refusal."""

    def note(scope: Any, error: Exception) -> None:
        if isinstance(error, RefusedError) and error.status in _REFUSED:
            why = f"{error.status.value}: {error.message}"
            client.refusals.note(route_of(scope), why, Sender(name_of(scope), address_of(scope)))

    return note


def answering(
    note: Callable[[Any, Exception], None],
) -> Callable[[Request[Any, Any, Any], Exception], Response[Problem]]:
    """``answer``, which notes what it refuses."""

    def told(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
        note(request.scope, error)
        return answer(request, error)

    return told
