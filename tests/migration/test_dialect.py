"""What is migrated is what the orchestration dialect reads: from every version, with the meaning that it had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.language import compile_plan, load_definition
from stepwell.schemas.migration.migrate import VERSIONS, migrate

orchestration = pytest.importorskip("stepwell.schemas.dialects.orchestration")

pytestmark = pytest.mark.rows("O11")

OLDEST = {
    "id": "wf-3", "name": "Harvest", "version": "1.0.0",
    "steps": [
        {"id": "weigh", "agent": "scales", "action": "agent_task", "timeout": 90, "params": {"unit": "kg"}},
        {"id": "agree", "action": "approval_gate", "depends_on": ["weigh"], "params": {"approvers": ["ann"]}},
        {"id": "note", "action": "file_operation", "depends_on": ["agree"],
         "params": {"operation": "write", "path": "harvest.txt", "content": "done"}},
        {"id": "tell", "action": "workflow_trigger", "depends_on": ["note"], "params": {"workflow": "news"}},
    ],
}  # fmt: skip
MIDDLE = {
    "name": "Harvest", "version": "1.2.0",
    "tasks": {
        "weigh": {"agent_id": "scales", "action": "agent_task"},
        "sort-2": {"agent_id": "sorter", "action": "agent_task", "dependencies": ["weigh"],
                   "execution_mode": "conditional", "conditions": [
                       {"field": "step_outputs.weigh.kg", "operator": "greater_than", "value": 40},
                       {"field": "input.note", "operator": "missing"},
                       {"field": "input.kind", "operator": "in", "value": ["pear", None, True, "it's {{"]}]},
        "much": {"action": "condition_check", "dependencies": ["sort-2"],
                 "conditions": [{"field": "step_outputs.weigh.kg", "operator": "equals", "value": 50}]},
    },
}  # fmt: skip


def read(data):
    return compile_plan(load_definition(data)).definition


def steps_of(data):
    return {step.id: step for step in read(data).steps}


def test_the_oldest_list_is_run_one_by_one_as_it_was():
    definition = read(migrate(OLDEST).data)
    assert definition.name == "Harvest"
    assert definition.version != "2.0.0", "that is how it is written, and not which one it is"
    steps = {step.id: step for step in definition.steps}
    assert [step.type for step in definition.steps] == [
        "agent_task", "approval_gate", "file_operation", "workflow_trigger",
    ]  # fmt: skip
    assert {step.mode for step in definition.steps} == {"sequential"}
    assert {step.retry.max_attempts for step in definition.steps} == {1}
    assert (steps["weigh"].queue, steps["weigh"].timeout_seconds, steps["weigh"].config["unit"]) == (
        "scales",
        90,
        "kg",
    )
    assert steps["note"].depends_on == ("agree",)
    assert steps["agree"].config["approvers"] == ["ann"]


def test_conditions_are_joined_into_the_step_s_own():
    steps = steps_of(migrate(MIDDLE).data)
    assert steps["sort-2"].condition == (
        '(step_outputs.weigh.kg > 40) and ("note" not in input) and '
        '(input.kind in ["pear", null, true, "it\'s \\u007b\\u007b"])'
    ), steps["sort-2"].condition
    assert steps["much"].config["condition"] == "step_outputs.weigh.kg == 50"


TASK = st.fixed_dictionaries(
    {"action": st.just("agent_task"), "agent_id": st.sampled_from(["k", "l"])},
    optional={
        "execution_mode": st.sampled_from(["sequential", "parallel", "conditional"]),
        "timeout_seconds": st.integers(1, 900),
        "parameters": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(-(2**63), 2**63 - 1), max_size=2),
        "conditions": st.lists(st.sampled_from(["input.n > 1", '"k" in input', "input.a == 2 and input.b > 1"])),
    },
)
TASKS = st.lists(TASK, min_size=1, max_size=5).map(
    lambda tasks: {
        f"t{n}": task if n == 0 else {**task, "dependencies": [f"t{n - 1}"]} for n, task in enumerate(tasks)
    }
)


@given(TASKS, st.sampled_from(VERSIONS[1:]))
def test_a_document_of_any_version_is_read_as_the_same_steps_once_it_is_migrated(tasks, version):
    data = {"name": "x", "version": version, "tasks": tasks}
    assert read(migrate(data).data).steps == read({**data, "version": "2.0.0"}).steps


def test_the_dialect_and_the_migration_know_the_same_versions():
    assert (*orchestration.OLDER, orchestration.CURRENT) == VERSIONS
