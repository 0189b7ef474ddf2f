"""What is wrong with the literal settings of built-in steps. What a template fills in is checked when it runs."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, Final

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind
from stepwell.core.plan.gate_config import read_child, read_gate
from stepwell.core.plan.worker_configs import worker_config_problems
from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.model import (
    CONFIG_KEYS,
    HTTP_METHODS,
    LONGEST_SECONDS,
    OPERATION_KEYS,
    RULE_KEYS,
    Step,
)
from stepwell.suggest import choice


def config_problems(step: Step, at: str, schemas: Meter | None = None) -> Iterator[str]:
    """Each problem of a step's ``config``, as ``place: message``.

    Args:
        schemas: What pays for seeing whether its schemas are any; as for ``compile_schema``.
    """
    config = step.config
    yield from worker_config_problems(step.type, config, at, schemas)
    if step.type not in CONFIG_KEYS:
        return
    yield from _unknown(config, CONFIG_KEYS[step.type], at)
    literal = {key: value for key, value in config.items() if not _is_template(value)}
    if step.type == "input" and not isinstance(literal.get("data", {}), dict):
        yield f"{at}.data: a mapping is needed, not {kind(literal['data'])}"
    elif step.type == "wait" and "seconds" in literal:
        seconds = literal["seconds"]
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not number or not 0 <= seconds <= LONGEST_SECONDS:
            yield f"{at}.seconds: {seconds!r} is no number of seconds from 0 to ten years"
    elif step.type == "process" and literal.get("rules") is not None:
        yield from _rule_problems(literal["rules"], f"{at}.rules")
    elif step.type == "http_request":
        yield from _http_problems(config, at)
    elif step.type in ("approval_gate", "workflow_trigger"):
        yield from _waiting_problems(step.type, config, at)


def _waiting_problems(step_type: str, config: Mapping[str, Any], at: str) -> Iterator[str]:
    known = {key: value for key, value in config.items() if key in CONFIG_KEYS[step_type]}  # others are told already
    literal = {key: value for key, value in known.items() if key == "input" or not _has_template(value)}
    try:
        if step_type == "approval_gate":
            read_gate(literal, whole=len(literal) == len(known))
        elif "workflow" in literal:  # else it is missing, which is told elsewhere, or a template
            read_child(literal)
    except ExpressionError as error:
        yield f"{at}{error.message.removeprefix('config')}"


def _has_template(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_template, value))
    return _is_template(value)


def _http_problems(config: Mapping[str, Any], at: str) -> Iterator[str]:
    url, method = config.get("url", "https://"), config.get("method", "GET")
    if not isinstance(url, str):
        yield f"{at}.url: a text is needed, not {kind(url)}"
    elif not _HTTP.match(url) and (not _is_template(url) or _SCHEME.match(url)):
        yield f"{at}.url: only http:// and https:// URLs can be requested"
    if not isinstance(method, str):
        yield f"{at}.method: a text is needed, not {kind(method)}"
    elif not _is_template(method) and method.upper() not in HTTP_METHODS:
        yield f'{at}.method: unknown method "{method}"{choice(method.upper(), HTTP_METHODS)}'


def _rule_problems(rules: Any, at: str) -> Iterator[str]:
    if not isinstance(rules, list):
        yield f"{at}: a list of rules is needed, not {kind(rules)}"
        return
    for number, rule in enumerate(rules):
        place = f"{at}[{number}]"
        if _is_template(rule):
            continue
        if not isinstance(rule, dict):
            yield f"{place}: a mapping is needed, not {kind(rule)}"
            continue
        name = yield from _chosen(rule, "type", RULE_KEYS, place)
        if not name:
            continue
        known = RULE_KEYS[name]
        if name == "transform":
            operation = yield from _chosen(rule, "operation", OPERATION_KEYS, place)
            known = ("field", "operation", *OPERATION_KEYS[operation]) if operation else known
        yield from _unknown(rule, ("type", *known), place)


def _chosen(rule: Mapping[str, Any], key: str, known: Iterable[str], at: str) -> Generator[str, None, str]:
    """Yield what is wrong with a choice among some words; return it where it is right and no template."""
    word = rule.get(key)
    if _is_template(word):
        return ""
    if word is None:
        yield f'{at}: needs "{key}"'
    elif not isinstance(word, str):
        yield f"{at}.{key}: a text is needed, not {kind(word)}"
    elif word not in known:
        yield f'{at}.{key}: unknown {key} "{word}"{choice(word, known)}'
    else:
        return word
    return ""


def _unknown(given: Iterable[str], known: tuple[str, ...], at: str) -> Iterator[str]:
    for key in given:
        if key not in known:
            yield f'{at}: unknown key "{key}"{choice(key, known) if known else "; there are none"}'


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


_HTTP: Final = re.compile(r"https?://", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # before any template
