"""Conditions as schema 1.2.0 of the orchestration dialect wrote them, and as expressions, which came with 2.0.0."""

from __future__ import annotations

import ast
import difflib
import keyword
from typing import Any, Final

from stepwell.schemas.literals import literal, read_literal

_SIGNS: Final = {
    "equals": "==", "not_equals": "!=", "greater_than": ">", "at_least": ">=", "less_than": "<", "at_most": "<=",
    "in": "in", "not_in": "not in",
}  # fmt: skip
_ASKING: Final = {"exists": "in", "missing": "not in"}  # these compare nothing, so they take no value
_COMPARED: Final = {sign: word for word, sign in _SIGNS.items()}
_ASKED: Final = {sign: word for word, sign in _ASKING.items()}
_OPERATORS: Final = (*_SIGNS, *_ASKING)
_KEYS: Final = ("task", "field", "operator", "value")
_NODES: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.In: "in",
    ast.NotIn: "not in",
}  # fmt: skip


def expression_of(condition: Any) -> str:
    """The expression that means the same as ``{task, field, operator, value}``.

    Without a ``task`` it looks at the workflow's input; without a ``field``, at the whole output.

    Raises:
        ValueError: It is no such condition.
    """
    if not isinstance(condition, dict):
        raise ValueError("must be a mapping with field, operator and value")  # noqa: TRY004 - collected as such
    for key in condition:
        if key not in _KEYS:
            raise ValueError(f'unknown key "{key}"{_near(key, _KEYS)}')
    operator = condition.get("operator")
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise ValueError(f'unknown operator "{operator}"{_near(str(operator), _OPERATORS)}')
    asking = operator in _ASKING
    if asking == ("value" in condition):
        raise ValueError(
            f'operator "{operator}" takes no value' if asking else f'operator "{operator}" needs a value'
        )
    path = _path(condition)
    if not asking:
        return f"{_written(path)} {_SIGNS[operator]} {literal(condition['value'])}"
    if isinstance(path[-1], int) or len(path) == 1:
        raise ValueError(f'operator "{operator}" asks for a key; there is none at the end of the field')
    return f"{literal(path[-1])} {_ASKING[operator]} {_written(path[:-1])}"


def condition_of(expression: Any) -> dict[str, Any]:
    """The condition of 1.2.0 from which ``expression_of`` makes just this text.

    Raises:
        ValueError: There is none: it says more, or says it in another way.
    """
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


def _near(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f', did you mean "{near[0]}"?' if near else f"; there are {', '.join(known)}"


def _path(condition: dict[str, Any]) -> list[str | int]:
    task, field = condition.get("task"), condition.get("field")
    path: list[str | int] = ["input"]
    if "task" in condition:
        if not isinstance(task, str) or not task:
            raise ValueError("task: must be a task's id")
        path = ["step_outputs", task]
    if "field" in condition:
        if not isinstance(field, str) or not all(field.split(".")):
            raise ValueError("field: must be a path such as score, customer.city or rows.0.price")
        path.extend(int(part) if _is_index(part) else part for part in field.split("."))
    return path


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
        return {**_place([*_read_path(right), key]), "operator": _ASKED[sign]}
    return {**_place(path), "operator": _COMPARED[sign], "value": read_literal(right)}


def _read_path(node: ast.expr) -> list[str | int]:
    match node:
        case ast.Name(id=("input" | "step_outputs") as root):
            return [root]
        case ast.Attribute(value=inner, attr=name):
            return [*_read_path(inner), name]
        case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
            return [*_read_path(inner), key]
    raise ValueError("no path")


def _place(path: list[str | int]) -> dict[str, Any]:
    start: dict[str, Any] = {} if path[0] == "input" else {"task": path[1]}
    field = ".".join(map(str, path[1 if path[0] == "input" else 2 :]))
    return {**start, **({"field": field} if field else {})}
