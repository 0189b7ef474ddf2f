"""The dialect of the orchestrator of agents: what its keys become, and what it refuses."""

from __future__ import annotations

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_loaded, load_definition, read_definition

AGENT = {"agent_id": "scout", "action": "agent_task"}


def tasks(given, **top):
    return load_definition({"name": "report", "tasks": given, **top})


def step(task):
    return tasks({"a": task}).steps[0]


def test_an_agent_is_a_queue_and_knows_its_own_name():
    made = step({**AGENT, "parameters": {"region": "north"}})
    assert (made.type, made.queue, made.config) == ("agent_task", "scout", {"region": "north", "agent_id": "scout"})
    assert step({"agent_id": "scout"}).type == "agent_task"


def test_an_agent_that_is_no_worker_but_decides_is_the_approver():
    made = step({"agent_id": "kim", "action": "approval_gate"})
    assert (made.queue, made.config) == ("default", {"approvers": ["kim"]})


@pytest.mark.parametrize(
    ("mode", "canonical"),
    [(None, "sequential"), ("sequential", "sequential"), ("parallel", "parallel"), ("conditional", "parallel")],
)
def test_tasks_run_one_after_another_unless_they_say_otherwise(mode, canonical):
    assert step(AGENT if mode is None else {**AGENT, "execution_mode": mode}).mode == canonical


def test_retry_count_is_of_further_attempts():
    assert step(AGENT).retry.max_attempts == 1
    retry = step({**AGENT, "retry_count": 3, "retry_delay": 5}).retry
    assert (retry.max_attempts, retry.initial_delay_seconds) == (4, 5)


def test_every_task_is_a_checkpoint_unless_it_says_otherwise():
    assert step(AGENT).checkpoint is True
    assert step({**AGENT, "checkpoint": False}).checkpoint is False
    assert step({**AGENT, "checkpoint": "weighed"}).checkpoint == "weighed"


@pytest.mark.parametrize(
    ("conditions", "expression"),
    [
        ([], None),
        (["input.a > 1"], "input.a > 1"),
        ("input.a > 1", "input.a > 1"),
        (["input.a > 1", "input.b"], "(input.a > 1) and (input.b)"),
        ([{"field": "input.a", "value": "x"}], 'input.a == "x"'),
        ([{"field": "input.a", "operator": "in", "value": [1, 2]}], "input.a in [1, 2]"),
        ([{"task": "b", "status": "completed"}], 'b.status == "succeeded"'),
        ([{"expression": "input.a"}], "input.a"),
    ],
)
def test_all_conditions_must_hold(conditions, expression):
    made = tasks({"b": AGENT, "a": {**AGENT, "dependencies": ["b"], "conditions": conditions}})
    assert made.steps[1].condition == expression
    compile_loaded(read_definition(made))


def test_a_gates_time_limit_is_its_deadline():
    made = step({"action": "approval_gate", "timeout_seconds": 60, "retry_count": 2})
    assert (made.timeout_seconds, made.config["timeout_seconds"], made.retry.max_attempts) == (None, 60, 1)


def test_a_condition_that_is_checked_stands_in_parameters_or_conditions():
    for task in ({"parameters": {"expression": "input.a"}}, {"conditions": ["input.a"]}):
        made = step({"action": "condition_check", **task})
        assert (made.config, made.condition) == ({"condition": "input.a"}, None)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"parameters": {}}, 'tasks.a: missing "action"; there are agent_task, file_operation'),
        ({"action": "agent_task"}, 'tasks.a: missing "agent_id": which agent does the task?'),
        ({"action": "api_cal"}, 'tasks.a.action: unknown action "api_cal", did you mean "api_call"?'),
        ({**AGENT, "execution_mode": "serial"}, 'execution_mode: unknown value "serial"'),
        ({**AGENT, "id": "b"}, 'tasks.a.id: is "b", and the key is "a"; a task has one id'),
        ({**AGENT, "depends_on": []}, 'unknown key "depends_on", did you mean "dependencies"?'),
        ({**AGENT, "timeout": 3}, 'unknown key "timeout", did you mean "timeout_seconds"?'),
        ({**AGENT, "conditions": [{"field": "a"}]}, 'tasks.a.conditions[0]: needs "field" and "value"'),
        ({**AGENT, "conditions": [{"field": "a", "operator": "~", "value": 1}]}, 'unknown operator "~"'),
        ({**AGENT, "conditions": [{"task": "a", "status": "over"}]}, 'unknown status "over"'),
        ({"action": "approval_gate", "parameters": {"approver": "a", "approvers": ["b"]}},
         'says the same as another setting here: "approvers"'),
    ],
)  # fmt: skip
def test_refused(task, message):
    with pytest.raises(DefinitionError) as caught:
        step(task)
    assert message in str(caught.value)


def test_what_the_first_version_of_the_form_wrote_is_brought_up_to_date_by_migrate():
    with pytest.raises(DefinitionError) as caught:
        load_definition({"name": "a", "version": "1.0.0", "steps": [{"id": "x", "action": "agent_task"}]})
    assert caught.value.problems == ["steps: is how 1.0.0 wrote tasks; `stepwell migrate FILE` brings it to 2.0.0"]


def test_with_the_version_of_the_form_alone_each_edit_is_a_version_of_its_own():
    first, second = (tasks({"a": {**AGENT, "parameters": {"n": n}}}, schema_version="2.0.0") for n in (1, 2))
    assert "2.0.0" not in (first.version, second.version)
    assert first.version != second.version


def test_a_version_of_the_form_that_there_is_not_is_refused():
    assert tasks({"a": AGENT}, schema_version="1.2.0", version="7").version == "7"
    with pytest.raises(DefinitionError, match=r'unknown version of the form "3\.0\.0"'):
        tasks({"a": AGENT}, schema_version="3.0.0")
