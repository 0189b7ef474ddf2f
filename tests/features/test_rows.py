"""What the replaced systems could do, feature by feature, in their own ways to write it."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import World, failing, simulate
from tests.features.conftest import Host, Shell
from tests.patience import HANG

TESTS = Path(__file__).resolve().parents[1]
ROWS = (
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "X1", "X2", "X3", "X4", "X5", "X6", "X9", "O1", "O2", "O3", "O4",
    "O11", "D1", "D2", "D6", "T1", "T2", "T3", "T4", "T8",
    "R10", "R11", "R12", "R13", "R14", "R15", "X7", "X8", "O5", "O6", "O7", "O8", "O12", "O15", "O16", "O17",
    "D3", "D4", "D5", "T5", "T6", "L2", "L4", "B8",
)  # fmt: skip
NOTES = """
import json, time

def nap(data, ctx):
    began = time.time()
    time.sleep(0.3)
    with open("naps.txt", "a") as file:
        file.write(json.dumps([ctx.step_id, began, time.time()]) + "\\n")
    return {"from": ctx.step_id}

def give(data):
    return data

def fail(data):
    raise LookupError("the register is closed")

def long(data):
    time.sleep(20)
"""


def rota(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"steps": list(steps), "error_handlers": {}, **more}


def nap(name: str, *after: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "handler": "notes.nap", "depends_on": list(after), **more}


def naps(shell: Shell) -> list[list[Any]]:
    return [json.loads(line) for line in (shell.directory / "naps.txt").read_text().splitlines()]


def most_at_once(shell: Shell) -> int:
    spans = naps(shell)
    return max(sum(begin <= at < end for _, begin, end in spans) for _, at, _ in spans)


def run(shell: Shell, document: dict[str, Any], *params: str, status: int = 0) -> dict[str, Any]:
    shell.write("notes.py", NOTES)
    shell.write("w.json", document)
    words = [word for param in params for word in ("--param", param)]
    return shell.json("run", "w.json", "--handlers", "notes", *words, status=status)


@pytest.mark.rows("R3")
@pytest.mark.parametrize(("mode", "most"), [("parallel", 3), ("sequential", 1)])
def test_what_is_free_runs_side_by_side_or_one_at_a_time(shell: Shell, mode: str, most: int):
    ended = run(shell, rota(*(nap(name, execution_mode=mode) for name in "abc"), nap("end", "a", "b", "c")))
    assert ended["steps"]["end"]["status"] == "succeeded"
    assert most_at_once(shell) == most
    assert [name for name, *_ in naps(shell)][-1] == "end"


@pytest.mark.rows("R4")
def test_a_condition_looks_at_outputs_the_input_and_the_context(shell: Shell):
    document = rota(
        {"id": "first", "handler": "notes.give", "input_mapping": {"beds": "input_data.beds"}},
        nap("many", "first", condition="step_outputs.first.beds > 10"),
        nap("asked", "first", condition="input_data.beds == 4 and len(step_outputs.first) == 1"),
        nap("late", "first", condition="'night' in context"),
    )
    ended = run(shell, document, "beds=4")
    assert {name: step["status"] for name, step in ended["steps"].items()} == {
        "first": "succeeded", "many": "skipped", "asked": "succeeded", "late": "skipped",
    }  # fmt: skip


@pytest.mark.rows("R5")
def test_attempts_wait_two_four_and_eight_seconds_but_no_longer_than_the_cap():
    policy = {"max_attempts": 6, "backoff_multiplier": 2, "max_backoff_seconds": 10}

    async def scenario(world: World) -> list[float]:
        await world.client.register(rota({"id": "a", "handler": "a.b", "retry_policy": policy}), name="rota")
        run = await world.start("rota", id="one")
        assert (await run.result()).status == "failed"
        tries = [record.at for record in await world.events("one") if record.type == "step.ready"]
        return [(after - before) / 1000 for before, after in pairwise(tries)]

    waits = simulate(scenario, handlers={"a.b": failing(ConnectionError("gone"), times=9)})
    assert [round(wait) for wait in waits] == [2, 4, 8, 10, 10]


@pytest.mark.rows("R6")
def test_an_error_handler_runs_where_its_step_has_failed(shell: Shell):
    document = rota(
        {"id": "ask", "handler": "notes.fail", "retry_policy": {"max_attempts": 1}},
        {"id": "mend", "handler": "notes.give", "input_mapping": {"why": "{{ error.type }}: {{ error.message }}"}},
    ) | {"error_handlers": {"ask": "mend"}}
    ended = run(shell, document, status=1)
    assert ended["steps"]["mend"]["output"] == {"why": "LookupError: the register is closed"}
    assert ended["error"]["type"] == "LookupError"


@pytest.mark.rows("R7", "T4")
def test_a_step_and_a_workflow_end_when_their_time_is_over(shell: Shell):
    once = {"max_attempts": 1}
    step = {"id": "a", "handler": "notes.long", "timeout_seconds": 0.4, "retry_policy": once}
    assert run(shell, rota(step), status=1)["error"]["type"] == "StepTimeout"
    step = {"id": "a", "handler": "notes.long", "retry_policy": once}
    assert run(shell, rota(step, default_timeout_seconds=0.4), status=1)["error"]["type"] == "WorkflowTimeout"


@pytest.mark.rows("X1", "X5")
def test_the_plan_shows_what_would_run_at_once(shell: Shell):
    steps = {
        "a": {"type": "input", "input": {"data": {"n": 1}}}, "b": {"type": "input", "input": {"data": {"m": 2}}},
        "c": {"type": "process", "depends_on": ["a", "b"], "max_retries": 2}, "d": {"type": "output", "depends_on": ["c"]},
    }  # fmt: skip
    shell.write("w.json", {"id": "count", "steps": steps})
    assert shell.json("plan", "w.json")["batches"] == [["a", "b"], ["c"], ["d"]]
    assert "4 steps in 3 batches\n\n 1  a ‖ b\n 2  c\n 3  d\n" in shell("plan", "w.json").stdout
    assert shell.json("run", "w.json")["output"] == {"c": {"n": 1, "m": 2}}


@pytest.mark.rows("X2")
def test_no_more_steps_run_at_once_than_the_workflow_allows(shell: Shell):
    steps = {name: {"type": "python", "handler": "notes.nap"} for name in "abcdef"}
    ended = run(shell, {"name": "few", "max_parallel_steps": 2, "steps": steps})
    assert ended["status"] == "completed"
    assert most_at_once(shell) == 2


@pytest.mark.rows("X3")
def test_whether_a_step_is_tried_again_depends_on_what_went_wrong():
    step = {"id": "a", "handler": "h", "retry": {"max_attempts": 5, "non_retryable": ["PermissionError"]}}

    async def attempts(world: World) -> int:
        await world.register({"name": "w", "steps": [step]})
        return (await (await world.start("w")).result()).steps["a"].attempts

    assert simulate(attempts, handlers={"h": failing(ConnectionError("gone"), times=2)}) == 3
    assert simulate(attempts, handlers={"h": failing(TypeError("odd"), times=2)}) == 1
    assert simulate(attempts, handlers={"h": failing(PermissionError("no"), times=2)}) == 1


@pytest.mark.rows("X9")
def test_hundreds_of_steps_run_and_what_is_without_bound_is_refused(shell: Shell):
    rows, columns = 12, 15
    steps = [
        {"id": f"s{row}-{column}", "type": "process",
         "depends_on": [f"s{row - 1}-{other}" for other in (column, (column + 1) % columns)] if row else []}
        for row in range(rows) for column in range(columns)
    ]  # fmt: skip
    ended = run(shell, {"name": "wide", "steps": steps}, "n=1")
    assert len(ended["steps"]) == 180
    assert {step["status"] for step in ended["steps"].values()} == {"succeeded"}
    bomb = {"name": "bomb", "steps": [{"id": "a", "type": "process", "condition": "9 ** 9 ** 9 ** 9 > input.n"}]}
    shell.write("bomb.json", bomb)
    began = time.monotonic()
    assert "steps[0].condition" in shell("run", "bomb.json", status=2).stderr
    bomb["steps"][0]["condition"] = " and ".join(["sorted(input.many)"] * 40)
    shell.write("bomb.json", bomb)
    shell.write("many.json", json.dumps({"many": list(range(30_000))}))
    refused = shell("run", "bomb.json", "--input", "@many.json", status=1).stderr
    assert "too much data" in refused
    assert time.monotonic() - began < HANG


@pytest.mark.rows("O1")
def test_tasks_of_agents_have_conditions_parameters_retries_and_an_order(shell: Shell):
    shell.write("agents.py", "import stepwell\n"
                "@stepwell.handler('agent_task:scout')\ndef scout(data, ctx):\n"
                "    if ctx.attempt < 2:\n        raise ConnectionError('lost')\n"
                "    return {'found': ctx.config['wanted']}\n"
                "@stepwell.handler('agent_task')\ndef other(data, ctx):\n    return {'did': ctx.config['agent_id']}\n")  # fmt: skip
    task = {"action": "agent_task", "dependencies": ["look"]}
    tasks = {
        "look": {"agent_id": "scout", "action": "agent_task", "parameters": {"wanted": 3}, "retry_count": 1,
                 "retry_delay": 0.1, "timeout_seconds": 30},
        "dig": {**task, "agent_id": "digger", "conditions": ["step_outputs.look.found > 2"]},
        "leave": {**task, "agent_id": "driver", "conditions": ["step_outputs.look.found > 5"]},
    }  # fmt: skip
    shell.write("w.yaml", {"name": "Field trip", "version": "2.0.0", "tasks": tasks})
    ended = shell.json("run", "w.yaml", "--handlers", "agents")
    assert ended["steps"]["look"]["attempts"] == 2
    assert ended["output"] == {"dig": {"did": "digger"}}


@pytest.mark.rows("D1")
@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([("a", ["b"]), ("b", ["a"])], "depend on each other"),
        ([("a", []), ("b", ["aa"])], 'unknown node "aa", did you mean "a"?'),
        ([("a", []), ("a", [])], "is given to 2 nodes"),
    ],
)
def test_a_graph_is_checked_before_it_runs(shell: Shell, nodes, told):
    written = [{"id": name, "handler": "input", "dependencies": after} for name, after in nodes]
    shell.write("w.json", {"name": "graph", "dag": {"nodes": written}})
    refused = shell("run", "w.json", status=2).stderr
    assert told in refused
    assert "line 1" in refused


@pytest.mark.rows("D2")
def test_templates_reach_into_outputs_and_the_input(shell: Shell, host: Host):
    nodes = [
        {"id": "input", "handler": "input", "dependencies": []},
        {"id": "fetch", "handler": "call_external_service", "dependencies": ["input"],
         "config": {"url": host.url + "/{{ input.city }}"}},
        {"id": "sum", "handler": "llm_service", "dependencies": ["fetch"],
         "config": {"prompt": "{{ fetch.output.response.sizes }} of {{ fetch.output.response.path }}", "max_tokens": 9,
                    "temperature": 0.5}},
        {"id": "output", "handler": "output", "dependencies": ["sum"]},
    ]  # fmt: skip
    ended = run(shell, {"name": "sizes", "dag": {"nodes": nodes}}, "city=oslo")
    assert ended["output"]["sum"]["response"] == "I read: [3,4] of /oslo"
    (body,) = [body for method, _, body in host.asked if method == "POST"]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("small", 9, 0.5)


@pytest.mark.rows("X9")
def test_a_step_without_a_worker_of_its_kind_is_found_out_before_anything_runs(shell: Shell):
    shell.write("w.json", rota({"id": "a", "handler": "nowhere.at_all"}))
    assert "nowhere.at_all" in shell("run", "w.json", status=2).stderr
    assert shell.json("list")["total"] == 0


def test_every_row_has_a_test_that_names_it():
    named: set[str] = set()
    for file in TESTS.rglob("test_*.py"):
        for call in re.findall(r"mark\.rows\(([^)]*)\)", file.read_text(encoding="utf-8")):
            named |= set(re.findall(r'"([A-Z]\d+)"', call))
    assert not set(ROWS) - named
