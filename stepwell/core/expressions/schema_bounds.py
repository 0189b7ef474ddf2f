"""JSON Schema with bounds: patterns in linear time (RE2), no fetching, and as much work as a meter pays for.

A schema comes with a definition, so that whoever writes one must not be able to stop the engine: a pattern such as
``(a+)+$`` takes Python's own ``re`` for ever on thirty characters, and twenty lines of ``$defs`` that each refer to
the one before twice take a million steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from stepwell.core.expressions import schema_keywords
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.schema_keywords import bounded, regex
from stepwell.core.expressions.values import shorten
from stepwell.errors import ExpressionError

MAX_VALUES: Final = 20_000
"""Values of a schema, keys not counted: about 1 MB of text, checked in some seconds."""
MAX_DEPTH: Final = 100
MAX_COMPILED: Final = 200_000
"""Instructions of all patterns of a schema together: some megabytes, compiled in less than a second."""
MAX_CHECK: Final = 6_000_000
"""Units of work that all schemas of a definition together may take to be checked by the schema of their draft: some
seconds. One of ``MAX_VALUES`` takes half of it."""
LONGEST_NAME: Final = 1_000
"""Characters of a ``$ref``, an ``$id`` or an anchor."""
MAX_ERRORS: Final = 100
"""Mistakes that are compared to find the best one to tell."""

_LITERAL: Final = frozenset({"const", "enum", "default", "examples"})  # what is below them is data, no schema
_NAMES: Final = ("$ref", "$dynamicRef", "$recursiveRef", "$id", "id", "$anchor", "$dynamicAnchor")


class BoundedValidator:
    """One of jsonschema's validators, with bounds; made by :func:`bounded_validator`."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator
        self._patterns: dict[str, Any] = {}

    def iter_errors(self, data: Any, meter: Meter | None = None) -> Iterator[Any]:
        """What does not fit, as jsonschema's errors; the first ``MAX_ERRORS`` of it.

        Args:
            meter: What pays for several checks together; by default each has its own.

        Raises:
            LimitError: It takes too much work.
            ExpressionError: The schema refers to itself without end.
            Exception: Whatever jsonschema raises for a ``$ref`` that leads nowhere, or numbers that are no floats.
        """
        with _paying(meter or Meter(), self._patterns):
            return iter(list(islice(self._validator.iter_errors(data), MAX_ERRORS)))


@contextmanager
def _paying(meter: Meter, patterns: dict[str, Any]) -> Iterator[None]:
    paid, known = schema_keywords.meter.set(meter), schema_keywords.patterns.set(patterns)
    try:
        yield
    except RecursionError:
        raise ExpressionError("the schema refers to itself without end, or the data is nested too deeply") from None
    finally:
        schema_keywords.meter.reset(paid)
        schema_keywords.patterns.reset(known)


def bounded_validator(schema: Mapping[str, Any], meter: Meter | None = None) -> BoundedValidator:
    """Check a schema.

    Args:
        schema: Of the draft that its ``$schema`` names; by default 2020-12.
        meter: What pays for checking several of them, of ``MAX_CHECK``; by default each has its own.

    Raises:
        LimitError: It takes too much work.
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
    kind = bounded(known)
    with _paying(meter or Meter(MAX_CHECK), {}):
        error = best_match(islice(kind(known.META_SCHEMA, registry=REGISTRY).iter_errors(schema), MAX_ERRORS))
    if error is not None:
        raise ExpressionError(shorten(error.message, 200), place=error.json_path[1:])
    _check_patterns_and_references(schema)
    # Without a registry of its own it would fetch what a schema refers to over the network.
    return BoundedValidator(kind(schema, registry=REGISTRY, _resolver=_resolver(known, schema, REGISTRY)))


def _resolver(draft: Any, schema: Mapping[str, Any], registry: Any) -> Any:
    """What finds the parts of a schema that have names of their own, once and for all, where there are any.

    Else they would be looked for in all of it each time that one is referred to.
    """
    from referencing.jsonschema import specification_with  # noqa: PLC0415 - as above

    if not _has_names(schema):
        return None
    resource = specification_with(draft.META_SCHEMA.get("$schema", "")).create_resource(schema)
    try:
        name = resource.id() or ""
        return registry.with_resource(name, resource).crawl().resolver(name)
    except Exception:  # a name that is no URI is told when it is looked for
        return None


def _has_names(schema: Any) -> bool:
    left = [schema]
    while left:
        value = left.pop()
        if isinstance(value, (list, tuple)):
            left += value
        elif isinstance(value, Mapping):
            if any(isinstance(value.get(key), str) for key in _NAMES[1:]):
                return True
            reference = value.get("$ref")
            if isinstance(reference, str) and not (reference == "#" or reference.startswith("#/")):
                return True
            left += [part for key, part in value.items() if key not in _LITERAL]
    return False


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
    compiled: set[str] = set()
    size, named = 0, False
    while left:
        at, value = left.pop()
        if isinstance(value, (list, tuple)):
            left += [(f"{at}[{number}]", part) for number, part in enumerate(value)]
        elif isinstance(value, Mapping):
            left += [(f"{at}.{shorten(key, 40)}", part) for key, part in value.items() if key not in _LITERAL]
            named = named or "$id" in value
            for key in _NAMES:
                if isinstance(value.get(key), str) and len(value[key]) > LONGEST_NAME:
                    raise ExpressionError(f"has more than {LONGEST_NAME:,} characters", place=f"{at}.{key}")
            for pattern, place in _patterns(value, at):
                if pattern not in compiled:
                    compiled.add(pattern)
                    size += regex(pattern, place).programsize
                    if size > MAX_COMPILED:
                        raise ExpressionError(
                            f"the patterns of the schema take more than {MAX_COMPILED:,} instructions", place=place,
                            remedy="Repeat less, or check it in a handler.",
                        )  # fmt: skip
            if "unevaluatedProperties" in value and isinstance(value.get("patternProperties"), Mapping):
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


def _patterns(schema: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """The patterns of a schema, each once, with its place."""
    names = schema.get("patternProperties")
    names = names if isinstance(names, Mapping) else {}
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        yield pattern, f"{at}.patternProperties" if pattern in names else f"{at}.pattern"
    yield from ((name, f"{at}.patternProperties") for name in names if name != pattern)


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
