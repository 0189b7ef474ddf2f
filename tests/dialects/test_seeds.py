"""The definitions that the texts of the replaced systems print load and compile as they are.

The texts are no part of this project. Where they do not lie beside it, there is nothing to test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stepwell.core.plan.compile import Plan
from stepwell.language import compile_loaded, read_definition

SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_BODY = re.compile(r"-d '(\{.*\})'", re.DOTALL)
_WHOLE = ({"name", "dag"}, {"name", "tasks"}, {"id", "steps"}, {"steps", "error_handlers"})

pytestmark = pytest.mark.skipif(not SEEDS.is_dir(), reason="the texts of the replaced systems are not here")


class Printed(NamedTuple):
    """A mapping that a text prints: its source, where that is JSON or YAML, and what it says."""

    seed: str
    source: str | None
    data: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.seed}-{self.data.get('name', self.data.get('id', 'definition'))}".replace(" ", "_")


def _printed() -> Iterator[Printed]:
    """Every mapping that is printed as Python, JSON or YAML."""
    for path in sorted(SEEDS.glob("*.txt")) if SEEDS.is_dir() else ():
        seed = path.name[:3]
        for language, text in _BLOCK.findall(path.read_text(encoding="utf-8")):
            if language == "python":
                yield from (Printed(seed, None, data) for data in _in_python(text))
            body = _BODY.search(text) if language == "bash" else None
            source = body[1] if body else text
            if language in ("json", "yaml") or body:
                data = yaml.safe_load(re.sub(r"\{ \.\.\. \}", "{}", source))
                if isinstance(data, dict):
                    yield Printed(seed, source, data)


def _in_python(text: str) -> Iterator[dict[str, Any]]:
    """The mappings of a piece of Python, also of one that is only the inside of a mapping."""
    for source in (text, "{" + text + "}"):
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in _outermost(tree):
            try:
                yield ast.literal_eval(node)
            except ValueError:  # it computes something
                continue
        return


def _outermost(node: ast.AST) -> Iterator[ast.Dict]:
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.Dict):
            yield below
        else:
            yield from _outermost(below)


def is_whole(data: dict[str, Any]) -> bool:
    parts = [data[key] for key in ("steps", "tasks") if key in data]
    shown = all(parts) and all(all(part.values()) for part in parts if isinstance(part, dict))  # not "{ ... }"
    return shown and any(keys <= data.keys() for keys in _WHOLE)


ALL = list(_printed())


def _fragment(*keys: str) -> list[Printed]:
    """What is printed of a step, by keys that it has; each begins with what the text prints."""
    return [printed for printed in ALL if not is_whole(printed.data) and set(keys) <= printed.data.keys()]


def _compiled(source: str | dict[str, Any]) -> tuple[str, Plan]:
    loaded = read_definition(source, name="unnamed")
    return loaded.dialect, compile_loaded(loaded)


@pytest.mark.rows("R2", "X5", "O1", "D1", "T1")
@pytest.mark.parametrize("printed", [printed for printed in ALL if is_whole(printed.data)], ids=str)
def test_what_is_printed_as_a_whole_is_taken_as_it_is(printed: Printed):
    dialect, plan = _compiled(printed.source or printed.data)
    names = {"000": "residency", "001": "executor", "002": "orchestration", "003": "dag", "004": "tasks"}
    assert dialect == names[printed.seed]
    data = printed.data
    written = data["dag"]["nodes"] if "dag" in data else data.get("steps", data.get("tasks"))
    assert len(plan.steps) == len(written)


def test_that_is_ten_definitions():
    assert len([printed for printed in ALL if is_whole(printed.data)]) == 10


def test_steps_of_the_residency_engine_are_taken_within_a_definition():
    steps = _fragment("id", "handler", "depends_on")
    assert len(steps) == 2
    for printed in steps:
        others = [{"id": name, "handler": "app.f"} for name in printed.data["depends_on"]]
        step = dict(printed.data)
        if step.get("condition") == "expression":  # a word for what belongs there
            step["condition"] = "input_data.ready"
        dialect, plan = _compiled({"steps": [*others, step]})
        assert dialect == "residency"
        assert plan.batches[1] == (step["id"],)
    (parallel,) = [printed for printed in _fragment("steps") if len(printed.data["steps"]) == 3]
    _, plan = _compiled({"steps": [{**step, "handler": "app.f"} for step in parallel.data["steps"]]})
    assert [len(batch) for batch in plan.batches] == [1, 2]


def test_tasks_of_the_orchestrator_are_taken_within_a_definition():
    (task,) = _fragment("id", "agent_id")
    assert "tasks" not in task.data
    dialect, plan = _compiled({"name": "a", "version": "2.0.0", "tasks": {task.data["id"]: task.data}})
    assert dialect == "orchestration"
    step = plan.steps[task.data["id"]].step
    assert (step.queue, step.mode, step.retry.max_attempts) == (task.data["agent_id"], "sequential", 4)
    (retry,), (mode,) = _fragment("retry_count", "retry_delay"), _fragment("execution_mode", "dependencies")[-1:]
    agent = {"agent_id": "someone", "action": "agent_task"}
    before = dict.fromkeys(mode.data["dependencies"], agent)
    tasks = {**before, "again": {**agent, **retry.data}, "beside": {**agent, **mode.data}}
    _, plan = _compiled({"name": "a", "tasks": tasks})
    assert plan.steps["again"].step.retry.initial_delay_seconds == retry.data["retry_delay"]
    assert plan.steps["beside"].step.mode == "parallel"
    (outline,) = [printed for printed in ALL if printed.data.get("id") and printed.data.get("tasks")]
    _, plan = _compiled({**outline.data, "tasks": dict.fromkeys(outline.data["tasks"], agent)})
    assert plan.definition.name == outline.data["name"]


def test_nodes_of_the_graph_engine_are_taken_within_a_definition():
    nodes = _fragment("id", "handler", "dependencies", "config")
    assert len(nodes) == 2
    first = {"id": "input", "handler": "input", "dependencies": []}
    dialect, plan = _compiled({"name": "a", "dag": {"nodes": [first, *(node.data for node in nodes)]}})
    assert dialect == "dag"
    assert [plan.steps[node.data["id"]].step.type for node in nodes] == ["http_request", "llm"]
