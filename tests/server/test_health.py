from __future__ import annotations

import pytest

from stepwell.log.port import STARTS
from tests.server.conftest import fine, registered, served
from tests.workbench import client_on, one_step, stage, start, workflow
from tests.workbench import send as append


@pytest.mark.rows("D4", "O8")
async def test_health_shows_every_part_on_its_own(http):
    found = fine(await http.get("/v1/health"))
    assert found["status"] == "up"
    assert {name: part["status"] for name, part in found["parts"].items()} == dict.fromkeys(
        ("log", "engines", "workers", "read_models"), "up"
    )
    assert "1 is live" in found["parts"]["workers"]["words"]


@pytest.mark.rows("D4", "O8")
async def test_health_is_503_while_what_is_needed_is_not_there_and_says_what_to_do(log):
    async with client_on(log) as client, served(client) as http:
        fine(await http.get("/v1/health"))  # nobody needs an engine yet
        await registered(http, one_step())
        await append(log, start("one"), topic=STARTS)
        answer = await http.get("/v1/health")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    found = answer.json()
    assert found["status"] == "down"
    assert found["parts"]["log"]["status"] == "up"
    assert (found["parts"]["engines"]["status"], found["parts"]["engines"]["code"]) == ("down", "no_engine")
    assert "stepwell engine" in found["parts"]["engines"]["remedy"]


@pytest.mark.rows("O8")
async def test_a_workflow_that_fails_has_a_low_score_and_an_alert_and_the_server_is_up(http):
    await registered(http, workflow({"id": "a", "handler": "fail"}))
    done = fine(await http.post("/v1/instances?wait=20", json={"workflow": "w"}), 201)
    assert done["instance"]["status"] == "failed"
    alerts = fine(await http.get("/v1/alerts?fresh=true"))["alerts"]
    assert {(one["code"], one["level"], one["workflow"]) for one in alerts} >= {("failing", "warning", "w")}
    found = fine(await http.get("/v1/health"))
    assert found["status"] == "up"
    (score,) = found["workflows"]
    assert (score["workflow"], score["level"]) == ("w", "warning")
    assert score["score"] == 50  # of so few instances it is a warning at worst


async def test_health_waits_for_no_worker_that_nobody_needs(log):
    async with stage(log) as client, served(client) as http:
        assert fine(await http.get("/v1/health"))["parts"]["workers"]["status"] == "up"
