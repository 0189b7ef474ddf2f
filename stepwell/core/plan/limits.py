"""Limits on the size of a definition, and what its names may be made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from stepwell.core.expressions.values import shorten
from stepwell.schemas.definitions.model import Definition, Step

MAX_STEPS: Final = 100_000
MAX_EDGES: Final = 500_000
"""All that stands in ``depends_on``, together."""
MAX_NAME: Final = 1_000
"""Characters of what is for people but stands in one line, and of a handler's dotted path."""

# What would break a line or a terminal, turn the direction of a text, or cannot be seen.
_ODD: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u200b\\u2028-\\u202e\\u2060-\\u2069\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff]"
)
_ODD_IN_LINES: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_WHAT: Final = "line breaks, control characters or invisible ones"


def size_problems(definition: Definition) -> list[str]:
    """What is too large to look at any further."""
    steps = len(definition.steps)
    if steps > MAX_STEPS:
        return [f"steps: there are {steps:,}, {MAX_STEPS:,} are allowed; start workflows from within a step"]
    edges = sum([len(step.depends_on) for step in definition.steps])
    if edges > MAX_EDGES:
        return [f"steps: they name {edges:,} dependencies, {MAX_EDGES:,} are allowed; put a step between that joins"]
    return []


def text_problems(definition: Definition) -> Iterator[str]:
    """Each name that is too long, or would spoil a line that it stands in."""
    yield from _label(definition.name, "name")
    yield from _label(definition.version, "version")
    yield from _lines(definition.description, "description")
    for number, tag in enumerate(definition.tags):
        yield from _label(tag, f"tags[{number}]")
    for index, step in enumerate(definition.steps):
        yield from _step_problems(step, f"steps[{index}]")


def _step_problems(step: Step, at: str) -> Iterator[str]:
    if step.id != step.id.strip() or _ODD.search(step.id):
        yield f"{at}.id: {step.id!a} has blanks at its ends, {_WHAT}"
    labels = {"name": step.name, "handler": step.handler or "", "queue": step.queue}
    if step.checkpoint is not True and step.checkpoint:
        labels["checkpoint"] = str(step.checkpoint)
    if step.compensate is not None:
        labels |= {"compensate.handler": step.compensate.handler, "compensate.queue": step.compensate.queue}
    together = "".join(labels.values())
    if len(together) > MAX_NAME or _ODD.search(together):
        for key, text in labels.items():
            yield from _label(text, f"{at}.{key}")
    if step.description:
        yield from _lines(step.description, f"{at}.description")


def _label(text: str, at: str) -> Iterator[str]:
    if len(text) > MAX_NAME:
        yield f"{at}: has {len(text):,} characters, {MAX_NAME:,} are allowed"
    elif _ODD.search(text):
        yield f"{at}: '{shorten(text)}' has {_WHAT}"


def _lines(text: str, at: str) -> Iterator[str]:
    odd = _ODD_IN_LINES.search(text.replace("\r\n", "\n"))
    if odd:
        yield f"{at}: has the control character {odd[0]!a}"
