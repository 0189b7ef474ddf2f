"""The operations and functions of expressions: each takes the evaluation, for its budget, and the operands."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from stepwell.core.expressions.values import (
    MISSING,
    SCALARS,
    Evaluation,
    as_text,
    bounded,
    joined,
    kind,
    near,
    plain,
    shorten,
)
from stepwell.errors import ExpressionError

MAX_NODES: Final = 1_000
"""Nodes of the syntax tree: each runs at most once, so this bounds the operations of an evaluation."""
MAX_ELEMENTS: Final = 100_000
"""Elements that ``sum``, ``sorted``, ``min``, … take and that ``+`` makes: some 10 ms of work."""


def _numeric(what: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    """Make an operation on numbers, whose operands and result are in bounds."""

    def apply(run: Evaluation, *values: Any) -> Any:
        for value in values:
            if not isinstance(value, (int, float)):
                raise ExpressionError(f"{what} does not take {' and '.join(map(kind, values))}")
            bounded(value, run)
        return bounded(operation(*values))

    return apply


_plus: Final = _numeric("+", operator.add)


def _add(run: Evaluation, left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return joined(run, left, right)
    if isinstance(left, list) and isinstance(right, list):
        _count(run, len(left) + len(right))
        return left + right
    if isinstance(left, tuple) and isinstance(right, tuple):
        _count(run, len(left) + len(right))
        return left + right
    return _plus(run, left, right)


def _count(run: Evaluation, elements: int) -> None:
    check_elements(elements)
    run.spend(elements)


def check_elements(elements: int) -> None:
    """Refuse to go through, or to make, too many elements at once.

    Raises:
        ExpressionError: They are more than ``MAX_ELEMENTS``.
    """
    if elements > MAX_ELEMENTS:
        raise ExpressionError(f"{elements:,} elements are more than {MAX_ELEMENTS:,}")


def _equal(run: Evaluation, left: Any, right: Any) -> bool:
    if type(left) in SCALARS or type(right) in SCALARS:
        if type(left) is str:
            run.left -= len(left) >> 4
        return bool(left == right)
    return bool(plain(left, run, made=False) == plain(right, run, made=False))


def _ordered(symbol: str, compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def apply(run: Evaluation, left: Any, right: Any) -> bool:
        try:
            if type(left) in SCALARS and type(right) in SCALARS:
                if type(left) is str:
                    run.left -= len(left) >> 4
                return bool(compare(left, right))
            if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
                return bool(compare(plain(left, run, made=False), plain(right, run, made=False)))
        except TypeError:  # such as a text and a number, perhaps within the lists
            pass
        raise ExpressionError(f"{symbol} cannot compare {kind(left)} with {kind(right)}")

    return apply


def _contains(run: Evaluation, needle: Any, haystack: Any) -> bool:
    if isinstance(haystack, Mapping):
        return bool(needle in haystack)
    if isinstance(haystack, str) and isinstance(needle, str):
        run.spend(len(haystack) // 16)
        return needle in haystack
    if isinstance(haystack, (list, tuple)):
        run.spend(len(haystack))
        if type(needle) in SCALARS:
            return needle in haystack
        return plain(needle, run, made=False) in plain(haystack, run, made=False)
    raise ExpressionError(f"'in' does not look for {kind(needle)} in {kind(haystack)}")


def _key(_: Evaluation, container: Any, key: str) -> Any:
    if not isinstance(container, Mapping):
        raise ExpressionError(
            f"{kind(container)} has no keys, so no {key!r}",
            remedy="a.b means a['b']: only mappings have keys, and values have no attributes.",
        )
    value = container.get(key, MISSING)
    if value is MISSING:
        raise ExpressionError(f"there is no key {shorten(key)!r}", remedy=near(key, container))
    return value


def _item(run: Evaluation, container: Any, index: Any) -> Any:
    if isinstance(container, Mapping):
        if isinstance(index, str):
            return _key(run, container, index)
        raise ExpressionError(f"a key must be text, not {kind(index)}")
    if not isinstance(container, (list, tuple, str)):
        raise ExpressionError(f"{kind(container)} cannot be indexed")
    if not isinstance(index, int):
        raise ExpressionError(f"an index into {kind(container)} must be a whole number, not {kind(index)}")
    if not -len(container) <= index < len(container):
        raise ExpressionError(f"there is no index {as_text(index)}: the length is {len(container):,}")
    return container[index]


def _slice(run: Evaluation, container: Any, lower: Any, upper: Any, step: Any) -> Any:
    if not isinstance(container, (list, tuple, str)):
        raise ExpressionError(f"{kind(container)} cannot be sliced")
    run.spend(len(range(*slice(lower, upper, step).indices(len(container)))))
    return container[lower:upper:step]


def _mapping(_: Evaluation, *parts: Any) -> dict[str, Any]:
    keys = parts[: len(parts) // 2]
    for key in keys:
        if not isinstance(key, str):
            raise ExpressionError(f"a key must be text, not {kind(key)}")
    return dict(zip(keys, parts[len(keys) :], strict=True))


def _length(_: Evaluation, value: Any) -> int:
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise ExpressionError(f"{kind(value)} has no length")


def _elements(run: Evaluation, values: Any) -> Any:
    _count(run, _length(run, values))
    return plain(values if isinstance(values, (list, tuple)) else list(values), run, made=False)


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    return lambda run, *values: choose(_elements(run, values[0] if len(values) == 1 else values))


def _sum(run: Evaluation, values: Any, start: Any = 0) -> Any:
    total = _plus(run, 0, start)
    for value in _elements(run, values):
        total = _plus(run, total, value)
    return total


def _sorted(run: Evaluation, values: Any, reverse: Any = False) -> list[Any]:
    elements = _elements(run, values)
    run.spend(4 * len(elements))  # n log n comparisons, in C
    return sorted(elements, reverse=bool(reverse))


_rounded: Final = _numeric("round()", round)


def _round(run: Evaluation, value: Any, digits: Any = None) -> Any:
    if digits is None:
        return _rounded(run, value)
    if not isinstance(digits, int) or not -400 <= digits <= 400:  # 10**digits is computed; floats have 308
        raise ExpressionError("round() takes from -400 to 400 digits")
    return _rounded(run, value, digits)


def _converted(convert: type[int | float]) -> Callable[..., Any]:
    def apply(run: Evaluation, value: Any = 0) -> Any:
        if not isinstance(value, (int, float, str)):
            raise ExpressionError(f"{convert.__name__}() does not take {kind(value)}")
        if isinstance(value, str):
            if len(value) > 5_000:  # the longest int that Python reads has 4,300 digits
                raise ExpressionError("the text is too long for a number")
            run.spend(len(value) // 16)
        return bounded(convert(value))

    return apply


class Function(NamedTuple):
    """A function of the language: what it does, and the arguments that it takes besides the evaluation."""

    apply: Callable[..., Any]
    fewest: int = 1
    most: int = 1
    keyword: str = ""


FUNCTIONS: Final[dict[str, Function]] = {
    "len": Function(_length),
    "min": Function(_extreme(min), most=MAX_NODES),
    "max": Function(_extreme(max), most=MAX_NODES),
    "sum": Function(_sum, most=2),
    "any": Function(lambda run, values: any(_elements(run, values))),
    "all": Function(lambda run, values: all(_elements(run, values))),
    "round": Function(_round, most=2, keyword="ndigits"),
    "abs": Function(_numeric("abs()", abs)),
    "sorted": Function(_sorted, keyword="reverse"),
    "str": Function(lambda run, value="": as_text(value, run), fewest=0),
    "int": Function(_converted(int), fewest=0),
    "float": Function(_converted(float), fewest=0),
    "bool": Function(lambda _, value=False: bool(value), fewest=0),
}

OPERATIONS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Attribute: _key,
    ast.Subscript: _item,
    ast.Slice: _slice,
    ast.Dict: _mapping,
    ast.USub: _numeric("-", operator.neg),
    ast.Add: _add,
    ast.Sub: _numeric("-", operator.sub),
    ast.Mult: _numeric("*", operator.mul),
    ast.Div: _numeric("/", operator.truediv),
    ast.FloorDiv: _numeric("//", operator.floordiv),
    ast.Mod: _numeric("%", operator.mod),
    ast.Eq: _equal,
    ast.NotEq: lambda run, left, right: not _equal(run, left, right),
    ast.Lt: _ordered("<", operator.lt),
    ast.LtE: _ordered("<=", operator.le),
    ast.Gt: _ordered(">", operator.gt),
    ast.GtE: _ordered(">=", operator.ge),
    ast.In: _contains,
    ast.NotIn: lambda run, needle, haystack: not _contains(run, needle, haystack),
    ast.Is: lambda _, left, _right: left is None,  # the right side can only be None
    ast.IsNot: lambda _, left, _right: left is not None,
}
