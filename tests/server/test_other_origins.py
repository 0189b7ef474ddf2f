"""Pages of other origins: which are let in, and how their streams say who asks."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.server.access import TICKETS, Access, Role
from stepwell.server.http.origins import OriginError
from stepwell.server.http.problems import RefusedError
from stepwell.server.http.tickets import MOST_TICKETS, TICKET_SECONDS, Tickets
from stepwell.server.tokens import Token, TokenFile, make_token
from tests.patience import HANG
from tests.server.conftest import fine, problem, served

PAGE = "https://app.example"
HERE = "http://localhost:5173"
EVIL = "https://evil.example"
STREAMS = ("/v1/events", "/v1/instances/nothing/events")


def allowed(answer):
    return answer.headers.get("access-control-allow-origin")


@pytest.fixture
async def crossing(client, tokens):
    """A server with tokens that lets pages of one other origin in."""
    async with served(client, Access(tokens[0], [PAGE])) as http:
        yield http


async def opened(http, path, **options):
    """The status of a stream, and what comes first of it."""
    async with asyncio.timeout(HANG), http.stream("GET", path, **options) as answer:
        if answer.status_code != 200:
            await answer.aread()
            return answer, ""
        return answer, await anext(answer.aiter_lines())


# --- origins ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "*", "https://*.example", "null", "", "app.example", "https://app.example/", "https://app.example/page",
        "https://App.example", "HTTPS://app.example", "https://app.example:443", "http://app.example:80", "file://",
        "https://user@app.example", "https://app.example?x", "https://app.example#x", "ftp://app.example",
        "https://a,https://b", "https://a.example:x", "https://[::1", "https://a b", "https://a.example\n",
        "https://a|b.example", "https://.*",
    ],
)  # fmt: skip
def test_only_exact_origins_as_browsers_name_them_can_be_let_in(tokens, origin):
    with pytest.raises(OriginError) as told:
        Access(tokens[0], [PAGE, origin])
    assert told.value.place == "--cors-origin"
    assert told.value.remedy


@pytest.mark.parametrize("origin", [PAGE, HERE, "http://[::1]:8000", "https://a-b.example:8443", "http://10.0.0.7"])
def test_an_origin_is_a_scheme_and_a_host_with_an_unusual_port(tokens, origin):
    assert Access(tokens[0], [origin]).origins == (origin,)


async def test_a_page_that_is_let_in_can_send_what_the_api_takes_and_read_what_it_answers(crossing, tokens):
    for wanted in ("authorization", "content-type", "idempotency-key,authorization", "last-event-id"):
        answer = await crossing.options(
            "/v1/instances",
            headers={
                "Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted
            },
        )  # fmt: skip
        assert answer.status_code == 204
        assert allowed(answer) == PAGE
        assert "POST" in answer.headers["access-control-allow-methods"]
        named = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
        assert set(wanted.split(",")) <= set(named)
        assert "access-control-allow-credentials" not in answer.headers
    mine = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    answer = await crossing.get("/v1/definitions", headers=mine | tokens[1][Role.VIEWER])
    fine(answer)
    assert allowed(answer) == PAGE
    assert "origin" in answer.headers["vary"].lower()
    shown = answer.headers["access-control-expose-headers"].lower()
    assert {"stepwell-position", "stepwell-lag", "retry-after"} <= set(shown.replace(" ", "").split(","))
    for refused in (
        await crossing.get("/v1/definitions", headers=mine),
        await crossing.post("/v1/definitions", json={}, headers=mine | tokens[1][Role.VIEWER]),
        await crossing.get("/v1/nothing", headers=mine | tokens[1][Role.VIEWER]),
    ):
        problem(refused, refused.status_code)
        assert allowed(refused) == PAGE, "a page is to read why"


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://app.example.evil.example", "https://evilapp.example", "http://app.example", "https://app-example", PAGE + ":444"]
)  # fmt: skip
async def test_other_pages_are_told_nothing(crossing, tokens, origin):
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await crossing.options("/v1/instances", headers=asked)
    assert answer.status_code == 400
    assert allowed(answer) is None
    answer = await crossing.get("/v1/definitions", headers={"Origin": origin} | tokens[1][Role.VIEWER])
    assert allowed(answer) is None
    problem(await crossing.get("/v1/definitions", headers={"Origin": origin}), 401)


@pytest.mark.parametrize("origin", [PAGE, "http://10.0.0.7", "http://localhost.evil.example"])
def test_without_tokens_only_pages_of_this_machine_can_be_let_in(origin):
    with pytest.raises(OriginError) as told:
        Access(None, [origin])
    assert "--tokens" in told.value.remedy


async def test_without_tokens_what_kept_other_sites_out_does_so_still(client):
    async with served(client, Access(None, [HERE])) as http:
        answer = await http.get("/v1/definitions", headers={"Origin": HERE, "Sec-Fetch-Site": "cross-site"})
        fine(answer)
        assert allowed(answer) == HERE
        for headers in (
            {"Origin": EVIL},
            {"Origin": "null"},
            {"Origin": "http://localhost:5174"},
            {"Origin": "https://localhost:5173"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": HERE, "Host": "evil.example"},
            {"Origin": HERE, "X-Forwarded-For": "192.0.2.1"},
        ):
            problem(await http.get("/v1/definitions", headers=headers), 403)
            problem(await http.post("/v1/definitions", json={}, headers=headers), 403)


async def test_where_no_origin_was_named_browsers_are_told_of_none(guarded, tokens):
    answer = await guarded.get("/v1/definitions", headers={"Origin": PAGE} | tokens[1][Role.VIEWER])
    assert not [name for name in answer.headers if name.startswith("access-control")]


# --- tickets ------------------------------------------------------------------------------------------------


async def ticket_of(http, headers):
    answer = await http.post(TICKETS, headers=headers)
    made = fine(answer, 201)
    assert answer.headers["cache-control"] == "no-store"
    assert made["seconds"] == TICKET_SECONDS
    return made["ticket"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN])
async def test_a_ticket_opens_streams_and_nothing_else(crossing, tokens, role):
    ticket = await ticket_of(crossing, tokens[1][role])
    for _ in range(2):  # a browser that was cut off comes again
        answer, first = await opened(crossing, f"/v1/events?ticket={ticket}", headers={"Origin": PAGE})
        assert (answer.status_code, first) == (200, "retry: 2000")
        assert allowed(answer) == PAGE
    answer, _ = await opened(crossing, f"/v1/instances/nothing/events?ticket={ticket}")
    assert answer.status_code == 404
    for method, path in (
        ("GET", "/v1/definitions"), ("GET", "/v1/instances"), ("GET", "/v1/audit"), ("POST", TICKETS),
        ("POST", "/v1/instances"), ("GET", "/v1/health"), ("GET", "/metrics"),
    ):  # fmt: skip
        problem(await crossing.request(method, f"{path}?ticket={ticket}"), 401)
        problem(await crossing.request(method, path, headers={"Authorization": f"Bearer {ticket}"}), 401)


@pytest.mark.parametrize("role", [Role.MONITOR, Role.WORKER])
async def test_who_may_not_read_streams_gets_no_ticket(crossing, tokens, role):
    problem(await crossing.post(TICKETS, headers=tokens[1][role]), 403)


@pytest.mark.parametrize("ticket", ["", "wrong", "ticket_", "%00", "%ff", "x" * 5_000, "null"])
@pytest.mark.parametrize("path", STREAMS)
async def test_a_ticket_that_is_not_known_opens_nothing(crossing, tokens, ticket, path):
    answer, _ = await opened(crossing, f"{path}?ticket={ticket}")
    problem(answer, 401)


async def test_a_ticket_ends_with_its_time_and_with_its_token(client, tmp_path):
    path, now = tmp_path / "tokens", 0.0
    token = make_token(path, "page", Role.VIEWER)
    make_token(path, "other", Role.VIEWER)
    headers = {"Authorization": f"Bearer {token}"}
    access = Access(TokenFile(path, clock=lambda: now), tickets=Tickets(clock=lambda: now))
    async with served(client, access) as http:
        old = await ticket_of(http, headers)
        now = TICKET_SECONDS - 1
        new = await ticket_of(http, headers)
        now = TICKET_SECONDS
        answer, _ = await opened(http, f"/v1/events?ticket={old}")
        assert "its time is over" in problem(answer, 401)["detail"]
        path.write_text(path.read_text().splitlines()[1] + "\n")
        now += 1
        answer, _ = await opened(http, f"/v1/events?ticket={new}")
        problem(answer, 401)


async def test_a_stream_that_a_ticket_has_opened_ends_when_the_token_is_taken_back(client, tmp_path, monkeypatch):
    from stepwell.server.routes import stream

    monkeypatch.setattr(stream, "_CHECK_EVERY", 0.05)
    path, now = tmp_path / "tokens", 0.0
    token = make_token(path, "page", Role.VIEWER)
    make_token(path, "other", Role.VIEWER)
    access = Access(TokenFile(path, clock=lambda: now), tickets=Tickets(clock=lambda: now))
    async with served(client, access) as http:
        ticket = await ticket_of(http, {"Authorization": f"Bearer {token}"})
        async with asyncio.timeout(HANG), http.stream("GET", f"/v1/events?ticket={ticket}") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            now = 10 * TICKET_SECONDS  # a ticket is for opening: the stream goes on
            path.write_text(path.read_text().splitlines()[1] + "\n")
            now += 1
            async for _ in lines:
                pass


async def test_a_ticket_is_in_no_log_and_no_audit(crossing, tokens, capsys):
    ticket = await ticket_of(crossing, tokens[1][Role.VIEWER])
    await opened(crossing, f"/v1/events?ticket={ticket}")
    wrong, _ = await opened(crossing, f"/v1/events?ticket={ticket}x")
    await opened(crossing, f"/v1/events?ticket={ticket}&ticket={ticket}")
    elsewhere = await crossing.get(f"/v1/definitions?ticket={ticket}", headers=tokens[1][Role.VIEWER])
    audit = await crossing.get("/v1/audit", headers=tokens[1][Role.ADMIN])
    metrics = await crossing.get("/metrics", headers=tokens[1][Role.MONITOR])
    said = capsys.readouterr()
    assert "this ticket is not good" in said.err
    for text in (said.out, said.err, wrong.text, elsewhere.text, audit.text, metrics.text):
        assert ticket not in text


async def test_without_tokens_a_page_need_not_know_that_there_are_none(http):
    ticket = await ticket_of(http, {})
    assert (await opened(http, f"/v1/events?ticket={ticket}"))[0].status_code == 200


def test_a_token_has_only_so_many_tickets_at_once():
    now = 0.0
    tickets = Tickets(clock=lambda: now)
    one, other = Token("one", Role.VIEWER, "1" * 64), Token("other", Role.VIEWER, "2" * 64)
    made = [tickets.issue(one) for _ in range(MOST_TICKETS)]
    with pytest.raises(RefusedError) as told:
        tickets.issue(one)
    assert told.value.headers == {"Retry-After": str(TICKET_SECONDS)}
    assert tickets.find(tickets.issue(other)) == other
    assert all(tickets.find(ticket) == one for ticket in made)
    now = TICKET_SECONDS
    assert not any(map(tickets.find, made))
    assert tickets.find(tickets.issue(one)) == one
