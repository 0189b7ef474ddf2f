"""The dialect of a graph engine: ``dag.nodes`` with handlers and dependencies, ``{{ node.output.path }}``.

.. code-block:: yaml

    name: Harbour notes
    dag:
      nodes:
        - {id: input, handler: input, dependencies: []}
        - {id: tide, handler: call_external_service, dependencies: [input], config: {url: "https://tides.example"}}
        - {id: note, handler: llm_service, dependencies: [tide], config: {prompt: "{{ tide.output.response }}"}}
        - {id: output, handler: output, dependencies: [note]}

``{{ input.x }}`` is a key of the workflow's input, also where a node is called ``input``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepwell.schemas.definitions.places import Path
from stepwell.schemas.dialects.document import MISSING, Document, Entry, Made, Words, items, top
from stepwell.schemas.dialects.references import References

WORDS: Final = Words("node", {"depends_on": "dependencies", "type": "handler", "retry": "max_retries"})

_TOP: Final = ("id", "name", "version", "description", "tags", "dag")
_DAG: Final = ("nodes", "max_parallel_steps", "default_timeout_seconds")
_NODE: Final = (
    "id", "name", "description", "handler", "dependencies", "config", "timeout_seconds", "max_retries", "condition",
)  # fmt: skip
_BUILT_IN: Final = ("input", "output")
_OF_A_NODE: Final = ("output", "status", "error")

_MAX_RETRIES: Final = ("RETRY_MAX_RETRIES", 3.0)
_INITIAL_DELAY: Final = ("RETRY_INITIAL_DELAY", 1.0)  # seconds
_MAX_DELAY: Final = ("RETRY_MAX_DELAY", 60.0)


def compile_document(document: Document) -> Made:
    """Make the canonical form. How often nodes are tried again is a setting of the process that reads it."""
    entry = document.entry(document.data, (), _TOP, "a workflow")
    assert entry is not None  # noqa: S101 - it is a mapping
    made = top(document, entry, name=("name",) if entry.has("name") or not entry.has("id") else ("id",))
    value, path = entry.get("dag")
    steps = made["steps"] = []
    if value is MISSING:
        document.problem((), 'missing "dag"')
    dag = None if value is MISSING else document.entry(value, path, _DAG, "a dag")
    if dag is None:
        return made
    for key in ("max_parallel_steps", "default_timeout_seconds"):
        made.move(key, dag)
    nodes, path = dag.get("nodes")
    document.origins["steps",] = path
    read = [document.entry(node, at, _NODE, "a node") for node, at in items(document, nodes, path, "nodes")]
    ids = {node.data["id"] for node in read if node is not None and isinstance(node.data.get("id"), str)}
    retry = _retry(document)
    paths = References(ids, lambda _: None)
    for node in read:
        if node is not None:
            steps.append(_step(document, node, ("steps", len(steps)), ids, paths, retry))
    return made


def _step(
    document: Document, entry: Entry, path: Path, ids: set[str], paths: References, retry: Mapping[str, Any]
) -> Made:
    made = Made(document, path, entry.path)
    for key in ("id", "name", "description", "timeout_seconds"):
        made.move(key, entry)
    made.move("depends_on", entry, "dependencies")
    handler, at = entry.get("handler")
    if isinstance(handler, str) and handler in _BUILT_IN:
        made.put("type", handler, at)
    elif isinstance(handler, str) and handler in document.types.aliases:
        made.put("type", document.types.aliases[handler], at)
    else:
        made.move("handler", entry)
    references = paths.with_meaning(lambda parts: _resolve(document, parts, ids, entry.path))
    config, at = entry.mapping("config")
    made.put("config", references.in_value(config) or MISSING, at)
    condition, at = entry.get("condition")
    made.put("condition", references.in_expression(condition) if isinstance(condition, str) else condition, at)
    retries, at = entry.number("max_retries", whole=True)
    if document.has_attempts(made.get("type")):
        made.put("retry", retry if retries is MISSING else {**retry, "max_attempts": retries + 1}, at)
    return made


def _resolve(document: Document, parts: list[str], ids: set[str], at: Path) -> list[str] | None:
    root, rest = parts[0], parts[1:]
    if root in ids or (rest[:1] == ["output"] and root not in ("input", "input_data", "step_outputs", "context")):
        if rest[:1] == ["output"]:
            return ["step_outputs", root, *rest[1:]]
        if root == "input":
            return parts
        if rest and rest[0] not in _OF_A_NODE and root not in ("step_outputs", "context", "input_data"):
            wanted = ".".join([root, "output", *rest])
            document.problem(at, f'"{".".join(parts)}": a node has an output, a status and an error; write {wanted}')
            return ["step_outputs", root]  # said once is enough
        return None
    return parts if root in ("input", "input_data", "context") else None


def _retry(document: Document) -> dict[str, Any]:
    """What is tried again unless a node says otherwise."""
    initial, most = _setting(document, *_INITIAL_DELAY), _setting(document, *_MAX_DELAY)
    name = _MAX_DELAY[0]
    if most < initial:
        if document.environment.get(name, "").strip():
            document.problem((), f"the environment's {name} is {most:g}, less than {_INITIAL_DELAY[0]}, {initial:g}")
        most = initial
    return {
        "max_attempts": 1 + int(_setting(document, *_MAX_RETRIES)),
        "initial_delay_seconds": initial,
        "max_delay_seconds": most,
    }


def _setting(document: Document, name: str, default: float) -> float:
    written = document.environment.get(name, "").strip()
    try:
        value = float(written) if written else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1_000_000 or (name == _MAX_RETRIES[0] and not value.is_integer()):
        document.problem((), f"the environment's {name} is {written!r}; it takes a number from 0 to 1,000,000")
        return default
    return value
