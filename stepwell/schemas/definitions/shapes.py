"""Plain data made into a definition, or everything that is wrong with its shape, in words of YAML and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec

from stepwell.schemas.definitions.model import (
    AfterHandler,
    Compensation,
    Definition,
    ErrorHandler,
    Mode,
    OnFailure,
    Retry,
    Step,
    WhenSkipped,
)
from stepwell.schemas.definitions.places import Path, Problem
from stepwell.schemas.records.step_waits import OnChildFailure, OnReject, OnTimeout
from stepwell.suggest import choice, did_you_mean, near_words

_NESTED: Final[dict[tuple[type, str], type[msgspec.Struct]]] = {
    (Step, "retry"): Retry,
    (Step, "compensate"): Compensation,
    (Compensation, "retry"): Retry,
}

_SAME: Final = (
    ("depends_on", "dependencies", "needs", "after", "requires"),
    ("retry", "retry_policy", "retry_count", "max_retries", "retries"),
    ("timeout_seconds", "timeout", "default_timeout_seconds"),
    ("condition", "conditions", "when", "if"),
    ("config", "parameters", "params", "with", "input"),
    ("mode", "execution_mode"),
    ("type", "action", "activity_type", "handler"),
    ("backoff_multiplier", "multiplier", "backoff_coefficient"),
    ("max_backoff_seconds", "max_delay_seconds", "maximum_interval", "max_interval"),
    ("initial_delay_seconds", "retry_delay", "initial_interval"),
    ("steps", "tasks", "nodes", "jobs"),
    ("queue", "agent_id"),
)  # what one system calls so is called otherwise in another


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What is wrong with a key that nothing is called by, with the one that is likely meant."""
    return _unknown_key(key, tuple(sorted(known)))


@lru_cache(maxsize=1024)  # a key that is wrong once is often wrong everywhere
def _unknown_key(key: str, known: tuple[str, ...]) -> str:
    same = [other for group in _SAME if key in group for other in group if other in known]
    hint = did_you_mean(same[0]) if same else choice(key, known) if known else "; none are"
    return f'unknown key "{key}"{hint}'


def unknown_value(value: str, known: Iterable[str], what: str = "value") -> str:
    """What is wrong with a choice among some words."""
    known = list(known)
    near = near_words(value, known)
    hint = f"{did_you_mean(near[0])} There are" if near else "; there are"
    return f'unknown {what} "{value}"{hint} {", ".join(known)}'


def shape_problems(data: dict[str, Any]) -> list[Problem]:
    """Everything about plain data, short forms spelt out, that is no definition's shape. In the document's order."""
    found = [*_struct(data, Definition, ())]
    order = {key: number for number, key in enumerate(data)}
    return sorted(found, key=lambda problem: order.get(str(problem.path[0]), -1) if problem.path else -1)


def struct_problems(data: Any, struct: type[msgspec.Struct], path: Path) -> list[Problem]:
    """Everything about plain data that is no such struct's shape.

    Args:
        path: Where the data is in its document.
    """
    return list(_struct(data, struct, path))


def _struct(data: Any, struct: type[msgspec.Struct], path: Path) -> Iterator[Problem]:
    if not isinstance(data, dict):
        yield Problem(path, f"expected a mapping, not {_kind(data)}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key in data:
        if key not in fields:
            yield Problem(path, unknown_key(key, fields))
    for name, field in fields.items():
        if name in data:
            yield from _value(data[name], struct, field, (*path, name))
        elif field.required:
            yield Problem(path, f'missing "{name}"')


def _value(
    value: Any, struct: type[msgspec.Struct], field: msgspec.structs.FieldInfo, path: Path
) -> Iterator[Problem]:
    name = field.encode_name
    nested = _NESTED.get((struct, name))
    if struct is Definition and name == "steps" and isinstance(value, (list, tuple)):
        for index, step in enumerate(value):
            if not _fits(step, Step):
                yield from _struct(step, Step, (*path, index))
    elif struct is Definition and name == "error_handlers" and isinstance(value, dict):
        for key, handler in value.items():
            yield from _struct(handler, ErrorHandler, (*path, key))
    elif nested is not None and isinstance(value, dict):
        yield from _struct(value, nested, path)
    else:
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            text, below = _split(str(error))
            yield Problem((*path, *below), in_words(text, name))


def _fits(value: Any, struct: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(value, struct)
    except msgspec.ValidationError:
        return False
    return True


_PLACE: Final = re.compile(r" - at `(?:key in )?\$?(?P<path>[^`]*)`$")


def _split(message: str) -> tuple[str, Path]:
    """Msgspec's message, and the indexes of the place within the value."""
    at = _PLACE.search(message)
    indexes = tuple(int(index) for index in re.findall(r"\[(\d+)\]", at["path"])) if at else ()
    return _PLACE.sub("", message), indexes


_EXPECTED = re.compile(r"Expected `(?P<types>[^`]+)`(?P<bound>.*?)(?:, got `(?P<got>[^`]+)`)?$")
_BOUND = re.compile(r" (?P<length>of length )?(?P<sign>>=|<=|>) (?P<number>[\d.e+]+)$")
_ENUM = re.compile(r"Invalid enum value (?P<value>.*)$")
_SIGNS = {">=": "of at least", "<=": "of at most", ">": "above"}
_WANTED = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "a mapping",
    "array": "a list",
}  # fmt: skip
_GOT = {"str": "a text", "int": "a number", "float": "a fraction", "bool": "a truth value", "null": "null",
        "object": "a mapping", "array": "a list", "date": "a date", "datetime": "a date"}  # fmt: skip
_CHOICES = {
    "mode": Mode, "on_failure": OnFailure, "then": AfterHandler, "on_timeout": OnTimeout, "on_reject": OnReject,
    "when_skipped": WhenSkipped,
    "child.on_failure": OnChildFailure,
}  # fmt: skip


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", tuple: "array", type(None): "null"}
    name = names.get(type(value), type(value).__name__)
    return _GOT.get(name, name)


def in_words(text: str, name: str = "") -> str:
    """Msgspec's message in words of YAML and JSON instead of Python's types."""
    choices = get_args(_CHOICES.get(name))
    enum, expected = _ENUM.match(text), _EXPECTED.match(text)
    if enum and choices:
        return unknown_value(enum["value"].strip("'"), choices)
    if not expected:
        text = text.replace("`", '"')
        return text[0].lower() + text[1:]
    kinds = [kind for kind in expected["types"].split(" | ") if kind != "null"]
    wanted = ", ".join(_WANTED.get(kind, kind) for kind in kinds[:-1])
    wanted += (" or " if wanted else "") + _WANTED.get(kinds[-1], kinds[-1])
    got = expected["got"]
    return f"expected {wanted}{_bound(expected['bound'])}" + (f", not {_GOT.get(got, got)}" if got else "")


def _bound(text: str) -> str:
    bound = _BOUND.match(text)
    if not bound:
        return text
    number = f"{float(bound['number']):,.10g}"
    unit = f" character{'' if number == '1' else 's'}" if bound["length"] else ""
    return f" {_SIGNS[bound['sign']]} {number}{unit}"
