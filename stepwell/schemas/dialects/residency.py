"""The dialect of a residency scheduler's engine: a list of steps, dotted handlers, ``retry_policy``.

.. code-block:: yaml

    steps:
      - id: rota
        handler: hospital.rota.draft
        execution_mode: sequential
        retry_policy: {max_attempts: 3, backoff_multiplier: 2, max_backoff_seconds: 300}
    error_handlers: {rota: tell_chief}
    default_timeout_seconds: 3600

The wait before attempt n + 1 is the multiplier to the power of n: 2 s, 4 s, 8 s, never more than the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepwell.schemas.definitions.places import Path
from stepwell.schemas.dialects.document import MISSING, Document, Entry, Made, Words, items, top

WORDS: Final = Words("step", {"mode": "execution_mode", "retry": "retry_policy"})

_BESIDE: Final = ("name", "version", "description", "tags", "is_active")  # what a template has besides
_TOP: Final = ("steps", "error_handlers", "default_timeout_seconds", "max_parallel_steps")
_STEP: Final = (
    "id", "name", "description", "handler", "execution_mode", "depends_on", "condition", "retry_policy",
    "timeout_seconds", "input_mapping",
)  # fmt: skip
_RETRY: Final = ("max_attempts", "backoff_multiplier", "max_backoff_seconds", "retry_on_timeout")
_ATTEMPTS: Final = 3  # of a retry policy that does not say
_MULTIPLIER: Final = 2.0


def compile_document(document: Document) -> Made:
    """Make the canonical form. The definition may stand alone, or under ``definition`` beside name and tags."""
    data = document.data
    outer = None
    if isinstance(data.get("definition"), Mapping):
        outer = document.entry(data, (), (*_BESIDE, "definition"), "a template")
        inner = document.entry(data["definition"], ("definition",), (*_TOP, *_BESIDE), "a definition")
    else:
        inner = document.entry(data, (), (*_BESIDE, *_TOP), "a definition")
    assert inner is not None  # noqa: S101 - both are mappings
    whole = outer or inner
    if outer is not None:  # what only the definition says holds, too
        whole = Entry(document, {**{key: inner.data[key] for key in _BESIDE if key in inner.data}, **outer.data}, ())
    made = top(document, whole)
    if whole.has("is_active") and whole.value("is_active") is not True:
        document.problem((*whole.path, "is_active"), "a definition is registered as active; leave this out")
    for key in ("default_timeout_seconds", "max_parallel_steps"):
        made.move(key, inner)
    steps = made["steps"] = []
    value, path = inner.get("steps")
    document.origins["steps",] = path
    for step, at in items(document, value, path, "steps"):
        entry = document.entry(step, at, _STEP, "a step")
        if entry is not None:
            steps.append(_step(document, entry, ("steps", len(steps))))
    handlers, at = inner.mapping("error_handlers")
    if handlers:
        made.put("error_handlers", _own_handlers(document, handlers, steps, at), at)
    return made


def _step(document: Document, entry: Entry, path: Path) -> Made:
    made = Made(document, path, entry.path)
    kept = ("id", "name", "description", "handler", "depends_on", "condition", "timeout_seconds", "input_mapping")
    for key in kept:
        made.move(key, entry)
    made.move("mode", entry, "execution_mode")
    policy, at = entry.get("retry_policy")
    retry = document.entry(policy, at, _RETRY, "a retry policy") if policy is not MISSING else None
    if retry is not None:
        of = made.below("retry", at)
        of["max_attempts"] = _ATTEMPTS
        of.move("max_attempts", retry)
        multiplier, origin = retry.number("backoff_multiplier")
        of.put("multiplier", _MULTIPLIER if multiplier is MISSING else multiplier, origin)
        of.move("max_delay_seconds", retry, "max_backoff_seconds")
        most = of.get("max_delay_seconds")
        held = isinstance(most, (int, float)) and not isinstance(most, bool) and most < of["multiplier"]
        of.put("initial_delay_seconds", most if held else of["multiplier"], origin)
        of.move("retry_on_timeout", retry)
    return made


def _own_handlers(document: Document, handlers: Mapping[str, Any], steps: list[Any], at: Path) -> dict[str, Any]:
    """Error handlers of which each serves one step: a step that handles the failures of several is copied."""
    places = {step["id"]: index for index, step in enumerate(steps) if isinstance(step.get("id"), str)}
    taken: set[Any] = set()
    made = {}
    for failing, handler in handlers.items():
        document.origins["error_handlers", failing] = (*at, failing)
        made[failing] = {"step": handler} if isinstance(handler, str) else handler
        if isinstance(handler, str) and handler in taken and handler in places and failing in places:
            index = places[handler]
            copy = f"{handler}_of_{failing}"
            document.origins["steps", len(steps)] = document.origins["steps", index]
            alone = {key: value for key, value in steps[index].items() if key != "depends_on"}
            steps.append({**alone, "id": copy})
            made[failing] = {"step": copy}
        elif isinstance(handler, str):
            taken.add(handler)
    return made
