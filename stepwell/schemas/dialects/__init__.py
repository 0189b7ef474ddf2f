"""Definitions as other systems write them, each compiled to the canonical form.

Which dialect a document is written in is told by its shape, or by whoever loads it. docs/dialects.md says what each
key becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from stepwell.schemas.definitions.places import Path, Problem
from stepwell.schemas.definitions.step_type import StepTypes
from stepwell.schemas.dialects import dag, executor, orchestration, residency, tasks
from stepwell.schemas.dialects.document import Document, Made, Words

CANONICAL: Final = "canonical"


class Dialect(NamedTuple):
    """How one dialect is compiled.

    Attributes:
        words: How it calls things.
        compile: Makes the canonical form.
    """

    words: Words
    compile: Callable[[Document], Made]


DIALECTS: Final[Mapping[str, Dialect]] = {
    "residency": Dialect(residency.WORDS, residency.compile_document),
    "executor": Dialect(executor.WORDS, executor.compile_document),
    "orchestration": Dialect(orchestration.WORDS, orchestration.compile_document),
    "dag": Dialect(dag.WORDS, dag.compile_document),
    "tasks": Dialect(tasks.WORDS, tasks.compile_document),
}
NAMES: Final = (CANONICAL, *DIALECTS)


class Translation(NamedTuple):
    """A document in the canonical form.

    Attributes:
        plain: The canonical form, as far as it could be made.
        problems: What is wrong with the document.
        origins: Places of the canonical form by the place in the document that they came from.
        words: How the dialect calls things.
    """

    plain: dict[str, Any]
    problems: list[Problem]
    origins: dict[Path, Path]
    words: Words


def translate(
    data: Mapping[str, Any], dialect: str, types: StepTypes, *, name: str, environment: Mapping[str, str]
) -> Translation:
    """Compile a document of one of ``DIALECTS``.

    Args:
        data: The document.
        types: The built-in step types.
        name: What the workflow is called if the document does not say; empty if that is not known.
        environment: Where the ``dag`` dialect finds how often nodes are tried again.
    """
    document = Document(data, name, environment, types)
    chosen = DIALECTS[dialect]
    plain = chosen.compile(document)
    return Translation(plain, document.problems, document.origins, chosen.words)


def detect(data: Mapping[str, Any]) -> str:
    """The dialect that a document is written in, by its shape."""
    steps = data.get("steps")
    if "dag" in data:
        return "dag"
    if "tasks" in data and "steps" not in data:
        return "tasks" if isinstance(data["tasks"], (list, tuple)) else "orchestration"
    if isinstance(data.get("definition"), Mapping) and "steps" not in data:
        return "residency"
    if isinstance(steps, Mapping):
        return "executor" if executor.has_signs(data) else CANONICAL
    if not isinstance(steps, (list, tuple)):
        return CANONICAL
    keys: set[str] = set().union(*(step for step in steps if isinstance(step, Mapping)))
    if "action" in keys and not keys & {"type", "handler"}:
        return "orchestration"  # its first version had a list
    signs = keys & residency.SIGNS
    foreign = keys & _CANONICAL_ONLY
    return "residency" if (signs or "name" not in data) and not foreign else CANONICAL


_CANONICAL_ONLY: Final = frozenset({
    "type", "queue", "input", "config", "mode", "retry", "on_failure", "compensate", "checkpoint",
})  # fmt: skip
