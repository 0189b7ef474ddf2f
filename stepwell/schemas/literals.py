"""Values as literals of the expression language, and back: for texts that programs write instead of people."""

from __future__ import annotations

import ast
import json
import math
from typing import Any, Final

_WORDS: Final = {"true": True, "false": False, "null": None}


def literal(value: Any) -> str:
    """Write a JSON value as an expression that is that value, whatever texts are in it.

    Args:
        value: Any JSON value. Braces within texts are written as escapes, so that the literal can stand within
            ``{{ … }}``, and in a text in which these are looked for.

    Raises:
        ValueError: It is no JSON: NaN, infinity, a foreign object, a key that is no text.
    """
    if value is None or isinstance(value, bool):
        return next(word for word, meant in _WORDS.items() if meant is value)
    if isinstance(value, str):
        # Not ensure_ascii: Python's parser, which reads expressions, does not join the halves of a surrogate pair.
        return json.dumps(value, ensure_ascii=False).replace("{", "\\u007b").replace("}", "\\u007d")
    if isinstance(value, (int, float)) and math.isfinite(value):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        # With a blank inside, two closing braces never stand together where a template would end.
        inner = ", ".join(f"{literal(key)}: {literal(part)}" for key, part in value.items())
        return f"{{ {inner} }}" if inner else "{ }"
    raise ValueError(f"{value!r} is no JSON")


def read_literal(node: ast.expr) -> Any:
    """The value of a literal in the parsed tree of an expression.

    Raises:
        ValueError: It is no literal.
    """
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts):
            return [read_literal(part) for part in parts]
        case ast.Dict(keys=keys, values=values):
            return {
                read_literal(key): read_literal(part)
                for key, part in zip(keys, values, strict=True)
                if key is not None
            }
    raise ValueError("is no literal")
