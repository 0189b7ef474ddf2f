"""Definitions of the orchestration dialect, from one version of its schema to the next.

In that dialect ``version`` is the version of the schema. Each step between two versions is a pair of pure functions
over plain data: ``up`` always works on a well-formed document and keeps its meaning, ``down`` gives back what ``up``
was given, and refuses whatever the older version cannot say. docs/migration.md describes the versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stepwell.errors import DefinitionError
from stepwell.schemas.migration.old_conditions import condition_of, expression_of
from stepwell.suggest import did_you_mean, near_words

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
        notes: What is of a later version than the document says, and was kept as it is.
    """

    data: Document
    before: str
    after: str
    changes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def schema_version(data: Any) -> str | None:
    """The version of the orchestration schema that a document says it has; None if it is of another dialect.

    A document belongs to it if it has a mapping ``tasks``, or a list ``steps`` whose entries have an ``action`` (as
    1.0.0 had it) and neither the ``type`` nor the ``handler`` of other dialects. The version stands under
    ``schema_version``, and may be one that does not exist there; or else under ``version``. Where that says none of
    the schema's, it is the workflow's own or there is none, and the shape tells: a list is of 1.0.0, which alone had
    one, and tasks are those of today.
    """
    if not isinstance(data, dict):
        return None
    steps, version = data.get("steps"), data.get(_version_key(data))
    of_today = isinstance(data.get("tasks"), dict) and steps is None
    of_old = isinstance(steps, list) and "tasks" not in data and _has_actions(steps)
    if not (of_today or of_old):
        return None
    if "schema_version" in data or str(version) in VERSIONS:
        return "" if version is None else str(version)
    return CURRENT if of_today else VERSIONS[0]


def _version_key(data: Document) -> str:
    return "schema_version" if "schema_version" in data else "version"


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
    notes = () if problems else tuple(_notes(data, before))
    key = _version_key(data)
    if at != end and data.get(key) is not None and str(data[key]) != before:
        problems.append(f'{key}: is none of the schema; write "schema_version: {before}" beside it, to be told apart')
    while at != end and not problems:
        step = STEPS[at] if at < end else STEPS[at - 1]
        data = {**data, key: step.after if at < end else step.before}
        data, problems = (step.up if at < end else step.down)(data)
        changes.append(step.change if at < end else f"{step.after} → {step.before}: the reverse")
        at += 1 if at < end else -1
    if problems:
        raise DefinitionError(problems, place=place)
    return Migrated(data, before, to, tuple(changes), notes)


def _unknown_version(version: str) -> str:
    known = f"there are {', '.join(VERSIONS)}"
    if not version:
        return f"version: there is none, and it tells how to read the rest; {known}"
    near = near_words(version, VERSIONS)
    hint = did_you_mean(near[0]) if near else ";"
    return f'version: the schema has no version "{version}"{hint} {known}'


def _problems_of_shape(data: Document, version: str) -> list[str]:
    """What is wrong with a document, as far as a step relies on it."""
    if "steps" in data and version != "1.0.0":
        return [f'version: says {version}, which has a mapping "tasks"; a list "steps" is of 1.0.0']
    problems = []
    seen: set[Any] = set()
    for at, task in _entries(data):
        if not isinstance(task, dict):
            problems.append(f"{at}: must be a mapping")
            continue
        if "steps" in data:
            name = task.get("id")
            if not isinstance(name, str) or not name:
                problems.append(f"{at}.id: there is none; it names the step")
            elif name in seen:
                problems.append(f'{at}.id: "{name}" is given twice')
            else:
                seen.add(name)
        for old, new in _RENAMED.items():
            if old in task and new in task:
                problems.append(f"{at}.{old}: is what {new} was called in 1.0.0, and both are there")
            elif old in task and version != "1.0.0":
                problems.append(f'{at}.{old}: is of 1.0.0; since 1.1.0 it is called "{new}"')
    return problems


def _notes(data: Document, version: str) -> Iterator[str]:
    """What is of a later version than the document says, as where a newer file was copied; or that it says none."""
    said = data.get(_version_key(data))
    if str(said) != version:
        own = "there is none" if said is None else f'"{said}" is no version of the schema, but the workflow\'s own'
        yield f"version: {own}; read as {version}"
    if version == "1.0.0" and "tasks" in data:
        yield 'tasks: came with 1.1.0, and this says that it is 1.0.0, which has a list "steps"; read all the same'
    found: dict[str, list[str]] = {}
    for at, task in _entries(data):
        for key in task:
            if VERSIONS.index(_SINCE.get(key, "1.0.0")) > VERSIONS.index(version):
                found.setdefault(key, []).append(at)
    for key, places in found.items():
        if version == "1.0.0" and key in _RENAMED.values():
            continue  # it is what the older name becomes
        where = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
        yield f"{where}: {key} came with {_SINCE[key]}, and this says that it is {version}; kept as it is"


def _entries(data: Document) -> Iterator[tuple[str, Any]]:
    if "tasks" in data:
        yield from ((f"tasks.{name}", task) for name, task in data["tasks"].items())
    else:
        yield from ((f"steps[{index}]", step) for index, step in enumerate(data["steps"]))


def _replaced(data: Document, key: str, new: str, value: Any) -> Document:
    """The same with another key and value in the place of one."""
    return {(new if name == key else name): (value if name == key else old) for name, old in data.items()}


Outcome = tuple[Document, list[str]]


def _completed(task: Document, key: str, default: Any) -> Document:
    return task if key in task else {**task, key: default}


def up_1_0_0_to_1_1_0(data: Document) -> Outcome:
    """Execution modes, and with them tasks by id: what the list ran one by one is ``sequential``."""
    given = {step["id"]: step for step in data["steps"]} if "steps" in data else data["tasks"]
    tasks = {}
    for name, step in given.items():
        task = {_RENAMED.get(key, key): value for key, value in step.items() if key != "id" or "tasks" in data}
        tasks[name] = _completed(task, "execution_mode", "sequential")
    return _replaced(data, "steps", "tasks", tasks) if "steps" in data else {**data, "tasks": tasks}, []


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
    tasks = {name: _completed(task, "conditions", []) for name, task in data["tasks"].items()}
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
        changed = _with_conditions(task, f"tasks.{name}", expression_of, problems)
        tasks[name] = _completed(changed, "retry_count", 0)
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
