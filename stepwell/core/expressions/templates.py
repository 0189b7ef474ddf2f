"""Templates: JSON values whose texts may hold ``{{ expression }}``, for inputs, configurations and outputs.

A text that is exactly one ``{{ … }}`` becomes the expression's value and keeps its type; within a longer text the
value becomes text: null nothing, truth values ``true`` and ``false``, numbers as Python writes them, mappings
and lists as JSON with sorted keys. Keys are never templates. A literal ``{{`` is written ``{{ '{{' }}``.
"""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from stepwell.core.expressions.evaluate import Expression, compile_expression
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.syntax import MAX_DEPTH
from stepwell.core.expressions.values import (
    Evaluation,
    as_text,
    check_text,
    describe,
    kind,
    plain,
    shorten,
    to_be_written,
)
from stepwell.errors import ExpressionError, LimitError
from stepwell.schemas.definitions.literals import LETTER, MAX_SOURCE, end_of_template

_Render = Callable[[Evaluation], Any]

# A path that compile_mapping reads without braces. The ids of steps may hold dashes or begin with a digit.
_KEY: Final = r"""\[\s*(?:'[^'\\\n]*'|"[^"\\\n]*"|-?\d{1,9})\s*\]"""
_BARE: Final = re.compile(
    rf"(?:step_outputs(?:\.{LETTER}(?:{LETTER}|-)*|{_KEY})+|(?:input_data|input|context)(?:\.{LETTER}+|{_KEY})+)"
)
_DOTTED: Final = re.compile(rf"\.((?:{LETTER}|-)+)|{_KEY}")


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template; made by :func:`compile_template` or :func:`compile_mapping`, safe to share.

    As in ``Expression``, what renders it is made when it is evaluated first.

    Attributes:
        names: The root names that its expressions read.
        references: The constant access paths of its expressions, as in ``Expression.references``.
        constant: Whether there is no expression in it, so that it always gives the value it was made from.
    """

    names: frozenset[str]
    references: frozenset[tuple[str, ...]]
    constant: bool
    _value: Any = field(repr=False, compare=False)
    _bare: bool = field(default=False, repr=False, compare=False)
    _render: _Render | None = field(default=None, repr=False, compare=False)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value with every expression replaced by its result; all of them pay from one meter.

        Args:
            scope: Root names and their JSON-like data, as for ``Expression.evaluate``.

        Returns:
            Plain JSON-able data (dicts, lists, tuples, texts, numbers, truth values, None). Constant parts and
            data that is plain already are not copied: do not change them.

        Raises:
            LimitError: It takes more work, or makes more, than there is for it.
            ExpressionError: When an expression fails, or its result is no JSON; ``place`` is the path within the
                value, such as ``headers.Authorization``.
        """
        return self._value if self.constant else self.evaluate_in(Evaluation(scope))

    def evaluate_in(self, evaluation: Evaluation) -> Any:
        """The same within an evaluation that goes on: several templates and expressions pay from its meter.

        Raises:
            ExpressionError: As ``evaluate``.
        """
        if self.constant:
            return self._value
        try:
            render = self._render
            if render is None:
                render = _Compiler().build(self._value, "", bare=self._bare, depth=0).render
                object.__setattr__(self, "_render", render)  # frozen for whoever shares it
            return render(evaluation)
        except (MemoryError, RecursionError) as error:
            raise ExpressionError(f"the value cannot be built: {describe(error)}") from error


def compile_template(value: Any) -> Template:
    """Compile a JSON value whose texts may hold ``{{ expression }}``.

    Raises:
        ExpressionError: When an expression is not allowed, a ``{{`` is never closed, or the value is no JSON;
            ``place`` is the path within the value.
    """
    return _compile(value, bare=False)


def compile_mapping(mapping: dict[str, Any]) -> Template:
    """Compile an input mapping: a template in which bare paths need no braces.

    A text that is nothing but a path with the root ``step_outputs``, ``input_data``, ``input`` or ``context``,
    such as ``step_outputs.fetch.rows[0]``, counts as written in ``{{ … }}``, at the top level and in nested
    mappings (not in lists). In a bare path the ids of steps may hold dashes: ``step_outputs.fetch-data.rows``.

    Raises:
        ExpressionError: As :func:`compile_template`.
    """
    return _compile(mapping, bare=True)


def _compile(value: Any, *, bare: bool) -> Template:
    compiler = _Compiler()
    try:
        part = compiler.build(value, "", bare=bare, depth=0)
    except RecursionError as error:
        raise ExpressionError("the value is nested too deeply for its caller's stack") from error
    if isinstance(part, _Constant):
        return Template(_NONE, _NONE, True, part.value)
    if len(compiler.expressions) == 1:  # as in most: nothing to unite
        (expression,) = compiler.expressions
        return Template(expression.names, expression.references, False, value, bare)
    references = frozenset([path for expression in compiler.expressions for path in expression.references])
    return Template(frozenset([path[0] for path in references]), references, False, value, bare)


_NONE: Final[frozenset[Any]] = frozenset()


class _Constant:
    """A part without expressions: the value itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def render(self, _: Evaluation) -> Any:
        return self.value


class _Dynamic:
    """A part that depends on the scope."""

    def __init__(self, render: _Render) -> None:
        self.render = render


_Part = _Constant | _Dynamic


class _Compiler:
    """Walks a value and collects its expressions."""

    def __init__(self) -> None:
        self.expressions: list[Expression] = []

    def build(self, value: Any, place: str, *, bare: bool, depth: int) -> _Part:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"the value is nested more than {MAX_DEPTH} deep", place=shorten(place))
        if isinstance(value, str):
            return self._text(value, place, bare=bare)
        if isinstance(value, Mapping):
            return self._mapping(value, place, bare=bare, depth=depth)
        if isinstance(value, (list, tuple)):
            return self._list(value, place, depth=depth)
        try:
            return _Constant(plain(value))
        except ExpressionError as error:
            raise _placed(error, place) from error

    def _mapping(self, value: Mapping[Any, Any], place: str, *, bare: bool, depth: int) -> _Part:
        parts: dict[str, _Part] = {}
        for key, part in value.items():
            if not isinstance(key, str):
                raise ExpressionError(f"a key must be text, not {kind(key)}", place=_below(place, repr(key)))
            parts[key] = self.build(part, _below(place, key), bare=bare, depth=depth + 1)
        constants = {key: part.value for key, part in parts.items() if isinstance(part, _Constant)}
        if len(constants) == len(parts):
            same = type(value) is dict and all(map(operator.is_, constants.values(), value.values()))
            return _Constant(value if same else constants)
        renders = [(key, part.render) for key, part in parts.items()]
        return _Dynamic(lambda run: {key: render(run) for key, render in renders})

    def _list(self, value: list[Any] | tuple[Any, ...], place: str, *, depth: int) -> _Part:
        make = tuple if isinstance(value, tuple) else list
        parts = [
            self.build(part, f"{place}[{index}]", bare=False, depth=depth + 1) for index, part in enumerate(value)
        ]
        constants = [part.value for part in parts if isinstance(part, _Constant)]
        if len(constants) == len(parts):
            return _Constant(value if all(map(operator.is_, constants, value)) else make(constants))
        return _Dynamic(lambda run: make([part.render(run) for part in parts]))

    def _text(self, text: str, place: str, *, bare: bool) -> _Part:
        if bare and _is_bare(text):
            return _Dynamic(self._expression(_unambiguous(text), place, plain))
        if "{{" not in text:
            return _Constant(text)
        try:
            pieces = list(_pieces(text))
        except ExpressionError as error:
            raise _placed(error, place) from error
        if len(pieces) == 1:
            return _Dynamic(self._expression(pieces[0][1], place, plain))
        renders = [
            self._expression(piece, place, in_text) if is_source else _Constant(piece).render
            for is_source, piece in pieces
        ]

        def render(run: Evaluation) -> str:
            parts: list[str] = []
            size = 0
            for piece in renders:
                parts.append(piece(run))
                size += len(parts[-1])
                try:
                    check_text(size)
                    run.make(len(parts[-1]))
                except LimitError as error:
                    raise _placed(error, place) from None
            return "".join(parts)

        return _Dynamic(render)

    def _expression(self, source: str, place: str, finish: Callable[[Any, Meter], Any]) -> _Render:
        try:
            expression = compile_expression(source)
        except ExpressionError as error:
            raise _placed(error, place) from error
        self.expressions.append(expression)

        def render(run: Evaluation) -> Any:
            try:
                return finish(expression.evaluate_in(run), run)
            except Exception as error:
                raise _placed(error, place) from error

        return render


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of a text: whether it is an expression's source, and the source or the literal text."""
    position = 0
    while True:
        start = text.find("{{", position)
        if start < 0:
            if position < len(text):
                yield False, text[position:]
            return
        if start > position:
            yield False, text[position:start]
        end = _end(text, start + 2)
        yield True, text[start + 2 : end]
        position = end + 2


def _end(text: str, start: int) -> int:
    """Return where the ``}}`` stands that closes the expression at ``start``."""
    end = end_of_template(text, start)
    if end >= 0:
        return end
    raise ExpressionError(
        f"this {{{{ is never closed: {shorten(text[start - 2 : start + 60], 40)}",
        remedy=f"Close it with }}}} within {MAX_SOURCE:,} characters; a literal {{{{ is written {{{{ '{{{{' }}}}.",
    )


def _is_bare(text: str) -> bool:
    """Whether a text is nothing but a path that needs no braces."""
    if _BARE.fullmatch(text) is None:
        return False
    keys = [key for key in _DOTTED.findall(text) if key]
    if text.startswith("step_outputs"):
        return all(f"_{key.replace('-', '_')}".isidentifier() for key in keys)
    return all(key.isidentifier() for key in keys)


def _unambiguous(path: str) -> str:
    """Write a bare path so that it is an expression: keys that are no plain names go in brackets."""

    def bracket(match: re.Match[str]) -> str:
        key = match[1]
        return match[0] if key is None or (key.isidentifier() and not keyword.iskeyword(key)) else f"[{key!r}]"

    return _DOTTED.sub(bracket, path)


def in_text(value: Any, run: Meter | None = None) -> str:
    """Return what a value is within a longer text: null is nothing, lists and mappings are JSON.

    Args:
        run: The meter that pays; by default one of its own.

    Raises:
        LimitError: It would be too large.
        ExpressionError: It is no JSON.
    """
    run = run or Meter()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return as_text(value, run)
    return msgspec.json.encode(to_be_written(value, run), order="deterministic").decode()


def _below(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _placed(error: Exception, place: str) -> ExpressionError:
    if isinstance(error, ExpressionError):
        return error.said(error.message, place=error.place or place, remedy=error.remedy)
    return ExpressionError(describe(error), place=place)
