"""Definitions of the orchestration dialect, from one version of its schema to the next.

In that dialect ``version`` is the version of the schema. Each step between two versions is a pair of pure functions
over plain data: ``up`` always works on a well-formed document and keeps its meaning, ``down`` gives back what ``up``
was given, and refuses whatever the older version cannot say. docs/migration.md describes the versions.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stepwell.errors import DefinitionError
from stepwell.schemas.old_conditions import condition_of, expression_of

VERSIONS: Final = ("1.0.0", "1.1.0", "1.2.0", "2.0.0")
CURRENT: Final = VERSIONS[-1]

Document = dict[str, Any]

_RENAMED: Final = {
    "agent": "agent_id", "depends_on": "dependencies", "timeout": "timeout_seconds", "params": "parameters",
}  # fmt: skip
_SINCE: Final[Mapping[str, str]] = {
    **dict.fromkeys((*_RENAMED.values(), "execution_mode"), "1.1.0"),
    "conditions": "1.2.0",
    **dict.fromkeys(("retry_count", "retry_delay", "checkpoint"), "2.0.0"),
}
"""Keys of a task that came with a version; the others were there from the beginning."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """A document in another version of the schema.

    Attributes:
        data: The document. What was given is left as it was.
        before: The version that it had.
        after: The version that it has now.
        changes: What each step changed, in words, in the order in which they were done.
    """

    data: Document
    before: str
    after: str
    changes: tuple[str, ...]


def schema_version(data: Any) -> str | None:
    """The version of the orchestration schema that a document says it has; None if it is of another dialect.

    A document belongs to it if it has a mapping ``tasks``, or a list ``steps`` whose entries have an ``action`` (as
    1.0.0 had it) and neither the ``type`` nor the ``handler`` of other dialects. The version may be one that does
    not exist; without a ``version``, it is the empty text.
    """
    if not isinstance(data, dict):
        return None
    steps, version = data.get("steps"), data.get("version")
    of_today = isinstance(data.get("tasks"), dict) and steps is None
    of_old = isinstance(steps, list) and "tasks" not in data and _has_actions(steps)
    if not (of_today or of_old):
        return None
    return "" if version is None else str(version)


def _has_actions(steps: list[Any]) -> bool:
    return any(isinstance(step, dict) and "action" in step for step in steps) and not any(
        isinstance(step, dict) and ("type" in step or "handler" in step) for step in steps
    )


def migrate(data: Document, *, to: str = CURRENT, place: str = "definition") -> Migrated:
    """Bring a document to another version of the schema, step by step.

    Args:
        data: A document of the orchestration dialect.
        to: One of ``VERSIONS``; an older one than the document's is possible as long as nothing is lost.
        place: How messages name the document.

    Raises:
        DefinitionError: It has no known version, is not what its version says, or cannot be said in the older one;
            with every problem of the step that failed.
    """
    before = schema_version(data)
    if before is None:
        problem = "is no definition of the orchestration dialect, which has a mapping of tasks"
        raise DefinitionError([problem], place=place, remedy="Only that dialect has versions of its schema.")
    for version in (before, to):
        if version not in VERSIONS:
            raise DefinitionError([_unknown_version(version)], place=place)
    at, end = VERSIONS.index(before), VERSIONS.index(to)
    changes = []
    problems = _problems_of_shape(data, before)
    remedy = f'If it is written as in {CURRENT}, let it say so: version: "{CURRENT}"' if problems else ""
    while at != end and not problems:
        step = STEPS[at] if at < end else STEPS[at - 1]
        data = {**data, "version": step.after if at < end else step.before}
        data, problems = (step.up if at < end else step.down)(data)
        changes.append(step.change if at < end else f"{step.after} → {step.before}: the reverse")
        at += 1 if at < end else -1
    if problems:
        raise DefinitionError(problems, place=place, remedy=remedy)
    return Migrated(data, before, to, tuple(changes))


def _unknown_version(version: str) -> str:
    known = f"there are {', '.join(VERSIONS)}"
    if not version:
        return f"version: there is none, and it tells how to read the rest; {known}"
    near = difflib.get_close_matches(version, VERSIONS, n=1)
    hint = f', did you mean "{near[0]}"?' if near else ";"
    return f'version: the schema has no version "{version}"{hint} {known}'


def _problems_of_shape(data: Document, version: str) -> list[str]:
    """What does not fit the version that the document says it has, as far as a step relies on it."""
    wanted, other = ("steps", "tasks") if version == "1.0.0" else ("tasks", "steps")
    if wanted not in data:
        found = VERSIONS[1] if other == "tasks" else VERSIONS[0]
        return [f'version: says {version}, which has "{wanted}"; "{other}" is of {found}']
    problems = []
    seen: set[Any] = set()
    for at, task in _entries(data):
        if not isinstance(task, dict):
            problems.append(f"{at}: must be a mapping")
            continue
        if wanted == "steps":
            name = task.get("id")
            if not isinstance(name, str) or not name:
                problems.append(f"{at}.id: there is none; it names the step")
            elif name in seen:
                problems.append(f'{at}.id: "{name}" is given twice')
            else:
                seen.add(name)
        elif "id" in task and not isinstance(task["id"], str):
            problems.append(f"{at}.id: must be a text")
        problems.extend(_keys_of_other_versions(task, at, version))
    return problems


def _keys_of_other_versions(task: Document, at: str, version: str) -> Iterator[str]:
    old_names = {new: old for old, new in _RENAMED.items()}
    for key in task:
        since = _SINCE.get(key, "1.0.0")
        if VERSIONS.index(since) > VERSIONS.index(version):
            instead = f'; in {version} it is called "{old_names[key]}"' if key in old_names else ""
            yield f"{at}.{key}: came with {since}, and this says that it is {version}{instead}"
        elif key in _RENAMED and version != "1.0.0":
            yield f'{at}.{key}: is of 1.0.0; since 1.1.0 it is called "{_RENAMED[key]}"'
    if version == "1.1.0" and task.get("execution_mode") == "conditional":
        yield f'{at}.execution_mode: "conditional" came with 1.2.0, and this says that it is 1.1.0'


def _entries(data: Document) -> Iterator[tuple[str, Any]]:
    if "tasks" in data:
        yield from ((f"tasks.{name}", task) for name, task in data["tasks"].items())
    else:
        yield from ((f"steps[{index}]", step) for index, step in enumerate(data["steps"]))


def _replaced(data: Document, key: str, new: str, value: Any) -> Document:
    """The same with another key and value in the place of one."""
    return {(new if name == key else name): (value if name == key else old) for name, old in data.items()}


Outcome = tuple[Document, list[str]]


def up_1_0_0_to_1_1_0(data: Document) -> Outcome:
    """Execution modes, and with them tasks by id: what the list ran one by one is ``sequential``."""
    tasks = {}
    for step in data["steps"]:
        task = {_RENAMED.get(key, key): value for key, value in step.items() if key != "id"}
        tasks[step["id"]] = {**task, "execution_mode": "sequential"}
    return _replaced(data, "steps", "tasks", tasks), []


def down_1_1_0_to_1_0_0(data: Document) -> Outcome:
    """One list, run one by one."""
    old_names = {new: old for old, new in _RENAMED.items()}
    steps, problems = [], []
    for name, task in data["tasks"].items():
        if task.get("execution_mode") != "sequential":
            mode = f'is "{task["execution_mode"]}"' if "execution_mode" in task else "is left out"
            problems.append(f'tasks.{name}.execution_mode: {mode}, and 1.0.0 has nothing but "sequential"')
        if task.get("id", name) != name:
            problems.append(f'tasks.{name}.id: is "{task["id"]}"; 1.0.0 has one id for a step')
        rest = {old_names.get(key, key): value for key, value in task.items() if key not in ("id", "execution_mode")}
        steps.append({"id": name, **rest})
    if not steps:
        problems.append("tasks: there are none, and nothing would tell the list from one of another dialect")
    elif not _has_actions(steps):
        problems.append("tasks: none has an action, by which a list of 1.0.0 is known")
    return _replaced(data, "tasks", "steps", steps), problems


def up_1_1_0_to_1_2_0(data: Document) -> Outcome:
    """Conditions: nobody had any."""
    tasks = {name: {**task, "conditions": []} for name, task in data["tasks"].items()}
    return {**data, "tasks": tasks}, []


def down_1_2_0_to_1_1_0(data: Document) -> Outcome:
    """Without conditions."""
    tasks, problems = {}, []
    for name, task in data["tasks"].items():
        if task.get("conditions"):
            problems.append(f"tasks.{name}.conditions: 1.1.0 has none")
        if task.get("execution_mode") == "conditional":
            problems.append(f'tasks.{name}.execution_mode: 1.1.0 does not know "conditional"')
        tasks[name] = {key: value for key, value in task.items() if key != "conditions"}
    return {**data, "tasks": tasks}, problems


def up_1_2_0_to_2_0_0(data: Document) -> Outcome:
    """Retries: nobody had any. Conditions are expressions."""
    tasks: Document = {}
    problems: list[str] = []
    for name, task in data["tasks"].items():
        tasks[name] = {**_with_conditions(task, f"tasks.{name}", expression_of, problems), "retry_count": 0}
    return {**data, "tasks": tasks}, problems


def down_2_0_0_to_1_2_0(data: Document) -> Outcome:
    """Without retries and named checkpoints; conditions as mappings, where they are as simple as that."""
    tasks: Document = {}
    problems: list[str] = []
    for name, task in data["tasks"].items():
        at = f"tasks.{name}"
        if task.get("retry_count"):
            problems.append(f"{at}.retry_count: 1.2.0 has no retries")
        problems.extend(f"{at}.{key}: 1.2.0 has none" for key in ("retry_delay", "checkpoint") if key in task)
        rest = {key: value for key, value in task.items() if key not in ("retry_count", "retry_delay", "checkpoint")}
        tasks[name] = _with_conditions(rest, at, condition_of, problems)
    return {**data, "tasks": tasks}, problems


def _with_conditions(task: Document, at: str, change: Callable[[Any], Any], problems: list[str]) -> Document:
    given = task.get("conditions")
    if given is None:
        return task
    if not isinstance(given, list):
        problems.append(f"{at}.conditions: must be a list")
        return task
    changed = []
    for index, condition in enumerate(given):
        try:
            changed.append(change(condition))
        except (ValueError, RecursionError) as error:
            problems.append(f"{at}.conditions[{index}]: {error}")
    return {**task, "conditions": changed}


@dataclass(frozen=True, slots=True)
class SchemaStep:
    """The way between two neighbouring versions.

    Attributes:
        change: What it changes, in one sentence.
        up: From ``before`` to ``after``; returns the document and what is wrong with it.
        down: Back again, likewise.
    """

    before: str
    after: str
    change: str
    up: Callable[[Document], Outcome]
    down: Callable[[Document], Outcome]


STEPS: Final = (
    SchemaStep(
        "1.0.0",
        "1.1.0",
        "1.0.0 → 1.1.0: the list steps is the mapping tasks, with agent_id, dependencies, timeout_seconds and "
        "parameters; execution_mode is sequential, as the list was run",
        up_1_0_0_to_1_1_0,
        down_1_1_0_to_1_0_0,
    ),
    SchemaStep(
        "1.1.0",
        "1.2.0",
        "1.1.0 → 1.2.0: each task has conditions, none so far",
        up_1_1_0_to_1_2_0,
        down_1_2_0_to_1_1_0,
    ),
    SchemaStep(
        "1.2.0",
        "2.0.0",
        "1.2.0 → 2.0.0: conditions are expressions; retry_count is 0, as nothing was retried",
        up_1_2_0_to_2_0_0,
        down_2_0_0_to_1_2_0,
    ),
)
