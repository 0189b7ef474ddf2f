from __future__ import annotations

import asyncio

import pytest

from stepwell.server.http.starting import id_of_key
from tests.server.conftest import fine, problem, registered, served
from tests.workbench import client_on, one_step, workflow


@pytest.mark.rows("L4")
async def test_an_instance_is_started_and_waited_for(http):
    await registered(http, one_step())
    answer = await http.post("/v1/instances?wait=20", json={"workflow": "w", "input": {"n": 1}, "id": "one"})
    started = fine(answer, 201)
    assert answer.headers["location"] == "/v1/instances/one"
    assert (started["instance_id"], started["existed"], started["decided"]) == ("one", False, True)
    assert started["instance"]["status"] == "completed"
    assert started["instance"]["output"] == {"a": {"n": 2}}


async def test_the_same_id_again_finds_the_instance_that_exists(http):
    await registered(http, one_step())
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    again = fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 200)
    assert again["existed"] is True


async def test_an_idempotency_key_starts_once_and_only_the_same(http):
    await registered(http, one_step())
    key = {"Idempotency-Key": "order 17"}
    body = {"workflow": "w", "input": {"n": 1}}
    first = fine(await http.post("/v1/instances", json=body, headers=key), 201)
    again = fine(await http.post("/v1/instances", json=body, headers=key), 200)
    assert first["instance_id"] == again["instance_id"] == id_of_key("w", "order 17")
    told = problem(await http.post("/v1/instances", json={**body, "input": {"n": 2}}, headers=key), 422)
    assert told["place"] == "Idempotency-Key"
    named = fine(await http.post("/v1/instances", json={**body, "id": "x"}, headers=key), 201)
    assert named["instance_id"] == "x"  # an id needs no key


async def test_starts_that_cannot_be_are_refused_and_say_why(http):
    schema = {"type": "object", "required": ["n"]}
    await registered(http, {**one_step(), "input_schema": schema})
    told = problem(await http.post("/v1/instances", json={"workflow": "w", "id": "x"}), 422, code="invalid_input")
    assert told["place"] == "x"
    problem(await http.post("/v1/instances", json={"workflow": "x"}), 404)
    problem(await http.post("/v1/instances", json={"workflow": "w", "version": "9"}), 404)
    for wrong in ({}, {"workflow": 1}, {"workflow": "w", "priority": 101}, {"workflow": "w", "unknown": 1}, [], "x"):
        problem(await http.post("/v1/instances", json=wrong), 400)
    problem(await http.post("/v1/instances", content=b'{"workflow": "w"'), 400)
    problem(await http.post("/v1/instances", content=b""), 400)
    problem(await http.post("/v1/instances?wait=x", json={"workflow": "w", "input": {"n": 1}}), 400)
    problem(await http.post("/v1/instances?wait=-1", json={"workflow": "w", "input": {"n": 1}}), 400)


async def test_a_batch_takes_and_refuses_each_start_on_its_own(http):
    await registered(http, one_step())
    starts = [{"workflow": "w", "id": "a"}, {"workflow": "unknown"}, {"workflow": "w"}, {"workflow": "w", "id": "a"}]
    found = fine(await http.post("/v1/instances/batch", json={"starts": starts}))["results"]
    assert [entry["status"] for entry in found][1:3] == [404, 201]
    assert sorted(entry["status"] for entry in found) == [200, 201, 201, 404]  # whichever of the two came first
    assert found[1]["problem"]["type"] == "urn:stepwell:problem:unknown_workflow"
    problem(await http.post("/v1/instances/batch", json={"starts": []}), 400)
    problem(await http.post("/v1/instances/batch", json={"starts": [{"workflow": "w"}] * 1001}), 400)


async def test_a_batch_with_a_key_comes_twice_and_starts_once(http):
    await registered(http, one_step())
    body = {"starts": [{"workflow": "w", "input": {"n": n}} for n in range(3)]}
    first, again = [
        fine(await http.post("/v1/instances/batch", json=body, headers={"Idempotency-Key": "k"}))["results"]
        for _ in range(2)
    ]
    assert [entry["status"] for entry in first] == [201] * 3
    assert [entry["status"] for entry in again] == [200] * 3
    ids = [entry["started"]["instance_id"] for entry in first]
    assert ids == [entry["started"]["instance_id"] for entry in again]
    assert len(set(ids)) == 3


async def test_history_and_replay_show_what_happened(http):
    await registered(http, one_step())
    fine(await http.post("/v1/instances?wait=20", json={"workflow": "w", "id": "one"}), 201)
    history = fine(await http.get("/v1/instances/one/history"))
    assert [event["type"] for event in history["events"]][:2] == ["workflow.started", "step.ready"]
    assert [event["sequence"] for event in history["events"]] == list(range(1, len(history["events"]) + 1))
    page = fine(await http.get("/v1/instances/one/history?after=1&limit=2"))
    assert [event["sequence"] for event in page["events"]] == [2, 3]
    assert page["more"] is True
    early = fine(await http.get("/v1/instances/one/replay?to=2"))
    assert (early["status"], early["sequence"], early["steps"]["a"]["status"]) == ("running", 2, "ready")
    assert fine(await http.get("/v1/instances/one/replay")) == fine(await http.get("/v1/instances/one"))
    problem(await http.get("/v1/instances/one/replay?to=0"), 400)


async def test_a_result_is_waited_for(http, gate):
    await registered(http, workflow({"id": "a", "handler": "gate"}))
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    waiting = fine(await http.get("/v1/instances/one/result?wait=0.05"))
    assert (waiting["status"], waiting["finished"]) == ("running", False)
    asking = asyncio.ensure_future(http.get("/v1/instances/one/result?wait=20"))
    gate.open.set()
    assert fine(await asking)["output"] == {"a": {"n": 1}}


async def test_a_failure_is_a_result_with_its_error(http):
    await registered(http, workflow({"id": "a", "handler": "fail", "retry": {"max_attempts": 1}}))
    started = fine(await http.post("/v1/instances?wait=20", json={"workflow": "w", "id": "one"}), 201)
    assert started["instance"]["status"] == "failed"
    result = fine(await http.get("/v1/instances/one/result"))
    assert (result["finished"], result["error"]["type"]) == (True, "LookupError")


@pytest.mark.parametrize("path", ["", "/result", "/history", "/replay"])
async def test_what_is_not_there_cannot_be_looked_at(http, path):
    told = problem(await http.get(f"/v1/instances/nothing{path}"), 404)
    assert told["type"] == "urn:stepwell:problem:unknown_instance"


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "reschedule", "rollback", "approve", "reject"])
async def test_what_is_not_there_cannot_be_steered(http, verb):
    problem(await http.post(f"/v1/instances/nothing/{verb}"), 404, code="unknown_instance", place="nothing")
    problem(await http.post(f"/v1/instances/nothing/{verb}", json={"unknown": 1}), 400)
    problem(await http.post(f"/v1/instances/nothing/{verb}", content=b"{"), 400)


async def test_an_instance_is_paused_resumed_rolled_back_and_cancelled(http, gate):
    await registered(
        http, workflow({"id": "first", "handler": "work"}, {"id": "a", "handler": "gate", "depends_on": ["first"]})
    )
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    pause = await http.post("/v1/instances/one/pause", json={"reason": "the price is checked"})
    assert fine(pause) == {"instance_id": "one", "command": "pause"}
    found = fine(await http.get("/v1/instances/one"))
    assert (found["status"], found["reason"]) == ("paused", "the price is checked")
    fine(await http.post("/v1/instances/one/resume"))
    fine(await http.post("/v1/instances/one/rollback", json={"to": "start", "pause": True}))
    assert fine(await http.get("/v1/instances/one"))["status"] == "paused"
    problem(await http.post("/v1/instances/one/rollback", json={"to": "nowhere"}), 409, code="unknown_checkpoint")
    fine(await http.post("/v1/instances/one/cancel", json={"reason": "ordered twice"}))
    assert fine(await http.get("/v1/instances/one/result"))["status"] == "cancelled"
    problem(await http.post("/v1/instances/one/pause"), 409, code="already_finished")
    gate.open.set()


async def test_a_timer_is_moved(http):
    await registered(http, workflow({"id": "a", "type": "wait", "config": {"seconds": 3_000}}))
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    fine(await http.post("/v1/instances/one/reschedule"))
    assert fine(await http.get("/v1/instances/one"))["status"] == "running"
    problem(await http.post("/v1/instances/one/reschedule", json={"step_id": "b"}), 409, code="no_timer")
    problem(await http.post("/v1/instances/one/reschedule", json={"step_id": "a", "delay_seconds": -1}), 400)
    fine(await http.post("/v1/instances/one/reschedule", json={"step_id": "a", "delay_seconds": 0}))
    assert fine(await http.get("/v1/instances/one/result", params={"wait": 20}))["status"] == "completed"


@pytest.mark.parametrize(
    ("verb", "event"),
    [("rollback", "rollback.started"), ("pause", "workflow.paused"), ("cancel", "workflow.cancelled")],
)
async def test_a_command_with_a_key_comes_twice_and_is_followed_once(http, gate, verb, event):
    await registered(http, workflow({"id": "a", "handler": "gate"}))
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    for _ in range(2):
        fine(await http.post(f"/v1/instances/one/{verb}", headers={"Idempotency-Key": "k"}))
    events = fine(await http.get("/v1/instances/one/history"))["events"]
    assert [found["type"] for found in events].count(event) == 1
    gate.open.set()


async def test_a_command_with_a_key_that_was_rejected_is_rejected_again_at_once(http, gate):
    await registered(http, workflow({"id": "a", "handler": "gate"}))
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    for _ in range(2):
        answer = await http.post("/v1/instances/one/rollback", json={"to": "x"}, headers={"Idempotency-Key": "k"})
        problem(answer, 409, code="unknown_checkpoint")
    events = fine(await http.get("/v1/instances/one/history"))["events"]
    assert [event["type"] for event in events].count("command.rejected") == 1
    gate.open.set()


@pytest.mark.parametrize(
    "body", [b'"\xc3("', b"[" * 100_000, b'{"to": 1, "to"', b"{}\xef\xbb\xbf", b'{"pause": 0}', b'{"pause": "true"}']
)
async def test_a_body_is_read_strictly(http, body):
    problem(await http.post("/v1/instances/one/rollback", content=body), 400)


async def test_what_does_not_fit_is_told_with_its_place(http):
    wrong = {"starts": [{"workflow": "w"}, {"workflow": "w", "priority": "high"}]}
    problem(await http.post("/v1/instances/batch", json=wrong), 400, place="body.starts[1].priority")


async def test_people_approve_and_reject(http):
    await registered(http, workflow({"id": "ask", "type": "approval_gate", "config": {"approvers": ["alice"]}}))
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    problem(await http.post("/v1/instances/one/approve", json={"by": "bob"}), 403, code="not_an_approver")
    fine(await http.post("/v1/instances/one/approve", json={"by": "alice", "comment": "fine"}))
    assert fine(await http.get("/v1/instances/one/result?wait=20"))["status"] == "completed"
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "two"}), 201)
    fine(await http.post("/v1/instances/two/reject", json={"by": "alice"}))
    assert fine(await http.get("/v1/instances/two/result?wait=20"))["status"] == "failed"
    problem(await http.post("/v1/instances/two/approve", json={"by": "alice"}), 409)


async def test_an_instance_called_batch_is_found(http):
    await registered(http, one_step())
    fine(await http.post("/v1/instances?wait=20", json={"workflow": "w", "id": "batch"}), 201)
    assert fine(await http.get("/v1/instances/batch"))["status"] == "completed"
    assert fine(await http.get("/v1/instances/batch/history"))["events"]


async def test_without_an_engine_a_start_is_accepted_and_a_command_is_not_confirmed(log):
    async with client_on(log) as client, served(client) as http:
        await registered(http, one_step())
        started = fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 202)
        assert started["decided"] is False
        answer = await http.post("/v1/instances/one/cancel")
        told = problem(answer, 503)
        assert told["type"] == "urn:stepwell:problem:undecided"
        assert int(answer.headers["retry-after"]) > 0


async def test_what_was_accepted_is_pending_on_every_route_until_an_engine_has_decided(log):
    async with client_on(log) as client, served(client) as http:
        await registered(http, one_step())
        accepted = fine(await http.post("/executions/workflows/w/execute", json={"parameters": {"n": 1}}), 202)
        one = accepted["execution_id"]
        assert accepted["status"] == "pending"
        assert fine(await http.get(f"/executions/{one}"))["status"] == "pending"
        assert fine(await http.get(f"/api/workflows/{one}/status"))["status"] == "pending"
        assert fine(await http.get(f"/v1/workflows/{one}"))["state"] == "PENDING"
        assert fine(await http.get(f"/v1/workflows/{one}/results"))["state"] == "PENDING"
        shown = fine(await http.get(f"/v1/instances/{one}"))
        assert (shown["status"], shown["input"]) == ("pending", {"n": 1})
        assert fine(await http.get(f"/v1/instances/{one}/history"))["events"] == []
        assert fine(await http.get(f"/v1/instances/{one}/replay"))["status"] == "pending"
        assert fine(await http.get(f"/v1/instances/{one}/result"))["status"] == "pending"
        assert fine(await http.get(f"/v1/instances/{one}/result?wait=0.1"))["finished"] is False
        async with http.stream("GET", f"/v1/instances/{one}/events") as events:
            assert events.status_code == 200
        listed = fine(await http.get("/v1/instances?status=pending&count=exact"))
        assert (listed["total"], [row["instance_id"] for row in listed["items"]]) == (1, [one])
        assert fine(await http.get("/v1/instances?status=running"))["total"] == 0
        problem(await http.get("/v1/instances/nobody"), 404)


async def test_an_id_that_was_started_with_something_else_is_a_conflict_unless_it_is_to_be_used(http):
    await registered(http, one_step())
    await registered(http, one_step() | {"name": "other"})
    first = {"workflow": "w", "id": "one", "input": {"n": 1, "m": 2}}
    fine(await http.post("/v1/instances", json=first), 201)
    assert fine(await http.post("/v1/instances", json=first | {"input": {"m": 2, "n": 1}}))["existed"] is True
    for other in ({"input": {"n": 2}}, {"workflow": "other"}):
        told = problem(await http.post("/v1/instances", json=first | other), 409, code="instance_exists")
        assert "if_exists" in told["remedy"]
        assert fine(await http.post("/v1/instances", json=first | other | {"if_exists": "use"}))["existed"] is True
    batch = {"starts": [first | {"input": {"n": 2}}, first]}
    entries = fine(await http.post("/v1/instances/batch", json=batch))["results"]
    assert [entry["status"] for entry in entries] == [409, 200]
    named = {"instance_id": "one", "parameters": {"n": 2}}
    problem(await http.post("/api/workflows/w/start", json=named), 409, code="instance_exists")
    assert fine(await http.post("/api/workflows/w/start", json=named | {"if_exists": "use"}))["status"] == "exists"
    problem(await http.post("/v1/instances", json=first | {"if_exists": "maybe"}), 400)
