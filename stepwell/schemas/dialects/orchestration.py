"""The dialect of an orchestrator of agents: tasks as a mapping, ``action``, ``agent_id``, ``retry_count``.

.. code-block:: yaml

    name: Field report
    version: 2.0.0
    tasks:
      collect: {agent_id: scout, action: agent_task, parameters: {region: north}}
      decide:
        action: approval_gate
        dependencies: [collect]
        conditions: ["step_outputs.collect.size > 3"]
        parameters: {approvers: [kim], timeout_seconds: 86400}

Tasks run one after another unless they say ``execution_mode: parallel``. Each is a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepwell.schemas.definitions.literals import literal
from stepwell.schemas.definitions.places import Path
from stepwell.schemas.definitions.shapes import unknown_value
from stepwell.schemas.dialects.document import MISSING, Document, Entry, Made, Words, entries, items, top
from stepwell.schemas.dialects.settings import settings_of
from stepwell.schemas.migration.old_conditions import path_of
from stepwell.schemas.records.statuses import StepStatus

WORDS: Final = Words(
    "task",
    {
        "depends_on": "dependencies", "condition": "conditions", "config": "parameters", "type": "action",
        "mode": "execution_mode", "retry": "retry_count", "queue": "agent_id", "handler": "agent_id",
    },
)  # fmt: skip

CURRENT: Final = "2.0.0"
OLDER: Final = ("1.0.0", "1.1.0", "1.2.0")  # of the form; `stepwell migrate` brings them up to date

_TOP: Final = (
    "id", "name", "version", "schema_version", "description", "tags", "tasks", "timeout_seconds",
    "default_timeout_seconds", "max_parallel_tasks", "max_parallel_steps",
)  # fmt: skip
_TASK: Final = (
    "id", "name", "description", "agent_id", "action", "dependencies", "conditions", "timeout_seconds", "retry_count",
    "retry_delay", "execution_mode", "parameters", "checkpoint", "on_failure",
)  # fmt: skip
ACTIONS: Final = (
    "agent_task", "file_operation", "api_call", "workflow_trigger", "approval_gate", "condition_check"
)  # fmt: skip
_MODES: Final = {"sequential": "sequential", "parallel": "parallel", "conditional": "parallel"}
_BY_AGENTS: Final = ("agent_task", "file_operation", "http_request")  # types that run where the agent is

_OPERATORS: Final[Mapping[str, str]] = {
    "equals": "==", "eq": "==", "==": "==", "not_equals": "!=", "ne": "!=", "!=": "!=", "greater_than": ">",
    "gt": ">", ">": ">", "less_than": "<", "lt": "<", "<": "<", "greater_or_equal": ">=", "gte": ">=", ">=": ">=",
    "less_or_equal": "<=", "lte": "<=", "<=": "<=", "in": "in", "not_in": "not in",
}  # fmt: skip
_STATUSES: Final = {
    "completed": StepStatus.SUCCEEDED, "succeeded": StepStatus.SUCCEEDED, "failed": StepStatus.FAILED,
    "skipped": StepStatus.SKIPPED,
}  # fmt: skip


def compile_document(document: Document) -> Made:
    """Make the canonical form; ``id`` is the name where there is no ``name``."""
    keys = (*_TOP, "steps") if "tasks" not in document.data else _TOP
    entry = document.entry(document.data, (), keys, "a workflow")
    assert entry is not None  # noqa: S101 - it is a mapping
    made = top(document, entry, name=("name",) if entry.has("name") or not entry.has("id") else ("id",))
    made.move("default_timeout_seconds", entry, "timeout_seconds", "default_timeout_seconds")
    made.move("max_parallel_steps", entry, "max_parallel_tasks", "max_parallel_steps")
    said, at = entry.get("schema_version")
    if said not in (MISSING, *OLDER, CURRENT):
        document.problem(at, unknown_value(str(said), (*OLDER, CURRENT), "version of the form"))
    if said is MISSING and made.get("version") in (*OLDER, CURRENT):
        del made["version"]  # it says how the file is written, and stays the same when the workflow changes
    steps = made["steps"] = []
    value, path = entry.get("tasks")
    if value is MISSING and entry.has("steps"):
        document.problem(("steps",), "is how 1.0.0 wrote tasks; `stepwell migrate FILE` brings it to " + CURRENT)
        return made
    document.origins["steps",] = path
    for task_id, data, at in entries(document, value, path, "tasks"):
        task = document.entry(data, at, _TASK, "a task")
        if task is not None:
            steps.append(_step(document, task_id, task, ("steps", len(steps))))
    return made


def _step(document: Document, task_id: str, entry: Entry, path: Path) -> Made:
    made = Made(document, path, entry.path)
    made.put("id", task_id, entry.path)
    own, at = entry.get("id")
    if own not in (MISSING, task_id):
        document.problem(at, f'is "{own}", and the key is "{task_id}"; a task has one id')
    for key in ("name", "description", "on_failure"):
        made.move(key, entry)
    made.move("depends_on", entry, "dependencies")
    mode, at = entry.get("execution_mode")
    if isinstance(mode, str) and mode not in _MODES:
        document.problem(at, unknown_value(mode, _MODES))
    made.put("mode", _MODES.get(mode, "sequential") if isinstance(mode, str) else "sequential", at)
    kind = _kind(document, entry, made)
    _agent(document, entry, made, kind)
    conditions = _conditions(document, entry, "conditions")
    settings = _settings(document, entry, made, kind)
    if kind != "condition_check" or "condition" in settings:
        _, at = entry.get("conditions")
        made.put("condition", conditions, at)
    if kind == "condition_check" and "condition" not in settings and conditions is not MISSING:
        settings.put("condition", conditions, entry.get("conditions")[1])
    _patience(entry, made, kind, settings)
    if settings:
        made["config"] = settings
    checkpoint = entry.value("checkpoint", default=True)  # every task is one
    made.put("checkpoint", checkpoint, entry.get("checkpoint")[1])
    return made


def _kind(document: Document, entry: Entry, made: Made) -> str:
    action, at = entry.get("action")
    if action is MISSING and entry.has("agent_id"):
        action = "agent_task"
    if action is MISSING:
        document.problem(entry.path, f'missing "action"; there are {", ".join(ACTIONS)}')
    elif not isinstance(action, str) or action not in ACTIONS:
        document.problem(at, unknown_value(str(action), ACTIONS, "action"))
    kind = document.types.aliases.get(action, action) if isinstance(action, str) else "agent_task"
    made.put("type", kind, at)
    return kind


def _agent(document: Document, entry: Entry, made: Made, kind: str) -> None:
    agent, at = entry.get("agent_id")
    if agent is not MISSING and kind in _BY_AGENTS:
        made.put("queue", agent, at)
    elif agent is MISSING and kind == "agent_task" and entry.has("action"):
        document.problem(entry.path, 'missing "agent_id": which agent does the task?')


def _settings(document: Document, entry: Entry, made: Made, kind: str) -> Made:
    """The settings of the type, by their canonical names; an agent's task holds what it likes."""
    given, at = entry.mapping("parameters")
    agent, from_agent = entry.get("agent_id")
    settings = settings_of(document, kind, given, at, (*made.path, "config"))
    if agent is not MISSING and kind == "agent_task":
        settings.setdefault("agent_id", agent)
    if agent is not MISSING and kind == "approval_gate" and "approvers" not in settings:
        settings.put("approvers", [agent], from_agent)
    if kind == "condition_check" and not isinstance(settings.get("condition", ""), str):
        origin = document.origins[*settings.path, "condition"]
        settings["condition"] = _joined(document, settings["condition"], origin)
    return settings


def _patience(entry: Entry, made: Made, kind: str, settings: Made) -> None:
    """Attempts and time limits. What is decided at once has neither, and a gate's limit is a deadline."""
    retries, at = entry.number("retry_count", whole=True)
    delay, delay_at = entry.number("retry_delay")
    if kind == "approval_gate" and "timeout_seconds" not in settings:
        settings.move("timeout_seconds", entry)
    if not entry.document.is_run(kind):
        return
    made.move("timeout_seconds", entry)
    if retries is not MISSING or delay is not MISSING:
        retry = made.below("retry", at)
        retry.put("max_attempts", 1 if retries is MISSING else 1 + retries, at)
        retry.put("initial_delay_seconds", delay, delay_at)


def _conditions(document: Document, entry: Entry, key: str) -> Any:
    value, path = entry.get(key)
    return MISSING if value is MISSING else _joined(document, value, path) or MISSING


def _joined(document: Document, value: Any, path: Path) -> str:
    """One expression that holds if all conditions do; empty if there are none."""
    if isinstance(value, (str, bool, Mapping)):
        return _condition(document, value, path)
    found = [_condition(document, part, at) for part, at in items(document, value, path, "conditions")]
    found = [source for source in found if source]
    return found[0] if len(found) == 1 else " and ".join(f"({source})" for source in found)


def _condition(document: Document, value: Any, path: Path) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    entry = document.entry(
        value, path, ("expression", "condition", "field", "operator", "value", "task", "task_id", "status"),
        "a condition that is no expression",
    )  # fmt: skip
    if entry is None:
        return ""
    if entry.has("expression", "condition"):
        return str(entry.value("expression", "condition"))
    if entry.has("task", "task_id"):
        return _status(document, entry, path)
    return _comparison(document, entry, path)


def _status(document: Document, entry: Entry, path: Path) -> str:
    """The condition that a task has a status."""
    status, at = entry.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        document.problem(at, unknown_value("" if status is MISSING else str(status), _STATUSES, "status"))
        return ""
    task = entry.value("task", "task_id")
    if not str(task).isidentifier():
        document.problem(path, f'"{task}" cannot be asked for its status: its id is no plain word')
        return ""
    return f'{task}.status == "{_STATUSES[status]}"'


def _comparison(document: Document, entry: Entry, path: Path) -> str:
    """The condition that a field compares with a value."""
    field, operator = entry.value("field"), entry.value("operator", default="equals")
    if not isinstance(field, str) or "value" not in entry.data:
        document.problem(path, 'needs "field" and "value", or "expression", or "task" and "status"')
        return ""
    if not isinstance(operator, str) or operator not in _OPERATORS:
        document.problem((*path, "operator"), unknown_value(str(operator), _OPERATORS, "operator"))
        return ""
    try:
        return f"{path_of(field)} {_OPERATORS[operator]} {literal(entry.data['value'])}"
    except ValueError as error:
        document.problem((*path, "value"), str(error))
        return ""
