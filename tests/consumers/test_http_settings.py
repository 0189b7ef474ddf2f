"""The settings of the step ``http_request``: secrets that nothing shows, and mistakes with their places."""

import asyncio
import base64
import json
import subprocess
import sys
from urllib.parse import parse_qs

import pytest
from http_server import Answer, context, failure, json_of, redirect, request, retried

from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.builtin.addresses import (
    AllowList,
)
from stepwell.consumers.worker.builtin.http import (
    HTTPRequestError,
    HTTPSettingsError,
    HTTPStatusError,
)
from stepwell.consumers.worker.failures import describe

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


# --- Mistakes ---


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
    code = "import sys, stepwell.consumers.worker.builtin; print('httpx' in sys.modules, 'jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
