"""Values as literals of the expression language, and back: for texts that programs write instead of people."""

from __future__ import annotations

import ast
import json
import math
import re
from datetime import date, time
from typing import Any, Final

import msgspec

MAX_SOURCE: Final = 4_000
"""Characters of an expression: more is a program, and belongs in a handler. Also bounds the parser's work."""
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


# What may hide a closing }} within an expression: quoted text, and the braces of its own mappings.
_TOKEN: Final = re.compile(
    r"""
    '''(?:\\.|[^\\])*?'''  | \"\"\"(?:\\.|[^\\])*?\"\"\"
    | '(?:\\.|[^'\\\n])*'  | "(?:\\.|[^"\\\n])*"
    | [{}]
    """,
    re.DOTALL | re.VERBOSE,
)


def end_of_template(text: str, start: int) -> int:
    """Where the ``}}`` stands that closes the expression of a template; -1 if none does.

    Args:
        text: What the template is in.
        start: Where the expression begins, after the ``{{``.
    """
    depth, position = 0, start
    limit = start + MAX_SOURCE + 2  # nothing longer compiles, so a long text is searched in linear time
    while token := _TOKEN.search(text, position, limit):
        position = token.end()
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}" and text.startswith("}", position):
            return token.start()
    return -1


def is_one_template(text: str) -> bool:
    """Whether a text is one ``{{ … }}`` and nothing else, so that it becomes a value and no text."""
    return text.startswith("{{") and end_of_template(text, 2) == len(text) - 2


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
