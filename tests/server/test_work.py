"""Claim, heartbeat, complete, fail and release over HTTP, on a real server."""

import asyncio
import json

import httpx
import pytest

from stepwell.consumers.worker.remote import lending as lending_module
from stepwell.server.access import Access
from stepwell.server.tokens import Role, TokenFile, make_token
from tests.patience import HANG
from tests.server.conftest import served
from tests.workbench import stage, until, workflow

pytestmark = pytest.mark.rows("B8")

ONE = workflow(
    {"id": "a", "handler": "work", "queue": "node", "retry": {"max_attempts": 1}}, output="{{ step_outputs.a }}"
)
ASK = {"worker": "n1", "queues": ["node"], "handlers": ["work"], "wait_seconds": 20, "lease_seconds": 20}


@pytest.fixture
async def client(log):
    """A client of a log with an engine, and no worker of ours."""
    async with stage(log, None, ONE) as client:
        yield client


async def claim(http, **more):
    response = await http.post("/v1/work/claim", json=ASK | more)
    assert response.status_code == 200, response.text
    (step,) = response.json()["steps"]
    return step


async def say(http, step, verb, body=None, status=200):
    response = await http.post(f"/v1/work/{step['claim']}/{verb}", json=body)
    assert response.status_code == status, response.text
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"
    return response.json() if response.content else None


async def test_a_step_is_claimed_kept_and_completed(client, http):
    waiting = asyncio.ensure_future(claim(http))
    run = await client.start("w", {"n": 1}, id="one")
    step = await waiting
    assert {key: step[key] for key in ("instance_id", "step_id", "handler", "input", "attempt")} == {
        "instance_id": "one", "step_id": "a", "handler": "work", "input": {"n": 1}, "attempt": 1,
    }  # fmt: skip
    for body in (None, {}, {"progress": {"at": 1}}):
        state = await say(http, step, "heartbeat", body)
        assert (state["cancelled"], 19 < state["lease_seconds"] <= 20) == (False, True)
    answers = [await say(http, step, "complete", {"output": {"n": 2}, "context": {"c": 1}}) for _ in range(2)]
    assert answers == [{"outcome": "completed", "error": None}] * 2
    assert (await run.result(timeout=HANG)).output == {"n": 2}


async def test_a_failure_and_a_release_are_reported(client, http):
    run = await client.start("w")
    step = await claim(http)
    assert await say(http, step, "release", status=204) is None
    step = await claim(http, worker="n2")
    answer = await say(
        http, step, "fail", {"error": {"type": "CardError", "message": "declined", "retryable": False}}
    )
    assert (answer["outcome"], answer["error"]["type"]) == ("failed", "CardError")
    view = await client.wait(run.id, lambda state: not state.live, timeout=HANG)
    assert (view.status, view.error.type, view.error.message) == ("failed", "CardError", "declined")


async def test_unknown_and_lost_claims_are_told_apart(client, http):
    problem = await say(http, {"claim": "nonsense"}, "heartbeat", status=404)
    assert problem["type"] == "urn:stepwell:problem:unknown_claim"
    run = await client.start("w")
    step = await claim(http)
    await run.cancel()

    async def cancelled():
        return (await say(http, step, "heartbeat"))["cancelled"]

    await until(cancelled)
    problem = await say(http, step, "complete", {"output": 1}, status=409)
    assert (problem["type"], problem["code"]) == ("urn:stepwell:problem:lease_lost", "cancelled")


async def test_a_worker_that_hangs_up_while_it_waits_is_lent_nothing(client, http):
    async with httpx.AsyncClient(base_url=http.base_url) as other:
        waiting = asyncio.ensure_future(claim(other, lease_seconds=3600))
        await until(lambda: client.log.members("workers"))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await client.start("w", id="one")
    assert (await claim(http))["instance_id"] == "one"


async def test_what_one_hand_cannot_hold_waits_for_another_poll(client, http):
    for number in range(5):
        await client.start("w", id=f"i{number}")
    steps = []
    while len(steps) < 5:
        response = await http.post("/v1/work/claim", json=ASK | {"limit": 2})
        assert 1 <= len(response.json()["steps"]) <= 2
        steps += response.json()["steps"]
    assert sorted(step["instance_id"] for step in steps) == [f"i{number}" for number in range(5)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": ""},
        {"handlers": []},
        {"handlers": ["a,b"]},
        {"queues": [""]},
        {"limit": 0},
        {"limit": 1_000_000},
        {"wait_seconds": 3600},
        {"lease_seconds": 0},
        {"lease_seconds": "soon"},
        {"worker": None},
        {"unknown": 1},
    ],
)
async def test_wrong_requests_are_named(http, wrong):
    response = await http.post("/v1/work/claim", json=ASK | {"wait_seconds": 0} | wrong)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert next(iter(wrong)) in response.text


async def test_an_output_that_is_too_deep_for_any_record_is_refused_and_one_too_deep_for_ours_is_a_failure(
    client, http
):
    run = await client.start("w")
    step = await claim(http)
    path = f"/v1/work/{step['claim']}/complete"
    headers = {"content-type": "application/json"}
    monster = b'{"output": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    response = await http.post(path, content=monster, headers=headers)
    assert 400 <= response.status_code < 500, response.text
    assert (await http.post(path, content=b"{nonsense", headers=headers)).status_code == 400
    deep = json.dumps({"output": 0}).replace("0", "[" * 600 + "]" * 600)
    response = await http.post(path, content=deep, headers=headers)
    assert (response.status_code, response.json()["error"]["type"]) == (200, "PayloadTooLarge")
    view = await client.wait(run.id, lambda state: not state.live, timeout=HANG)
    assert view.error.type == "PayloadTooLarge"


async def test_only_workers_and_admins_may_work_and_workers_may_do_nothing_else(client, tmp_path):
    path = tmp_path / "tokens"
    tokens = {role: make_token(path, role.value, role) for role in Role}
    async with served(client, Access(TokenFile(path))) as http:
        for role, token in tokens.items():
            http.headers["authorization"] = f"Bearer {token}"
            response = await http.post("/v1/work/claim", json=ASK | {"wait_seconds": 0})
            assert response.status_code == (200 if role in {Role.WORKER, Role.ADMIN} else 403), role
        http.headers["authorization"] = f"Bearer {tokens[Role.WORKER]}"
        for method, url in [("GET", "/v1/health"), ("POST", "/v1/instances"), ("GET", "/v1/instances/one")]:
            assert (await http.request(method, url, json={"workflow": "w"})).status_code == 403
        del http.headers["authorization"]
        assert (await http.post("/v1/work/claim", json=ASK)).status_code == 401


async def test_more_workers_than_a_server_serves_are_asked_to_come_later(http, monkeypatch):
    monkeypatch.setattr(lending_module, "MOST_REMOTES", 0)
    response = await http.post("/v1/work/claim", json=ASK | {"wait_seconds": 0})
    assert (response.status_code, response.json()["type"]) == (429, "urn:stepwell:problem:too_many_workers")


async def test_the_routes_are_described(http):
    described = (await http.get("/openapi.json")).json()
    paths = {path: set(item) for path, item in described["paths"].items() if path.startswith("/v1/work/")}
    verbs = ("heartbeat", "complete", "fail", "release")
    assert paths == {"/v1/work/claim": {"post"}} | {f"/v1/work/{{claim_id}}/{verb}": {"post"} for verb in verbs}
    operation = described["paths"]["/v1/work/claim"]["post"]
    assert "For worker, admin." in operation["description"]
    assert "claim" in described["components"]["schemas"]["ClaimedStep"]["properties"]
