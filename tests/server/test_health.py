from __future__ import annotations

import pytest

from tests.server.conftest import served
from tests.workbench import client_on, until


@pytest.mark.rows("D4")
async def test_health_shows_every_part_on_its_own(http):
    await until(lambda: up(http))
    parts = (await http.get("/v1/health")).json()["parts"]
    assert {name: part["status"] for name, part in parts.items()} == {"log": "up", "engines": "up", "workers": "up"}
    assert parts["workers"]["live"] == 1


@pytest.mark.rows("D4")
async def test_health_is_503_while_no_engine_is_live_and_says_so(log):
    async with client_on(log) as client, served(client) as http:
        answer = await http.get("/v1/health")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert parts["log"]["status"] == "up"
    assert parts["engines"] == {"status": "down", "detail": "no engine is live: nothing is decided", "live": 0}


async def up(http):
    return (await http.get("/v1/health")).status_code == 200
