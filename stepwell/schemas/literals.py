"""Values as literals of the expression language, and back: for texts that programs write instead of people."""

from __future__ import annotations

import ast
import json
import math
import re
from datetime import date, time
from typing import Any, Final

import msgspec

LETTER: Final = r"[^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f\s]"
"""In a pattern: what a name may be made of. More than ``\\w``, which leaves out accents that stand for themselves."""
_WORDS: Final = {"true": True, "false": False, "null": None}


def literal(value: Any, *, as_python: bool = False) -> str:
    """Write a JSON value as an expression that is that value, whatever texts are in it.

    Args:
        value: Any JSON value; a date or a time, which YAML readers of Python make, is the text that JSON has for it.
            Braces within texts are written as escapes, so that the literal can stand within ``{{ … }}``, and in a
            text in which these are looked for.
        as_python: Write words and quotes as Python does. Both mean the same; but what was once written in one of the
            two ways goes on being so, as a definition's hash would be another.

    Raises:
        ValueError: It is no JSON: NaN, infinity, a foreign object, a key that is no text.
    """
    if value is None or isinstance(value, bool):
        return repr(value) if as_python else next(word for word, meant in _WORDS.items() if meant is value)
    if isinstance(value, str):
        # Not ensure_ascii: Python's parser, which reads expressions, does not join the halves of a surrogate pair.
        text = repr(str(value)) if as_python else json.dumps(value, ensure_ascii=False)
        return text.replace("{", "\\u007b").replace("}", "\\u007d")
    if isinstance(value, (int, float)) and math.isfinite(value):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(literal(part, as_python=as_python) for part in value)}]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        # With a blank inside, two closing braces never stand together where a template would end.
        inner = ", ".join(
            f"{literal(key, as_python=as_python)}: {literal(part, as_python=as_python)}"
            for key, part in value.items()
        )
        return f"{{ {inner} }}" if inner else "{ }"
    if isinstance(value, (date, time)):  # a datetime is a date, too
        return literal(msgspec.to_builtins(value), as_python=as_python)
    raise ValueError(f"{value!r:.100} is no JSON")


_TOKEN: Final = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[{}]""", re.DOTALL)


def is_one_template(text: str) -> bool:
    """Whether a text is one ``{{ … }}`` and nothing else, so that it becomes a value and no text."""
    if not text.startswith("{{"):
        return False
    depth, position = 0, 2
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}" and text.startswith("}", position):
            return position + 1 == len(text)
    return False


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
