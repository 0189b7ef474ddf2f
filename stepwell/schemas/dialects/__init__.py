"""Definitions as other systems write them, each compiled to the canonical form.

Which dialect a document is written in is told by its shape, or by whoever loads it. docs/dialects.md says what each
key becomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepwell.schemas.definitions.places import Path, Problem
from stepwell.schemas.definitions.step_type import StepTypes

if TYPE_CHECKING:
    from stepwell.schemas.dialects.document import Words

CANONICAL: Final = "canonical"

DIALECTS: Final = ("residency", "executor", "orchestration", "dag", "tasks")
"""Each is the module of its name, with ``WORDS`` and ``compile_document``; imported once a document is written so."""

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
    from stepwell.schemas.dialects.document import Document  # noqa: PLC0415 - most documents are canonical

    document = Document(data, name, environment, types)
    chosen = import_module(f"{__name__}.{dialect}")
    plain = chosen.compile_document(document)
    return Translation(plain, document.problems, document.origins, chosen.WORDS)


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
        from stepwell.schemas.dialects.executor import has_signs  # noqa: PLC0415 - as above

        return "executor" if has_signs(data) else CANONICAL
    if not isinstance(steps, (list, tuple)):
        return CANONICAL
    keys: set[str] = set().union(*(step for step in steps if isinstance(step, Mapping)))
    if "action" in keys and not keys & {"type", "handler"}:
        return "orchestration"  # its first version had a list
    signs = keys & _OF_RESIDENCY
    foreign = keys & _CANONICAL_ONLY
    return "residency" if (signs or "name" not in data) and not foreign else CANONICAL


_OF_RESIDENCY: Final = frozenset({"execution_mode", "retry_policy"})  # keys of a step that no other list of steps has
_CANONICAL_ONLY: Final = frozenset({
    "type", "queue", "input", "config", "mode", "retry", "on_failure", "compensate", "checkpoint",
})  # fmt: skip
