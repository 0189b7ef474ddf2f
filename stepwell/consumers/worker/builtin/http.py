"""The ``http_request`` step: one HTTP request, with guarded addresses, bounded answers and errors told apart.

``config``
    - ``url``, ``method`` (GET), ``headers``, ``query`` (or ``params``);
    - a body: ``json``, ``form`` or ``body`` (text). The step's input is sent only where a template puts it;
    - ``auth``: ``{bearer: …}`` or ``{basic: {username, password}}``; secrets by reference, see ``_http_call``;
    - ``timeout_seconds`` (30, and never more than the step's): for everything together, redirects and body too;
    - ``expect``: status codes that are a success (``2xx``), as in ``[200, "400-404"]``;
    - ``response``: ``json``, ``text`` or ``auto``; ``max_response_bytes`` (1,000,000), counted uncompressed.

The result is ``{status, headers, response, url, elapsed_ms}``: ``response`` is the parsed JSON or the text,
``headers`` those of use to a workflow by lower-case name, ``url`` where the answer came from, without its query.

A request that is not safe to repeat has the header ``Idempotency-Key``. Redirects are followed at most five times,
each checked like the first; to another host go neither credentials nor secrets. Proxies and ``.netrc`` are not used:
a proxy would resolve the names again.

Each request has a connection of its own. One that is kept is known by its address, and must not serve another host
on that address, whose certificate was never checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import httpx
import msgspec

from stepwell.consumers.worker.builtin._http_call import (
    Call,
    HTTPConnectionError,
    HTTPRequestError,
    HTTPResponseError,
    HTTPSettingsError,
    HTTPStatusError,
    HTTPTimeoutError,
    PayloadTooLarge,
    read_call,
    read_url,
)
from stepwell.consumers.worker.builtin.addresses import AllowList
from stepwell.consumers.worker.builtin.secrets import Hider
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.retry_after import retry_after_seconds
from stepwell.core.expressions.values import shorten

__all__ = [
    "HTTPConnectionError",
    "HTTPRequestError",
    "HTTPResponseError",
    "HTTPSettingsError",
    "HTTPStatusError",
    "HTTPTimeoutError",
    "PayloadTooLarge",
    "http_request",
]

MAX_REDIRECTS: Final = 5
CONNECT_SECONDS: Final = 5.0  # for an address that is not the last one: then the next is tried
EXCERPT_BYTES: Final = 2_000  # of an unexpected answer, read for the error's message
EXCERPT_CHARACTERS: Final = 200
HEADER_CHARACTERS: Final = 1_000

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# What another host may see after a redirect. Any other header may be a key to the first one.
_PUBLIC_HEADERS: Final = frozenset({
    "accept", "accept-encoding", "accept-language", "connection", "content-type", "idempotency-key", "user-agent",
})  # fmt: skip
_OUTPUT_HEADERS: Final = re.compile(
    "cache-control|content-(disposition|language|length|location|range|type)|date|etag|expires|last-modified|link"
    "|location|retry-after|x-(request|correlation)-id|(x-)?ratelimit(-.*)?|x-total-count"
)
_JSON: Final = re.compile(r"application/(.*\+)?json|text/json")
_TEXT: Final = re.compile(r"text/.*|application/(.*\+)?xml|application/(javascript|x-www-form-urlencoded|yaml)")
# Python has codecs that are no charsets, or take quadratic time; these are what servers say.
_CHARSET: Final = re.compile(
    r"utf-?(8|16|32)(-?[lb]e)?|(us-)?ascii|latin-?1|iso-8859-\d+|windows-125\d|gbk?\d*|big5|euc-.*|shift_jis|koi8-."
)


async def http_request(_data: Any, ctx: StepContext, *, bound: bool = False) -> dict[str, Any]:
    """Run an ``http_request`` step.

    Args:
        _data: The step's input; not used.
        ctx: ``config`` says what to request, see above.
        bound: Whether secrets are only sent where the environment says that they may be.

    Raises:
        HTTPSettingsError: ``config`` is wrong, or a secret is not there.
        AddressRefusedError: The host is not one that steps may connect to.
        AllowListError: ``STEPWELL_HTTP_ALLOW`` cannot be read.
        UnknownHostError: Its name has no address.
        HTTPConnectionError: It cannot be reached, or breaks off.
        HTTPTimeoutError: It takes too long.
        HTTPStatusError: The status is not expected.
        HTTPResponseError: The answer cannot be read.
        PayloadTooLarge: It is too large.
        HTTPRequestError: It redirects to where nobody can follow.
    """
    began = time.perf_counter()
    result = await send(read_call(ctx, bound=bound), AllowList.from_environment())
    return {**result, "elapsed_ms": round((time.perf_counter() - began) * 1000, 1)}


async def http_request_of_a_service(data: Any, ctx: StepContext) -> dict[str, Any]:
    """The same for workers that run what others have written: secrets are only sent where it is said they may be."""
    return await http_request(data, ctx, bound=True)


async def send(call: Call, allowed: AllowList, *, redirects: int = MAX_REDIRECTS) -> dict[str, Any]:
    """Make a request, within its time.

    Args:
        call: What to request.
        allowed: Where one may connect to besides the public internet.
        redirects: How many are followed; with 0, one is an unexpected status.

    Returns:
        ``{status, headers, response, url}``.

    Raises:
        StepwellError: As ``http_request``.
    """
    try:
        async with asyncio.timeout(call.timeout_seconds):
            return await _follow(call, allowed, redirects)
    except HTTPTimeoutError:
        raise
    except TimeoutError:
        raise call.error(
            HTTPTimeoutError, f"no whole answer within {call.timeout_seconds:g} s", retryable=True
        ) from None


async def _follow(call: Call, allowed: AllowList, redirects: int) -> dict[str, Any]:
    for _ in range(redirects + 1):
        async with _sent(call, allowed) as response:
            if call.expects(response.status_code):
                return await _result(call, response)
            follows = redirects and response.status_code in _REDIRECTS and "location" in response.headers
            if not follows:
                raise await _unexpected(call, response)
            call = _redirected(call, response.status_code, response.headers["location"])
    raise call.error(HTTPRequestError, f"there are more than {redirects} redirects")


# -- Sending --


@contextlib.asynccontextmanager
async def _sent(call: Call, allowed: AllowList) -> AsyncIterator[httpx.Response]:
    url = call.url
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = await allowed.addresses(host, port, str(call))
    transport = httpx.AsyncHTTPTransport(verify=_tls(*map(os.environ.get, _CERTIFICATES)), trust_env=False)
    with _explained(call):
        async with transport:
            response = await _answer(transport, call, addresses)
            try:
                yield response
            finally:
                await response.aclose()


async def _answer(transport: httpx.AsyncHTTPTransport, call: Call, addresses: list[str]) -> httpx.Response:
    """Send the request to the first address that takes the connection."""
    for address in addresses[:-1]:
        with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await transport.handle_async_request(_request(call, address, CONNECT_SECONDS))
    return await transport.handle_async_request(_request(call, addresses[-1], None))


def _request(call: Call, address: str, connect_seconds: float | None) -> httpx.Request:
    """A request to an address, for the host of the URL: its name is in the Host header and in the TLS handshake,
    where the certificate is checked against it.
    """
    url = call.url
    return httpx.Request(
        call.method,
        url.copy_with(host=address),
        headers={"host": url.netloc.decode("ascii"), **call.headers},
        extensions={
            "timeout": {"connect": connect_seconds},
            "sni_hostname": url.raw_host.decode("ascii").removesuffix("."),
        },
        content=call.body,
    )


_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@functools.cache
def _tls(_file: str | None, _directory: str | None) -> ssl.SSLContext:
    """The trusted certificates, read once: that takes 20 ms. Both variables are httpx's, for an authority of one's
    own; they are arguments so that a change of theirs counts.
    """
    return httpx.create_ssl_context()


@contextlib.contextmanager
def _explained(call: Call) -> Any:
    """Turn httpx's errors into ours. None of theirs is kept as a cause: some quote headers."""
    try:
        yield
    except httpx.TimeoutException:
        raise call.error(HTTPTimeoutError, "no connection in time", retryable=True) from None
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        reasons = list(_chain(error))
        wrong = next((reason for reason in reasons if isinstance(reason, ssl.SSLCertVerificationError)), None)
        if wrong is not None:
            why = f"the server's certificate is not valid: {wrong.verify_message}"
            remedy = "If its authority is your own, name a file with it in SSL_CERT_FILE."
            raise call.error(HTTPConnectionError, why, remedy=remedy) from None
        texts = (reason.strerror for reason in reasons if isinstance(reason, OSError))
        why = next(filter(None, texts), str(error)) or type(error).__name__
        raise call.error(HTTPConnectionError, call.hide(why), retryable=True) from None
    except httpx.TransportError as error:
        raise call.error(HTTPRequestError, f"the request cannot be sent ({type(error).__name__})") from None


def _chain(error: BaseException | None) -> Any:
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _chain(part)
        yield error
        error = error.__cause__ or error.__context__


def _redirected(call: Call, status: int, location: str) -> Call:
    """The request that a redirect asks for."""
    try:
        url = read_url(location, call.url)
    except ValueError as error:
        raise call.error(HTTPRequestError, f"the URL that it redirects to: {error}") from None
    headers, body, method = dict(call.headers), call.body, call.method
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):  # RFC 9110, 15.4
        method, body = "GET", None
        headers.pop("content-type", None)
        headers.pop("idempotency-key", None)
    if not _same_origin(call.url, url):
        headers = {
            name: value for name, value in headers.items() if name in _PUBLIC_HEADERS and value not in call.secrets
        }
        if body and call.confidential:
            raise call.error(HTTPRequestError, "redirects to another host, which must not see the form's secrets")
    return replace(call, url=url, headers=headers, body=body, method=method)


def _same_origin(old: httpx.URL, new: httpx.URL) -> bool:
    """Whether credentials for one are good for the other: the same host and port, or its move from http to https."""
    if old.host != new.host:
        return False
    upgraded = (old.scheme, new.scheme) == ("http", "https") and old.port is None and new.port is None
    return upgraded or (old.scheme, old.port) == (new.scheme, new.port)


# -- Reading --


async def _result(call: Call, response: httpx.Response) -> dict[str, Any]:
    limit = call.max_response_bytes
    too_large = call.error(
        PayloadTooLarge,
        f"the answer has more than {limit:,} bytes",
        remedy="Ask for less, raise max_response_bytes, or fetch it in a handler that writes it to a file.",
    )
    length = response.headers.get("content-length", "")
    if call.method != "HEAD" and length.isdigit() and int(length[:20]) > limit:
        raise too_large
    body = await _body(call, response, limit + 1)
    if len(body) > limit:
        raise too_large
    headers = {
        name: call.hide(value[:HEADER_CHARACTERS])
        for name, value in response.headers.items()
        if _OUTPUT_HEADERS.fullmatch(name)
    }
    return {
        "status": response.status_code,
        "headers": headers,
        "response": Hider(call.secrets).value(_parsed(call, response, body)),
        "url": call.shown_url,
    }


async def _body(call: Call, response: httpx.Response, most: int) -> bytes:
    """Read at most so many bytes, uncompressed; never more are made of compressed ones."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    body = bytearray()
    if encoding in ("", "identity"):
        async for chunk in response.aiter_raw():
            body += chunk[: most - len(body)]
            if len(body) >= most:
                break
        return bytes(body)
    if encoding not in ("gzip", "x-gzip"):
        raise call.error(
            HTTPResponseError,
            f"the answer is compressed as {shorten(encoding, 40)}, which was not asked for",
        )
    unzip = zlib.decompressobj(wbits=31)  # gzip's header and trailer
    try:
        async for chunk in response.aiter_raw():
            rest = chunk
            while rest and len(body) < most:
                if unzip.eof:  # gzip files may follow one another (RFC 1952, 2.2)
                    unzip = zlib.decompressobj(wbits=31)
                body += unzip.decompress(rest, most - len(body))
                rest = unzip.unused_data
            if len(body) >= most:
                return bytes(body)
    except zlib.error:
        raise call.error(HTTPResponseError, "the answer is not compressed rightly") from None
    if not unzip.eof and (body or call.method != "HEAD"):
        raise call.error(HTTPConnectionError, "the answer breaks off", retryable=True)
    return bytes(body)


def _parsed(call: Call, response: httpx.Response, body: bytes) -> Any:
    """The body as the settings want it."""
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    charset = (response.charset_encoding or "utf-8").lower()
    if call.response == "json" or (call.response == "auto" and _JSON.fullmatch(content_type)):
        if not body.strip():
            return None
        try:
            text = body.removeprefix(b"\xef\xbb\xbf")
            if charset not in ("utf-8", "utf8") and _CHARSET.fullmatch(charset):
                text = body.decode(charset).encode()
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, ValueError, LookupError, RecursionError) as error:
            raise call.error(
                HTTPResponseError,
                f"the answer is no JSON: {call.hide(shorten(str(error), 100))}",
                remedy="With response: text it is taken as it is.",
            ) from None
    lenient = call.response == "text" or bool(_TEXT.fullmatch(content_type))
    try:
        return body.decode(charset if _CHARSET.fullmatch(charset) else "utf-8", "replace" if lenient else "strict")
    except (ValueError, LookupError):
        raise call.error(
            HTTPResponseError,
            f"the answer is no text ({shorten(content_type or 'of no type', 60)})",
            remedy="Fetch it in a handler that writes it to a file.",
        ) from None


async def _unexpected(call: Call, response: httpx.Response) -> HTTPStatusError:
    longest = max(map(len, call.secrets), default=0)
    most = EXCERPT_BYTES + longest
    try:
        body = await _body(call, response, most)
    except (HTTPRequestError, httpx.TransportError):
        body = b""
    excerpt = call.hide(body.decode(errors="replace").replace("\0", ""))
    if len(body) == most:
        excerpt = excerpt[: max(len(excerpt) - longest - 1, 0)]  # what was read may end within a secret
    status = f"{response.status_code} {call.hide(response.reason_phrase)}".strip()
    message = f"{call}: status {status}" + (f": {shorten(excerpt, EXCERPT_CHARACTERS)}" if excerpt.strip() else "")
    return HTTPStatusError(
        message,
        status=response.status_code,
        url=call.shown_url,
        retry_after=retry_after_seconds(response.headers.get("retry-after", "")),
    )
