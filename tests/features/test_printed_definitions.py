"""Every definition that the texts of the replaced systems print runs from the command line, as it is written.

Hosts are replaced by a local server, and handlers, which the texts only name, by functions of these tests.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.test_seeds import ALL, SEEDS, Printed, is_whole
from tests.features.conftest import Host, Shell

pytestmark = pytest.mark.skipif(not SEEDS.is_dir(), reason="the texts of the replaced systems are not here")

AGENTS = """
import stepwell

@stepwell.handler("agent_task")
def work(data, ctx):
    return {"agent": ctx.config["agent_id"], "after": sorted(data)}
"""
NAMED = """
def validate_input(data):
    return {"valid": True}

def generate_schedule(data):
    return {"schedule": "made", "valid": data["valid"]}
"""
HOSTS = ("http://api.example.com", "http://api", "https://httpbin.org")
WHOLE = {str(printed): printed for printed in ALL if is_whole(printed.data)}


def _with_hosts(printed: Printed, url: str) -> str:
    text = printed.source or json.dumps(printed.data)
    for name in HOSTS:
        text = text.replace(f"{name}/", f"{url}/")
    return text


def _run(shell: Shell, host: Host, name: str, *words: str) -> dict[str, Any]:
    (shell.directory / "app" / "services").mkdir(parents=True)
    shell.write("app/services/handlers.py", NAMED)
    shell.write("agents.py", AGENTS)
    shell.write("w.yaml", _with_hosts(WHOLE[name], host.url))
    ended = shell.json("run", "w.yaml", "--handlers", "app", "--handlers", "agents", *words)
    assert ended["status"] == "completed"
    assert shell.json("replay", ended["instance_id"])["output"] == ended["output"]
    return ended


def _called(host: Host) -> list[str]:
    return sorted(path for _, path, _ in host.asked)


@pytest.mark.rows("R2", "R3")
def test_the_schedule_is_validated_then_generated(shell: Shell, host: Host):
    ended = _run(shell, host, "000-definition")
    assert ended["output"] == {"generate": {"schedule": "made", "valid": True}}


@pytest.mark.rows("X4", "X5")
def test_the_simple_workflow_shouts(shell: Shell, host: Host):
    assert _run(shell, host, "001-simple_workflow")["output"] == {"process_data": {"message": "HELLO"}}


@pytest.mark.rows("X1", "X5", "X6")
def test_the_parallel_workflow_asks_a_model_about_both_branches(shell: Shell, host: Host):
    ended = _run(shell, host, "001-parallel_workflow")
    assert ended["output"]["ai_analysis"]["response"].startswith("I read: Analyze data")
    (asked,) = [body for _, path, body in host.asked if path.endswith("/chat/completions")]
    assert asked["messages"][-1]["content"].startswith("Analyze data")


@pytest.mark.rows("O1", "O2")
def test_the_simple_analysis_goes_to_its_agent(shell: Shell, host: Host):
    ended = _run(shell, host, "002-Simple_Analysis")
    assert ended["output"] == {"analyze": {"agent": "analyst", "after": []}}


@pytest.mark.rows("O1")
def test_many_agents_work_one_after_the_other_and_side_by_side(shell: Shell, host: Host):
    ended = _run(shell, host, "002-Multi-Agent_Processing")
    assert ended["output"]["synthesis"]["agent"] == "synthesizer"
    assert [ended["steps"][f"analysis_{n}"]["output"]["agent"] for n in (1, 2)] == ["analyst_1", "analyst_2"]


@pytest.mark.rows("D1", "D6")
@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("003-Parallel_API_Fetcher", ["/posts", "/user"]),
        ("003-Linear_Processing", ["/process"]),
        ("003-Parallel_Processing", ["/b", "/c", "/d"]),
    ],
)
def test_services_are_called_and_their_answers_gathered(shell: Shell, host: Host, name, paths):
    ended = _run(shell, host, name, "--param", "user_id=123")
    assert _called(host) == paths
    assert sorted(one["response"]["path"] for one in ended["output"].values()) == paths


@pytest.mark.rows("D2", "D6")
def test_a_model_gets_what_a_service_has_answered(shell: Shell, host: Host):
    ended = _run(shell, host, "003-LLM_Analysis")
    assert _called(host) == ["/data", "/v1/chat/completions"]
    (body,) = [body for method, _, body in host.asked if method == "POST"]
    assert body["model"] == "gpt-4"
    assert body["messages"][-1]["content"] == 'Analyze this data: {"path":"/data","sizes":[3,4]}'
    assert ended["output"]["analyze"]["response"].startswith("I read: Analyze this data")


@pytest.mark.rows("T1")
def test_a_task_of_the_orchestrator_makes_its_request(shell: Shell, host: Host):
    ended = _run(shell, host, "004-my-workflow")
    assert _called(host) == ["/get"]
    assert ended["output"]["task1"]["status"] == 200


def test_that_is_all_of_them():
    assert len(WHOLE) == 10
