"""``http_request``: makes one HTTP request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.core.expressions.values import kind
from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import NUMBER_OF_SECONDS, is_template, is_written_out
from stepwell.suggest import choice

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_SCHEME: Final = re.compile(r"https?://", re.IGNORECASE)
_ANY_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # before any template
_SECRET_NAMES: Final = re.compile(
    r"authorization|cookie|x-api-key|.*(token|secret|password|api[-_]?key).*", re.IGNORECASE
)
"""Headers and parameters whose values are credentials, as their names say."""

_USER: Final = re.compile(r"[a-z]+://[^/:@]*:[^/@]+@", re.IGNORECASE)


class HttpRequestConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``http_request`` step."""

    url: Annotated[str, Setting("The address: `http://` or `https://`; no user name in it.", called=("endpoint",))]
    method: Annotated[
        str | None, Setting(f"The method: {', '.join(f'`{method}`' for method in METHODS)}.", default="`GET`")
    ] = None
    headers: Annotated[
        dict[str, Any] | None,
        Setting("The headers of the request; those that describe the connection cannot be set."),
    ] = None
    query: Annotated[dict[str, Any] | None, Setting("Parameters of the URL; a list repeats one.")] = None
    params: Annotated[dict[str, Any] | None, Setting("The same as `query`.")] = None
    json: Annotated[
        Any, Setting("The body, as JSON. The step's input is not sent by itself.", called=("payload", "data"))
    ] = None
    form: Annotated[dict[str, Any] | None, Setting("The body, as the fields of a form, in place of `json`.")] = None
    body: Annotated[str | None, Setting("The body, as text, in place of `json` and `form`.")] = None
    timeout_seconds: Annotated[
        float | None,
        Setting(
            "How long the request may take, everything together; never more than the step's.",
            default="30",
            schema=NUMBER_OF_SECONDS,
            parameter="request_timeout_seconds",
            called=("timeout",),
        ),
    ] = None
    auth: Annotated[
        dict[str, Any] | None,
        Setting(
            "How to log in: `{bearer: …}` or `{basic: {username: …, password: …}}`; `{secret: NAME}` for a secret."
        ),
    ] = None
    expect: Annotated[
        Any,
        Setting(
            'Statuses that are no failure: one, a range such as `"200-204"`, `"2xx"`, or a list.', default="`2xx`"
        ),
    ] = None
    response: Annotated[
        str | None,
        Setting("How the answer is read: `json`, `text`, or `auto`, by the content type.", default="`auto`"),
    ] = None
    max_response_bytes: Annotated[
        int | None, Setting("The longest answer, counted uncompressed.", default="1,000,000")
    ] = None


class HttpAnswer(Struct, frozen=True):
    """What ``http_request`` gives.

    Attributes:
        response: The decoded body: a JSON value, or text.
        headers: By lower-case name.
    """

    status: int
    response: Any
    headers: dict[str, str]
    url: str
    elapsed_ms: float


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    url, method = config.get("url", "https://"), config.get("method", "GET")
    if not isinstance(url, str):
        yield f"{at}.url: a text is needed, not {kind(url)}"
    elif not _SCHEME.match(url) and (not is_template(url) or _ANY_SCHEME.match(url)):
        yield f"{at}.url: only http:// and https:// URLs can be requested"
    if not isinstance(method, str):
        yield f"{at}.method: a text is needed, not {kind(method)}"
    elif not is_template(method) and method.upper() not in METHODS:
        yield f'{at}.method: unknown method "{method}"{choice(method.upper(), METHODS)}'


def _credentials(config: Mapping[str, Any]) -> Iterator[str]:
    url = config.get("url")
    if isinstance(url, str):
        before, _, query = url.partition("#")[0].partition("?")
        names = (part.partition("=") for part in query.split("&"))
        yield from (
            f"url?{name}" for name, _, value in names if _SECRET_NAMES.fullmatch(name) and is_written_out(value)
        )
        if _USER.match(before) and not is_template(before):
            yield "url"
    for part in ("headers", "query", "params", "form", "json"):
        values = config.get(part)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(name, str) and _SECRET_NAMES.fullmatch(name) and is_written_out(value):
                yield f"{part}.{name}"
    auth = config.get("auth")
    if isinstance(auth, Mapping):
        if is_written_out(auth.get("bearer")):
            yield "auth.bearer"
        basic = auth.get("basic")
        if isinstance(basic, Mapping) and is_written_out(basic.get("password")):
            yield "auth.basic.password"


def _adopt(settings: Any) -> None:
    """Elsewhere a body that is data is sent as JSON."""
    if isinstance(settings.get("body"), (dict, list)) and "json" not in settings:
        settings.rename("body", "json")


TYPE: Final = StepType(
    name="http_request",
    config=HttpRequestConfig,
    result=HttpAnswer,
    aliases=("api_call", "call_external_service"),
    check=_check,
    credentials=_credentials,
    adopt=_adopt,
    runs="http:http_request",
    runs_for_services="http:http_request_of_a_service",
    text="Make one HTTP request.",
    takes="not used",
    gives="the answer",
    call=Call(positional=("url",)),
)
