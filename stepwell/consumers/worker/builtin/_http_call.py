"""What an ``http_request`` step asks for, read from its settings, and what can go wrong with it.

Secrets stand in the environment of the worker, not in definitions: ``{secret: NAME}`` for a header, a parameter, a
form's field or a part of ``auth`` is the value of ``STEPWELL_SECRET_NAME``. Only the reference is in the log. A
secret that is written out, or filled in from input by a template, is recorded like everything else. To which hosts a
secret may be sent, ``STEPWELL_SECRET_NAME_HOSTS`` says.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx

import stepwell
from stepwell.consumers.worker.builtin._secret_values import SecretValues
from stepwell.consumers.worker.builtin._settings import Settings, read_timeout
from stepwell.consumers.worker.builtin.secrets import Hider
from stepwell.consumers.worker.context import StepContext
from stepwell.core.expressions.values import kind, shorten
from stepwell.errors import StepwellError
from stepwell.step_types.http_request import METHODS, TYPE

SAFE_METHODS: Final = METHODS[:3]  # they change nothing (RFC 9110, 9.2.1), so a repeat needs no key
TIMEOUT_SECONDS: Final = 30.0
MAX_RESPONSE_BYTES: Final = 1_000_000  # what a record of the log takes, so about what a step can return

# Headers that describe the connection and the message: set wrongly, they smuggle a second request in.
_OWN_HEADERS: Final = frozenset({
    "connection", "content-length", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
# Headers whose values are credentials, however they came there.
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "x-api-key"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE: Final = re.compile(r"([!-~]([\t -~]*[!-~])?)?")
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
_RANGE: Final = re.compile(r"([1-5])xx|([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?")


class HTTPRequestError(StepwellError):
    """An HTTP request did not give what was asked for.

    Args:
        url: What was requested, without user name, query and fragment: they may hold secrets.
        retryable: Whether another attempt may go better.
    """

    def __init__(
        self, message: str, *, url: str = "", retryable: bool = False, place: str = "", remedy: str = ""
    ) -> None:
        self.url = url
        self.retryable = retryable
        super().__init__(message, place=place, remedy=remedy)


class HTTPSettingsError(HTTPRequestError):
    """The settings of the step are wrong; ``place`` says which. Not retryable."""


class HTTPConnectionError(HTTPRequestError, ConnectionError):
    """The server could not be reached, or broke off. Retryable, unless its certificate is wrong."""


class HTTPTimeoutError(HTTPRequestError, TimeoutError):
    """There was no whole answer in time. Retryable."""


class HTTPStatusError(HTTPRequestError):
    """The status is not one of those expected. Retryable are 408, 425, 429 and 5xx.

    Args:
        status: The status.
        retry_after: Seconds that the server asks to be left alone for, by its header ``Retry-After``.
    """

    def __init__(
        self, message: str, *, status: int, url: str, retry_after: float | None = None, remedy: str = ""
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message, url=url, retryable=status >= 500 or status in (408, 425, 429), remedy=remedy)


class HTTPResponseError(HTTPRequestError):
    """The answer cannot be read: no JSON where it was asked for, no text, wrongly compressed. Not retryable."""


class PayloadTooLarge(HTTPRequestError):  # noqa: N818 - a kind of error that retry policies know
    """The answer is larger than ``max_response_bytes``. Not retryable."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and what to make of its answer.

    Attributes:
        headers: By lower-case name.
        confidential: Whether there are secrets in the body.
        expected: Ranges of status codes that are a success, ends included.
        secrets: What must not be shown, in each form that it is sent in.
    """

    method: str
    url: httpx.URL
    headers: dict[str, str]
    body: bytes | None
    confidential: bool
    timeout_seconds: float
    expected: tuple[tuple[int, int], ...]
    response: str
    max_response_bytes: int
    secrets: frozenset[str]

    def expects(self, status: int) -> bool:
        """Whether a status is a success."""
        return any(first <= status <= last for first, last in self.expected)

    def error(
        self, kind: type[HTTPRequestError], message: str, *, retryable: bool = False, remedy: str = ""
    ) -> HTTPRequestError:
        """An error that says what was requested.

        Args:
            kind: Its class.
        """
        return kind(f"{self}: {self.hide(message)}", url=self.shown_url, retryable=retryable, remedy=remedy)

    def __str__(self) -> str:
        return f"{self.method} {self.shown_url}"

    @property
    def shown_url(self) -> str:
        """The URL as it may be recorded."""
        return self.hide(str(self.url.copy_with(query=None, fragment=None, userinfo=b"")))

    def hide(self, text: str) -> str:
        """The text without secrets."""
        return Hider(self.secrets).text(text)


def read_call(ctx: StepContext, environment: Mapping[str, str] = os.environ, *, bound: bool = False) -> Call:
    """Read a step's settings.

    Args:
        ctx: The step's ``config``, time limit and idempotency key.
        environment: Where secrets are.
        bound: Whether a secret is only sent where the environment says that it may be.

    Raises:
        HTTPSettingsError: They are wrong.
    """
    return _Reader(ctx, environment, bound=bound).call()


def read_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """Read a URL that steps may request.

    Args:
        base: What a relative one is relative to.

    Raises:
        ValueError: It is none; the message says why, without naming it.
    """
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise ValueError("is no URL") from None
    if url.scheme not in ("http", "https"):
        raise ValueError("only http:// and https:// URLs can be requested")
    if not _HOST.fullmatch(url.raw_host.decode("ascii")) or (url.port is not None and not 0 < url.port < 65536):
        raise ValueError("has no valid host and port")
    return url


def standard_headers() -> dict[str, str]:
    """What every request says."""
    return {
        "user-agent": f"stepwell/{stepwell.__version__}",
        "accept": "*/*",
        "accept-encoding": "gzip",
        "connection": "close",
    }


def idempotency_key(ctx: StepContext) -> str:
    """The run's key as a header takes it: ASCII only, while an instance's id takes anything."""
    return quote(ctx.idempotency_key, safe=":/@+=,;!$'()*")


class _Reader:
    def __init__(self, ctx: StepContext, environment: Mapping[str, str], *, bound: bool) -> None:
        self.settings = Settings(ctx.config, "config", TYPE.keys, HTTPSettingsError)
        self.ctx = ctx
        self.secrets = SecretValues(self.settings, environment, bound=bound, error=HTTPSettingsError)

    def call(self) -> Call:
        settings = self.settings
        method = settings.text("method", "GET").upper()
        if method not in METHODS:
            raise settings.wrong(
                "method", f'unknown method "{shorten(method, 20)}"', f"There are: {', '.join(METHODS)}."
            )
        url = self._url()
        headers = self._headers()
        if "auth" in settings:
            if "authorization" in headers:
                raise settings.wrong("auth", "there is an Authorization header already")
            headers["authorization"] = self._authorization()
        if method not in SAFE_METHODS:
            headers.setdefault("idempotency-key", idempotency_key(self.ctx))
        body, content_type, confidential = self._body()
        if body is not None:
            headers.setdefault("content-type", content_type)
        self.secrets.check_hosts(url)
        return Call(
            method=method,
            url=url,
            headers={**standard_headers(), **headers},
            body=body,
            confidential=confidential,
            timeout_seconds=read_timeout(settings, self.ctx, TIMEOUT_SECONDS),
            expected=self._expected(),
            response=settings.choice("response", ("auto", "json", "text"), "auto"),
            max_response_bytes=settings.integer("max_response_bytes", MAX_RESPONSE_BYTES, 1, 2**31),
            secrets=frozenset(self.secrets.forms),
        )

    def _url(self) -> httpx.URL:
        settings = self.settings
        try:
            url = read_url(settings.text("url"))
        except ValueError as error:
            raise settings.wrong("url", str(error), "It looks like https://example.com/path.") from None
        if url.userinfo:
            raise settings.wrong("url", "a URL with a user name is not accepted", "Put it into auth.basic.")
        if "query" in settings and "params" in settings:
            raise settings.wrong("params", "is the same as query: give one of them")
        for key in ("query", "params"):
            if key in settings:
                url = url.copy_merge_params(self._fields(key)[0])
        return url

    def _headers(self) -> dict[str, str]:
        settings = self.settings
        headers: dict[str, str] = {}
        for name, written in (settings.mapping("headers") if "headers" in settings else {}).items():
            key, place = name.lower(), f"headers.{shorten(name, 40)}"
            if not _TOKEN.fullmatch(name) or key in _OWN_HEADERS:
                raise settings.wrong(place, "cannot be set: it is no header's name, or set for each request")
            if key in headers:
                raise settings.wrong(place, "is given twice")
            value, _ = self._value(place, written)
            if not HEADER_VALUE.fullmatch(value):
                raise settings.wrong(place, "holds characters that no header can, or blanks at its ends")
            headers[key] = value
            if key in _CREDENTIALS:
                self.secrets.keep(value)
                self.secrets.keep(value.partition(" ")[2])  # without the scheme, such as Bearer
        return headers

    def _authorization(self) -> str:
        auth = Settings(self.settings.get("auth"), "config.auth", ("bearer", "basic"), HTTPSettingsError)
        if len(auth.values) != 1:
            raise self.settings.wrong("auth", "one of bearer and basic is needed")
        if "bearer" in auth:
            token, _ = self._value("auth.bearer", auth.get("bearer"))
            if not token or not HEADER_VALUE.fullmatch(token):
                raise auth.wrong("bearer", "holds characters that no header can, or blanks at its ends")
            self.secrets.keep(token)
            return f"Bearer {token}"
        basic = Settings(auth.get("basic"), "config.auth.basic", ("username", "password"), HTTPSettingsError)
        username, _ = self._value("auth.basic.username", basic.get("username"))
        password, _ = self._value("auth.basic.password", basic.get("password"))
        if ":" in username:
            raise basic.wrong("username", "has a colon, which basic authentication cannot send")
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        self.secrets.keep(password)
        self.secrets.keep(encoded)
        return f"Basic {encoded}"

    def _body(self) -> tuple[bytes | None, str, bool]:
        """The body, its type, and whether there are secrets in it."""
        settings = self.settings
        given = [key for key in ("json", "form", "body") if key in settings]
        if len(given) > 1:
            raise settings.wrong(given[1], f"there is a body already: {given[0]}")
        if "json" in settings:
            try:
                text = json.dumps(settings.get("json"), ensure_ascii=False, allow_nan=False)
                return text.encode(), "application/json", False
            except (ValueError, TypeError, RecursionError) as error:
                raise settings.wrong("json", f"cannot be written as JSON: {type(error).__name__}") from None
        if "form" in settings:
            fields, secret = self._fields("form")
            return urlencode(fields, doseq=True).encode(), "application/x-www-form-urlencoded", secret
        if "body" in settings:
            return settings.text("body").encode(errors="replace"), "text/plain; charset=utf-8", False
        return None, "", False

    def _fields(self, key: str) -> tuple[dict[str, str | list[str]], bool]:
        """Parameters or a form's fields, and whether there are secrets among them."""
        fields: dict[str, str | list[str]] = {}
        any_secret = False
        for name, written in self.settings.mapping(key).items():
            place = f"{key}.{shorten(name, 40)}"
            parts = written if isinstance(written, (list, tuple)) else [written]
            values = [self._value(place, part) for part in parts]
            fields[name] = [value for value, _ in values] if parts is written else values[0][0]
            any_secret = any_secret or any(secret for _, secret in values)
        return fields, any_secret

    def _value(self, key: str, written: Any) -> tuple[str, bool]:
        """A value as text, and whether it is a secret."""
        if isinstance(written, Mapping):
            return self.secrets.value(key, written), True
        if isinstance(written, bool):
            return str(written).lower(), False
        if isinstance(written, (str, int, float)):
            return str(written), False
        raise self.settings.wrong(key, f"a text, a number or {{secret: NAME}} is needed, not {kind(written)}")

    def _expected(self) -> tuple[tuple[int, int], ...]:
        written = self.settings.values.get("expect", "2xx")
        ranges = []
        for part in written if isinstance(written, (list, tuple)) else [written]:
            match = None if isinstance(part, bool) else _RANGE.fullmatch(str(part).strip().lower())
            if match is None:
                raise self.settings.wrong(
                    "expect", 'a status such as 200, "2xx" or "200-204" is needed, or a list of them'
                )
            hundred, first, last = match.groups()
            ranges.append(
                (int(hundred) * 100, int(hundred) * 100 + 99) if hundred else (int(first), int(last or first))
            )
        return tuple(ranges)
