"""JSON Schema's keywords, each of which pays for what it does; jsonschema does the rest.

What jsonschema does is paid in three places: a schema that is gone into (``evolve``), a keyword that is applied, a
mistake that is told. Keywords whose own work is not in proportion to that are written anew here: those that match
patterns (by RE2), compare data, or look at the same data again for what others have evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

import msgspec

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import shorten
from stepwell.errors import ExpressionError, LimitError

meter: ContextVar[Meter] = ContextVar("meter")
"""What pays for the check that is under way."""

LONGEST_PATTERN: Final = 50_000
"""Characters of a pattern; none that is longer fits the memory that one may take."""

# In units of work, by what they take in microseconds.
_VISIT: Final = 2  # going into a schema
_KEYWORD: Final = 5
_MISTAKE: Final = 60  # with what it takes to keep it
_MATCH: Final = 2
_STATES: Final = 128  # characters times instructions of a pattern's program: the most that RE2 does for them
_GOES_THROUGH: Final = frozenset({
    "items", "prefixItems", "additionalItems", "contains", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
})  # fmt: skip
_REFERS: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_COMPARES: Final = frozenset({"enum", "const"})
_TRIES: Final = ("allOf", "anyOf", "oneOf")

_Keyword = Callable[..., Any]


def pay(work: int) -> None:
    """Pay for a part of the check that is under way.

    Raises:
        LimitError: It takes too much work.
    """
    paying = meter.get()
    paying.left -= work
    if paying.left < 0:
        raise too_much(paying)


def too_much(paying: Meter) -> LimitError:
    """The error of a check that takes too much work."""
    error = paying.exceeded("checking it takes too much work")
    return error.said(error.message, remedy="Simplify the schema, or send less data.")


@lru_cache(maxsize=8)
def bounded(draft: Any) -> Any:
    """A validator's class with keywords that pay for what they do."""
    from jsonschema.validators import extend, validator_for  # noqa: PLC0415 - 0.1 s, paid by whoever has a schema

    keywords = {name: _paid(name, _OWN.get(name, check)) for name, check in draft.VALIDATORS.items()}
    kind = extend(draft, keywords)  # type: ignore[no-untyped-call]

    def evolve(self: Any, **changes: Any) -> Any:
        """The same validator for a part of the schema. One of another draft pays as well."""
        schema, resolver = changes.get("schema", self.schema), changes.get("_resolver", self._resolver)
        wanted = kind
        if isinstance(schema, Mapping):
            pay(_VISIT + len(schema) // 8 + len(resolver._base_uri) // 32)  # noqa: SLF001 - it grows with each $id
            if "$schema" in schema:
                known = validator_for(schema, default=draft)
                wanted = kind if known is draft else bounded(known)
        return wanted(schema, registry=self._registry, _resolver=resolver)

    kind.evolve = evolve
    return kind


def _paid(name: str, check: _Keyword) -> _Keyword:
    def keyword(validator: Any, value: Any, data: Any, schema: Any) -> Iterator[Any]:
        cost = _KEYWORD
        if isinstance(value, (Mapping, list)) and name not in _COMPARES:
            cost += len(value) if name in _TRIES else len(value) // 4
            if name in ("dependentRequired", "dependencies") and isinstance(value, Mapping):
                cost += sum([len(names) for names in value.values() if isinstance(names, list)]) // 8
        if name in _GOES_THROUGH and isinstance(data, (Mapping, list)):
            cost += len(data)
        elif name in _REFERS and isinstance(value, str):
            cost += _reference_cost(validator, name, value)
        pay(cost)
        for error in check(validator, value, data, schema) or ():
            pay(_MISTAKE + len(error.message) // 16)
            yield error

    return keyword


def _reference_cost(validator: Any, name: str, reference: str) -> int:
    """What it costs to find what is referred to: part by part, and by all who refer to it now."""
    scopes = 0 if name == "$ref" else sum(1 for _ in _resolver(validator).dynamic_scope())
    return len(reference) // 16 + 5 * reference.count("/") + 5 * scopes


def _resolver(validator: Any) -> Any:
    return validator._resolver  # noqa: SLF001 - jsonschema has no other way to it, for keywords of one's own


# -- patterns --


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - as jsonschema

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


def regex(pattern: str, at: str = "") -> Any:
    """A pattern of RE2.

    Args:
        at: Where it is written, for the error.

    Raises:
        ExpressionError: It is none.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise _no_pattern(pattern, f"it has {len(pattern):,} characters", at)
    try:
        return _compiled(pattern)
    except Exception as error:
        why = error.args[0] if error.args else error
        raise _no_pattern(pattern, why.decode(errors="replace") if isinstance(why, bytes) else str(why), at) from None


def _no_pattern(pattern: str, why: str, at: str) -> ExpressionError:
    return ExpressionError(
        f"'{shorten(pattern, 60)}' is no pattern: {shorten(why, 100)}", place=at,
        remedy="Patterns are those of RE2: no look-around, no back-references, at most 1,000 repetitions.",
    )  # fmt: skip


class _Pattern:
    """A pattern whose matches are paid for: RE2 takes time by the text's length times the size of its program."""

    __slots__ = ("_search", "_size")

    def __init__(self, pattern: str) -> None:
        compiled = regex(pattern)
        self._search = compiled.search
        self._size: int = compiled.programsize
        pay(100 + self._size // 4)  # to compile it, perhaps

    def matches(self, text: str) -> bool:
        pay(_MATCH + len(text) * self._size // _STATES)
        return self._search(text) is not None


def _pattern(validator: Any, wanted: str, data: Any, _: Any) -> Iterator[Any]:
    if validator.is_type(data, "string") and not _matching(wanted).matches(data):
        yield _mistake(f"{shorten(data)!r} does not match {shorten(wanted)!r}")


def _pattern_properties(validator: Any, patterns: Any, data: Any, _: Any) -> Iterator[Any]:
    if validator.is_type(data, "object"):
        for wanted, below in patterns.items():
            pattern = _matching(wanted)
            for key, value in data.items():
                if pattern.matches(key):
                    yield from validator.descend(value, below, path=key, schema_path=wanted)


def _matching(wanted: str) -> _Pattern:
    """The pattern for the check that is under way, compiled once for all of its data."""
    known = patterns.get()
    found = known.get(wanted)
    if found is None:
        found = known[wanted] = _Pattern(wanted)
    return found


patterns: ContextVar[dict[str, _Pattern]] = ContextVar("patterns")
"""Those that the check under way has met."""


def _additional_properties(validator: Any, below: Any, data: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(data, "object"):
        return
    pay(len(data))
    extra = _rest_of(schema, data)
    if validator.is_type(below, "object"):
        for key in extra:
            yield from validator.descend(data[key], below, path=key)
    elif not below and extra:
        names = ", ".join(repr(shorten(key)) for key in extra[:5])
        verb = "was" if len(extra) == 1 else "were"
        yield _mistake(f"Additional properties are not allowed ({names} {verb} unexpected)")


# -- comparing --


def _enum(_validator: Any, wanted: Any, data: Any, _: Any) -> Iterator[Any]:
    is_text = isinstance(data, str)
    if isinstance(data, (Mapping, list)):
        _pay_for(wanted)
    else:
        pay(len(wanted) // (64 if is_text else 16) + (len(data) // 16 if is_text else 0))
    # Equal to Python is equal to JSON Schema but for truth values, which are no numbers.
    if data not in wanted or not (is_text or any(one == data and _equal()(one, data) for one in wanted)):
        yield _mistake(f"{data!r} is not one of {wanted!r}")


def _const(_validator: Any, wanted: Any, data: Any, _: Any) -> Iterator[Any]:
    if isinstance(data, (Mapping, list, str)):
        _pay_for(wanted)
    if not _equal()(data, wanted):
        yield _mistake(f"{wanted!r} was expected")


def _pay_for(value: Any) -> None:
    """Pay for looking at all of a value."""
    left = [value]
    while left:
        level, left = left, []
        pay(len(level))
        for part in level:
            if isinstance(part, Mapping):
                left += part.values()
            elif isinstance(part, list):
                left += part
            elif isinstance(part, str):
                pay(len(part) // 16)


@lru_cache(maxsize=1)
def _equal() -> Callable[[Any, Any], bool]:
    from jsonschema._utils import equal  # noqa: PLC0415 - as above

    return equal


def _unique(validator: Any, wanted: bool, data: Any, _: Any) -> Iterator[Any]:
    if wanted and validator.is_type(data, "array"):
        _pay_for(data)
        if len(set(map(_identity, data))) < len(data):
            yield _mistake(f"{shorten(repr(data[:20]))} has non-unique elements")


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


# -- what other keywords have evaluated --


def _applied(validator: Any, data: Any, schema: Any) -> Iterator[tuple[Any, Any]]:
    """A schema and those within it that apply to the same data, and that it fits; each with its validator."""
    if not isinstance(schema, Mapping):
        return
    pay(_VISIT + _KEYWORD + len(schema) // 8)
    yield validator, schema
    for name in _REFERS:
        if name in schema:
            yield from _referred(validator, data, name, schema[name])
    if isinstance(data, Mapping):
        for key, below in schema.get("dependentSchemas", {}).items():
            pay(1)
            if key in data:
                yield from _applied(validator, data, below)
    for name in _TRIES:
        for below in schema.get(name, ()):
            if _fits(validator, data, below):
                yield from _applied(validator, data, below)
    if "if" in schema:
        holds = _fits(validator, data, schema["if"])
        if holds:
            yield from _applied(validator, data, schema["if"])
        yield from _applied(validator, data, schema.get("then" if holds else "else"))


def _referred(validator: Any, data: Any, name: str, reference: str) -> Iterator[tuple[Any, Any]]:
    from referencing.jsonschema import lookup_recursive_ref  # noqa: PLC0415 - as above

    pay(_KEYWORD + _reference_cost(validator, name, reference))
    resolver = _resolver(validator)
    found: Any = lookup_recursive_ref(resolver) if name == "$recursiveRef" else resolver.lookup(reference)
    there = validator.evolve(schema=found.contents, _resolver=found.resolver)
    yield from _applied(there, data, found.contents)


def _fits(validator: Any, data: Any, schema: Any) -> bool:
    pay(1)
    return next(validator.descend(data, schema), None) is None


def _unevaluated_properties(validator: Any, below: Any, data: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(data, "object"):
        return
    evaluated: set[str] = set()
    for there, applied in _applied(validator, data, schema):
        named = applied.get("properties", {})
        pay(len(named) // 4)
        evaluated.update(key for key in named if key in data)
        for wanted in applied.get("patternProperties", ()):
            pattern = _matching(wanted)
            evaluated.update(key for key in data if pattern.matches(key))
        # An own one, too: a value that it takes is evaluated by it.
        for name in ("additionalProperties", "unevaluatedProperties"):
            if applied is schema and name == "unevaluatedProperties":
                continue
            if name in applied:
                pay(len(data))
                rest = _rest_of(applied, data) if name == "additionalProperties" else data
                evaluated.update(key for key in rest if _fits(there, data[key], applied[name]))
    bad = [key for key in data if key not in evaluated and not _fits(validator, data[key], below)]
    if bad:
        names = ", ".join(repr(shorten(key)) for key in sorted(bad)[:5])
        verb = "was" if len(bad) == 1 else "were"
        yield _mistake(f"Unevaluated properties are not allowed ({names} {verb} unexpected)")


def _rest_of(schema: Any, data: Mapping[str, Any]) -> list[str]:
    """The keys that ``additionalProperties`` of a schema is about."""
    named = schema.get("properties", {})
    known = [_matching(one) for one in schema.get("patternProperties", ())]
    return [key for key in data if key not in named and not any(one.matches(key) for one in known)]


def _unevaluated_items(validator: Any, below: Any, data: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(data, "array"):
        return
    evaluated: set[int] = set()
    first = 0  # those before it are evaluated
    for there, applied in _applied(validator, data, schema):
        prefix = applied.get("prefixItems", ())
        items = applied.get("items")
        first = max(first, len(prefix))
        if isinstance(items, list):  # as drafts before 2020-12 have it
            first = max(first, len(data) if "additionalItems" in applied else len(items))
        elif items is not None:
            first = len(data)
        for name in ("contains", "unevaluatedItems"):
            if name in applied and not (applied is schema and name == "unevaluatedItems"):
                pay(len(data))
                evaluated.update(n for n, value in enumerate(data) if _fits(there, value, applied[name]))
    bad = [n for n in range(first, len(data)) if n not in evaluated and not _fits(validator, data[n], below)]
    if bad:
        values = ", ".join(shorten(repr(data[n])) for n in bad[:5])
        verb = "was" if len(bad) == 1 else "were"
        yield _mistake(f"Unevaluated items are not allowed ({values} {verb} unexpected)")


def _mistake(message: str) -> Any:
    from jsonschema import ValidationError  # noqa: PLC0415 - as above

    return ValidationError(message)


_OWN: Final[dict[str, _Keyword]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "enum": _enum,
    "const": _const,
    "uniqueItems": _unique,
    "unevaluatedProperties": _unevaluated_properties,
    "unevaluatedItems": _unevaluated_items,
}
