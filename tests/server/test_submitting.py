from __future__ import annotations

import uuid

import pytest

from stepwell.language import compile_plan, load_definition
from stepwell.log.port import DEFINITIONS, NewRecord
from stepwell.schemas.definitions.model import encode_definition, hash_canonical
from tests.server.conftest import fine, problem, served
from tests.workbench import client_on, until


def graph(name="Harbour notes", url="http://127.0.0.1:9/tide"):
    return {
        "name": name,
        "dag": {
            "nodes": [
                {"id": "input", "handler": "input", "dependencies": []},
                {"id": "work", "handler": "work", "dependencies": ["input"], "config": {"url": url}},
                {"id": "output", "handler": "output", "dependencies": ["work"]},
            ]
        },
    }


async def submitted(http, document=None):
    return fine(await http.post("/v1/workflow", json=document or graph()), 201)


async def ended(http, execution_id):
    async def state():
        found = fine(await http.get(f"/v1/workflows/{execution_id}"))
        return found if found["state"] in {"COMPLETED", "FAILED"} else None

    return await until(state)


@pytest.mark.rows("D3", "D4")
async def test_a_graph_is_submitted_triggered_and_gives_its_results(http):
    made = await submitted(http)
    assert made.keys() == {"workflow_definition_id", "execution_id", "message"}
    execution = made["execution_id"]
    states = {"input": "PENDING", "work": "PENDING", "output": "PENDING"}
    waiting = {"id": execution, "state": "PENDING", "started_at": None, "node_states": states}
    assert fine(await http.get(f"/v1/workflows/{execution}")) == waiting
    assert fine(await http.get(f"/v1/workflows/{execution}/results"))["output"] is None
    answer = await http.post(f"/v1/workflow/trigger/{execution}", json={"input_params": {"n": 7}})
    assert fine(answer) == {"execution_id": execution, "message": "Workflow started successfully"}
    found = await ended(http, execution)
    assert found["state"] == "COMPLETED"
    assert found["started_at"].endswith("Z")
    assert set(found["node_states"].values()) == {"COMPLETED"}
    results = fine(await http.get(f"/v1/workflows/{execution}/results"))
    assert results["output"] == {"work": {"n": 8}}
    assert results["node_outputs"]["work"] == {"n": 8}


@pytest.mark.rows("D3")
async def test_triggering_again_with_the_same_input_is_the_same_execution(http):
    execution = (await submitted(http))["execution_id"]
    for _ in range(2):
        answer = await http.post(f"/v1/workflow/trigger/{execution}", json={"input_params": {"n": 7}})
        assert fine(answer)["execution_id"] == execution


@pytest.mark.rows("D3")
async def test_triggering_again_with_other_input_is_another_execution_of_the_same_definition(http):
    made = await submitted(http)
    first = made["execution_id"]
    fine(await http.post(f"/v1/workflow/trigger/{first}", json={"input_params": {"n": 1}}))
    seconds = [
        fine(await http.post(f"/v1/workflow/trigger/{first}", json={"input_params": {"n": 2}}))["execution_id"]
        for _ in range(2)
    ]
    assert len({first, *seconds}) == 2  # the repeat started no third one
    await ended(http, seconds[0])
    assert fine(await http.get(f"/v1/workflows/{seconds[0]}/results"))["output"] == {"work": {"n": 3}}
    assert fine(await http.post(f"/v1/workflow/trigger/{seconds[0]}", json={"input_params": {"n": 2}}))
    definitions = {fine(await http.get(f"/executions/{which}"))["workflow_id"] for which in (first, seconds[0])}
    assert definitions == {"Harbour notes"}


@pytest.mark.rows("D3")
async def test_a_trigger_needs_no_body(http):
    execution = (await submitted(http))["execution_id"]
    assert fine(await http.post(f"/v1/workflow/trigger/{execution}"))["execution_id"] == execution
    assert (await ended(http, execution))["state"] == "COMPLETED"


@pytest.mark.rows("D3")
async def test_the_same_document_twice_is_one_definition_and_two_executions(http):
    first, second = await submitted(http), await submitted(http)
    assert first["workflow_definition_id"] == second["workflow_definition_id"]
    assert first["execution_id"] != second["execution_id"]
    assert len(fine(await http.get("/v1/definitions"))["definitions"]) == 1


@pytest.mark.rows("D3")
async def test_other_content_under_the_same_name_and_version_is_a_version_of_its_own(http):
    first = await submitted(http, graph() | {"version": "2"})
    second = await submitted(http, graph(url="http://127.0.0.1:9/moon") | {"version": "2"})
    again = await submitted(http, graph(url="http://127.0.0.1:9/moon") | {"version": "2"})
    assert first["workflow_definition_id"] != second["workflow_definition_id"] == again["workflow_definition_id"]
    versions = [found["version"] for found in fine(await http.get("/v1/definitions"))["definitions"]]
    assert versions[0] == "2"
    assert len(versions) == 2
    assert versions[1].startswith("2+")
    fine(await http.post(f"/v1/workflow/trigger/{first['execution_id']}"))
    assert fine(await http.get(f"/executions/{first['execution_id']}"))["workflow_version"] == "2"


async def test_an_execution_id_carries_its_definition_and_nothing_else_is_kept(log):
    document = graph()
    digest = compile_plan(load_definition(document)).hash
    async with client_on(log) as client, served(client) as http:
        execution = (await submitted(http, document))["execution_id"]
    value = uuid.UUID(execution)
    assert value.version == 8
    assert f"{value.int >> 80:012x}{value.int >> 64 & 0xFFF:03x}" == digest[:15]
    async with client_on(log) as client, served(client) as http:  # a server that has never seen it
        assert fine(await http.get(f"/v1/workflows/{execution}"))["state"] == "PENDING"
        told = fine(await http.post(f"/v1/workflow/trigger/{execution}"), 202)
        assert told["execution_id"] == execution


@pytest.mark.parametrize(
    "unknown", ["nothing", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-8000-8000-000000000001"]
)
async def test_ids_of_nothing_are_unknown(http, unknown):
    await submitted(http)
    problem(await http.get(f"/v1/workflows/{unknown}"), 404)
    problem(await http.get(f"/v1/workflows/{unknown}/results"), 404)
    problem(await http.post(f"/v1/workflow/trigger/{unknown}", json={"input_params": {}}), 404)


async def test_an_execution_id_that_fits_two_definitions_is_refused_in_words(log, monkeypatch):
    def alike(value):
        return "0" * 15 + hash_canonical(value)[15:]

    monkeypatch.setattr("stepwell.core.plan.compile.hash_canonical", alike)
    monkeypatch.setattr(
        "stepwell.consumers.registry.definitions.hash_definition", lambda one: alike(encode_definition(one))
    )
    async with client_on(log) as client, served(client) as http:
        execution = (await submitted(http, graph() | {"version": "1"}))["execution_id"]
        second = graph("Second") | {"version": "1"}
        assert (
            "begins as that of Harbour notes@1"
            in problem(await http.post("/v1/workflow", json=second), 409)["detail"]
        )
        stored = load_definition(second)  # by somebody who does not ask
        await log.append(DEFINITIONS, 0, [NewRecord(stored.reference, encode_definition(stored))])
        for answer in (
            await http.get(f"/v1/workflows/{execution}"),
            await http.post(f"/v1/workflow/trigger/{execution}", json={"input_params": {}}),
        ):
            told = problem(answer, 409)["detail"]
            assert "Harbour notes@1" in told
            assert "Second@1" in told


async def test_bad_submissions_and_triggers_are_refused(http):
    problem(
        await http.post(
            "/v1/workflow",
            json={"name": "x", "dag": {"nodes": [{"id": "a", "handler": "input", "dependencies": ["b"]}]}},
        ),
        422,
    )
    problem(await http.post("/v1/workflow", content=b"{", headers={"content-type": "application/json"}), 400)
    execution = (await submitted(http))["execution_id"]
    problem(await http.post(f"/v1/workflow/trigger/{execution}", json={"input_params": [1]}), 400)
    problem(await http.post(f"/v1/workflow/trigger/{execution}", content=b"{"), 400)
    assert fine(await http.get(f"/v1/workflows/{execution}"))["state"] == "PENDING"


@pytest.mark.rows("D4")
async def test_a_failure_shows_in_the_states_and_in_the_results(http):
    document = graph()
    document["dag"]["nodes"][1] |= {"handler": "fail", "max_retries": 0}
    execution = (await submitted(http, document))["execution_id"]
    fine(await http.post(f"/v1/workflow/trigger/{execution}"))
    found = await ended(http, execution)
    assert (found["state"], found["node_states"]["work"]) == ("FAILED", "FAILED")
    assert fine(await http.get(f"/v1/workflows/{execution}/results"))["error"]["type"] == "LookupError"
