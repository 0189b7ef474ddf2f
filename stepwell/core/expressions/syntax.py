"""How the syntax tree of an expression becomes closures: what is allowed, and what is said of what is not."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, ClassVar, Final

from stepwell.core.expressions.methods import METHODS, call
from stepwell.core.expressions.operations import FUNCTIONS, MAX_NODES, OPERATIONS
from stepwell.core.expressions.values import MISSING, SCALARS, Evaluation, bounded, describe, no_name, shorten
from stepwell.errors import ExpressionError
from stepwell.suggest import near_words

MAX_DEPTH: Final = 100
"""Nesting of the source: a Python frame for each level, of the interpreter's usual 1,000."""

JSON_NAMES: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
ALLOWED: Final = (
    "Allowed: literals, lists, mappings; == != < <= > >=, in, is None; and, or, not; a if c else b; "
    f"+ - * / // %; a.key, a['key'], a[0], a[1:3]; the functions {', '.join(FUNCTIONS)}; the methods "
    f"{', '.join(METHODS)}."
)
"""The remedy of what is refused, after any that is more to the point."""
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

Evaluator = Callable[[Evaluation], Any]
"""A compiled expression, or a part of one."""


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
        case ast.Call(func=ast.Attribute(value=inner, attr="get"), args=[ast.Constant(value=str(key)), *_]):
            path = _path(inner)  # a.get("key", …) refers to a.key
            return (*path, key) if path else ()
    return ()


class Compiler:
    """Turns nodes that are allowed into closures, and refuses the others; keeps the text for messages.

    Args:
        text: What was parsed.
        before: How many of its lines are ours.

    Attributes:
        references: The access paths that were met, each as far as it is constant.
        parts: How many nodes were met.
    """

    def __init__(self, text: str, before: int) -> None:
        self._text = text
        self._before = before
        self.parts: int = 0
        self._depth = 0
        self._inside = False  # of a path that is noted already
        self.references: set[tuple[str, ...]] = set()

    def build(self, node: ast.expr) -> Evaluator:
        """Make a closure of a node and of all that is below it.

        Raises:
            ExpressionError: There is something that is not allowed.
        """
        self.parts += 1
        self._depth += 1
        if self.parts > MAX_NODES:
            raise self._refused(node, f"more than {MAX_NODES:,} parts")
        if self._depth > MAX_DEPTH:
            raise self._refused(node, f"nesting of more than {MAX_DEPTH} levels")
        allowed = self._ALLOWED.get(type(node))
        if allowed is None:
            raise self._forbidden(node, node)
        run = allowed(self, node)
        self._depth -= 1
        return run

    def _constant(self, node: ast.Constant) -> Evaluator:
        value = node.value
        self._check_literal(node, value)
        return lambda _: value

    def _attribute(self, node: ast.Attribute) -> Evaluator:
        key = node.attr
        if key.startswith("__"):
            raise self._refused(node, f"the name {key}")
        return self._apply(node, OPERATIONS[ast.Attribute], self._inner(node, node.value), lambda _: key)

    def _subscript(self, node: ast.Subscript) -> Evaluator:
        index = node.slice
        if isinstance(index, ast.Slice):
            bounds = [self.build(part) if part else _nothing for part in (index.lower, index.upper, index.step)]
            return self._apply(node, OPERATIONS[ast.Slice], self.build(node.value), *bounds)
        return self._apply(node, OPERATIONS[ast.Subscript], self._inner(node, node.value), self.build(index))

    def _logic(self, node: ast.BoolOp) -> Evaluator:
        return _either([self.build(part) for part in node.values], isinstance(node.op, ast.Or))

    def _arithmetic(self, node: ast.BinOp) -> Evaluator:
        operation = OPERATIONS.get(type(node.op))
        if operation is None:
            raise self._forbidden(node, node.op)
        return self._apply(node, operation, self.build(node.left), self.build(node.right))

    def _sign(self, node: ast.UnaryOp) -> Evaluator:
        if isinstance(node.op, ast.Not):
            operand = self.build(node.operand)
            return lambda run: not operand(run)
        if isinstance(node.op, ast.USub):
            return self._apply(node, OPERATIONS[ast.USub], self.build(node.operand))
        raise self._forbidden(node, node.op)

    def _list(self, node: ast.List) -> Evaluator:
        parts = [self.build(part) for part in node.elts]
        return lambda run: [part(run) for part in parts]

    def _tuple(self, node: ast.Tuple) -> Evaluator:
        parts = [self.build(part) for part in node.elts]
        return lambda run: tuple([part(run) for part in parts])

    def _dict(self, node: ast.Dict) -> Evaluator:
        if None in node.keys:
            raise self._refused(node, "unpacking (**)")
        for part in node.keys:
            if isinstance(part, ast.Constant) and not isinstance(part.value, str):
                raise self._refused(part, "a key that is no text")
        parts = [self.build(part) for part in (*node.keys, *node.values) if part]
        return self._apply(node, OPERATIONS[ast.Dict], *parts)

    def _choice(self, node: ast.IfExp) -> Evaluator:
        condition, then, otherwise = self.build(node.test), self.build(node.body), self.build(node.orelse)
        return lambda run: then(run) if condition(run) else otherwise(run)

    def _called(self, node: ast.Call) -> Evaluator:
        if isinstance(node.func, ast.Name):
            return self._call(node, node.func.id, node.args, node.keywords)
        if isinstance(node.func, ast.Attribute):
            return self._method(node, node.func.value, node.func.attr, node.args, node.keywords)
        raise self._refused(node, "a call of anything but a function or a method")

    def _inner(self, node: ast.expr, inner: ast.expr) -> Evaluator:
        """What a key is looked up in; notes the path that ends here, if it is one."""
        if self._inside:
            return self.build(inner)
        path = _path(node)
        if path and path[0] not in JSON_NAMES:
            self.references.add(path)
        self._inside = bool(path)
        run = self.build(inner)
        self._inside = False
        return run

    def _check_literal(self, node: ast.expr, value: object) -> None:
        if type(value) not in SCALARS:
            raise self._refused(node, f"a literal of type {type(value).__name__}")
        if isinstance(value, str):
            if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
                raise self._refused(node, "half of a surrogate pair (JSON cannot hold it)")
        elif isinstance(value, (int, float)):
            try:
                bounded(value)
            except ExpressionError as error:
                raise self._refused(node, f"such a literal ({error.message})") from None

    def _name(self, node: ast.Name) -> Evaluator:
        name = node.id
        if name.startswith("__"):
            raise self._refused(node, f"the name {name}")
        default = JSON_NAMES.get(name, MISSING)
        if not self._inside and default is MISSING:
            self.references.add((name,))

        def run(evaluation: Evaluation) -> Any:
            value = evaluation.scope.get(name, default)
            if value is MISSING:
                raise self._failure(node, no_name(name, evaluation.scope))
            return value

        return run

    def _compare(self, node: ast.Compare) -> Evaluator:
        first = self.build(node.left)
        pairs: list[tuple[Callable[..., Any], Evaluator]] = []
        for op, other in zip(node.ops, node.comparators, strict=True):
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

    def _call(self, node: ast.expr, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Evaluator:
        function = FUNCTIONS.get(name)
        if function is None:
            close = near_words(name, FUNCTIONS)
            raise self._refused(node, f"the function {name}()", f"Did you mean {close[0]}()? " if close else "")
        if any(word.arg != function.keyword for word in keywords):
            raise self._refused(node, f"this argument of {name}()")
        most = max(function.most, 2 if keywords else 1)
        if not function.fewest <= len(args) <= function.most or len(args) + len(keywords) > most:
            raise self._refused(node, f"{name}() with {len(args) + len(keywords)} arguments")
        parts = [self.build(part) for part in (*args, *(word.value for word in keywords))]
        return self._apply(node, function.apply, *parts)

    def _method(
        self, node: ast.expr, inner: ast.expr, name: str, args: list[ast.expr], keywords: list[ast.keyword]
    ) -> Evaluator:
        method = METHODS.get(name)
        if method is None:
            close = near_words(name, METHODS)
            hint = f"Did you mean .{close[0]}()? " if close else ""
            raise self._refused(node, f"the method {shorten(name)}()", hint)
        if keywords or not method.fewest <= len(args) <= method.most:
            raise self._refused(node, f"{name}() with these arguments")
        value = self._inner(node, inner)
        inside, self._inside = self._inside, False
        parts = [self.build(part) for part in args]
        self._inside = inside
        return self._apply(node, call(name), value, *parts)

    def _apply(self, node: ast.expr, apply: Callable[..., Any], *parts: Evaluator) -> Evaluator:
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
        where = part if part == whole else f"{part} (in {whole})"
        message = f"{where}: {describe(error)}"
        return (
            error.said(message, remedy=error.remedy)
            if isinstance(error, ExpressionError)
            else ExpressionError(message)
        )

    def _forbidden(self, node: ast.expr, part: ast.AST) -> ExpressionError:
        """The error of an expression that has a part of a kind that is not allowed."""
        return self._refused(node, _REFUSED.get(type(part), type(part).__name__))

    def _refused(self, node: ast.expr, what: str, hint: str = "") -> ExpressionError:
        line = self._text.split("\n")[node.lineno - 1]
        column = len(line.encode()[: node.col_offset].decode(errors="replace")) + 1
        place = f"line {node.lineno - self._before}, column {column}"
        return ExpressionError(f"{what} is not allowed: {self._segment(node)} ({place})", remedy=hint + ALLOWED)

    _ALLOWED: ClassVar[dict[type[ast.AST], Callable[[Compiler, Any], Evaluator]]] = {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Subscript: _subscript,
        ast.Compare: _compare,
        ast.BoolOp: _logic,
        ast.BinOp: _arithmetic,
        ast.UnaryOp: _sign,
        ast.List: _list,
        ast.Tuple: _tuple,
        ast.Dict: _dict,
        ast.IfExp: _choice,
        ast.Call: _called,
    }
    """What makes the closure of each kind of node that is allowed."""


def _nothing(_: Evaluation) -> None:
    """Evaluate a bound that a slice leaves out."""


def _either(parts: list[Evaluator], stop: bool) -> Evaluator:
    """Evaluate ``and`` (``stop`` false) or ``or`` (``stop`` true) up to the value that decides."""

    def run(evaluation: Evaluation) -> Any:
        value: Any = None
        for part in parts:
            value = part(evaluation)
            if bool(value) is stop:
                break
        return value

    return run
