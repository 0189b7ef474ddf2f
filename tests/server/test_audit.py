from __future__ import annotations

import pytest

from stepwell.server.access import Role
from tests.server.conftest import fine, problem
from tests.workbench import one_step, workflow


async def audit(http, headers, query=""):
    answer = await http.get(f"/v1/audit?fresh=true{query}", headers=headers[Role.ADMIN])
    return fine(answer)["audit"]


@pytest.mark.rows("O13")
async def test_everything_that_is_done_with_a_token_shows_in_the_audit_with_its_name_and_address(guarded, tokens):
    _, headers = tokens
    operator, approver = headers[Role.OPERATOR], headers[Role.APPROVER]
    asked = workflow({"id": "ask", "type": "approval_gate"}, {"id": "g", "handler": "gate", "depends_on": ["ask"]})
    nodes = {"name": "sent", "dag": {"nodes": [{"id": "i", "handler": "input", "dependencies": []}]}}
    fine(await guarded.post("/v1/definitions", json=asked, headers=operator), 201)
    fine(await guarded.post("/v1/definitions/w/1/deactivate", json={"reason": "old"}, headers=operator))
    fine(await guarded.post("/v1/definitions/w/1/activate", headers=operator))
    submitted = fine(await guarded.post("/v1/workflow", json=nodes, headers=operator), 201)["execution_id"]
    fine(await guarded.post(f"/v1/workflow/trigger/{submitted}", headers=operator))
    fine(await guarded.post("/v1/instances", json={"workflow": "w", "id": "one"}, headers=operator), 201)
    fine(await guarded.post("/api/workflows/w/start", json={"instance_id": "two"}, headers=operator), 201)
    fine(await guarded.post("/v1/instances/one/approve", json={"comment": "well"}, headers=approver))
    fine(await guarded.post("/v1/instances/two/reject", headers=approver))
    fine(await guarded.post("/v1/instances/one/pause", json={"reason": "lunch"}, headers=operator))
    fine(await guarded.post("/v1/instances/one/resume", headers=operator))
    fine(await guarded.post("/v1/instances/one/cancel", headers=headers[Role.ADMIN]))
    problem(await guarded.post("/v1/instances/one/pause", headers=operator), 409)
    entries = await audit(guarded, headers)
    done = {(one["command"], one["instance_id"] or one["definition"], one["by"], one["outcome"]) for one in entries}
    assert done == {
        ("RegisterDefinition", "w@1", "the-operator", "followed"),
        ("DeactivateVersion", "w@1", "the-operator", "followed"),
        ("ActivateVersion", "w@1", "the-operator", "followed"),
        *(one for one in done if one[0] == "RegisterDefinition" and one[1].startswith("sent@")),
        ("StartWorkflow", submitted, "the-operator", "followed"),
        ("StartWorkflow", "one", "the-operator", "followed"),
        ("StartWorkflow", "two", "the-operator", "followed"),
        ("ApproveStep", "one", "the-approver", "followed"),
        ("RejectStep", "two", "the-approver", "followed"),
        ("PauseWorkflow", "one", "the-operator", "followed"),
        ("ResumeWorkflow", "one", "the-operator", "followed"),
        ("CancelWorkflow", "one", "the-admin", "followed"),
        ("PauseWorkflow", "one", "the-operator", "rejected"),
    }
    assert sum(one[1].startswith("sent@") for one in done) == 1
    assert {one["via"] for one in entries} == {"http 127.0.0.1"}
    assert {one["instance_id"] for one in await audit(guarded, headers, "&by=the-approver")} == {"one", "two"}
    assert [one["message"] for one in await audit(guarded, headers, "&instance_id=two&by=the-approver")] == [""]
    assert await audit(guarded, headers, "&before=2020-01-01") == []
    assert len(await audit(guarded, headers, "&since=2020-01-01&limit=2")) == 2


@pytest.mark.rows("O13")
async def test_only_an_admin_reads_the_audit_and_a_refusal_is_told_in_the_log_without_any_token(
    guarded, tokens, capsys
):
    _, headers = tokens
    for role in set(Role) - {Role.ADMIN}:
        problem(await guarded.get("/v1/audit", headers=headers[role]), 403)
    problem(await guarded.post("/v1/instances/secret-id/cancel", headers=headers[Role.VIEWER]), 403)
    problem(await guarded.get("/v1/audit", headers={"Authorization": "Bearer stepwell_guessed"}), 401)
    told = capsys.readouterr().err
    assert "the-operator" in told
    assert "GET /v1/audit" in told
    assert "http 127.0.0.1" in told
    assert "POST /v1/instances/{instance_id}/cancel" in told
    assert "secret-id" not in told
    assert "this token is not known" in told
    assert "stepwell_" not in told
    assert not [value for value in headers.values() if value["Authorization"].partition(" ")[2] in told]


async def test_without_tokens_the_audit_says_from_where(http):
    fine(await http.post("/v1/definitions", json=one_step()), 201)
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    entries = fine(await http.get("/v1/audit?fresh=true"))["audit"]
    assert {(one["by"], one["via"]) for one in entries} == {("", "http 127.0.0.1")}
    assert {one["command"] for one in entries} == {"RegisterDefinition", "StartWorkflow"}
