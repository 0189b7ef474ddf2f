"""The one expression language, for conditions, input mappings and ``{{ … }}`` templates.

It is a whitelist over Python's own grammar: ``ast.parse`` reads the text, and each kind of node that we know
becomes one small closure; any other node is refused by name. Nothing is handed to ``eval`` or ``compile``, no
attribute of an object is ever read (``a.b`` means ``a["b"]``), and the only calls are to ``FUNCTIONS``.
It means what it means in Python, except that

- ``true``, ``false`` and ``null`` are JSON's constants, unless the scope holds such a name;
- ``+ - * / // %`` work on numbers, ``+`` also on two texts or two lists; a result that is
  not finite is refused;
- mappings of any kind equal each other by content, and their keys are text;
- ``sum`` adds from left to right on every Python (3.12 made its own more precise: histories would differ).

An id with a dash is no Python name: ``fetch-data.rows`` is a subtraction. It is reached in brackets, as in
``step_outputs['fetch-data'].rows``.

Time and memory are bounded by the size of the source (there are no loops), by the size of what one operation
makes, and by the elements that one evaluation touches, whatever the data.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from stepwell.errors import ExpressionError

MAX_SOURCE: Final = 4_000
"""Characters of source: more is a program, and belongs in a handler. Also bounds the parser's work."""
MAX_NODES: Final = 1_000
"""Nodes of the syntax tree: each runs at most once, so this bounds the operations of an evaluation."""
MAX_DEPTH: Final = 100
"""Nesting of the source: a Python frame for each level, of the interpreter's usual 1,000."""
MAX_DATA_DEPTH: Final = 200
"""Nesting of data that is compared or returned, so that the answer does not depend on the caller's stack."""
MAX_INT_BITS: Final = 14_000
"""Python neither reads nor writes an int of more than 4,300 digits (14,284 bits), so none could be stored."""
MAX_TEXT: Final = 1_000_000
"""Characters that ``+``, ``str()`` and templates make: about what a log takes as one record."""
MAX_ELEMENTS: Final = 100_000
"""Elements that ``sum``, ``sorted``, ``min``, … take and that ``+`` makes: some 10 ms of work."""
MAX_STEPS: Final = 2_000_000
"""Elements that one evaluation touches (16 characters count as one): under a second of work, and
several times what a record of 1 MB can hold."""
MAX_NEAR: Final = 1_000
"""Keys that are searched for near matches of a missing one: difflib takes some 10 µs for each."""

MISSING: Final = object()
SCALARS: Final = frozenset({str, int, float, bool, type(None)})


# -- Values: what data is, and how to say so --


class Evaluation:
    """The scope of one evaluation, and the number of elements that it may still touch."""

    __slots__ = ("left", "scope")

    def __init__(self, scope: Mapping[str, Any], left: int = MAX_STEPS) -> None:
        self.scope = scope
        self.left = left

    def spend(self, steps: int) -> None:
        """Charge for elements about to be touched, or already touched.

        Raises:
            ExpressionError: When that is more than are left.
        """
        self.left -= steps
        if self.left < 0:
            raise ExpressionError("there is too much data", remedy="Let a handler work on large data.")


def plain(value: Any, run: Evaluation | None = None) -> Any:
    """Return JSON-like data with every mapping a ``dict``; what is so already is not copied.

    Args:
        value: Mappings, lists, tuples, texts, numbers, truth values and None, in any nesting.
        run: The evaluation whose budget is charged; by default a budget of its own.

    Raises:
        ExpressionError: When the data is too deep or too large, or could not be written as JSON: other types,
            keys that are not text, numbers that are not finite or too large.
    """
    run = run or Evaluation({})
    result = _plain(value, 0, run)
    run.spend(0)
    return result


def _plain(value: Any, depth: int, run: Evaluation) -> Any:
    run.left -= 1
    if isinstance(value, str):
        run.left -= len(value) // 16
        return value
    if isinstance(value, (int, float)):
        return bounded(value)
    if value is None:
        return value
    if depth > MAX_DATA_DEPTH:
        raise ExpressionError(f"the data is nested more than {MAX_DATA_DEPTH} deep")
    run.spend(0)
    if isinstance(value, Mapping):
        copy: dict[str, Any] = {}
        same = type(value) is dict
        for key, part in value.items():
            if not isinstance(key, str):
                raise ExpressionError(f"a key must be text, not {kind(key)}")
            run.left -= len(key) // 16
            copy[key] = new = _plain(part, depth + 1, run)
            same = same and new is part
        return value if same else copy
    if isinstance(value, (list, tuple)):
        parts = []
        for part in value:
            parts.append(_plain(part, depth + 1, run))  # noqa: PERF401 - a comprehension takes a second frame
        if all(map(operator.is_, parts, value)):
            return value
        return parts if isinstance(value, list) else tuple(parts)
    raise ExpressionError(f"{kind(value)} is no JSON data")


def as_text(value: Any, run: Evaluation | None = None) -> str:
    """Return ``str(value)``, of bounded size and the same in every process.

    Raises:
        ExpressionError: When it would be too large, or the value is no JSON-like data.
    """
    run = run or Evaluation({})
    if isinstance(value, str):
        return joined(run, value)
    part = Evaluation({}, left=MAX_TEXT // 2)  # an element takes two characters at least
    data = plain(value, part)
    run.spend(MAX_TEXT // 2 - part.left)
    return joined(run, str(data))


def joined(run: Evaluation, *parts: str) -> str:
    """Return the texts as one.

    Raises:
        ExpressionError: When it would have more than ``MAX_TEXT`` characters.
    """
    size = sum(map(len, parts))
    if size > MAX_TEXT:
        raise ExpressionError(f"the text would have more than {MAX_TEXT:,} characters")
    run.spend(size // 16)
    return "".join(parts)


def kind(value: Any) -> str:
    """Name a value's type as its users know it, with the article."""
    if value is None:
        return "null"
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return f"a value of type {type(value).__name__}"


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "a truth value"),
    ((int, float), "a number"),
    (str, "a text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)


def bounded(value: Any) -> Any:
    """Return a number unchanged.

    Raises:
        ExpressionError: When it is not finite, or an int of more than ``MAX_INT_BITS``.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError(f"the number is not finite ({value})")
    elif value.bit_length() > MAX_INT_BITS:
        raise ExpressionError(f"the number has more than {MAX_INT_BITS:,} bits")
    return value


def shorten(text: str, length: int = 80) -> str:
    """Return at most ``length`` characters of a text, on one line."""
    text = " ".join(text[:2000].split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def near(word: str, known: Iterable[Any]) -> str:
    """Say which of the known names or keys a missing one may stand for.

    Args:
        word: What was looked for.
        known: What there is; only texts of at most 64 characters are of use.
    """
    names = [name for name in islice(known, MAX_NEAR) if isinstance(name, str) and len(name) <= 64]
    dashed = _dashed(word, names)
    if dashed:
        return f"A key with a dash is written in brackets: [{dashed!r}]."
    if word in names:  # a view may list a step before it has an output
        return "It has no value yet."
    close = difflib.get_close_matches(word[:64], names)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    more = ", …" if len(names) > 8 else ""
    return f"There is: {', '.join(map(repr, names[:8]))}{more}." if names else "There is none at all."


def no_name(name: str, scope: Mapping[str, Any]) -> ExpressionError:
    """Return the error for a name that the scope does not hold: perhaps an id, or a part of one with a dash."""
    steps = scope.get("step_outputs")
    ids = list(islice(steps, MAX_NEAR)) if isinstance(steps, Mapping) else []
    dashed = _dashed(name, [*scope, *ids])
    if dashed:
        remedy = f"An id with a dash is written in brackets: step_outputs[{dashed!r}]."
    else:
        remedy = f"Write step_outputs.{name}." if name in ids else near(name, scope)
    return ExpressionError(f"there is no name {name!r}", remedy=remedy)


def _dashed(part: str, names: Iterable[Any]) -> str:
    """Return the name of which ``part`` is a part between dashes: ``a-b`` was read as ``a`` minus ``b``."""
    return next((name for name in names if isinstance(name, str) and name != part and f"-{part}-" in f"-{name}-"), "")


def describe(error: Exception) -> str:
    """Say in words what went wrong, whatever was raised."""
    match error:
        case ExpressionError():
            return error.message
        case ZeroDivisionError():
            return "division by zero"
        case RecursionError():
            return "nested too deeply"
        case MemoryError():
            return "there is not enough memory for the result"
        case _:
            return shorten(f"{error}") or type(error).__name__


# -- Operations: each takes the evaluation, for its budget, and the operands. --


def _numeric(what: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    """Make an operation on numbers, whose operands and result are in bounds."""

    def apply(_: Evaluation, *values: Any) -> Any:
        for value in values:
            if not isinstance(value, (int, float)):
                raise ExpressionError(f"{what} does not take {' and '.join(map(kind, values))}")
            bounded(value)
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
    if elements > MAX_ELEMENTS:
        raise ExpressionError(f"{elements:,} elements are more than {MAX_ELEMENTS:,}")
    run.spend(elements)


def _equal(run: Evaluation, left: Any, right: Any) -> bool:
    if type(left) in SCALARS or type(right) in SCALARS:
        return bool(left == right)
    return bool(plain(left, run) == plain(right, run))


def _ordered(symbol: str, compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def apply(run: Evaluation, left: Any, right: Any) -> bool:
        try:
            if type(left) in SCALARS and type(right) in SCALARS:
                return bool(compare(left, right))
            if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
                return bool(compare(plain(left, run), plain(right, run)))
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
        return needle in haystack if type(needle) in SCALARS else plain(needle, run) in plain(haystack, run)
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
    part = container[lower:upper:step]
    run.spend(len(part))
    return part


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
    return plain(values if isinstance(values, (list, tuple)) else list(values), run)


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
    def apply(_: Evaluation, value: Any = 0) -> Any:
        if not isinstance(value, (int, float, str)):
            raise ExpressionError(f"{convert.__name__}() does not take {kind(value)}")
        # The longest int that Python reads has 4,300 digits.
        if isinstance(value, str) and len(value) > 5_000:
            raise ExpressionError("the text is too long for a number")
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
# -- Compiling --

_JSON_NAMES: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_ALLOWED: Final = (
    "Allowed: literals, lists, mappings; == != < <= > >=, in, is None; and, or, not; a if c else b; "
    f"+ - * / // %; a.key, a['key'], a[0], a[1:3]; the functions {', '.join(FUNCTIONS)}."
)
_SYNTAX: Final = (
    "Write and, or, not and == as in Python; keys and ids that are no plain names, such as fetch-data or "
    "class, go in brackets: step_outputs['fetch-data']."
)
_REFUSED: Final[dict[type[ast.AST], str]] = {
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment",
    ast.Starred: "unpacking (*)",
    ast.Set: "a set",
    ast.Slice: "a slice with a comma",
    ast.Pow: "the operator **",
    ast.MatMult: "the operator @",
    ast.UAdd: "a leading +",
    ast.Invert: "the operator ~",
    **dict.fromkeys((ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift), "an operator on bits"),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "a comprehension"),
    **dict.fromkeys((ast.Await, ast.Yield, ast.YieldFrom), "await or yield"),
}

_Evaluator = Callable[[Evaluation], Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; made by :func:`compile_expression`, safe to share.

    Attributes:
        source: The text it was compiled from.
        names: The root names that it reads, without function names and without ``true``, ``false``, ``null``.
        references: Access paths, each as far as it is constant: ``step_outputs.fetch.rows[0]`` gives
            ``("step_outputs", "fetch", "rows")``; ``input[context.key]`` gives ``("input",)`` and
            ``("context", "key")``.
    """

    source: str
    names: frozenset[str]
    references: frozenset[tuple[str, ...]]
    _run: _Evaluator = field(repr=False, compare=False)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value of the expression.

        Args:
            scope: Root names and their JSON-like data: any ``Mapping``, list, tuple, text, number, None.

        Returns:
            Any value of the language; perhaps a part of the data itself, not a copy: do not change it.

        Raises:
            ExpressionError: For whatever goes wrong: a missing name or key, wrong types, a limit.
        """
        try:
            return self._run(Evaluation(scope))
        except ExpressionError:
            raise
        except Exception as error:
            raise ExpressionError(f"{shorten(self.source)}: {describe(error)}") from error


def compile_expression(source: str) -> Expression:
    """Check an expression and compile it to closures.

    Args:
        source: One Python expression within the whitelist, at most ``MAX_SOURCE`` characters; may span lines.

    Raises:
        ExpressionError: When it does not parse or uses what is not allowed; says what, where, and what is.
    """
    if len(source) > MAX_SOURCE:
        raise ExpressionError(
            f"the expression has {len(source):,} characters, {MAX_SOURCE:,} are allowed",
            remedy="Compute it in a handler.",
        )
    text = source.strip().replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        raise ExpressionError("the expression is empty", remedy=_ALLOWED)
    before = 0
    if "\n" in text:  # it may span lines, as whatever is in brackets may in Python
        text, before = f"(\n{text}\n)", 1
    try:
        with warnings.catch_warnings():  # such as for '\d': no reason to print, or to fail under -W error
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = f"(line {max((error.lineno or 1) - before, 1)}, column {error.offset or 1})"
        raise ExpressionError(f"{shorten(source)} {place}: {error.msg}", remedy=_SYNTAX) from error
    except (MemoryError, RecursionError) as error:  # how the parser reports too much nesting
        raise ExpressionError(f"{shorten(source)}: nested too deeply", remedy=_ALLOWED) from error
    except Exception as error:  # null bytes, halves of surrogate pairs
        raise ExpressionError(f"{shorten(source)!a}: {describe(error)}", remedy=_ALLOWED) from error
    try:
        run = _Compiler(text, before).build(tree)
        references = frozenset(_references(tree))
    except RecursionError as error:  # the caller has left no room on the stack
        raise ExpressionError(f"{shorten(source)}: {describe(error)}", remedy=_ALLOWED) from error
    return Expression(source, frozenset(path[0] for path in references), references, run)


def _references(node: ast.AST) -> Iterator[tuple[str, ...]]:
    path = _path(node)
    if path:
        if path[0] not in _JSON_NAMES:
            yield path
        return
    parts = [*node.args, *node.keywords] if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    for part in parts:
        yield from _references(part)


def _is_null(node: ast.AST) -> bool:
    return (isinstance(node, ast.Constant) and node.value is None) or (
        isinstance(node, ast.Name) and node.id == "null"
    )


def _path(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=inner, attr=key) | ast.Subscript(value=inner, slice=ast.Constant(value=str(key))):
            path = _path(inner)
            return (*path, key) if path else ()
    return ()


class _Compiler:
    """Turns nodes that are allowed into closures, and refuses the others; keeps the text for messages.

    Args:
        text: What was parsed.
        before: How many of its lines are ours.
    """

    def __init__(self, text: str, before: int) -> None:
        self._text = text
        self._before = before
        self._nodes = 0
        self._depth = 0

    def build(self, node: ast.expr) -> _Evaluator:
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES:
            raise self._refused(node, f"more than {MAX_NODES:,} parts")
        if self._depth > MAX_DEPTH:
            raise self._refused(node, f"nesting of more than {MAX_DEPTH} levels")
        run = self._build(node)
        self._depth -= 1
        return run

    def _build(self, node: ast.expr) -> _Evaluator:
        build = self.build
        match node:
            case ast.Constant(value=value):
                self._check_literal(node, value)
                return lambda _: value
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.Attribute(value=inner, attr=key):
                if key.startswith("__"):
                    raise self._refused(node, f"the name {key}")
                return self._apply(node, OPERATIONS[ast.Attribute], build(inner), lambda _: key)
            case ast.Subscript(value=inner, slice=ast.Slice(lower=lower, upper=upper, step=step)):
                bounds = [build(part) if part else _nothing for part in (lower, upper, step)]
                return self._apply(node, OPERATIONS[ast.Slice], build(inner), *bounds)
            case ast.Subscript(value=inner, slice=index):
                return self._apply(node, OPERATIONS[ast.Subscript], build(inner), build(index))
            case ast.List(elts=elements):
                parts = [build(part) for part in elements]
                return lambda run: [part(run) for part in parts]
            case ast.Tuple(elts=elements):
                parts = [build(part) for part in elements]
                return lambda run: tuple([part(run) for part in parts])
            case ast.Dict(keys=keys, values=values):
                if None in keys:
                    raise self._refused(node, "unpacking (**)")
                for part in keys:
                    if isinstance(part, ast.Constant) and not isinstance(part.value, str):
                        raise self._refused(part, "a key that is no text")
                parts = [build(part) for part in (*keys, *values) if part]
                return self._apply(node, OPERATIONS[ast.Dict], *parts)
            case ast.BoolOp(op=op, values=values):
                return _either([build(part) for part in values], isinstance(op, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                operand = build(inner)
                return lambda run: not operand(run)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._apply(node, OPERATIONS[ast.USub], build(inner))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, then, otherwise = build(test), build(body), build(orelse)
                return lambda run: then(run) if condition(run) else otherwise(run)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
                return self._apply(node, OPERATIONS[type(op)], build(left), build(right))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare(node, build(left), ops, others)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(node, name, args, keywords)
            case ast.Call():
                raise self._refused(node, "a call of anything but a named function")
        what = getattr(node, "op", node)
        raise self._refused(node, _REFUSED.get(type(what), type(what).__name__))

    def _check_literal(self, node: ast.expr, value: object) -> None:
        if type(value) not in SCALARS:
            raise self._refused(node, f"a literal of type {type(value).__name__}")
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise self._refused(node, "half of a surrogate pair (JSON cannot hold it)")
        if isinstance(value, (int, float)):
            try:
                bounded(value)
            except ExpressionError as error:
                raise self._refused(node, f"such a literal ({error.message})") from None

    def _name(self, node: ast.expr, name: str) -> _Evaluator:
        if name.startswith("__"):
            raise self._refused(node, f"the name {name}")
        default = _JSON_NAMES.get(name, MISSING)

        def run(evaluation: Evaluation) -> Any:
            value = evaluation.scope.get(name, default)
            if value is MISSING:
                raise self._failure(node, no_name(name, evaluation.scope))
            return value

        return run

    def _compare(self, node: ast.expr, first: _Evaluator, ops: list[ast.cmpop], others: list[ast.expr]) -> _Evaluator:
        pairs: list[tuple[Callable[..., Any], _Evaluator]] = []
        for op, other in zip(ops, others, strict=True):
            if isinstance(op, (ast.Is, ast.IsNot)) and not _is_null(other):
                raise self._refused(node, "'is' with anything but None (for values write ==)")
            pairs.append((OPERATIONS[type(op)], self.build(other)))
        if len(pairs) == 1:
            return self._apply(node, pairs[0][0], first, pairs[0][1])

        def run(evaluation: Evaluation) -> bool:
            left = first(evaluation)
            for apply, part in pairs:
                right = part(evaluation)
                try:
                    if not apply(evaluation, left, right):
                        return False
                except Exception as error:
                    raise self._failure(node, error) from error
                left = right
            return True

        return run

    def _call(self, node: ast.expr, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> _Evaluator:
        function = FUNCTIONS.get(name)
        if function is None:
            close = difflib.get_close_matches(name[:64], FUNCTIONS, n=1)
            raise self._refused(node, f"the function {name}()", f"Did you mean {close[0]}()? " if close else "")
        if any(word.arg != function.keyword for word in keywords):
            raise self._refused(node, f"this argument of {name}()")
        most = max(function.most, 2 if keywords else 1)
        if not function.fewest <= len(args) <= function.most or len(args) + len(keywords) > most:
            raise self._refused(node, f"{name}() with {len(args) + len(keywords)} arguments")
        parts = [self.build(part) for part in (*args, *(word.value for word in keywords))]
        return self._apply(node, function.apply, *parts)

    def _apply(self, node: ast.expr, apply: Callable[..., Any], *parts: _Evaluator) -> _Evaluator:
        """Apply an operation to operands; whatever it raises becomes an error that names this node."""
        if len(parts) == 2:  # by far the most frequent: nothing to unpack
            left, right = parts

            def binary(evaluation: Evaluation) -> Any:
                one, other = left(evaluation), right(evaluation)
                try:
                    return apply(evaluation, one, other)
                except Exception as error:
                    raise self._failure(node, error) from error

            return binary

        def run(evaluation: Evaluation) -> Any:
            values = [part(evaluation) for part in parts]
            try:
                return apply(evaluation, *values)
            except Exception as error:
                raise self._failure(node, error) from error

        return run

    def _segment(self, node: ast.AST) -> str:
        return shorten(ast.get_source_segment(self._text, node) or type(node).__name__)

    def _failure(self, node: ast.AST, error: Exception) -> ExpressionError:
        part = self._segment(node)
        whole = shorten(self._text[2:-2] if self._before else self._text)
        remedy = error.remedy if isinstance(error, ExpressionError) else ""
        where = part if part == whole else f"{part} (in {whole})"
        return ExpressionError(f"{where}: {describe(error)}", remedy=remedy)

    def _refused(self, node: ast.expr, what: str, hint: str = "") -> ExpressionError:
        line = self._text.split("\n")[node.lineno - 1]
        column = len(line.encode()[: node.col_offset].decode(errors="replace")) + 1
        place = f"line {node.lineno - self._before}, column {column}"
        return ExpressionError(f"{what} is not allowed: {self._segment(node)} ({place})", remedy=hint + _ALLOWED)


def _nothing(_: Evaluation) -> None:
    """Evaluate a bound that a slice leaves out."""


def _either(parts: list[_Evaluator], stop: bool) -> _Evaluator:
    """Evaluate ``and`` (``stop`` false) or ``or`` (``stop`` true) up to the value that decides."""

    def run(evaluation: Evaluation) -> Any:
        value: Any = None
        for part in parts:
            value = part(evaluation)
            if bool(value) is stop:
                break
        return value

    return run
