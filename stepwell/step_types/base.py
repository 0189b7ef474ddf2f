"""Checks of settings that several step types share. Each gives what is wrong with a value; nothing if it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stepwell.core.expressions.json_schema import compile_schema
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind
from stepwell.core.plan.step_configs import has_template
from stepwell.errors import ExpressionError
from stepwell.suggest import choice

Check = Callable[[Any], str]
NUMBER_OF_SECONDS: Mapping[str, Any] = {"type": "number", "minimum": 0}
"""JSON Schema of a time in seconds."""


def is_template(value: Any) -> bool:
    """Whether a text holds a template, to be filled in when the step runs."""
    return isinstance(value, str) and "{{" in value


def is_written_out(value: Any) -> bool:
    """Whether a value is a text that stands in the definition as it is: one that a credential should not be."""
    return isinstance(value, str) and bool(value) and not is_template(value)


def literal_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are written out; what templates fill in is left out."""
    return {key: value for key, value in config.items() if not has_template(value)}


def problems_of(checks: Mapping[str, Check], literal: Mapping[str, Any], at: str) -> Iterator[str]:
    """What is wrong with these settings, as ``place: message``."""
    for key, check in checks.items():
        wrong = check(literal[key]) if key in literal else ""
        if wrong:
            yield f"{at}.{key}: {wrong}"


def schema_problems(value: Any, at: str, schemas: Meter | None) -> Iterator[str]:
    """What is wrong with a JSON Schema.

    Args:
        schemas: What pays; as for ``compile_schema``.
    """
    try:
        compile_schema(value, schemas)
    except ExpressionError as error:
        yield f"{at}{error.place}: {error.message}" + (f"; {error.remedy}" if error.remedy else "")


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str):
        return f"a text is needed, not {kind(value)}"
    return "" if value.strip() else "is empty"


def flag(value: Any) -> str:
    """True or false."""
    return "" if isinstance(value, bool) else f"true or false is needed, not {kind(value)}"


def number(least: float, most: float, *, above: bool = False, whole: bool = False) -> Check:
    """A number within these bounds; ``above``: more than the least, and messages name no most."""
    wanted = f"a {'whole ' if whole else ''}number {'above' if above else 'from'} {least:g}" + (
        f" to {most:,.10g}" if not above else ""
    )

    def check(value: Any) -> str:
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        fits = right and least <= value <= most and not (above and value == least)
        return "" if fits else f"{wanted} is needed"

    return check


def one_of(words: Iterable[str], what: str) -> Check:
    """One of these texts; ``what`` they are, for messages."""
    words = tuple(words)

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"a text is needed, not {kind(value)}"
        return "" if value in words else f'unknown {what} "{value}"{choice(value, words)}'

    return check


def in_lists(value: Any) -> bool:
    """Whether a value is a template, or a list that holds one."""
    if isinstance(value, (list, tuple)):
        return any(map(in_lists, value))
    return is_template(value)
