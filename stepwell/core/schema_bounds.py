"""JSON Schema with bounds: patterns in linear time (RE2), no fetching, and as much work as a budget allows.

A schema comes with a definition, so that whoever writes one must not be able to stop the engine: a pattern such as
``(a+)+$`` takes Python's own ``re`` for ever on thirty characters, and twenty lines of ``$defs`` that each refer to
the one before twice take a million steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import msgspec

from stepwell.core.values import shorten
from stepwell.errors import ExpressionError

MAX_VALUES: Final = 20_000
"""Values of a schema, keys not counted: about 1 MB of text, checked in some seconds."""
MAX_DEPTH: Final = 100
MAX_WORK: Final = 4_000_000
"""What one check may cost, in elements looked at; a keyword costs ten. Some seconds at most."""
MAX_ERRORS: Final = 100
"""Mistakes that are compared to find the best one to tell."""

_work: ContextVar[list[int]] = ContextVar("work")
_LITERAL: Final = frozenset({"const", "enum", "default", "examples"})  # what is below them is data, no schema


class BoundedValidator:
    """One of jsonschema's validators, with bounds; made by :func:`bounded_validator`."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    def iter_errors(self, data: Any, work: list[int] | None = None) -> Iterator[Any]:
        """What does not fit, as jsonschema's errors; the first ``MAX_ERRORS`` of it.

        Args:
            work: What is left of the work that several checks may cost together; by default each has its own.

        Raises:
            ExpressionError: It takes too much work.
            Exception: Whatever jsonschema raises for a ``$ref`` that leads nowhere, or numbers that are no floats.
        """
        token = _work.set([MAX_WORK] if work is None else work)
        try:
            return iter(list(islice(self._validator.iter_errors(data), MAX_ERRORS)))
        except RecursionError:
            raise ExpressionError(
                "the schema refers to itself without end, or the data is nested too deeply"
            ) from None
        finally:
            _work.reset(token)


def bounded_validator(schema: Mapping[str, Any]) -> BoundedValidator:
    """Check a schema.

    Args:
        schema: Of the draft that its ``$schema`` names; by default 2020-12.

    Raises:
        ExpressionError: It is none, or not within bounds; ``place`` is where, such as ``.properties.age``.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - 0.1 s, paid by whoever has a schema
    from jsonschema.exceptions import best_match  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # noqa: PLC0415

    _check_size(schema)
    draft = schema.get("$schema", "")
    if not isinstance(draft, str):
        raise ExpressionError("the name of a draft is a text", place=".$schema")
    known = validator_for({"$schema": draft}, default=Draft202012Validator)
    error = best_match(islice(known(known.META_SCHEMA).iter_errors(schema), MAX_ERRORS))
    if error is not None:
        raise ExpressionError(shorten(error.message, 200), place=error.json_path[1:])
    _check_patterns_and_references(schema)
    # Without a registry of its own it would fetch what a schema refers to over the network.
    return BoundedValidator(_bounded(known)(schema, registry=REGISTRY))


def _check_size(schema: Any) -> None:
    level, count = [schema], 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_VALUES:
            raise ExpressionError(f"the schema has more than {MAX_VALUES:,} values")
        level = [
            part
            for value in level
            if isinstance(value, (Mapping, list, tuple))
            for part in (value.values() if isinstance(value, Mapping) else value)
        ]
        if not level:
            return
    raise ExpressionError(f"the schema is nested more than {MAX_DEPTH} deep")


def _check_patterns_and_references(schema: Any) -> None:
    left: list[tuple[str, Any]] = [("", schema)]
    pointers: list[tuple[str, str]] = []
    named = False
    while left:
        at, value = left.pop()
        if isinstance(value, (list, tuple)):
            left += [(f"{at}[{number}]", part) for number, part in enumerate(value)]
        elif isinstance(value, Mapping):
            left += [(f"{at}.{shorten(key, 40)}", part) for key, part in value.items() if key not in _LITERAL]
            named = named or "$id" in value
            if isinstance(value.get("pattern"), str):
                _regex(value["pattern"], f"{at}.pattern")
            patterns = value.get("patternProperties")
            if isinstance(patterns, Mapping):
                for pattern in patterns:
                    _regex(pattern, f"{at}.patternProperties")
                if "unevaluatedProperties" in value:
                    raise ExpressionError(
                        "unevaluatedProperties beside patternProperties is not supported", place=at,
                        remedy="Write additionalProperties.",
                    )  # fmt: skip
            reference = value.get("$ref")
            if isinstance(reference, str) and reference.startswith("#/") and "%" not in reference:
                pointers.append((f"{at}.$ref", reference))
    for at, reference in (
        () if named else pointers
    ):  # an $id gives pointers another root: they show when they are used
        if not _leads_somewhere(reference, schema):
            raise ExpressionError(f'there is no "{shorten(reference)}" in the schema', place=at)


def _leads_somewhere(pointer: str, schema: Any) -> bool:
    place: Any = schema
    for part in pointer[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, Mapping) and key in place:
            place = place[key]
        elif isinstance(place, (list, tuple)) and key.isascii() and key.isdigit() and int(key[:9]) < len(place):
            place = place[int(key[:9])]
        else:
            return False
    return True


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - as jsonschema

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


def _regex(pattern: str, at: str = "") -> Any:
    try:
        return _compiled(pattern)
    except Exception as error:
        why = error.args[0] if error.args else error
        why = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ExpressionError(
            f"'{shorten(pattern, 60)}' is no pattern: {shorten(why, 100)}", place=at,
            remedy="Patterns are those of RE2: no look-around, no back-references, at most 1,000 repetitions.",
        ) from None  # fmt: skip


def _matches(pattern: str, text: str) -> bool:
    return _regex(pattern).search(text) is not None


@lru_cache(maxsize=8)
def _bounded(draft: Any) -> Any:
    """A validator's class with keywords that pay for what they do."""
    from jsonschema import ValidationError  # noqa: PLC0415 - as above
    from jsonschema.validators import extend  # noqa: PLC0415

    def pattern(validator: Any, wanted: str, data: Any, _: Any) -> Iterator[Any]:
        if validator.is_type(data, "string") and not _matches(wanted, data):
            yield ValidationError(f"{shorten(data)!r} does not match {shorten(wanted)!r}")

    def pattern_properties(validator: Any, patterns: Any, data: Any, _: Any) -> Iterator[Any]:
        if validator.is_type(data, "object"):
            for wanted, below in patterns.items():
                for key, value in data.items():
                    if _matches(wanted, key):
                        yield from validator.descend(value, below, path=key, schema_path=wanted)

    def additional_properties(validator: Any, below: Any, data: Any, schema: Any) -> Iterator[Any]:
        if not validator.is_type(data, "object"):
            return
        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        extra = [key for key in data if key not in named and not any(_matches(one, key) for one in patterns)]
        if validator.is_type(below, "object"):
            for key in extra:
                yield from validator.descend(data[key], below, path=key)
        elif not below and extra:
            names = ", ".join(repr(shorten(key)) for key in extra[:5])
            verb = "was" if len(extra) == 1 else "were"
            yield ValidationError(f"Additional properties are not allowed ({names} {verb} unexpected)")

    def unique(validator: Any, wanted: bool, data: Any, _: Any) -> Iterator[Any]:
        if wanted and validator.is_type(data, "array") and len(set(map(_identity, data))) < len(data):
            yield ValidationError(f"{shorten(repr(data[:20]))} has non-unique elements")

    own = {
        "pattern": pattern, "patternProperties": pattern_properties, "additionalProperties": additional_properties,
        "uniqueItems": unique,
    }  # fmt: skip
    keywords = {name: _paid(own.get(name, check)) for name, check in draft.VALIDATORS.items()}
    return extend(draft, keywords)  # type: ignore[no-untyped-call]


def _identity(value: Any) -> bytes:
    """The same bytes for what JSON Schema calls equal: 1 and 1.0, mappings in any order."""
    return msgspec.json.encode(_same_numbers(value), order="deterministic")


def _same_numbers(value: Any) -> Any:
    if isinstance(value, float) and abs(value) < 1 << 53 and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_same_numbers(part) for part in value]
    if isinstance(value, Mapping):
        return {key: _same_numbers(part) for key, part in value.items()}
    return value


def _paid(check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def keyword(validator: Any, value: Any, data: Any, schema: Any) -> Iterator[Any]:
        work = _work.get()
        cost = 10
        if isinstance(value, (Mapping, list)):
            cost += len(value)
        if isinstance(data, (Mapping, list)):
            cost += len(data) * (len(value) if check.__name__ == "pattern_properties" else 1)
        elif isinstance(data, str):
            cost += len(data) // 16
        _spend(work, cost)
        for error in check(validator, value, data, schema) or ():
            _spend(work, 100 + len(error.message) // 16)
            yield error

    return keyword


def _spend(work: list[int], cost: int) -> None:
    work[0] -= cost
    if work[0] < 0:
        raise ExpressionError("checking it takes too much work", remedy="Simplify the schema, or send less data.")
