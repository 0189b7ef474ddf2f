"""The step ``http_request``: what it sends, what it makes of answers, and what it does when there is none."""

import asyncio
import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest
from http_server import Answer, Server, failure, json_of, request, retried

from stepwell.consumers.worker.builtin.addresses import (
    UnknownHostError,
)
from stepwell.consumers.worker.builtin.http import (
    HTTPConnectionError,
    HTTPResponseError,
    HTTPStatusError,
    HTTPTimeoutError,
    PayloadTooLarge,
)
from stepwell.consumers.worker.failures import describe
from tests.cost import usual_seconds
from tests.workbench import handlers_of, outcome, stage, workflow


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


# --- Too much, too late, not there ---


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
    with usual_seconds() as took:
        await failure(PayloadTooLarge, server.url(), max_response_bytes=2_000_000)
    assert took.seconds < 2


@pytest.mark.parametrize("slow", [{"wait": 600}, {"trickle": 0.05}])
async def test_the_time_limit_is_for_the_whole_answer(server, slow):
    server.answers["/"] = Answer(body=b"x" * 1000, **slow)
    error = await failure(HTTPTimeoutError, server.url(), timeout_seconds=0.3)
    assert isinstance(error, TimeoutError)
    assert retried(error)
    assert "within 0.3 s" in str(error)


async def test_the_time_limit_is_never_more_than_the_steps(server):
    server.answers["/"] = Answer(wait=600)
    with pytest.raises(HTTPTimeoutError, match=r"within 0\.2 s"):
        await request(server.url(), timeout=0.2, timeout_seconds=20)


async def test_a_cancelled_request_ends_at_once(server):
    server.answers["/"] = Answer(wait=600)
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


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("120", 120, 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("soon", None, None),
        ("-3", None, None),
        ("9" * 400, 999_999_999, 999_999_999),
        (None, None, None),
    ],
)
async def test_a_server_may_say_when_to_come_again(server, header, least, most):
    server.answers["/busy"] = Answer(503, headers={} if header is None else {"Retry-After": header})
    error = await failure(HTTPStatusError, server.url("/busy"))
    assert error.retry_after is least if least is None else least <= error.retry_after <= most


async def test_a_date_to_come_again_is_told_in_seconds(server):
    when = datetime.now(UTC) + timedelta(seconds=90)
    server.answers["/busy"] = Answer(429, headers={"Retry-After": format_datetime(when, usegmt=True)})
    error = await failure(HTTPStatusError, server.url("/busy"))
    assert 80 < error.retry_after <= 90
    assert describe(error).retry_after == error.retry_after


@pytest.mark.rows("O2", "D6", "X3")
@pytest.mark.parametrize("name", ["http_request", "api_call", "call_external_service"])
async def test_under_each_of_its_names_a_step_makes_its_response_a_later_steps_input(server, log, name):
    server.answers["/rates"] = json_of({"eur": {"usd": 1.08}})
    definition = workflow(
        {"id": "fetch", "type": name, "config": {"url": server.url("/rates")}},
        {"id": "show", "handler": "show", "depends_on": ["fetch"],
         "input": {"all": "{{ fetch.output.response }}", "usd": "{{ fetch.output.response.eur.usd }}"}},
    )  # fmt: skip
    async with stage(log, handlers_of(show=lambda data: data), definition) as client:
        ended = await outcome(client, {})
    assert ended.output == {"show": {"all": {"eur": {"usd": 1.08}}, "usd": 1.08}}


@pytest.mark.rows("X3", "D11")
async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(server, log):
    server.answers["/busy"] = Answer(429, headers={"Retry-After": "1"})
    retry = {"max_attempts": 2, "initial_delay_seconds": 0}
    definition = workflow({"id": "a", "type": "http_request", "retry": retry, "config": {"url": server.url("/busy")}})
    async with stage(log, handlers_of(), definition) as client:
        began = time.monotonic()
        ended = await outcome(client, {})
    assert ended.steps["a"].attempts == 2
    assert time.monotonic() - began >= 1
