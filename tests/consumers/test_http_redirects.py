"""Redirects of the step ``http_request``: each hop is checked like the first, and credentials stay behind."""

from urllib.parse import parse_qs

import pytest
from http_server import Answer, failure, json_of, redirect, request, retried

from stepwell.consumers.worker.builtin.addresses import (
    AddressRefusedError,
)
from stepwell.consumers.worker.builtin.http import (
    HTTPRequestError,
    HTTPStatusError,
)


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


@pytest.mark.parametrize("target", ["ftp://example.com/", "file:///etc/passwd", "javascript:1", "http://a b/"])
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
