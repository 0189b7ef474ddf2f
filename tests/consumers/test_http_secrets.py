"""Secrets of ``http_request``: not in what is recorded of an answer, and not sent where nobody said that they may go."""

import base64
import html
import json
from urllib.parse import quote

import httpx
import pytest
from http_server import Answer, Server, context, failure, json_of, redirect, request

from stepwell.consumers.worker.builtin import OF_SERVICES
from stepwell.consumers.worker.builtin._http_call import HTTPSettingsError, HTTPStatusError
from stepwell.consumers.worker.builtin.secrets import may_go
from stepwell.consumers.worker.failures import describe
from stepwell.language import compile_loaded, literal_credentials, read_definition

SECRET = 'p@ss/w"ord+<é>1'
RAW = SECRET.encode()


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setenv("STEPWELL_HTTP_ALLOW", "127.0.0.1,localhost")
    monkeypatch.setenv("STEPWELL_SECRET_KEY", SECRET)
    async with Server() as made:
        yield made


def keyed(**more):
    return {"params": {"key": {"secret": "KEY"}}, **more}


ECHOES = {
    "plain": SECRET,
    "json, ascii": json.dumps(SECRET),
    "json": json.dumps(SECRET, ensure_ascii=False).replace("/", "\\/"),
    "json, upper case": json.dumps(SECRET).replace("\\u00e9", "\\u00E9"),
    "url": quote(SECRET),
    "url, all of it": quote(SECRET, safe=""),
    "url, lower case": quote(SECRET, safe="").lower(),
    "url in a url": quote(quote(SECRET, safe=""), safe=""),
    "url, as a whole": quote(SECRET, safe=";,/?:@&=+$-_.!~*'()#"),
    "a form, decoded but for its blanks": SECRET.replace(" ", "+"),
    "html": html.escape(SECRET),
    "base64": base64.b64encode(RAW).decode(),
    "base64 for urls": base64.urlsafe_b64encode(RAW).decode().rstrip("="),
    "hex": RAW.hex(),
    **{f"base64, {n} before": base64.b64encode(b"u" * n + b":" + RAW + b"?").decode() for n in range(3)},
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("shape", ["text", "json"])
async def test_a_secret_that_a_server_echoes_is_not_in_the_result(server, echo, shape):
    body = f"you sent {echo}, thanks"
    server.answers["/"] = Answer(body=body.encode()) if shape == "text" else json_of({"a": [body, {body: 1}], "b": 2})
    done = await request(server.url(), response=shape, **keyed())
    text = json.dumps(done["response"], ensure_ascii=False)
    assert "***" in text
    assert "thanks" in text
    for form in ECHOES.values():
        assert form not in text
    middle = base64.b64encode(RAW).decode()[4:12]
    assert middle not in text


async def test_a_secret_is_not_in_headers_errors_and_redirects(server):
    server.answers["/a"] = redirect(f"/b/{quote(SECRET, safe='')}?x=1")
    server.answers[f"/b/{quote(SECRET, safe='')}"] = Answer(headers={"ETag": quote(SECRET)}, body=b"ok")
    done = await request(server.url("/a"), **keyed())
    assert "***" in done["url"]
    assert done["headers"]["etag"] == "***"
    reason = f"HTTP/1.1 403 {quote(SECRET)}\r\nContent-Length: 0\r\n\r\n"
    server.answers["/c"] = Answer(raw=reason.encode())
    assert "p%40ss" not in str(describe(await failure(HTTPStatusError, server.url("/c"), **keyed())))


async def test_a_number_that_is_a_secret_is_not_in_the_result(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_KEY", "73519482")
    server.answers["/"] = json_of({"pin": 73519482, "n": 5, "yes": True})
    assert (await request(server.url(), **keyed()))["response"] == {"pin": "***", "n": 5, "yes": True}


async def test_a_short_secret_does_not_spoil_an_answer(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_KEY", "a")
    server.answers["/"] = json_of({"key": "a", "name": "banana"})
    assert (await request(server.url(), **keyed()))["response"] == {"key": "***", "name": "banana"}


async def test_a_secret_goes_only_to_the_hosts_that_are_named(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_KEY_HOSTS", "api.example.com, *.example.org")
    for config in (
        keyed(), {"auth": {"bearer": {"secret": "KEY"}}}, {"headers": {"X": {"secret": "KEY"}}},
        {"method": "POST", "form": {"x": [{"secret": "KEY"}]}},
    ):  # fmt: skip
        monkeypatch.setenv("STEPWELL_SECRET_KEY", "secret-1")
        error = await failure(HTTPSettingsError, server.url(), **config)
        assert "may not be sent to 127.0.0.1" in str(error)
        assert "STEPWELL_SECRET_KEY_HOSTS=127.0.0.1" in str(error)
    assert not server.seen
    monkeypatch.setenv("STEPWELL_SECRET_KEY_HOSTS", f"api.example.com 127.0.0.1:{server.port}")
    server.answers["/"] = json_of({})
    await request(server.url(), **keyed())
    monkeypatch.setenv("STEPWELL_SECRET_KEY_HOSTS", "not a host/")
    await failure(HTTPSettingsError, server.url(), **keyed())


async def test_a_service_sends_no_secret_of_which_nobody_said_where_it_may_go(server, monkeypatch):
    run = OF_SERVICES["http_request"]
    server.answers["/"] = json_of({})
    with pytest.raises(HTTPSettingsError, match="it is not said to which hosts") as told:
        await run(None, context({"url": server.url(), **keyed()}))
    assert "STEPWELL_SECRET_KEY_HOSTS=127.0.0.1" in told.value.remedy
    assert not server.seen
    monkeypatch.setenv("STEPWELL_SECRET_KEY_HOSTS", "127.0.0.1")
    await run(None, context({"url": server.url(), **keyed()}))


async def test_the_hosts_of_a_secret_are_no_secret(server, monkeypatch):
    monkeypatch.setenv("STEPWELL_SECRET_KEY_HOSTS", "127.0.0.1")
    error = await failure(HTTPSettingsError, server.url(), params={"key": {"secret": "KEY_HOSTS"}})
    assert "is no secret" in str(error)


@pytest.mark.parametrize(
    ("hosts", "url", "fits"),
    [
        ("example.com", "https://example.com/x", True),
        ("EXAMPLE.com.", "http://Example.COM:8080/", True),
        ("example.com", "https://example.com.evil.org/", False),
        ("example.com", "https://api.example.com/", False),
        ("*.example.com", "https://api.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("https://example.com", "http://example.com/", False),
        ("https://example.com", "https://example.com:8443/", True),
        ("https://example.com:443", "https://example.com/", True),
        ("example.com:443", "https://example.com:444/", False),
        ("[::1]", "http://[::1]:80/", True),
        ("a.com,b.com c.com", "http://c.com/", True),
        ("bücher.example", "http://xn--bcher-kva.example/", None),
    ],
)
def test_hosts_of_secrets_are_compared_whole(hosts, url, fits):
    if fits is None:
        with pytest.raises(ValueError, match="is no host"):
            may_go(hosts, httpx.URL(url))
    else:
        assert may_go(hosts, httpx.URL(url)) is fits


def test_credentials_that_are_written_out_are_found(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text("""
name: w
steps:
  - id: a
    type: http_request
    config:
      url: https://example.com
      headers: {Authorization: Bearer abc, X-Api-Key: {secret: KEY}, Accept: text/html, X-Auth-Token: "{{ input.t }}"}
      params: {api_key: k, q: x}
  - {id: b, type: http_request, config: {url: "https://example.com", auth: {bearer: abc}}}
  - {id: c, type: http_request, config: {url: "https://example.com", auth: {basic: {username: u, password: p}}}}
  - {id: d, type: http_request, config: {url: "https://example.com", auth: {bearer: {secret: KEY}}}}
  - {id: e, type: http_request, config: {url: "https://example.com/?q=1&api_key=abc&token={{ input.t }}"}}
  - {id: f, type: http_request, config: {url: "https://u:p@example.com/", method: POST, json: {password: p, name: n}}}
""")
    assert literal_credentials(compile_loaded(read_definition(path)).definition) == [
        'steps[0] ("a").config.headers.Authorization',
        'steps[0] ("a").config.params.api_key',
        'steps[1] ("b").config.auth.bearer',
        'steps[2] ("c").config.auth.basic.password',
        'steps[4] ("e").config.url?api_key',
        'steps[5] ("f").config.url',
        'steps[5] ("f").config.json.password',
    ]
