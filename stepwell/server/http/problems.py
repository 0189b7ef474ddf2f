"""Errors as HTTP tells them: ``application/problem+json`` (RFC 9457), with our own place and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from msgspec import Struct
from msgspec.structs import replace

from stepwell.core.decide.requests import INACTIVE_VERSION
from stepwell.errors import (
    MOST_SHOWN,
    CommandRejectedError,
    DefinitionConflictError,
    DefinitionError,
    InactiveWorkflowError,
    LeaseLostError,
    LogError,
    PositionGoneError,
    RecordTooLargeError,
    StepwellError,
    TooManyWorkersError,
    UnknownClaimError,
    UnknownInstanceError,
    UnknownWorkflowError,
    visible,
)
from stepwell.logs import Logger
from stepwell.projections.filters import FilterError
from stepwell.projections.store import ReadModelsError
from stepwell.server.http.paths import as_meant

MEDIA_TYPE: Final = "application/problem+json"
_REMEDY: Final = "GET /openapi.json describes what there is; /docs shows it."
POSITION: Final = "Stepwell-Position"  # where the answer to a command is in the log
RETRY_AFTER: Final = "2"  # seconds; a log that comes back, or an engine that takes over, needs about as long
_logger = Logger("stepwell.server")


class Problem(Struct, frozen=True, omit_defaults=True):
    """What went wrong.

    Attributes:
        type: A stable name of the kind of problem, ``urn:stepwell:problem:NAME``, for programs.
        title: The same for people.
        status: The HTTP status.
        detail: What was wrong this time.
        place: Where: an instance, a place inside a definition or a body.
        remedy: What to do next.
        code: Why the engine rejected a command, or why a claim is lost: a stable word such as ``already_finished``
            or ``expired``.
        problems: Every reason why a definition or a body is not valid, where there are several.
    """

    type: str
    title: str
    status: int
    detail: str
    place: str = ""
    remedy: str = ""
    code: str = ""
    problems: list[str] = []


class RefusedError(StepwellError):
    """The server will not do what it is asked, for a reason that HTTP has a status for.

    Args:
        status: The status.
        headers: To be sent with it.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        place: str = "",
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(message, place=place, remedy=remedy)


class UndecidedError(StepwellError):
    """No engine has answered (in time): the command is in the log, and will be decided."""


class NotYetError(StepwellError):
    """What was asked for will be there; it was not in time."""


_STATUSES: Final[Mapping[type[StepwellError], HTTPStatus]] = {
    UnknownInstanceError: HTTPStatus.NOT_FOUND,
    UnknownWorkflowError: HTTPStatus.NOT_FOUND,
    InactiveWorkflowError: HTTPStatus.CONFLICT,
    DefinitionConflictError: HTTPStatus.CONFLICT,
    CommandRejectedError: HTTPStatus.CONFLICT,
    PositionGoneError: HTTPStatus.GONE,
    DefinitionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownClaimError: HTTPStatus.NOT_FOUND,
    LeaseLostError: HTTPStatus.CONFLICT,
    TooManyWorkersError: HTTPStatus.TOO_MANY_REQUESTS,
    RecordTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    LogError: HTTPStatus.SERVICE_UNAVAILABLE,
    UndecidedError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotYetError: HTTPStatus.SERVICE_UNAVAILABLE,
    ReadModelsError: HTTPStatus.SERVICE_UNAVAILABLE,
    FilterError: HTTPStatus.BAD_REQUEST,
    StepwellError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""The status of each error; a class that is not here has that of the class above it."""

_REJECTIONS: Final[Mapping[str, HTTPStatus]] = {
    "unknown_instance": HTTPStatus.NOT_FOUND,
    "unknown_workflow": HTTPStatus.NOT_FOUND,
    INACTIVE_VERSION: HTTPStatus.CONFLICT,
    "invalid_command": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid_input": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid_timeout": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too_long": HTTPStatus.UNPROCESSABLE_ENTITY,
    "archived": HTTPStatus.GONE,
    "payload_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "not_an_approver": HTTPStatus.FORBIDDEN,
}
"""The statuses of rejected commands by their codes; 409 for all others."""

_TITLES: Final[Mapping[str, str]] = {
    "unknown_instance": "No such instance",
    "unknown_workflow": "No such workflow",
    "inactive_workflow": "The workflow is inactive",
    "definition_conflict": "The version belongs to another definition",
    "command_rejected": "The engine will not do this",
    "definition": "The definition is not valid",
    "unknown_claim": "No such claim",
    "lease_lost": "The step is not yours any more",
    "too_many_workers": "Too many different workers",
    "record_too_large": "Too large for the log",
    "position_gone": "What comes next was deleted",
    "log": "The log cannot be used",
    "undecided": "No engine has answered yet",
    "not_yet": "Not there yet",
    "read_models": "The read models cannot be used",
    "filter": "The question makes no sense",
}


def problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:
    """How an error is told, and the headers that go with it. Of what is not known, a bug, nothing is shown."""
    if isinstance(error, RefusedError):
        return _of_status(error.status, error), error.headers
    if isinstance(error, StepwellError):
        return _of_ours(error)
    if isinstance(error, TimeoutError):
        return _of_ours(UndecidedError(visible(str(error)) or "no answer in time"))
    if isinstance(error, HTTPException):
        return _of_litestar(error), dict(error.headers or {})
    return _of_status(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        StepwellError(
            f"a bug in Stepwell: {type(error).__name__}",
            remedy="Nothing that was acknowledged is lost. The server's log shows where it happened.",
        ),
    ), {}


def _of_ours(error: StepwellError) -> tuple[Problem, dict[str, str]]:
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUSES)
    status = _STATUSES[kind]
    name = _snake(kind.__name__.removesuffix("Error"))
    code = ""
    if isinstance(error, CommandRejectedError):
        code = error.code
        status = _REJECTIONS.get(code, status)
    if isinstance(error, LeaseLostError):
        code = error.reason
    problems = error.problems[:MOST_SHOWN] if isinstance(error, DefinitionError) else []
    told = Problem(
        type=f"urn:stepwell:problem:{name}",
        title=_TITLES.get(name, status.phrase),
        status=status.value,
        detail=error.message,
        place=error.place,
        remedy=error.remedy,
        code=code,
        problems=problems if len(problems) > 1 else [],
    )
    headers = {"Retry-After": RETRY_AFTER} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    if isinstance(error, CommandRejectedError) and error.position:
        headers[POSITION] = error.position
    return told, headers


def _of_status(status: HTTPStatus, error: StepwellError) -> Problem:
    return Problem(
        type=f"urn:stepwell:problem:{_snake(status.name.title().replace('_', ''))}",
        title=status.phrase,
        status=status.value,
        detail=error.message,
        place=error.place,
        remedy=error.remedy,
    )


_NO_BODY: Final = "'data'"  # Litestar's words: what our handlers call a body is not there
_MISSING_BODY: Final = {"key": "body", "message": "is empty"}


def _of_litestar(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    detail = visible(error.detail)[:2000]
    told = _of_status(status, StepwellError(detail))
    if isinstance(error, ValidationException):
        found = (
            [item for item in error.extra or () if isinstance(item, dict)] if isinstance(error.extra, list) else []
        )
        found = [_MISSING_BODY if item.get("message") == _NO_BODY else item for item in found]
        reasons = [f"{item['key']}: {item['message']}" if item.get("key") else str(item.get("message", ""))
                   for item in found]  # fmt: skip
        reasons = [visible(reason)[:500] for reason in reasons[:MOST_SHOWN]]
        if reasons:
            place = visible(str(found[0].get("key", "")))[:200] if len(found) == 1 else ""
            problems = reasons if len(reasons) > 1 else []
            return replace(told, detail="; ".join(reasons[:3]), place=place, remedy=_REMEDY, problems=problems)
    return told


def last_words(problem: Problem, *, retry_after: str = "") -> bytes:
    """An answer as bytes, the last one of its connection: for where no application answers."""
    body = msgspec.json.encode(problem)
    more = f"retry-after: {retry_after}\r\n" if retry_after else ""
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n{more}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_GONE: Final = "client disconnected prematurely"  # Litestar's words, in an error of a class that says less


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The response to a request that met an error; a bug of ours is logged with its traceback."""
    problem, headers = problem_of(error)
    if isinstance(error, (NotFoundException, MethodNotAllowedException)):  # of the router: handlers raise our own
        problem, headers = _of_routing(request, problem)
    if isinstance(error, InternalServerException) and error.detail == _GONE:  # nobody hears it; and it is no bug
        problem = _of_status(HTTPStatus.BAD_REQUEST, StepwellError("the connection has ended before the body"))
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        path = visible(as_meant(request.scope["path"]))
        _logger.error("a bug met by a request", method=request.method, path=path, exc_info=error)
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _of_routing(request: Request[Any, Any, Any], problem: Problem) -> tuple[Problem, dict[str, str]]:
    path = visible(as_meant(request.scope["path"]))[:200]
    if problem.status == HTTPStatus.NOT_FOUND:
        return replace(problem, detail=f"there is nothing at {path}", remedy=_REMEDY), {}
    allowed = methods_of(request)
    return replace(problem, detail=f"{path} takes {allowed}, not {request.method}", remedy=_REMEDY), {
        "Allow": allowed
    }


def methods_of(request: Request[Any, Any, Any]) -> str:
    """What a request's path takes, as the header ``Allow`` says it."""
    path = request.scope["path"]
    *_, template = request.app.asgi_router.handle_routing(path=path.rstrip("/") or "/", method="OPTIONS")
    methods = {method for route in request.app.routes if route.path_format == template for method in route.methods}
    return ", ".join(sorted(methods))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
