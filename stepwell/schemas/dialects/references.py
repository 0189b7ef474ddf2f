"""References of other systems within ``{{ … }}`` and conditions, rewritten as references of the canonical form."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any, Final

from stepwell.schemas.definitions.literals import LETTER

Resolve = Callable[[list[str]], list[str] | str | None]
"""The parts of a path as they were written to those of the canonical form, or to an expression; None: as it is."""

_TEMPLATE: Final = re.compile(r"""\{\{((?:'[^'\n]*'|"[^"\n]*"|[^{}'"])*)\}\}""")
_QUOTED: Final = re.compile(r"""('[^'\n]*'|"[^"\n]*")""")
_WORD: Final = rf"(?:{LETTER}|-)+"
_PURE: Final = re.compile(rf"\s*({_WORD}(?:\.{_WORD}|\[\d+\])*)\s*")
_PART: Final = re.compile(rf"\.({_WORD})|\[(\d+)\]")


class References:
    """Rewrites paths.

    Args:
        roots: What a path within a longer expression may begin with though it is no plain word: ids with dashes.
        resolve: What a path means.
    """

    def __init__(self, roots: Iterable[str], resolve: Resolve) -> None:
        odd = sorted((root for root in roots if not root.isidentifier()), key=len, reverse=True)
        names = "|".join([*map(re.escape, odd), rf"(?!\d){LETTER}+"])
        # A name that a bracket follows is called: a function, or a method, which belongs to no path.
        self._path = re.compile(
            rf"(?<!{LETTER})(?<![.\])\-])((?:{names})(?!{LETTER}|\s*\())"
            rf"((?:\.{LETTER}+(?!{LETTER}|\s*\()|\[\d+\])*)"
        )
        self.resolve = resolve

    def with_meaning(self, resolve: Resolve) -> References:
        """The same paths with another meaning. Thousands of roots are made into a pattern only once."""
        other = copy(self)
        other.resolve = resolve
        return other

    def in_value(self, value: Any) -> Any:
        """A value with every template of its texts rewritten."""
        if isinstance(value, str):
            return (
                _TEMPLATE.sub(lambda found: "{{" + self._source(found[1]) + "}}", value) if "{{" in value else value
            )
        if isinstance(value, dict):
            return {key: self.in_value(part) for key, part in value.items()}
        return [self.in_value(part) for part in value] if isinstance(value, (list, tuple)) else value

    def in_expression(self, source: str) -> str:
        """An expression, rewritten. Braces around the whole of it, which other systems ask for, are taken away."""
        whole = _TEMPLATE.fullmatch(source.strip())
        return self._source(whole[1] if whole else source).strip()

    def _source(self, source: str) -> str:
        pure = _PURE.fullmatch(source)
        if pure:
            return f" {self._written(pure[1])} "
        parts = _QUOTED.split(source)
        return "".join(
            part if index % 2 else self._path.sub(lambda found: self._written(found[0]), part)
            for index, part in enumerate(parts)
        )

    def _written(self, path: str) -> str:
        root = re.match(_WORD, path)
        if root is None:
            return path
        parts = [root[0], *(found[1] or found[2] for found in _PART.finditer(path, root.end()))]
        resolved = self.resolve(parts)
        if resolved is None:
            return path
        return resolved if isinstance(resolved, str) else write(resolved)


def write(parts: list[str]) -> str:
    """A path of the canonical form as an expression: keys that are no plain words go in brackets."""
    written = parts[0]
    for part in parts[1:]:
        if part.isidentifier() and not keyword.iskeyword(part):
            written += f".{part}"
        else:
            written += f"[{part}]" if part.isdecimal() and part.isascii() else f"[{part!r}]"
    return written
