from __future__ import annotations

import asyncio
import re

import pytest

from stepwell.log.port import EVENTS
from stepwell.server.http import freshness
from tests.server.conftest import fine, problem, registered
from tests.workbench import one_step, until, workflow

READERS = (
    "/v1/instances", "/v1/instances/one/attempts", "/v1/work", "/v1/statistics", "/v1/statistics/w", "/v1/errors",
    "/v1/audit", "/v1/lag", "/v1/alerts", "/api/workflows/one/status",
)  # fmt: skip


async def ran(http, workflow="w", status="completed", **more):
    done = fine(await http.post("/v1/instances?wait=20", json={"workflow": workflow, **more}), 201)
    assert done["instance"]["status"] == status
    return done["instance_id"]


def ids(answer):
    return [item["instance_id"] for item in fine(answer)["items"]]


@pytest.fixture
async def filled(http):
    """Three instances that completed, one that failed, one that waits at a gate."""
    await registered(http, {**one_step(), "tags": ["blue"]})
    await registered(http, workflow({"id": "a", "handler": "fail"}, name="bad"))
    await registered(http, workflow({"id": "a", "handler": "gate", "queue": "default"}, name="slow"))
    for number in range(3):
        await ran(http, id=f"w{number}", input={"n": number, "customer": {"id": f"c{number}"}}, priority=number * 10)
    await ran(http, "bad", "failed", id="bad")
    fine(await http.post("/v1/instances", json={"workflow": "slow", "id": "slow"}), 201)
    fine(await http.get("/v1/instances?fresh=true"))
    return http


@pytest.mark.rows("R11")
async def test_instances_are_found_by_every_filter(filled):
    async def found(query):
        return set(ids(await filled.get(f"/v1/instances?{query}")))

    assert await found("") == {"w0", "w1", "w2", "bad", "slow"}
    assert await found("status=completed") == {"w0", "w1", "w2"}
    assert await found("status=failed&status=running") == {"bad", "slow"}
    assert await found("workflow=w&version=1") == {"w0", "w1", "w2"}
    assert await found("version=2") == set()
    assert await found("tag=blue") == {"w0", "w1", "w2"}
    assert await found("priority_min=10") == {"w1", "w2"}
    assert await found("priority_min=10&priority_max=10") == {"w1"}
    assert await found("input.n=1") == {"w1"}
    assert await found("input.customer.id=c2") == {"w2"}
    assert await found("input.customer.id=c2&input.n=1") == set()
    assert await found("output.a.n=1") == {"w0"}
    assert await found("error=REGISTER%20is") == {"bad"}
    assert await found("parent=nobody") == set()
    rows = {row["instance_id"]: row for row in fine(await filled.get("/v1/instances"))["items"]}
    began = rows["w1"]["started_at"]
    assert await found(f"created_after={began}") >= {"w1", "w2", "bad", "slow"}
    assert "w1" not in await found(f"created_before={began}")
    assert await found("created_after=2020-01-01") == set(rows)
    assert await found("created_after=2020-01-01T00:00:00%2B02:00&created_before=2020-01-01T00:00:01+02:00") == set()
    assert await found(f"finished_after={rows['w0']['finished_at']}") == {"w0", "w1", "w2", "bad"}
    assert await found("finished_before=1000") == set()


@pytest.mark.rows("R11")
async def test_instances_come_in_pages_with_a_total(filled):
    seen, cursor = [], ""
    while True:
        page = fine(await filled.get(f"/v1/instances?limit=2&order=created&cursor={cursor}&count=exact"))
        assert (page["total"], page["total_is_exact"]) == (5, True)
        seen += [row["instance_id"] for row in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert seen == ["w0", "w1", "w2", "bad", "slow"]
    assert ids(await filled.get("/v1/instances?order=-priority&limit=2")) == ["w2", "w1"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("status=done", "status"), ("colour=blue", "colour"), ("stauts=failed", "stauts"), ("limit=0", "limit"),
        ("limit=x", "limit"), ("order=up", "order"), ("cursor=nonsense", "cursor"), ("priority_min=101", "priority_min"),
        ("created_after=yesterday", "created_after"), ("created_after=2026-02-30", "created_after"),
        ("created_after=2&created_before=1", "created_after"), ("error=ab", "error"), ("input.=1", "input."),
        ("input.a.b.c.d=1", "input.a.b.c.d"), ("input.n=[1]", "input.n"), ("input.n=1&input.n=2", "input.n"),
        ("workflow=a&workflow=b", "workflow"), ("count=roughly", "count"), ("fresh=perhaps", "fresh"),
        ("after=1", "after"), ("after=99@1", "after"), ("after=0@-1", "after"), ("after=%D9%A1@0", "after"),
    ],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_400_with_its_place_and_a_remedy(http, query, place):
    told = problem(await http.get(f"/v1/instances?{query}"), 400, place=place)
    assert told.get("remedy") or "more than once" in told["detail"] or place in {
        "input.n", "input.a.b.c.d", "error", "priority_min", "created_after",
    }  # fmt: skip


async def test_every_reading_route_refuses_parameters_that_it_does_not_know(http):
    await registered(http, one_step())
    for path in READERS:
        told = problem(await http.get(f"{path}?nonsense=1"), 400, place="nonsense")
        assert told["remedy"].startswith("It takes after, ")
    near = problem(await http.get("/v1/instances?workfow=w"), 400)
    assert "workflow" in near["detail"]


@pytest.mark.rows("R11")
async def test_what_was_just_done_is_seen_by_who_gives_its_position_back(http, client):
    await registered(http, one_step())
    for number in range(20):
        answer = await http.post("/v1/instances", json={"workflow": "w", "id": f"i{number}"})
        position = answer.headers["stepwell-position"]
        partition, offset = map(int, position.split("@"))
        (record,) = await client.log.read(EVENTS, partition, offset, limit=1)
        assert record.key == f"i{number}"
        assert f"i{number}" in ids(await http.get(f"/v1/instances?after={position}"))
        told = await http.get("/v1/instances", headers={"Stepwell-Position": position})
        assert f"i{number}" in ids(told)
        assert int(told.headers["stepwell-lag"]) >= 0


async def test_every_answer_to_a_command_says_where_it_is(http):
    await registered(http, workflow({"id": "a", "handler": "gate"}))
    first = await http.post("/v1/instances", json={"workflow": "w", "id": "one"})
    again = await http.post("/v1/instances", json={"workflow": "w", "id": "one"})
    assert again.json()["existed"]
    assert offset(again) > offset(first)
    paused = await http.post("/v1/instances/one/pause", headers={"Idempotency-Key": "k"})
    repeated = await http.post("/v1/instances/one/pause", headers={"Idempotency-Key": "k"})
    assert offset(repeated) == offset(paused) > offset(again)
    page = await http.get(f"/v1/instances?status=paused&after={paused.headers['stepwell-position']}")
    assert ids(page) == ["one"]
    cancelled = await http.post("/v1/instances/one/cancel")
    refused = await http.post("/v1/instances/one/pause")
    problem(refused, 409)
    assert offset(refused) > offset(cancelled) > offset(paused)
    for path, body in (
        ("/api/workflows/w/start", {}), ("/executions/workflows/w/execute", {}),
    ):  # fmt: skip
        assert (await http.post(path, json=body)).headers["stepwell-position"]
    starts = [{"workflow": "w", "id": f"b{number}"} for number in range(8)]
    answer = await http.post("/v1/instances/batch", json={"starts": starts})
    position = answer.headers["stepwell-position"]
    assert {f"b{number}" for number in range(8)} <= set(ids(await http.get(f"/v1/instances?after={position}")))


async def test_an_end_that_was_waited_for_is_seen_behind_its_position(http):
    await registered(http, one_step())
    for number in range(10):
        answer = await http.post("/v1/instances?wait=20", json={"workflow": "w", "id": f"i{number}"})
        page = await http.get(f"/v1/instances?status=completed&after={answer.headers['stepwell-position']}")
        assert f"i{number}" in ids(page)


def offset(answer):
    return int(answer.headers["stepwell-position"].partition("@")[2])


async def test_what_does_not_come_in_time_is_503(http, monkeypatch):
    monkeypatch.setattr(freshness, "LONGEST_WAIT", 0.3)
    answer = await http.get("/v1/instances?after=0@1000000")
    told = problem(answer, 503, place="after")
    assert "/v1/lag" in told["remedy"]
    assert int(answer.headers["retry-after"]) > 0


async def test_an_instance_that_no_read_model_has_yet_shows_its_attempts_from_the_log(http, client, monkeypatch):
    await registered(http, one_step())
    await ran(http, id="one")
    whole = fine(await http.get("/v1/instances/one/attempts?fresh=true"))["attempts"]

    async def nothing(*_args, **_more):
        return []

    async def none(*_args, **_more):
        return None

    monkeypatch.setattr(client.views, "attempts", nothing)
    monkeypatch.setattr(client.views, "instance", none)
    # The application asks copies of the client, which share its views.
    assert fine(await http.get("/v1/instances/one/attempts"))["attempts"] == whole
    problem(await http.get("/v1/instances/two/attempts"), 404)


@pytest.mark.rows("X7", "R14")
async def test_attempts_and_work_show_what_is_under_way(filled):
    attempts = fine(await filled.get("/v1/instances/bad/attempts"))["attempts"]
    assert [(one["step_id"], one["status"], one["attempt"]) for one in attempts] == [("a", "failed", 1)]
    assert "the register is closed" in attempts[0]["error"]
    assert "LookupError" in attempts[0]["traceback"]
    work = await until(lambda: under_way(filled))
    assert [(one["instance_id"], one["step_id"], one["queue"]) for one in work] == [("slow", "a", "default")]
    assert fine(await filled.get("/v1/work?queue=other"))["work"] == []
    assert fine(await filled.get("/v1/work?status=waiting"))["work"] == []
    problem(await filled.get("/v1/work?status=lazy"), 400, place="status")


async def under_way(http):
    return fine(await http.get("/v1/work?status=running&status=ready&fresh=true"))["work"]


@pytest.mark.rows("R12", "X8")
async def test_statistics_of_a_workflow_and_of_its_steps(filled):
    found = fine(await filled.get("/v1/statistics"))["statistics"]
    assert [(one["workflow"], one["total"]) for one in found] == [("bad", 1), ("slow", 1), ("w", 3)]
    answer = fine(await filled.get("/v1/statistics/w?steps=true&hours=24"))
    (one,) = answer["statistics"]
    assert (one["running"], one["completed"], one["failed"], one["cancelled"]) == (0, 3, 0, 0)
    assert one["success_rate"] == 100.0
    assert one["avg_duration_seconds"] > 0
    assert [(step["step_id"], step["attempts"], step["failure_rate"]) for step in one["steps"]] == [("a", 3, 0.0)]
    assert sum(hour["completed"] for hour in answer["hours"]) == 3
    (bad,) = fine(await filled.get("/v1/statistics/bad?version=1&steps=true"))["statistics"]
    assert (bad["success_rate"], bad["steps"][0]["failure_rate"]) == (0.0, 1.0)
    problem(await filled.get("/v1/statistics/nothing"), 404)
    problem(await filled.get("/v1/statistics/w?hours=0"), 400, place="hours")


async def test_errors_are_found_by_text_and_instance(filled):
    (error,) = fine(await filled.get("/v1/errors"))["errors"]
    assert (error["instance_id"], error["step_id"], error["kind"]) == ("bad", "a", "LookupError")
    assert fine(await filled.get("/v1/errors?text=register"))["errors"] == [error]
    assert fine(await filled.get("/v1/errors?text=nowhere"))["errors"] == []
    assert fine(await filled.get("/v1/errors?instance_id=w1"))["errors"] == []


@pytest.mark.rows("O12")
async def test_a_result_that_was_computed_before_is_found_by_its_input(filled):
    question = {"workflow": "w", "input": {"customer": {"id": "c1"}, "n": 1}}
    found = fine(await filled.post("/v1/cached", json=question))
    assert (found["cached"]["instance_id"], found["output"]) == ("w1", {"a": {"n": 2}})
    assert fine(await filled.post("/v1/cached", json={**question, "version": "2"}))["cached"] is None
    assert fine(await filled.post("/v1/cached", json={**question, "max_age_seconds": 3600}))["cached"] is not None
    assert fine(await filled.post("/v1/cached", json={"workflow": "w", "input": {"n": 1}}))["cached"] is None
    assert fine(await filled.post("/v1/cached", json={"workflow": "bad"}))["cached"] is None
    problem(await filled.post("/v1/cached", json={"input": 1}), 400)


@pytest.mark.rows("O15")
async def test_the_newest_instance_of_a_workflow_is_looked_up_without_reading_the_log(filled, client, monkeypatch):
    found = fine(await filled.get("/api/workflows/w/status"))
    assert found["instance_id"] == "w2"
    problem(await filled.get("/api/workflows/nothing/status"), 404)
    asked = []
    read = client.log.read

    async def noted(topic, *args, **more):
        asked.append(topic)
        return await read(topic, *args, **more)

    monkeypatch.setattr(client.log, "read", noted)
    await filled.get("/v1/instances?workflow=w")
    assert EVENTS not in asked


async def test_lag_says_how_far_the_read_models_are(filled):
    lag = fine(await filled.get("/v1/lag?fresh=true"))
    assert lag["records"] == 0
    assert lag["partitions"]
    assert (lag["generation"], lag["problem"]) == (1, "")


async def test_many_readers_at_once_all_see_what_they_wait_for(http):
    await registered(http, one_step())

    async def one(number):
        answer = await http.post("/v1/instances", json={"workflow": "w", "id": f"i{number}"})
        page = await http.get(f"/v1/instances?limit=1000&after={answer.headers['stepwell-position']}")
        assert f"i{number}" in ids(page)

    await asyncio.gather(*map(one, range(50)))


@pytest.mark.parametrize("route", ["/v1/errors?text", "/v1/instances?error"])
async def test_a_text_that_no_error_can_hold_is_refused_as_the_description_says(http, route):
    assert (await http.get(f"{route}=a%00bc")).status_code == 400
    path, _, name = route.partition("?")
    described = (await http.get("/openapi.json")).json()["paths"][path]["get"]["parameters"]
    (schema,) = (one["schema"] for one in described if one["name"] == name)
    told = next(one for one in schema.get("oneOf", schema.get("anyOf", [schema])) if one.get("type") == "string")
    assert not re.search(told["pattern"], "a\0bc")
    assert re.search(told["pattern"], "a\nbc")
