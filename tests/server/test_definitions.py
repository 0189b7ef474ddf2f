from __future__ import annotations

from tests.server.conftest import fine, problem, registered
from tests.workbench import one_step, steps, workflow

YAML = "name: order\nversion: 1\nsteps:\n  - {id: a, type: input}\n  - {id: b, type: output, depends_on: [a]}\n"
DAG = {
    "name": "graph",
    "dag": {
        "nodes": [
            {"id": "input", "handler": "input", "dependencies": []},
            {"id": "output", "handler": "output", "dependencies": ["input"]},
        ]
    },
}


async def test_a_definition_is_registered_from_json_and_from_yaml_in_any_dialect(http):
    made = fine(await http.post("/v1/definitions", content=YAML, headers={"content-type": "application/yaml"}), 201)
    assert (made["name"], made["version"], made["dialect"], made["is_new"], made["active"]) == (
        "order", "1", "canonical", True, True,
    )  # fmt: skip
    assert fine(await http.post("/v1/definitions", json=DAG), 201)["dialect"] == "dag"
    listed = fine(await http.get("/v1/definitions"))["definitions"]
    assert [found["name"] for found in listed] == ["graph", "order"]


async def test_registering_the_same_again_changes_nothing(http):
    first = await registered(http, one_step())
    again = fine(await http.post("/v1/definitions", json=one_step()), 200)
    assert again == {**first, "is_new": False}


async def test_other_content_under_the_same_version_is_a_conflict(http):
    await registered(http, one_step())
    told = problem(await http.post("/v1/definitions", json=workflow(*steps("a", "b"))), 409, place="w@1")
    assert told["type"] == "urn:stepwell:problem:definition_conflict"
    assert "new `version`" in told["remedy"]


async def test_every_mistake_of_a_definition_is_told_with_its_place(http):
    wrong = workflow(
        {"id": "a", "handler": "work", "depends_on": ["b"]}, {"id": "c", "condition": "1 +", "handler": "x"}
    )
    told = problem(await http.post("/v1/definitions", json=wrong), 422)
    assert len(told["problems"]) == 2
    assert "steps[0].depends_on" in told["problems"][0]


async def test_a_body_that_is_no_definition_is_refused(http):
    problem(await http.post("/v1/definitions", content=b"{", headers={"content-type": "application/json"}), 400)
    problem(await http.post("/v1/definitions", content=b"\xff\xfe", headers={"content-type": "text/yaml"}), 400)
    problem(await http.post("/v1/definitions"), 400, detail="is empty")
    problem(await http.post("/v1/definitions", json=[1]), 422)
    problem(await http.post("/v1/definitions", content=b"a: [", headers={"content-type": "application/yaml"}), 422)


async def test_a_body_is_never_taken_for_the_path_of_a_file(http, tmp_path):
    secret = tmp_path / "secret.yaml"
    secret.write_text(YAML)
    for path in (str(secret), "/etc/passwd"):
        told = problem(await http.post("/v1/definitions", content=path), 422)
        assert "root" not in told["detail"]
        problem(await http.post("/v1/validate", content=path), 422)
    assert fine(await http.get("/v1/definitions"))["definitions"] == []


async def test_a_definition_is_validated_without_being_registered(http):
    found = fine(await http.post("/v1/validate", json=workflow(*steps("a", "b"))))
    assert found["plan"] == {"batches": [["a"], ["b"]], "error_handlers": [], "handlers": ["work"]}
    problem(await http.post("/v1/validate", json={"name": "w", "steps": [{"id": "a", "type": "nonsense"}]}), 422)
    assert fine(await http.get("/v1/definitions"))["definitions"] == []


async def test_one_version_is_shown_with_its_steps_and_its_plan(http):
    await registered(http, one_step())
    await registered(http, {**workflow(*steps("a", "b")), "version": "2"})
    current = fine(await http.get("/v1/definitions/w"))
    assert current["about"]["version"] == "2"
    assert current["plan"]["batches"] == [["a"], ["b"]]
    first = fine(await http.get("/v1/definitions/w/1"))
    assert [step["id"] for step in first["definition"]["steps"]] == ["a"]
    problem(await http.get("/v1/definitions/w/3"), 404)
    problem(await http.get("/v1/definitions/unknown"), 404)


async def test_a_version_is_deactivated_and_activated(http):
    await registered(http, one_step())
    switched = {"name": "w", "version": "1"}
    answer = await http.post("/v1/definitions/w/1/deactivate", json={"reason": "charges twice"})
    assert fine(answer) == {**switched, "active": False, "changed": True}
    told = problem(await http.post("/v1/instances", json={"workflow": "w"}), 409)
    assert told["type"] == "urn:stepwell:problem:inactive_workflow"
    assert fine(await http.post("/v1/definitions/w/1/activate")) == {**switched, "active": True, "changed": True}
    assert fine(await http.post("/v1/definitions/w/1/activate"))["changed"] is False
    problem(await http.post("/v1/definitions/w/9/activate"), 404)


async def test_lists_of_definitions_are_filtered(http):
    await registered(http, one_step() | {"tags": ["night"]})
    await registered(http, {**one_step(), "name": "v"})
    names = [found["name"] for found in fine(await http.get("/v1/definitions?tag=night"))["definitions"]]
    assert names == ["w"]
    assert [found["name"] for found in fine(await http.get("/v1/definitions?workflow=v"))["definitions"]] == ["v"]


async def test_a_workflow_is_created_from_a_template(http):
    templates = {found["template"]: found for found in fine(await http.get("/v1/templates"))["templates"]}
    assert templates["approval_chain"]["source"] == "shipped"
    given = {"parameters": {"level1_approver": "alice", "level2_approver": "bob", "request_title": "Budget"}}
    made = fine(await http.post("/v1/templates/approval_chain", json={**given, "name": "budget"}), 201)
    assert made["name"] == "budget"
    told = problem(await http.post("/v1/templates/approval_chain", json={"parameters": {"x": 1}}), 422)
    assert any("level1_approver" in found for found in told["problems"])
    problem(await http.post("/v1/templates/nothing", json={}), 404)
    problem(await http.post("/v1/templates/secret.yaml", json={}), 404)  # a name, never a path


async def test_a_template_s_demo_is_one_request_away_from_a_start_of_its_name(http):
    told = problem(await http.post("/executions/workflows/order_processing/execute", json={"parameters": {}}), 404)
    assert "POST /v1/templates/order_processing" in told["remedy"]
    assert fine(await http.post("/v1/templates/order_processing"), 201)["name"] == "order-processing"
    told = problem(await http.post("/executions/workflows/order_processing/execute", json={"parameters": {}}), 404)
    assert told["remedy"] == "What the template order_processing makes is called order-processing, and is registered."


async def test_a_registration_is_warned_of_credentials_that_are_written_out(http):
    config = {"url": "https://example.com", "headers": {"Authorization": "Bearer abc"}}
    steps = [{"id": "a", "type": "http_request", "config": config}]
    told = fine(await http.post("/v1/definitions", json={"name": "w", "steps": steps}), 201)
    assert told["warnings"] == ['steps[0] ("a").config.headers.Authorization: a credential is written out']
