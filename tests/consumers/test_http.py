"""The step ``http_request`` against real servers: requests, answers, redirects, and where it may not go.

Only the resolver is replaced, where a test needs names that no resolver has.
"""

import asyncio
import base64
import gzip
import json
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qs

import pytest

from stepwell.consumers.builtin import BUILTIN, addresses
from stepwell.consumers.builtin.addresses import (
    AddressRefusedError,
    AllowList,
    AllowListError,
    UnknownHostError,
    refusal,
)
from stepwell.consumers.builtin.http import (
    HTTPConnectionError,
    HTTPRequestError,
    HTTPResponseError,
    HTTPSettingsError,
    HTTPStatusError,
    HTTPTimeoutError,
    PayloadTooLarge,
)
from stepwell.consumers.context import StepContext
from stepwell.consumers.failures import describe
from stepwell.core.retry import is_retryable
from stepwell.schemas.definitions import Retry
from stepwell.schemas.events import StepReady
from stepwell.schemas.work import WorkItem

# An authority, and a certificate of service.example by it, valid from 2020 to 2120.
AUTHORITY = """-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdTdGVwd2Vs
bCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowIjEgMB4GA1UEAwwXU3RlcHdlbGwgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAASRkhLmBbFkZtdobvLzMmKRzq+PV8GqK2MKDOrEBtLi
d0HUG1VS/6Dm+HPJs6ohXKubZMeIc5y418SOLxbUTr3Mo0IwQDAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQUBkI9dI+DvYSrV7FsA90F
RukpEg0wCgYIKoZIzj0EAwIDSAAwRQIhAMvA2eL8UuO4oEHIvAtWKhMYc3/WIj4b
uwaIww7rY+FQAiBR57P/GbEpZqtbWWbRg10tzj235IBIKbMNCU+T5Ru74w==
-----END CERTIFICATE-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBvDCCAWOgAwIBAgIBAjAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdTdGVwd2Vs
bCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowGjEYMBYGA1UEAwwPc2VydmljZS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAEBvl4mJuKSJdPfiHJwKj0dTYs+35//qC20TEVU7jDPgTbyh6BuiHx
OW5VcO+WoEpFcVLXcj8Macba9zbLPyFJF6OBjzCBjDAJBgNVHRMEAjAAMA4GA1Ud
DwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUyO23Hduf
3L2DgEkkqBpLt18c9JgwHwYDVR0jBBgwFoAUBkI9dI+DvYSrV7FsA90FRukpEg0w
GgYDVR0RBBMwEYIPc2VydmljZS5leGFtcGxlMAoGCCqGSM49BAMCA0cAMEQCIDhR
UH///MVBgAx4NIRoDcMH7+euwGEw5nxSGpaJIhGPAiA2DF6YrcPUW+/N2g1y4843
AyYfY1kn/LKo7x4+LgoIrw==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVkBhS3mjsQeuXUF1
Y2uO+YUZT2WI/rmvjEHNPD5RedmhRANCAAQG+XiYm4pIl09+IcnAqPR1Niz7fn/+
oLbRMRVTuMM+BNvKHoG6IfE5blVw75agSkVxUtdyPwxpxtr3Nss/IUkX
-----END PRIVATE KEY-----
"""


@dataclass
class Seen:
    """A request, as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None  # instead of all that
    wait: float = 0.0  # seconds before the answer
    trickle: float = 0.0  # seconds before each byte of the body


class Server:
    """An HTTP server with an answer for each path. Knows what it was asked, and how often one connected."""

    def __init__(self, host="127.0.0.1", tls=None):
        self.host, self.tls = host, tls
        self.answers = {}
        self.seen = []
        self.names = []  # that were asked for in TLS handshakes
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, self.host, 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    def url(self, path="/", host=None):
        return f"{'https' if self.tls else 'http'}://{host or self.host}:{self.port}{path}"

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.rstrip().split("\r\n")
            method, target, _ = line.split(" ")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.seen.append(Seen(method, target, headers, body))
            answer = self.answers.get(target.partition("?")[0], Answer(404, body=b"nothing here"))
            await asyncio.sleep(answer.wait)
            if answer.raw is not None:
                writer.write(answer.raw)
            else:
                await self.reply(writer, answer, method)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def reply(self, writer, answer, method):
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Status", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        if method == "HEAD":
            return
        if not answer.trickle:
            writer.write(answer.body)
        for byte in answer.body if answer.trickle else b"":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(answer.trickle)


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1")
    async with Server() as running:
        yield running


@pytest.fixture
async def other(server):
    """Another server: to HTTP, another port is another origin."""
    async with Server() as running:
        yield running


@pytest.fixture
def names(monkeypatch):
    """What names resolve to: a list of addresses, or a list of such lists, one for each time it is asked."""
    known = {}
    asked = []

    async def lookup(host, port):
        asked.append(host)
        found = known[host]
        return found.pop(0) if isinstance(found[0], list) else found

    monkeypatch.setattr(addresses, "lookup", lookup)
    known["asked"] = asked
    return known


def context(config, *, timeout=None, instance="order-1"):
    step = StepReady(step_id="call", run=3, step_type="http_request", config=config, timeout_seconds=timeout)
    return StepContext(WorkItem(instance, "shop", "1", 7, step))


async def request(url, *, timeout=None, instance="order-1", data=None, **config):
    return await BUILTIN["http_request"](data, context({"url": url, **config}, timeout=timeout, instance=instance))


async def failure(kind, url, **config):
    """The error of a request, after a look at what would be recorded of it."""
    with pytest.raises(kind) as caught:
        await request(url, **config)
    assert type(caught.value) is kind
    return caught.value


def retried(error):
    return is_retryable(Retry(max_attempts=3), describe(error))


def json_of(value, **more):
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(value).encode(), **more)


# --- Requests and answers -----------------------------------------------------------------------------------


async def test_a_get_gives_status_headers_the_parsed_answer_and_the_time_it_took(server):
    server.answers["/rates"] = json_of({"eur": 1.08, "list": [1, None]})
    server.answers["/rates"].headers |= {"ETag": '"v1"', "Set-Cookie": "session=1", "X-RateLimit-Remaining": "7"}
    result = await request(server.url("/rates"))
    elapsed = result.pop("elapsed_ms")
    assert 0 < elapsed < 10_000
    assert result == {
        "status": 200,
        "headers": {
            "content-length": "32",
            "content-type": "application/json",
            "etag": '"v1"',
            "x-ratelimit-remaining": "7",
        },
        "response": {"eur": 1.08, "list": [1, None]},
        "url": server.url("/rates"),
    }
    (seen,) = server.seen
    assert (seen.method, seen.target, seen.body) == ("GET", "/rates", b"")
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert seen.headers["user-agent"].startswith("stepwell/")
    assert "idempotency-key" not in seen.headers


async def test_query_and_params_are_added_to_what_the_url_has(server):
    server.answers["/search"] = json_of([])
    for key in ("query", "params"):
        result = await request(
            server.url("/search?a=1"), **{key: {"q": "two words & more", "tag": ["x", "y"], "on": True, "n": 2.5}}
        )
        query = parse_qs(server.seen[-1].target.partition("?")[2])
        assert query == {"a": ["1"], "q": ["two words & more"], "tag": ["x", "y"], "on": ["true"], "n": ["2.5"]}
        assert result["url"] == server.url("/search")  # a query may hold secrets


async def test_a_json_body_is_sent_as_json(server):
    server.answers["/orders"] = json_of({"id": 1}, status=201)
    result = await request(server.url("/orders"), method="post", json={"name": "Zoë", "items": [1, None]})
    (seen,) = server.seen
    assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
    assert json.loads(seen.body) == {"name": "Zoë", "items": [1, None]}
    assert result["status"] == 201


async def test_a_form_is_sent_as_a_form(server):
    server.answers["/form"] = json_of({})
    await request(server.url("/form"), method="PUT", form={"name": "Zoë & co", "tag": ["a", "b"], "n": 1})
    (seen,) = server.seen
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(seen.body.decode()) == {"name": ["Zoë & co"], "tag": ["a", "b"], "n": ["1"]}


async def test_a_text_body_is_sent_as_it_is_with_the_type_that_is_given(server):
    server.answers["/xml"] = Answer(body=b"<ok/>", headers={"Content-Type": "application/xml"})
    result = await request(server.url("/xml"), method="PATCH", body="<a>é</a>", headers={"Content-Type": "text/xml"})
    (seen,) = server.seen
    assert (seen.body, seen.headers["content-type"]) == ("<a>é</a>".encode(), "text/xml")
    assert result["response"] == "<ok/>"


async def test_the_steps_input_is_not_sent(server):
    server.answers["/"] = json_of({})
    await request(server.url(), method="POST", data={"private": "things"})
    assert server.seen[0].body == b""


async def test_a_request_that_changes_things_carries_the_idempotency_key(server):
    server.answers["/"] = json_of({})
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        await request(server.url(), method=method)
        assert server.seen[-1].headers["idempotency-key"] == "order-1:call:3"
    await request(server.url(), method="POST", headers={"Idempotency-Key": "mine"})
    assert server.seen[-1].headers["idempotency-key"] == "mine"
    await request(server.url(), method="POST", instance="Übung\r\nX: 1")
    assert server.seen[-1].headers["idempotency-key"] == "%C3%9Cbung%0D%0AX:%201:call:3"


async def test_a_head_request_has_headers_and_no_answer(server):
    server.answers["/"] = Answer(body=b"x" * 5000, headers={"Content-Type": "application/json"})
    result = await request(server.url(), method="HEAD", max_response_bytes=10)
    assert (result["response"], result["headers"]["content-length"]) == (None, "5000")


@pytest.mark.parametrize(
    ("content_type", "body", "how", "expected"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', "auto", {"a": 1}),
        ("application/problem+json", b"[1]", "auto", [1]),
        ("application/json", b"\xef\xbb\xbf[1]", "auto", [1]),
        ("application/json; charset=utf-16", '["é"]'.encode("utf-16"), "auto", ["é"]),
        ("application/json", b"", "auto", None),
        ("text/plain", b"[1]", "auto", "[1]"),
        ("text/plain", b"[1]", "json", [1]),
        ("application/json", b"[1]", "text", "[1]"),
        ("text/html; charset=iso-8859-1", b"caf\xe9", "auto", "café"),
        ("text/html; charset=punycode", b"caf-", "auto", "caf-"),
        ("text/html", b"caf\xe9", "auto", "caf\ufffd"),
        ("", b"just text", "auto", "just text"),
    ],
)
async def test_the_answer_is_parsed_by_its_type_or_as_asked_for(server, content_type, body, how, expected):
    server.answers["/"] = Answer(headers={"Content-Type": content_type}, body=body)
    assert (await request(server.url(), response=how))["response"] == expected


@pytest.mark.parametrize(
    ("content_type", "body", "how", "says"),
    [
        ("application/json", b"{broken", "auto", "is no JSON"),
        ("text/html", b"<html>", "json", "is no JSON"),
        ("application/json", b"[" * 100_000, "auto", "is no JSON"),
        ("image/png", b"\x89PNG\xff", "auto", "is no text (image/png)"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_an_error_that_is_not_retried(server, content_type, body, how, says):
    server.answers["/"] = Answer(headers={"Content-Type": content_type}, body=body)
    error = await failure(HTTPResponseError, server.url(), response=how)
    assert says in str(error)
    assert not retried(error)


async def test_a_compressed_answer_is_unpacked_in_all_its_parts(server):
    body = gzip.compress(b'{"a": ') + gzip.compress(b"1}")
    server.answers["/"] = Answer(headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}, body=body)
    assert (await request(server.url()))["response"] == {"a": 1}
    assert server.seen[0].headers["accept-encoding"] == "gzip"


async def test_a_compressed_answer_that_breaks_off_or_is_none_is_an_error(server):
    headers = {"Content-Encoding": "gzip"}
    server.answers["/short"] = Answer(headers=headers, body=gzip.compress(b"hello" * 100)[:-9])
    server.answers["/wrong"] = Answer(headers=headers, body=b"hello")
    server.answers["/other"] = Answer(headers={"Content-Encoding": "br"}, body=b"hello")
    assert retried(await failure(HTTPConnectionError, server.url("/short")))
    assert not retried(await failure(HTTPResponseError, server.url("/wrong")))
    assert "br" in str(await failure(HTTPResponseError, server.url("/other")))


# --- Too much, too late, not there --------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked", "Content-Length": None}])
async def test_an_oversized_answer_is_refused_whether_or_not_it_says_its_size(server, headers):
    body = b"7d1\r\n" + b"x" * 2001 + b"\r\n0\r\n\r\n" if headers else b"x" * 2001
    length = b"Transfer-Encoding: chunked" if headers else b"Content-Length: 2001"
    server.answers["/"] = Answer(raw=b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n" + body)
    error = await failure(PayloadTooLarge, server.url(), max_response_bytes=2000)
    assert "more than 2,000 bytes" in str(error)
    assert not retried(error)
    assert (await request(server.url(), max_response_bytes=2001))["response"] == "x" * 2001


async def test_a_small_compressed_answer_does_not_unpack_to_a_large_one(server):
    bomb = gzip.compress(b"\0" * 200_000_000, 1)
    server.answers["/"] = Answer(headers={"Content-Encoding": "gzip"}, body=bomb)
    began = time.perf_counter()
    await failure(PayloadTooLarge, server.url(), max_response_bytes=2_000_000)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("slow", [{"wait": 30}, {"trickle": 0.05}])
async def test_the_time_limit_is_for_the_whole_answer(server, slow):
    server.answers["/"] = Answer(body=b"x" * 1000, **slow)
    began = time.perf_counter()
    error = await failure(HTTPTimeoutError, server.url(), timeout_seconds=0.3)
    assert 0.25 < time.perf_counter() - began < 5
    assert isinstance(error, TimeoutError)
    assert retried(error)
    assert "within 0.3 s" in str(error)


async def test_the_time_limit_is_never_more_than_the_steps(server):
    server.answers["/"] = Answer(wait=30)
    began = time.perf_counter()
    with pytest.raises(HTTPTimeoutError):
        await request(server.url(), timeout=0.2, timeout_seconds=20)
    assert time.perf_counter() - began < 5


async def test_a_cancelled_request_ends_at_once(server):
    server.answers["/"] = Answer(wait=30)
    task = asyncio.ensure_future(request(server.url()))
    while not server.seen:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504])
async def test_statuses_that_may_pass_are_retried(server, status):
    server.answers["/x"] = Answer(status, body=b"try later")
    error = await failure(HTTPStatusError, server.url("/x?key=1"))
    assert (error.status, error.url, error.retryable) == (status, server.url("/x"), True)
    assert f"GET {server.url('/x')}: status {status} Status: try later" in str(error)
    assert retried(error)


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 405, 409, 410, 422, 451])
async def test_statuses_that_will_not_pass_are_not_retried(server, status):
    server.answers["/x"] = Answer(status)
    error = await failure(HTTPStatusError, server.url("/x"))
    assert (error.status, error.retryable) == (status, False)
    assert not retried(error)


@pytest.mark.parametrize("expect", [404, "404", "4xx", "400-404", [200, "404"], ["2xx", "400 - 410"]])
async def test_expected_statuses_are_a_success(server, expect):
    assert (await request(server.url("/gone"), expect=expect))["response"] == "nothing here"


async def test_what_is_not_expected_is_an_error_even_if_it_is_200(server):
    server.answers["/"] = json_of({})
    assert (await failure(HTTPStatusError, server.url(), expect=[201, 202])).status == 200


async def test_a_refused_connection_is_retried(server):
    async with Server() as gone:
        url = gone.url()
    error = await failure(HTTPConnectionError, url)
    assert isinstance(error, ConnectionError)
    assert retried(error)
    assert url in str(error)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"what?\r\n\r\n"])
async def test_a_server_that_breaks_off_or_speaks_no_http_is_retried(server, raw):
    server.answers["/"] = Answer(raw=raw)
    assert retried(await failure(HTTPConnectionError, server.url()))


async def test_a_name_without_an_address_is_retried():
    error = await failure(UnknownHostError, "http://no-such-host.invalid/")
    assert isinstance(error, ConnectionError)
    assert "no-such-host.invalid" in str(error)
    assert retried(error)


async def test_the_next_address_is_tried_when_one_takes_no_connection(server, names, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.0/8")
    names["service.example"] = ["127.0.0.2", "127.0.0.1"]
    server.answers["/"] = json_of([1])
    assert (await request(server.url(host="service.example")))["response"] == [1]


# --- Where it may not go ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.0.1", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "shared"),
        ("0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("168.63.129.16", "host-agent"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:0:10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:c0a8:101::1", "private"),
        ("2001:0:4136:e378::1", "Teredo"),
        ("2001:db8::1", "documentation"),
        ("2606:4700::5efe:10.0.0.1", "private"),
        ("2606:4700::200:5efe:127.0.0.1", "loopback"),
        ("4000::1", "reserved"),
    ],
)
async def test_addresses_that_are_not_on_the_internet_are_refused(address, why, names, monkeypatch):
    monkeypatch.delenv("STEPWELL_HTTP_ALLOW", raising=False)
    assert refusal(ip_address(address)).startswith(why)
    names["inside.example"] = [address]
    error = await failure(AddressRefusedError, "http://inside.example/")
    assert (error.host, error.address) == ("inside.example", address)
    assert f'"inside.example" is {address}' in str(error)
    assert "STEPWELL_HTTP_ALLOW=inside.example" in str(error)
    assert not retried(error)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
)
def test_addresses_on_the_internet_are_not_refused(address):
    assert refusal(ip_address(address)) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_no_way_to_write_it_leads_to_this_machine(server, host, monkeypatch):
    monkeypatch.delenv("STEPWELL_HTTP_ALLOW")
    error = await failure(AddressRefusedError, f"http://{host}:{server.port}/")
    assert "STEPWELL_HTTP_ALLOW=" in str(error)
    assert server.connections == 0


async def test_one_inner_address_among_many_is_enough_to_refuse(names):
    names["mixed.example"] = ["1.1.1.1", "10.0.0.5"]
    assert (await failure(AddressRefusedError, "http://mixed.example/")).address == "10.0.0.5"


async def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to(server, names, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1/32")
    # The first answer is allowed; one that asked again would be sent elsewhere, as DNS rebinding does.
    names["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]
    server.answers["/"] = json_of([1])
    assert (await request(server.url(host="rebind.example")))["response"] == [1]
    assert names["asked"] == ["rebind.example"]
    assert server.seen[0].headers["host"] == f"rebind.example:{server.port}"
    with pytest.raises(AddressRefusedError):  # each request asks anew
        await request(server.url(host="rebind.example"))


@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "127.0.0.1"])
@pytest.mark.parametrize("allow", ["127.0.0.0/8", " localhost , 127.0.0.1 ", "10.0.0.0/8,[::1],127.0.0.1/8"])
async def test_allowed_networks_are_reached_in_every_form(server, allow, host, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", allow)
    server.answers["/"] = json_of([1])
    assert (await request(f"http://{host}:{server.port}/"))["response"] == [1]


async def test_an_allowed_name_is_reached_and_another_name_of_it_is_not(server, names, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "Api.Internal.")
    names["api.internal"] = names["alias.internal"] = ["127.0.0.1"]
    server.answers["/"] = json_of([1])
    assert (await request(server.url(host="api.internal")))["response"] == [1]
    await failure(AddressRefusedError, server.url(host="alias.internal"))


@pytest.mark.parametrize(
    "entry", ["localhost:8080", "http://x", "10.0.0.0/33", "*.example.com", "1.2.3.400", "exämple"]
)
async def test_an_allow_list_that_cannot_be_read_says_which_entry(entry, monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", f"localhost,{entry}")
    error = await failure(AllowListError, "http://localhost/")
    assert f'STEPWELL_HTTP_ALLOW: "{entry}" is neither a host nor a network' in str(error)
    assert not retried(error)


async def test_the_environments_proxies_are_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/"] = json_of([1])
    assert (await request(server.url()))["response"] == [1]


# --- Redirects ----------------------------------------------------------------------------------------------


def redirect(to, status=302):
    return Answer(status, headers={"Location": to})


async def test_redirects_are_followed_and_the_result_says_where_to(server):
    server.answers |= {"/a": redirect("/b"), "/b": redirect(server.url("/c?x=1")), "/c": json_of([1])}
    result = await request(server.url("/a"))
    assert (result["response"], result["url"]) == ([1], server.url("/c"))
    assert server.seen[-1].target == "/c?x=1"


async def test_more_than_five_redirects_are_too_many(server):
    server.answers |= {f"/{n}": redirect(f"/{n + 1}") for n in range(6)} | {"/6": json_of([1])}
    assert (await request(server.url("/1")))["response"] == [1]
    error = await failure(HTTPRequestError, server.url("/0"))
    assert "more than 5 redirects" in str(error)
    assert not retried(error)


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.2]/",
        "//127.0.0.2/x",
        "http://inside.example/",
    ],
)
async def test_a_redirect_to_an_inner_address_is_refused(server, names, target):
    names["inside.example"] = ["192.168.0.1"]
    server.answers["/"] = redirect(target)
    assert not retried(await failure(AddressRefusedError, server.url()))
    assert len(server.seen) == 1


async def test_a_redirect_back_to_a_name_checks_its_new_address(server, names, monkeypatch):
    names["rebind.example"] = [["127.0.0.1"], ["169.254.169.254"]]
    server.answers["/"] = redirect("/again")
    await failure(AddressRefusedError, server.url(host="rebind.example"))
    assert [seen.target for seen in server.seen] == ["/"]


@pytest.mark.parametrize(
    "target", ["ftp://example.com/", "file:///etc/passwd", "http:///", "javascript:1", "http://a b/"]
)
async def test_a_redirect_to_what_is_no_web_address_is_an_error(server, target):
    server.answers["/"] = redirect(target)
    error = await failure(HTTPRequestError, server.url())
    assert "the URL that it redirects to" in str(error)
    assert not retried(error)


async def test_a_redirect_without_a_location_is_a_status(server):
    server.answers["/"] = Answer(302)
    assert (await failure(HTTPStatusError, server.url())).status == 302


async def test_an_expected_redirect_is_not_followed(server):
    server.answers["/"] = redirect("http://10.0.0.1/")
    result = await request(server.url(), expect=["2xx", 302])
    assert (result["status"], result["headers"]["location"]) == (302, "http://10.0.0.1/")


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
async def test_a_redirect_keeps_or_changes_the_method_as_http_says(server, status, method, then):
    server.answers |= {"/a": redirect("/b", status), "/b": json_of([1])}
    await request(server.url("/a"), method=method, json={"a": 1})
    seen = server.seen[-1]
    assert (seen.method, seen.body) == (then, b'{"a": 1}' if then == method else b"")
    assert ("content-type" in seen.headers) is (then == method)
    assert ("idempotency-key" in seen.headers) is (then == method)


async def test_credentials_are_for_the_first_host_only(server, other, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_AGENT", "hush")
    server.answers |= {"/a": redirect("/b"), "/b": redirect(other.url("/c"))}
    other.answers |= {"/c": redirect(server.url("/d"))}
    server.answers["/d"] = json_of([1])
    headers = {
        "Cookie": "session=1",
        "X-Api-Key": "k",
        "X-Anything": "y",
        "Accept-Language": "de",
        "User-Agent": {"secret": "AGENT"},
    }
    await request(server.url("/a"), auth={"bearer": "t0ken"}, headers=headers)
    kept, (dropped,), back = server.seen[1], other.seen, server.seen[2]
    assert kept.headers["authorization"] == "Bearer t0ken"
    assert kept.headers["x-api-key"] == "k"
    for seen in (dropped, back):
        assert not {"authorization", "cookie", "x-api-key", "x-anything", "user-agent"} & seen.headers.keys()
        assert seen.headers["accept-language"] == "de"


async def test_a_form_with_secrets_does_not_follow_to_another_host(server, other, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_CLIENT", "hush hush")
    server.answers["/token"] = redirect(other.url("/token"), 307)
    form = {"grant_type": "client_credentials", "client_secret": {"secret": "CLIENT"}}
    error = await failure(HTTPRequestError, server.url("/token"), method="POST", form=form)
    assert parse_qs(server.seen[0].body.decode())["client_secret"] == ["hush hush"]
    assert "another host" in str(error)
    assert other.connections == 0


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def secure(tmp_path, names, monkeypatch):
    """A server of https://service.example."""
    (tmp_path / "server.pem").write_text(CERTIFICATE)
    (tmp_path / "authority.pem").write_text(AUTHORITY)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1")
    names["service.example"] = names["impostor.example"] = ["127.0.0.1"]
    async with Server(tls=tls) as running:
        tls.sni_callback = lambda _, name, __: running.names.append(name)
        yield running


async def test_over_tls_the_name_is_asked_for_and_checked_though_the_address_is_connected_to(secure):
    secure.answers["/"] = json_of([1])
    assert (await request(secure.url(host="service.example")))["response"] == [1]
    assert secure.names == ["service.example"]
    assert secure.seen[0].headers["host"] == f"service.example:{secure.port}"


@pytest.mark.parametrize("host", ["impostor.example", "127.0.0.1"])
async def test_a_certificate_of_another_name_is_refused_and_not_retried(secure, host):
    error = await failure(HTTPConnectionError, secure.url(host=host))
    assert "certificate is not valid" in str(error)
    assert not retried(error)
    assert secure.seen == []


async def test_a_certificate_of_an_unknown_authority_is_refused(secure, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    error = await failure(HTTPConnectionError, secure.url(host="service.example"))
    assert "SSL_CERT_FILE" in str(error)
    assert secure.seen == []


# --- Secrets ------------------------------------------------------------------------------------------------

SECRET = 'p@ss/w"ord+1'


def recorded(error):
    return f"{error!s} {error!r} {vars(error)} {describe(error)}"


async def test_secrets_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_KEY", SECRET)
    server.answers["/"] = json_of({})
    reference = {"secret": "KEY"}
    await request(server.url(), auth={"bearer": reference})
    assert server.seen[-1].headers["authorization"] == f"Bearer {SECRET}"
    await request(server.url(), auth={"basic": {"username": "ada", "password": reference}})
    sent = server.seen[-1].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == f"ada:{SECRET}"
    await request(server.url(), headers={"X-Key": reference}, params={"key": reference})
    assert server.seen[-1].headers["x-key"] == SECRET
    assert parse_qs(server.seen[-1].target.partition("?")[2]) == {"key": [SECRET]}


async def test_a_secret_that_is_not_there_says_which_variable_to_set():
    error = await failure(HTTPSettingsError, "http://example.com/", auth={"bearer": {"secret": "NOPE"}})
    assert error.place == "config.auth.bearer"
    assert "STEPWELL_SECRET_NOPE" in str(error)
    assert not retried(error)


@pytest.mark.parametrize("name", ["PATH/../X", "a b", "", 7])
async def test_a_secrets_name_is_a_plain_word(name):
    await failure(HTTPSettingsError, "http://example.com/", auth={"bearer": {"secret": name}})


@pytest.mark.parametrize("written", [{"secret": "KEY"}, SECRET])
@pytest.mark.parametrize(
    "config",
    [
        lambda secret: {"auth": {"bearer": secret}},
        lambda secret: {"auth": {"basic": {"username": "ada", "password": secret}}},
        lambda secret: {"headers": {"X-Api-Key": secret}},
        lambda secret: {"headers": {"Authorization": 'Token p@ss/w"ord+1' if isinstance(secret, str) else secret}},
    ],
)
async def test_no_error_shows_a_secret_though_the_server_gives_it_back(server, config, written, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_KEY", SECRET)
    basic = base64.b64encode(f"ada:{SECRET}".encode()).decode()
    echo = f"{SECRET} {json.dumps(SECRET)} p%40ss%2Fw%22ord%2B1 p%40ss/w%22ord%2B1 {basic} {SECRET.encode('utf-16-le').decode('latin-1')}"
    server.answers["/echo"] = Answer(403, body=echo.encode())
    server.answers["/json"] = Answer(headers={"Content-Type": "application/json"}, body=echo.encode())
    server.answers["/path"] = Answer(500, body=b"x" * 1990 + SECRET.encode() * 3)
    server.answers["/loop"] = redirect(f"/p%40ss%2Fw%22ord%2B1?key={SECRET}", 302)
    for path in ("/echo", "/json", "/path", "/loop"):
        with pytest.raises(HTTPRequestError) as caught:
            await request(server.url(path), params={"key": {"secret": "KEY"}}, **config(written))
        text = recorded(caught.value)
        sent = [basic] if "basic" in config(written).get("auth", {}) else []
        for shown in (SECRET, SECRET[:6], json.dumps(SECRET)[1:-1], "p%40ss", *sent):
            assert shown not in text, path


async def test_an_answer_cut_within_a_secret_shows_no_part_of_it(server, monkeypatch):
    long = "s3cr3t" * 1000
    monkeypatch.setenv("STEPWELL_SECRET_LONG", long)
    server.answers["/"] = Answer(500, body=(long * 3).encode())
    assert "s3cr3t" not in recorded(
        await failure(HTTPStatusError, server.url(), method="POST", form={"a": {"secret": "LONG"}})
    )


@pytest.mark.parametrize("secret", ["line\nbreak", " spaced out", "é", "nul\0"])
async def test_a_secret_that_no_header_can_hold_is_not_shown(secret):
    for config in ({"auth": {"bearer": secret}}, {"headers": {"X-Key": secret}}):
        error = await failure(HTTPSettingsError, "http://example.com/", **config)
        assert secret.strip() not in recorded(error)


# --- Settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "place", "says"),
    [
        ({"url": None}, "config.url", "a text is needed, not null"),
        ({"url": "example.com/x"}, "config.url", "only http:// and https://"),
        ({"url": "file:///etc/passwd"}, "config.url", "only http:// and https://"),
        ({"url": "http://"}, "config.url", "no valid host"),
        ({"url": "http://h:99999/"}, "config.url", "no valid host and port"),
        ({"url": "http://a b/"}, "config.url", "no valid host"),
        ({"url": "http://[::1%25lo]/"}, "config.url", "no valid host"),
        ({"url": "http://\t/"}, "config.url", "is no URL"),
        ({"url": "http://0177.0.0.1/"}, "config.url", "is no URL"),
        ({"url": "http://ada:pw@h/"}, "config.url", "user name"),
        ({"methd": "GET"}, "config", 'unknown setting "methd", did you mean "method"?'),
        ({"method": "CONNECT"}, "config.method", 'unknown method "CONNECT"'),
        ({"headers": ["a"]}, "config.headers", "a mapping is needed, not a list"),
        ({"headers": {"Host": "x"}}, "config.headers.Host", "cannot be set"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "config.headers.Transfer-Encoding", "cannot be set"),
        ({"headers": {"a b": "x"}}, "config.headers.a b", "cannot be set"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "config.headers.x-a", "is given twice"),
        ({"headers": {"X-A": None}}, "config.headers.X-A", "not null"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "config.headers.X-A", "no header can"),
        ({"query": {}, "params": {}}, "config.params", "the same as query"),
        ({"params": {"a": [[1]]}}, "config.params.a", "not a list"),
        ({"json": 1, "form": {}}, "config.form", "there is a body already: json"),
        ({"json": float("nan")}, "config.json", "cannot be written as JSON"),
        ({"body": {"a": 1}}, "config.body", "a text is needed, not a mapping"),
        ({"auth": "Bearer x"}, "config.auth", "a mapping is needed, not a text"),
        ({"auth": {"baerer": "x"}}, "config.auth", 'did you mean "bearer"?'),
        ({"auth": {}}, "config.auth", "one of bearer and basic"),
        ({"auth": {"bearer": ""}}, "config.auth.bearer", "no header can"),
        ({"auth": {"basic": {"username": "a"}}}, "config.auth.basic.password", "is missing"),
        ({"auth": {"basic": {"username": "a:b", "password": "c"}}}, "config.auth.basic.username", "colon"),
        ({"auth": {"bearer": "x"}, "headers": {"authorization": "y"}}, "config.auth", "already"),
        ({"timeout_seconds": 0}, "config.timeout_seconds", "above 0"),
        ({"timeout_seconds": "30"}, "config.timeout_seconds", "above 0"),
        ({"expect": 99}, "config.expect", "a status such as"),
        ({"expect": ["ok"]}, "config.expect", "a status such as"),
        ({"response": "jsn"}, "config.response", 'unknown response "jsn", did you mean "json"?'),
        ({"max_response_bytes": 0}, "config.max_response_bytes", "a whole number from 1"),
    ],
)
async def test_wrong_settings_are_named_with_their_place_and_not_retried(config, place, says):
    error = await failure(HTTPSettingsError, **{"url": "http://example.com/", **config})
    assert error.place == place
    assert says in str(error)
    assert not retried(error)


async def test_a_missing_url_is_an_error():
    with pytest.raises(HTTPSettingsError, match=r"config\.url: is missing"):
        await BUILTIN["http_request"](None, context({}))


def test_an_empty_allow_list_allows_the_internet_only():
    assert asyncio.run(AllowList("").addresses("1.1.1.1", 80)) == ["1.1.1.1"]


def test_importing_the_built_in_steps_leaves_httpx_for_later():
    code = "import sys, stepwell.consumers.builtin; print('httpx' in sys.modules, 'jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
