from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import re
import stat
from types import SimpleNamespace

import pytest
from litestar.routes import HTTPRoute

from stepwell.server import access as access_module
from stepwell.server.access import PUBLIC, Access, Role, demand_of, is_loopback
from stepwell.server.app import create_app
from stepwell.server.tokens import TokenError, TokenFile, make_token, read_tokens
from tests.server.conftest import fine, problem, served
from tests.workbench import until, workflow

DECISIONS = ("approve", "reject")
READING_POSTS = {"/v1/validate", "/v1/cached", "/v1/stream-tickets"}
PAGES = {"/docs", "/redoc", "/openapi.json", "/assets/{name:str}"}
MAY = {
    Role.MONITOR: {Role.MONITOR},
    Role.VIEWER: {Role.MONITOR, Role.VIEWER},
    Role.OPERATOR: {Role.MONITOR, Role.VIEWER, Role.OPERATOR},
    Role.APPROVER: {Role.MONITOR, Role.VIEWER, Role.APPROVER},
    Role.WORKER: {Role.WORKER},
    Role.ADMIN: set(Role),
}


def routes():
    app = create_app(SimpleNamespace(log=None), access=Access())
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            for method in handler.http_methods:
                if method != "OPTIONS":
                    yield method, route.path_format, handler


def expected(method, path):
    """What a route should demand, by what it does."""
    if path in PAGES or path.replace(":str", "") in PAGES or path.startswith("/assets/"):
        return PUBLIC
    if path in {"/v1/health", "/metrics"}:
        return Role.MONITOR
    if path == "/v1/audit":
        return Role.ADMIN
    if path.startswith("/v1/work/"):
        return Role.WORKER
    if path.endswith(DECISIONS):
        return Role.APPROVER
    return Role.VIEWER if method == "GET" or path in READING_POSTS else Role.OPERATOR


def test_every_route_says_what_it_demands():
    found = list(routes())
    assert len(found) > 30
    for method, path, handler in found:
        demand = demand_of(handler)
        assert demand is not None, f"{method} {path}"
        assert demand.role == expected(method, path), f"{method} {path}"


async def test_each_role_may_do_what_it_should_on_every_route(guarded, tokens):
    _, headers = tokens
    for (method, path, _), role in itertools.product(routes(), Role):
        target = re.sub(r"\{\w+(:\w+)?\}", "nothing", path)
        async with guarded.stream(method, target, headers=headers[role]) as answer:
            if answer.headers.get("content-type", "").partition(";")[0] != "text/event-stream":  # which has no end
                await answer.aread()
        demanded = expected(method, path)
        if demanded is PUBLIC or demanded in MAY[role]:
            assert answer.status_code not in {401, 403}, f"{role}: {method} {path}"
        else:
            told = problem(answer, 403)
            assert f"the-{role} is a" in told["detail"]
            assert str(demanded) in told["detail"]


async def test_without_a_token_only_the_pages_answer(guarded):
    for method, path, _ in routes():
        target = re.sub(r"\{\w+(:\w+)?\}", "nothing", path)
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic x"},
            {"Authorization": "Bearer"},
        ):
            answer = await guarded.request(method, target, headers=headers)
            if expected(method, path) is PUBLIC:
                assert answer.status_code in {200, 404}
            else:
                problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_token_says_who_decides(guarded, tokens):
    _, headers = tokens
    asked = workflow({"id": "ask", "type": "approval_gate", "config": {"approvers": ["the-approver"]}})
    fine(await guarded.post("/v1/definitions", json=asked, headers=headers[Role.OPERATOR]), 201)
    fine(
        await guarded.post("/v1/instances", json={"workflow": "w", "id": "one"}, headers=headers[Role.OPERATOR]), 201
    )
    path = "/v1/instances/one/approve"
    problem(await guarded.post(path, json={"by": "alice"}, headers=headers[Role.APPROVER]), 403, place="by")
    problem(await guarded.post(path, headers=headers[Role.ADMIN]), 403, code="not_an_approver")
    fine(await guarded.post(path, json={"by": "the-approver"}, headers=headers[Role.APPROVER]))
    result = await guarded.get("/v1/instances/one/result?wait=20", headers=headers[Role.VIEWER])
    assert fine(result)["status"] == "completed"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", ""]
)
async def test_without_tokens_a_foreign_name_is_refused(http, host):
    answer = await http.get("/v1/definitions", headers={"Host": host})
    assert answer.status_code in {400, 403}  # 400: no name at all
    problem(answer, answer.status_code)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "stepwell.localhost"])
async def test_without_tokens_this_machine_s_names_are_answered(http, host):
    fine(await http.get("/v1/definitions", headers={"Host": host}))


async def test_without_tokens_pages_of_other_sites_are_refused(http):
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        problem(await http.post("/v1/definitions", json={}, headers=headers), 403)
        problem(await http.get("/v1/definitions", headers=headers), 403)
    own = str(http.base_url).rstrip("/")
    fine(await http.get("/v1/definitions", headers={"Origin": own, "Sec-Fetch-Site": "same-origin"}))


async def test_with_tokens_a_browser_of_another_site_needs_one_too(guarded, tokens):
    evil = {"Origin": "http://evil.example"}
    problem(await guarded.get("/v1/definitions", headers=evil), 401)
    answer = await guarded.get("/v1/definitions", headers=evil | tokens[1][Role.VIEWER])
    fine(answer)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_what_is_loopback():
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1", "a.localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "", "example.com", "10.0.0.1", "localhost.example.com"]))


def test_a_token_is_made_once_and_only_its_hash_is_kept(tmp_path):
    path = tmp_path / "new" / "tokens"
    token = make_token(path, "ops", Role.OPERATOR)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.read_text()
    found = TokenFile(path).find(token)
    assert (found.name, found.role) == ("ops", Role.OPERATOR)
    assert TokenFile(path).find(token + "x") is None
    with pytest.raises(TokenError, match="already"):
        make_token(path, "ops", Role.ADMIN)
    for wrong in ("", "two words", "a#b", "a\nb", "x" * 201):
        with pytest.raises(TokenError):
            make_token(path, wrong, Role.ADMIN)


@pytest.mark.parametrize(
    "text",
    [
        "ops operator",
        "ops boss " + "0" * 64,
        "ops operator 12",
        "a viewer " + "0" * 64 + "\na viewer " + "1" * 64,
        "\xff",
    ],
)
def test_a_file_of_tokens_that_makes_no_sense_is_refused(tmp_path, text):
    path = tmp_path / "tokens"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(TokenError) as told:
        read_tokens(path)
    assert str(path) in told.value.place


def test_a_file_of_tokens_without_a_last_line_break_is_added_to(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# ours\nold viewer {'0' * 64}")
    make_token(path, "new", Role.ADMIN)
    assert [token.name for token in read_tokens(path)] == ["old", "new"]


def test_a_file_of_tokens_that_changes_is_read_anew_and_lets_in_only_who_is_in_it(tmp_path, capsys):
    path = tmp_path / "tokens"
    kept, gone = make_token(path, "kept", Role.VIEWER), make_token(path, "gone", Role.VIEWER)
    now = 0.0
    tokens = TokenFile(path, clock=lambda: now)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert tokens.find(gone)  # it is looked at once a second
    now = 1.0
    assert tokens.find(gone) is None
    assert tokens.find(kept)
    path.write_text("nonsense\n")
    now = 2.0
    assert tokens.find(kept) is None, "whose line it was cannot be told"
    assert "cannot be read, its holder is not let in" in capsys.readouterr().err
    path.unlink()
    now = 3.0
    assert tokens.find(kept) is None, "who deletes the file wants nobody let in"
    assert "nobody is let in" in capsys.readouterr().err
    make_token(path, "kept", Role.VIEWER)
    now = 4.0
    assert tokens.find(kept) is None


@pytest.mark.parametrize(
    "other", ["nonsense", "a viewer xyz", "\xff\xfe", "twice", "a b c d e", "a boss " + "0" * 64]
)
def test_who_is_taken_out_is_refused_whatever_else_stands_in_the_file(tmp_path, other):
    path = tmp_path / "tokens"
    kept, gone = make_token(path, "kept", Role.VIEWER), make_token(path, "gone", Role.VIEWER)
    now = 0.0
    tokens = TokenFile(path, clock=lambda: now)
    line = path.read_bytes().splitlines()[0] + b"\n"
    more = f"twice viewer {'0' * 64}\ntwice viewer {'1' * 64}\n" if other == "twice" else f"{other}\n"
    path.write_bytes(more.encode("latin-1") + line)
    now = 1.0
    assert tokens.find(gone) is None
    assert tokens.find(kept)
    path.write_bytes(line)
    now = 2.0
    assert tokens.find(kept)


@pytest.mark.parametrize("what", ["the file", "its directory"])
def test_a_file_of_tokens_that_everybody_can_write_lets_nobody_in(tmp_path, capsys, what):
    path = tmp_path / "d/tokens"
    kept = make_token(path, "kept", Role.VIEWER)
    now = 0.0
    tokens = TokenFile(path, clock=lambda: now)
    (path if what == "the file" else path.parent).chmod(0o777)
    path.write_bytes(path.read_bytes() + b"# touched\n")
    now = 1.0
    assert tokens.find(kept) is None
    assert "nobody is let in" in capsys.readouterr().err
    with pytest.raises(TokenError, match="everybody on this machine can write it"):
        TokenFile(path)
    with pytest.raises(TokenError, match="everybody on this machine can write it"):
        make_token(path, "more", Role.VIEWER)
    path.chmod(0o600)
    path.parent.chmod(0o700)
    now = 2.0
    assert tokens.find(kept)


async def test_who_asks_is_known_to_handlers(client, tokens):
    from litestar import Request, get

    from stepwell.server.access import requires

    @get("/who", guards=[requires(Role.VIEWER)])
    async def who(request: Request) -> list[str]:
        actor = request.state.actor
        return [actor.name, actor.role, actor.via]

    async with served(client, Access(tokens[0]), who) as http:
        answer = await http.get("/who", headers=tokens[1][Role.VIEWER] | {"X-Forwarded-For": "1.2.3.4"})
        assert fine(answer) == ["the-viewer", "viewer", "http 127.0.0.1"]
    async with served(client, Access(), who) as http:
        assert fine(await http.get("/who")) == ["local", "admin", "http 127.0.0.1"]


def test_of_two_who_make_a_token_of_the_same_name_at_once_one_is_refused(tmp_path):
    def make(_):
        try:
            return make_token(tmp_path / "tokens", "same", Role.VIEWER)
        except TokenError:
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            (tmp_path / "tokens").unlink(missing_ok=True)
            made = [token for token in pool.map(make, range(8)) if token]
            assert len(made) == 1
            assert TokenFile(tmp_path / "tokens").find(made[0]).name == "same"


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-proto", "Via", "X-Real-IP", "CF-Connecting-IP"],
)
async def test_without_tokens_nothing_that_a_proxy_passes_on_is_answered(http, header):
    """Behind a proxy everybody comes from this machine, and might ask for everything."""
    for method, path in (("GET", "/v1/instances"), ("POST", "/v1/definitions"), ("GET", "/docs")):
        told = problem(await http.request(method, path, headers={header: "for=192.0.2.1"}), 403)
        assert header.lower() in told["detail"]
        assert "--tokens" in told["remedy"]


async def test_who_waited_while_the_token_was_taken_back_is_not_answered(client, tmp_path, gate, monkeypatch):
    """A long poll: who was let in when it began is not let in any more when there is an answer."""
    monkeypatch.setattr(access_module, "_MOMENT", 0.0)
    path = tmp_path / "tokens"
    kept = {"Authorization": f"Bearer {make_token(path, 'kept', Role.ADMIN)}"}
    gone = {"Authorization": f"Bearer {make_token(path, 'gone', Role.OPERATOR)}"}
    now = 0.0
    tokens = TokenFile(path, clock=lambda: now)
    await client.register(workflow({"id": "a", "handler": "gate"}))
    async with served(client, Access(tokens)) as http:
        waits = asyncio.ensure_future(
            http.post("/v1/instances?wait=200", json={"workflow": "w", "id": "one"}, headers=gone)
        )
        also = asyncio.ensure_future(
            http.post("/v1/instances?wait=200", json={"workflow": "w", "id": "two"}, headers=kept)
        )
        await until(lambda: len(gate.runs) == 2)
        path.write_text(path.read_text().splitlines()[0] + "\n")
        now = 2.0
        gate.open.set()
        told = problem(await waits, 401)
        assert "not known any more" in told["detail"]
        fine(await also, 201)


@pytest.mark.parametrize("text", ["9" * 5_000, "9" * 16, "٣" * 5, "-1", "²"])
async def test_a_time_that_is_none_is_refused_and_no_bug(http, text):
    for path, name in (("instances", "created_after"), ("instances", "finished_before"), ("audit", "since")):
        problem(await http.get(f"/v1/{path}", params={name: text}), 400)
