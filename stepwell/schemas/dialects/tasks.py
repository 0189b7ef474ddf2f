"""The dialect of a durable engine's YAML files: a list of tasks with ``type`` and ``activity_type``.

.. code-block:: yaml

    name: expense-claim
    version: 1.0
    tasks:
      - {id: rate, type: activity, activity_type: http_request, config: {url: "https://rates.example/eur"}}
      - id: sign
        type: human_approval
        depends_on: [rate]
        condition: parameters.amount > 500
        timeout: 3d
        config: {approvers: [lena], message: "{{ parameters.amount }} for {{ parameters.what }}"}

An activity that is no built-in type is a handler. A group (``type: parallel`` with ``tasks``) is spelt out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepwell.schemas.definitions.literals import literal
from stepwell.schemas.definitions.places import Path
from stepwell.schemas.definitions.shapes import unknown_value
from stepwell.schemas.dialects.document import MISSING, Document, Entry, Made, Words, items, top
from stepwell.schemas.dialects.references import References, write
from stepwell.schemas.dialects.settings import seconds, settings_of

WORDS: Final = Words("task", {"handler": "activity_type", "timeout_seconds": "timeout"})

_TOP: Final = (
    "id", "name", "version", "description", "tags", "parameters", "tasks", "timeout", "timeout_seconds",
    "max_parallel_tasks", "output",
)  # fmt: skip
_TASK: Final = (
    "id", "name", "description", "type", "activity_type", "config", "input", "depends_on", "dependencies",
    "condition", "retry", "retry_policy", "timeout", "timeout_seconds", "on_failure", "tasks", "queue",
)  # fmt: skip
_RETRY: Final = (
    "max_attempts", "maximum_attempts", "max_retries", "initial_interval", "initial_delay",
    "initial_interval_seconds", "backoff_coefficient", "backoff_multiplier", "multiplier", "maximum_interval",
    "max_interval", "max_delay", "maximum_interval_seconds", "max_interval_seconds", "non_retryable_errors",
    "non_retryable_error_types", "non_retryable",
)  # fmt: skip
_PARAMETER: Final = ("name", "required")  # what a parameter has besides the keys of a JSON Schema
_TYPES: Final[Mapping[str, str]] = {
    "human_approval": "approval_gate", "approval": "approval_gate", "human_task": "approval_gate", "delay": "wait",
    "sleep": "wait", "condition": "condition_check", "sub_workflow": "workflow_trigger",
}  # fmt: skip
_ATTEMPTS: Final = 3  # of a retry policy that does not say
_INPUT: Final = ("parameters", "params", "inputs")
_OUTPUT: Final = ("output", "outputs", "result")


class _Reader:
    """Spells out the tasks of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.types = _types(document)
        self.defaults: dict[str, Any] = {}
        self.groups: dict[str, list[str]] = {}
        self.ids: set[str] = set()
        self.references = References((), lambda _: None)

    def read(self) -> Made:
        document = self.document
        entry = document.entry(document.data, (), _TOP, "a workflow")
        assert entry is not None  # noqa: S101 - it is a mapping
        made = top(document, entry, name=("name",) if entry.has("name") or not entry.has("id") else ("id",))
        made.move("max_parallel_steps", entry, "max_parallel_tasks")
        limit, at = entry.get("timeout", "timeout_seconds")
        made.put("default_timeout_seconds", seconds(document, limit, at), at)
        self._parameters(entry, made)
        value, path = entry.get("tasks")
        document.origins["steps",] = path
        found = list(self._tasks(value, path, ()))
        self.ids = {task.data["id"] for task, _ in found if isinstance(task.data.get("id"), str)}
        self.references = References(self.ids, self._resolve)
        made["steps"] = [self._step(task, outer, ("steps", index)) for index, (task, outer) in enumerate(found)]
        output, at = entry.get("output")
        made.put("output", output if output is MISSING else self.references.in_value(output), at)
        return made

    def _parameters(self, entry: Entry, made: Made) -> None:
        """What the workflow's input is to be: a mapping by name, or a list with names."""
        declared, at = entry.get("parameters")
        if declared is MISSING:
            return
        if isinstance(declared, Mapping):
            named = [(name, spec, (*at, name)) for name, spec in declared.items()]
        elif not isinstance(declared, (list, tuple)):
            self.document.problem(at, "expected parameters by name, such as {amount: {type: number}}, or a list")
            return
        else:
            named = [
                (spec.get("name") if isinstance(spec, Mapping) else spec, {} if isinstance(spec, str) else spec, path)
                for spec, path in items(self.document, declared, at, "parameters")
            ]
        properties, required = {}, []
        for name, spec, path in named:
            if isinstance(spec, str):
                spec = {"type": spec}  # noqa: PLW2901 - the short form
            if not isinstance(name, str) or not isinstance(spec, (Mapping, type(None))):
                self.document.problem(path, "a parameter is a name with a mapping, such as {type: string}")
                continue
            spec = dict(spec or {})  # noqa: PLW2901
            if "default" in spec:
                self.defaults[name] = spec["default"]
            if spec.get("required") is True:
                required.append(name)
            properties[name] = {key: value for key, value in spec.items() if key not in _PARAMETER}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        made.put("input_schema", {**schema, "required": required} if required else schema, at)

    def _literal(self, parameter: str) -> str:
        """A parameter's default as an expression; what is none was told where it is declared."""
        try:
            return literal(self.defaults[parameter], as_python=True)
        except ValueError:
            return "null"

    def _tasks(self, value: Any, path: Path, outer: tuple[str, ...]) -> Iterator[tuple[Entry, tuple[str, ...]]]:
        """Every task that is no group, with what its groups depend on."""
        for data, at in items(self.document, value, path, "tasks"):
            entry = self.document.entry(data, at, _TASK, "a task")
            if entry is None:
                continue
            if entry.value("type") in ("parallel", "group") or (entry.has("tasks") and not entry.has("type")):
                inner, below = entry.get("tasks")
                members = list(
                    self._tasks(inner, below, (*outer, *_texts(entry.value("depends_on", "dependencies"))))
                )
                if isinstance(entry.data.get("id"), str):
                    self.groups[entry.data["id"]] = [str(task.data.get("id")) for task, _ in members]
                yield from members
            else:
                yield entry, outer

    def _step(self, entry: Entry, outer: tuple[str, ...], path: Path) -> Made:
        document = self.document
        made = Made(document, path, entry.path)
        for key in ("id", "name", "description", "on_failure", "queue"):
            made.move(key, entry)
        kind = self._kind(entry, made)
        before, at = entry.get("depends_on", "dependencies")
        if outer or self.groups:
            named = (
                [*outer, *_texts(before)] if before is MISSING or isinstance(before, (str, list, tuple)) else before
            )
            if isinstance(named, list):
                spelt = [member for name in named for member in self.groups.get(name, [name])]
                before = list(dict.fromkeys(spelt)) if outer or spelt != named else before
        made.put("depends_on", before or MISSING, at)
        condition, at = entry.get("condition")
        made.put("condition", self._expression(condition), at)
        given, at = entry.get("input")
        made.put("input", given if given is MISSING else self.references.in_value(given), at)
        config, at = entry.mapping("config")
        settings = settings_of(document, kind, self.references.in_value(config), at, (*path, "config"))
        if isinstance(settings.get("condition"), str) and kind == "condition_check":
            settings["condition"] = self._expression(settings["condition"])
        self._patience(entry, made, kind, settings)
        if settings:
            made["config"] = settings
        return made

    def _expression(self, source: Any) -> Any:
        return self.references.in_expression(source) if isinstance(source, str) else source

    def _kind(self, entry: Entry, made: Made) -> str:
        kind, at = entry.get("type")
        activity, activity_at = entry.get("activity_type")
        if kind is MISSING:
            kind = "activity"
        if kind != "activity":
            if not isinstance(kind, str) or kind not in self.types:
                self.document.problem(at, unknown_value(str(kind), ["activity", "parallel", *self.types], "type"))
                made.put("type", "input", at)
                return ""
            made.put("type", self.types[kind], at)
            if activity is not MISSING:
                self.document.problem(activity_at, f'a task of type "{kind}" takes none')
            return self.types[kind]
        if activity is MISSING:
            self.document.problem(entry.path, 'missing "activity_type": http_request, or the name of a handler')
            made.put("type", "input", at)
            return ""
        if isinstance(activity, str) and activity in self.types:
            made.put("type", self.types[activity], activity_at)
            return self.types[activity]
        made.put("handler", activity, activity_at)
        return "python"

    def _patience(self, entry: Entry, made: Made, kind: str, settings: Made) -> None:
        """Attempts and time limits. What is decided at once has neither, and an approval's limit is a deadline."""
        limit, at = entry.get("timeout", "timeout_seconds")
        limit = seconds(self.document, limit, at)
        if kind == "approval_gate" and "timeout_seconds" not in settings:
            settings.put("timeout_seconds", limit, at)
        policy, policy_at = entry.get("retry", "retry_policy")
        if not self.document.is_run(kind):
            return
        made.put("timeout_seconds", limit, at)
        if isinstance(policy, int) and not isinstance(policy, bool):
            policy = {"max_attempts": policy}
        if policy is not MISSING:
            retry = self.document.entry(policy, policy_at, _RETRY, "a retry policy")
            if retry is not None:
                _retry(made.below("retry", policy_at), retry)

    def _resolve(self, parts: list[str]) -> list[str] | str | None:
        if parts[0] in _INPUT and parts[0] not in self.ids:
            path = ["input", *parts[1:]]
            if len(parts) > 1 and parts[1] in self.defaults:
                default = self._literal(parts[1])
                return f"({write(path[:2])} if {parts[1]!r} in input else {default}){write(['', *path[2:]])}"
            return path
        if parts[0] == "tasks" and len(parts) > 1 and "tasks" not in self.ids:
            parts = parts[1:]
            if len(parts) == 1 or parts[1] not in _OUTPUT:
                return ["step_outputs", *parts] if len(parts) == 1 else parts
        if (
            len(parts) > 1
            and parts[1] in _OUTPUT
            and parts[0] not in ("input", "input_data", "context", "step_outputs")
        ):
            return ["step_outputs", parts[0], *parts[2:]]
        return parts if parts[0] in ("input", "input_data", "context", "step_outputs") else None


def _types(document: Document) -> Mapping[str, str]:
    """What tasks and activities may be called, with the type that each is."""
    types = document.types
    return {**_TYPES, **{one.name: one.name for one in types if not one.takes_handler}, **types.aliases}


def compile_document(document: Document) -> Made:
    """Make the canonical form."""
    return _Reader(document).read()


def _retry(made: Made, entry: Entry) -> None:
    made["max_attempts"] = _ATTEMPTS
    retries, at = entry.number("max_retries", whole=True)
    if retries is not MISSING:
        made.put("max_attempts", retries + 1, at)
    made.move("max_attempts", entry, "max_attempts", "maximum_attempts")
    made.move("initial_delay_seconds", entry, "initial_interval", "initial_delay", "initial_interval_seconds")
    made.move("multiplier", entry, "backoff_coefficient", "backoff_multiplier", "multiplier")
    made.move(
        "max_delay_seconds", entry,
        "maximum_interval", "max_interval", "max_delay", "maximum_interval_seconds", "max_interval_seconds",
    )  # fmt: skip
    made.move("non_retryable", entry, "non_retryable_errors", "non_retryable_error_types", "non_retryable")
    for key in ("initial_delay_seconds", "max_delay_seconds"):
        if key in made:
            value = seconds(entry.document, made.pop(key), made.origin(key))
            if value is not MISSING:
                made[key] = value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [part for part in value if isinstance(part, str)] if isinstance(value, (list, tuple)) else []
