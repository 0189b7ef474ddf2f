from __future__ import annotations

import pytest

from tests.server.conftest import fine, problem, registered
from tests.workbench import one_step, until


async def ended(http, path):
    async def found():
        answer = fine(await http.get(path))
        return answer if answer["status"] in {"completed", "failed"} else None

    return await until(found)


@pytest.mark.rows("O15")
async def test_workflows_are_listed_started_and_looked_at(http):
    await registered(http, one_step())
    listed = fine(await http.get("/api/workflows"))
    assert listed["total"] == 1
    assert (listed["workflows"][0]["id"], listed["workflows"][0]["task_count"]) == ("w", 1)
    started = fine(await http.post("/api/workflows/w/start", json={"parameters": {"n": 4}}), 201)
    assert (started["workflow_id"], started["status"]) == ("w", "started")
    by_instance = await ended(http, f"/api/workflows/{started['instance_id']}/status")
    assert (by_instance["status"], by_instance["progress"], by_instance["output"]) == (
        "completed",
        1.0,
        {"a": {"n": 5}},
    )
    assert by_instance["tasks"]["a"]["status"] == "succeeded"
    assert (
        fine(await http.get("/api/workflows/w/status?fresh=true")) == by_instance
    )  # of the workflow: its newest instance


@pytest.mark.rows("O15")
async def test_a_named_instance_is_started_once(http):
    await registered(http, one_step())
    fine(await http.post("/api/workflows/w/start", json={"instance_id": "one"}), 201)
    assert fine(await http.post("/api/workflows/w/start", json={"instance_id": "one"}), 200)["status"] == "exists"
    fine(await http.post("/api/workflows/w/start"), 201)


@pytest.mark.rows("T6")
async def test_a_workflow_is_executed_with_parameters_and_looked_at(http):
    await registered(http, one_step())
    made = fine(await http.post("/executions/workflows/w/execute", json={"parameters": {"n": 1}}), 201)
    assert (made["workflow_id"], made["status"]) == ("w", "running")
    found = await ended(http, f"/executions/{made['execution_id']}")
    assert (found["status"], found["parameters"], found["result"]) == ("completed", {"n": 1}, {"a": {"n": 2}})
    assert found["completed_at"] >= found["started_at"]


@pytest.mark.rows("T6")
async def test_a_version_is_executed_by_name_and_version(http):
    await registered(http, one_step())
    await registered(http, {**one_step(), "version": "2"})
    made = fine(await http.post("/executions/workflows/w@1/execute", json={"parameters": {}}), 201)
    assert fine(await http.get(f"/executions/{made['execution_id']}"))["workflow_version"] == "1"
    problem(await http.post("/executions/workflows/w@9/execute", json={}), 404)


async def test_what_is_not_there_is_told(http):
    problem(await http.post("/api/workflows/nothing/start"), 404)
    problem(await http.get("/api/workflows/nothing/status"), 404)
    problem(await http.post("/executions/workflows/nothing/execute", json={"parameters": {}}), 404)
    problem(await http.get("/executions/nothing"), 404)
    await registered(http, one_step())
    problem(await http.post("/executions/workflows/w/execute", json={"parameters": 1}), 400)
    problem(await http.post("/api/workflows/w/start", content=b"{"), 400)
