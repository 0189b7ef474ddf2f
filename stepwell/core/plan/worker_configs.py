"""What is wrong with the literal settings of steps that call models, work on files and ask agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from stepwell.core.expressions.json_schema import compile_schema
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind
from stepwell.core.plan.step_configs import has_template
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.model import (
    CHECKSUMS,
    FILE_FORMATS,
    FILE_OPERATION_KEYS,
    LONGEST_SECONDS,
    MESSAGE_ROLES,
    MOST_TEMPERATURE,
)
from stepwell.suggest import choice


def worker_config_problems(
    step_type: str, config: Mapping[str, Any], at: str, schemas: Meter | None = None
) -> Iterator[str]:
    """Each problem of a ``config``, as ``place: message``; what templates fill in is left out."""
    literal = {key: value for key, value in config.items() if not has_template(value)}
    if step_type == "llm":
        if "prompt" not in config and "messages" not in config:
            yield f'{at}: type "llm" needs "prompt" or "messages"'
        yield from _simple(_LLM, literal, at)
        yield from _messages(literal.get("messages", []), f"{at}.messages")
        if "schema" in literal:
            try:
                compile_schema(literal["schema"], schemas)
            except ExpressionError as error:
                yield f"{at}.schema{error.place}: {error.message}" + (f"; {error.remedy}" if error.remedy else "")
    elif step_type == "file_operation":
        yield from _file_problems(config, literal, at)
    elif step_type == "agent_task":
        yield from _simple({"agent_id": _text}, literal, at)


def _file_problems(config: Mapping[str, Any], literal: Mapping[str, Any], at: str) -> Iterator[str]:
    yield from _simple(_FILE, literal, at)
    operation = literal.get("operation")
    if not isinstance(operation, str) or operation not in FILE_OPERATION_KEYS:
        return
    taken = FILE_OPERATION_KEYS[operation]
    all_keys = {key for keys in FILE_OPERATION_KEYS.values() for key in keys}
    for key in config:
        if key in all_keys and key not in taken:
            yield f'{at}.{key}: the operation "{operation}" takes none; it takes {", ".join(taken)}'
    if "to" in taken and "to" not in config:
        yield f'{at}: the operation "{operation}" needs "to"'


def _simple(checks: Mapping[str, Callable[[Any], str]], literal: Mapping[str, Any], at: str) -> Iterator[str]:
    for key, check in checks.items():
        wrong = check(literal[key]) if key in literal else ""
        if wrong:
            yield f"{at}.{key}: {wrong}"


def _messages(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: a list of messages is needed, not {kind(value)}"
        return
    for number, message in enumerate(value):
        place = f"{at}[{number}]"
        if not isinstance(message, dict):
            yield f"{place}: a mapping with role and content is needed, not {kind(message)}"
            continue
        for key in message:
            if key not in ("role", "content"):
                yield f'{place}: unknown key "{key}"; there are role, content'
        role = message.get("role")
        if not isinstance(role, str) or role not in MESSAGE_ROLES:
            yield f"{place}.role: one of {', '.join(MESSAGE_ROLES)} is needed"
        if not isinstance(message.get("content"), str):
            yield f"{place}.content: a text is needed, not {kind(message.get('content'))}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return f"a text is needed, not {kind(value)}"
    return "" if value.strip() else "is empty"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"true or false is needed, not {kind(value)}"


def _number(least: float, most: float, *, above: bool = False, whole: bool = False) -> Callable[[Any], str]:
    wanted = f"a {'whole ' if whole else ''}number {'above' if above else 'from'} {least:g}" + (
        f" to {most:,.10g}" if not above else ""
    )

    def check(value: Any) -> str:
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        fits = right and least <= value <= most and not (above and value == least)
        return "" if fits else f"{wanted} is needed"

    return check


def _one_of(words: tuple[str, ...], what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"a text is needed, not {kind(value)}"
        return "" if value in words else f'unknown {what} "{value}"{choice(value, words)}'

    return check


_LLM: Final[Mapping[str, Callable[[Any], str]]] = {
    "prompt": _text,
    "system": _text,
    "model": _text,
    "temperature": _number(0, MOST_TEMPERATURE),
    "max_tokens": _number(1, 10_000_000, whole=True),
    "timeout_seconds": _number(0, LONGEST_SECONDS, above=True),
    "include_input": _flag,
}
_FILE: Final[Mapping[str, Callable[[Any], str]]] = {
    "operation": _one_of(tuple(FILE_OPERATION_KEYS), "operation"),
    "path": _text,
    "to": _text,
    "format": _one_of(FILE_FORMATS, "format"),
    "encoding": _text,
    "pattern": _text,
    "recursive": _flag,
    "algorithm": _one_of(CHECKSUMS, "algorithm"),
    "overwrite": _flag,
    "make_dirs": _flag,
}
