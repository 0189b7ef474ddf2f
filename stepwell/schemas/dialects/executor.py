"""The dialect of a step executor: steps as a mapping, data that is merged from step to step, ``max_retries``.

.. code-block:: yaml

    id: greeting
    steps:
      collect: {type: input, input: {data: {text: hi}}}
      shout:
        type: process
        input: {rules: [{type: transform, field: text, operation: uppercase}]}
        depends_on: [collect]
        max_retries: 2

``input`` of a step holds the settings of its type. What it works on comes from its dependencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepwell.schemas.definitions.literals import literal
from stepwell.schemas.definitions.places import Path
from stepwell.schemas.dialects.document import MISSING, Document, Entry, Made, Words, entries, top

WORDS: Final = Words("step", {"config": "input", "retry": "max_retries"})

_TOP: Final = (
    "id", "name", "version", "description", "tags", "steps", "max_parallel_steps", "default_timeout_seconds",
)  # fmt: skip
_STEP: Final = (
    "type", "name", "description", "input", "depends_on", "max_retries", "timeout_seconds", "condition",
)  # fmt: skip
_RETRIES: Final = 3  # of a step that does not say


def compile_document(document: Document) -> Made:
    """Make the canonical form; ``id`` is the name, and a ``name`` beside it the description."""
    entry = document.entry(document.data, (), _TOP, "a workflow")
    assert entry is not None  # noqa: S101 - it is a mapping
    made = top(document, entry, name=("id",) if entry.has("id") else ("name",))
    if entry.has("id") and not entry.has("description"):
        made.move("description", entry, "name")
    for key in ("max_parallel_steps", "default_timeout_seconds"):
        made.move(key, entry)
    steps = made["steps"] = []
    value, path = entry.get("steps")
    document.origins["steps",] = path
    for step_id, data, at in entries(document, value, path, "steps"):
        step = document.entry(data, at, _STEP, "a step")
        if step is not None:
            steps.append(_step(document, step_id, step, ("steps", len(steps))))
    return made


def _step(document: Document, step_id: str, entry: Entry, path: Path) -> Made:
    made = Made(document, path, entry.path)
    made.put("id", step_id, entry.path)
    for key in ("name", "description", "depends_on", "timeout_seconds", "condition"):
        made.move(key, entry)
    kind, at = entry.get("type")
    if kind is MISSING:
        document.problem(entry.path, 'missing "type"')
        kind = "process"
    kind = document.types.aliases.get(kind, kind) if isinstance(kind, str) else kind
    made.put("type", kind, at)
    settings, at = entry.mapping("input")
    made.put("config", settings or MISSING, at)
    if kind == "llm":
        _show_branches(made)
    retries, at = entry.number("max_retries", whole=True)
    if document.has_attempts(kind):
        retry = made.below("retry", at)
        retry.put("max_attempts", 1 + (_RETRIES if retries is MISSING else retries), at)
    return made


def _show_branches(made: Made) -> None:
    """A model sees what several steps gave under their names: merged, a key that two of them have would be lost."""
    after = made.get("depends_on")
    if isinstance(after, list) and len(after) > 1 and all(isinstance(name, str) for name in after):
        shown = {name: "{{ step_outputs[" + literal(name) + "] }}" for name in after}
        made.put("input", shown, made.origin("depends_on"))


def has_signs(data: Mapping[str, Any]) -> bool:
    """Whether a mapping of steps is written in this dialect, and not in the canonical form."""
    steps = [step for step in data["steps"].values() if isinstance(step, Mapping)]
    return "id" in data or any("max_retries" in step or _settings_in_input(step) for step in steps)


def _settings_in_input(step: Mapping[str, Any]) -> bool:
    """Whether ``input`` holds what the canonical form has under ``config``."""
    own = {"process": "rules", "ai": "prompt"}.get(str(step.get("type")))
    given = step.get("input")
    return own is not None and "config" not in step and isinstance(given, Mapping) and own in given
