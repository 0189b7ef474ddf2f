"""Conditions as schema 1.2.0 of the orchestration dialect wrote them, and as expressions, which came with 2.0.0."""

from __future__ import annotations

import ast
import keyword
import re
from typing import Any, Final

from stepwell.schemas.definitions.literals import literal, read_literal
from stepwell.suggest import choice

_SIGNS: Final = {
    "equals": "==", "not_equals": "!=", "greater_than": ">", "greater_or_equal": ">=", "less_than": "<",
    "less_or_equal": "<=",
    "in": "in", "not_in": "not in",
}  # fmt: skip
_ASKING: Final = {"exists": "in", "missing": "not in"}  # these compare nothing, so they take no value
_COMPARED: Final = {sign: word for word, sign in _SIGNS.items()}
_ASKED: Final = {sign: word for word, sign in _ASKING.items()}
_OPERATORS: Final = (*_SIGNS, *_ASKING)
_KEYS: Final = ("field", "operator", "value")
_ROOTS: Final = ("input", "input_data", "step_outputs", "context")
_FIELD: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_SHORT: Final = ("eq", "ne", "gt", "gte", "lt", "lte", "==", "!=", ">", ">=", "<", "<=")
_NODES: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.In: "in",
    ast.NotIn: "not in",
}  # fmt: skip


def expression_of(condition: Any) -> Any:
    """The expression that means the same as ``{field, operator, value}``.

    What 2.0.0 reads as it is stays as it is: an expression, a task's status, an operator written as a sign.

    Raises:
        ValueError: It is no such condition.
    """
    if isinstance(condition, (str, bool)):
        return condition
    if not isinstance(condition, dict):
        raise ValueError("must be a mapping with field, operator and value")  # noqa: TRY004 - collected as such
    if condition.keys() & {"status", "expression", "condition"}:
        return condition
    for key in condition:
        if key not in _KEYS:
            raise ValueError(f'unknown key "{key}"{choice(key, _KEYS)}')
    operator = condition.get("operator")
    if isinstance(operator, str) and operator in _SHORT:
        return condition
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise ValueError(f'unknown operator "{operator}"{choice(str(operator), _OPERATORS)}')
    asking = operator in _ASKING
    if asking == ("value" in condition):
        raise ValueError(f'operator "{operator}" {"takes no" if asking else "needs a"} value')
    path = _path(condition)
    if not asking:
        return f"{_written(path)} {_SIGNS[operator]} {literal(condition['value'])}"
    if isinstance(path[-1], int) or len(path) == 1:
        raise ValueError(f'operator "{operator}" asks for a key; there is none at the end of the field')
    return f"{literal(path[-1])} {_ASKING[operator]} {_written(path[:-1])}"


def condition_of(expression: Any) -> Any:
    """The condition of 1.2.0 from which ``expression_of`` makes just this.

    Raises:
        ValueError: There is none: it says more, or says it in another way.
    """
    if isinstance(expression, (dict, bool)) and expression_of(expression) == expression:
        return expression
    if isinstance(expression, str):
        try:
            condition = _parsed(ast.parse(expression, mode="eval").body)
            if expression_of(condition) == expression:
                return condition
        except (ValueError, LookupError, TypeError, SyntaxError, RecursionError, MemoryError):
            pass
    raise ValueError(
        f"1.2.0 compares a field with a value, such as step_outputs.check.score >= 70, and nothing else; this is "
        f"{expression!r}"
    )


def path_of(field: str) -> str:
    """The expression that a field is: keys that are no plain names go in brackets. What is no path stays as it is."""
    try:
        return _written(_path({"field": field})) if _FIELD.fullmatch(field) else field
    except ValueError:
        return field


def _path(condition: dict[str, Any]) -> list[str | int]:
    field = condition.get("field")
    parts = field.split(".") if isinstance(field, str) else [""]
    if not all(parts) or parts[0] not in _ROOTS:
        raise ValueError("field: must be a path such as input.city, step_outputs.check.score or context.rows.0.price")
    if parts[0] == "step_outputs" and len(parts) > 1:
        return [*parts[:2], *map(_key, parts[2:])]  # a task's id is a text, whatever it looks like
    return [parts[0], *map(_key, parts[1:])]


def _key(part: str) -> str | int:
    return int(part) if _is_index(part) else part


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10 and str(int(part)) == part


def _written(path: list[str | int]) -> str:
    text = str(path[0])
    for part in path[1:]:
        # Python's parser, which reads expressions, rewrites names that are not ASCII, and knows no keywords as keys.
        plain = isinstance(part, str) and part.isascii() and part.isidentifier() and not keyword.iskeyword(part)
        text += f".{part}" if plain else f"[{literal(part)}]"
    return text


def _parsed(node: ast.expr) -> dict[str, Any]:
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise ValueError("no comparison")
    sign, right = _NODES.get(type(node.ops[0]), ""), node.comparators[0]
    try:
        path = _read_path(node.left)
    except ValueError:
        key = read_literal(node.left)
        return {"field": _field([*_read_path(right), key]), "operator": _ASKED[sign]}
    return {"field": _field(path), "operator": _COMPARED[sign], "value": read_literal(right)}


def _read_path(node: ast.expr) -> list[str | int]:
    match node:
        case ast.Name(id=root) if root in _ROOTS:
            return [root]
        case ast.Attribute(value=inner, attr=name):
            return [*_read_path(inner), name]
        case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
            return [*_read_path(inner), key]
    raise ValueError("no path")


def _field(path: list[str | int]) -> str:
    return ".".join(map(str, path))
