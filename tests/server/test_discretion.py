"""Tracebacks over HTTP: for those who operate, on every route; not for those who only look."""

import pytest

from stepwell.server.tokens import Role
from tests.patience import HANG
from tests.server.conftest import fine
from tests.workbench import workflow

ROUTES = (
    "/v1/instances/one", "/v1/instances/one/result", "/v1/instances/one/history", "/v1/instances/one/replay",
    "/v1/instances/one/attempts", "/v1/workflows/one", "/v1/workflows/one/results", "/executions/one",
    "/api/workflows/one/status",
)  # fmt: skip


@pytest.mark.parametrize("role", [Role.VIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN])
async def test_tracebacks_are_shown_to_those_who_operate_alone(client, guarded, tokens, role):
    await client.register(workflow({"id": "a", "handler": "fail"}))
    for again in (False, True):  # the second time, an event carries the whole instance along
        if again:
            await client.resume("one")
        else:
            await client.start("w", {"traceback": "mine"}, id="one")
        await client.wait("one", lambda state: not state.live, timeout=HANG)
    await client.views.models.catch_up()
    headers, seen = tokens[1][role], 0
    for route in ROUTES:
        answer = await guarded.get(route, headers=headers)
        fine(answer)
        assert "the register is closed" in answer.text or "results" not in route
        seen += "Traceback (most recent call last)" in answer.text or 'File \\"' in answer.text
    async with guarded.stream("GET", "/v1/instances/one/events", headers=headers) as stream:
        async for line in stream.aiter_lines():
            seen += 'File \\"' in line
            if "workflow.failed" in line:
                break
    assert bool(seen) == (role in (Role.OPERATOR, Role.ADMIN))
    assert fine(await guarded.get("/v1/instances/one", headers=headers))["input"] == {"traceback": "mine"}
