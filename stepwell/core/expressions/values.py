"""What data expressions work on, how much of it, and how messages speak of it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from stepwell.core.expressions.meter import MAX_MADE, MAX_WORK, Meter
from stepwell.errors import ExpressionError, LimitError, visible
from stepwell.suggest import MOST, near_words

MAX_DATA_DEPTH: Final = 200
"""Nesting of data that is compared or returned, so that the answer does not depend on the caller's stack."""
MAX_INT_BITS: Final = 14_000
"""Python neither reads nor writes an int of more than 4,300 digits (14,284 bits), so none could be stored."""
_LONG: Final = 512  # bits of a whole number from which on what it takes is worth counting
MAX_TEXT: Final = 1_000_000
"""Characters that ``+``, ``str()`` and templates make: about what a log takes as one record."""
MISSING: Final = object()
SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class Evaluation(Meter):
    """The scope that expressions are evaluated in, and the meter that pays for all of them.

    Args:
        scope: Root names and their JSON-like data.
        work: As for ``Meter``.
        made: As for ``Meter``.

    Attributes:
        scope: The names; whoever evaluates for one row after the other exchanges them, and goes on paying.
    """

    __slots__ = ("scope",)

    def __init__(self, scope: Mapping[str, Any], work: int = MAX_WORK, made: int = MAX_MADE) -> None:
        self.scope: Mapping[str, Any] = scope
        self.left = work
        self.room = made
        self._work = work
        self._made = made


def plain(value: Any, run: Meter | None = None, *, made: bool = True) -> Any:
    """Return JSON-like data with every mapping a ``dict``; what is so already is not copied.

    Args:
        value: Mappings, lists, tuples, texts, numbers, truth values and None, in any nesting.
        run: The meter that pays; by default one of its own.
        made: Whether it becomes a part of a result, so that its bytes are paid for as well as the work.

    Raises:
        LimitError: There is too much of it.
        ExpressionError: When the data is too deep, or could not be written as JSON: other types, keys that are not
            text, numbers that are not finite or too large.
    """
    run = run or Meter()
    room = run.room
    result = _plain(value, 0, run)
    if not made:
        run.room = room
    if run.left < 0 or run.room < 0:
        raise run.exceeded()
    return result


def _plain(value: Any, depth: int, run: Meter) -> Any:
    run.left -= 1
    if isinstance(value, str):
        size = len(value)
        run.left -= size // 16
        run.room -= 3 + (size if value.isascii() else 3 * size)
        return value
    run.room -= 2
    if isinstance(value, (int, float)):
        return bounded(value, run)
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
            run.room -= 4 + len(key)
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


def as_text(value: Any, run: Meter | None = None) -> str:
    """Return ``str(value)``, of bounded size and the same in every process.

    Raises:
        LimitError: When it would be too large.
        ExpressionError: When the value is no JSON-like data.
    """
    run = run or Meter()
    if isinstance(value, str):
        return joined(run, value)
    return joined(run, str(to_be_written(value, run)))


def to_be_written(value: Any, run: Meter) -> Any:
    """Return JSON-like data, as ``plain``, which is small enough to be written as a text.

    Raises:
        LimitError: It is not, by what its parts take at least.
        ExpressionError: It is no JSON-like data.
    """
    room = run.room
    data = plain(value, run)
    if room - run.room > 2 * MAX_TEXT:  # what stands around and between elements is counted generously
        check_text((room - run.room) // 2)
    return data


def joined(run: Meter, *parts: str) -> str:
    """Return the texts as one.

    Raises:
        LimitError: When it would have more than ``MAX_TEXT`` characters.
    """
    size = sum(map(len, parts))
    check_text(size)
    run.spend(size // 16)
    run.make(size)
    return "".join(parts)


def check_text(size: int) -> None:
    """Refuse a text before it is made.

    Args:
        size: Its characters.

    Raises:
        LimitError: They are more than ``MAX_TEXT``.
    """
    if size > MAX_TEXT:
        message = f"the text would have more than {MAX_TEXT:,} characters: {size:,}"
        raise LimitError(message, used=size, limit=MAX_TEXT, remedy="Let a handler write large texts.")


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


def bounded(value: Any, run: Meter | None = None) -> Any:
    """Return a number unchanged.

    Args:
        run: Pays for the arithmetic that long whole numbers take.

    Raises:
        ExpressionError: When it is not finite, or an int of more than ``MAX_INT_BITS``.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError(f"the number is not finite ({value})")
    else:
        bits = value.bit_length()
        if bits > _LONG:
            if bits > MAX_INT_BITS:
                raise ExpressionError(f"the number has more than {MAX_INT_BITS:,} bits")
            if run is not None:
                run.spend(bits // 100)
    return value


def shorten(text: str, length: int = 80) -> str:
    """Return at most ``length`` characters of a text, on one line, and nothing in it that a terminal would obey."""
    text = visible(" ".join(text[:2000].split()))
    return text if len(text) <= length else f"{text[: length - 1]}…"


def near(word: str, known: Iterable[Any]) -> str:
    """Say which of the known names or keys a missing one may stand for.

    Args:
        word: What was looked for.
        known: What there is; only texts of at most 64 characters are of use.
    """
    names = [name for name in islice(known, MOST) if isinstance(name, str) and len(name) <= 64]
    dashed = _dashed(word, names)
    if dashed:
        return f"A key with a dash is written in brackets: [{dashed!r}]."
    if word in names:  # a view may list a step before it has an output
        return "It has no value yet."
    close = near_words(word[:64], names, most=3)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    more = ", …" if len(names) > 8 else ""
    return f"There is: {', '.join(map(repr, names[:8]))}{more}." if names else "There is none at all."


def no_name(name: str, scope: Mapping[str, Any]) -> ExpressionError:
    """Return the error for a name that the scope does not hold: perhaps an id, or a part of one with a dash."""
    steps = scope.get("step_outputs")
    ids = list(islice(steps, MOST)) if isinstance(steps, Mapping) else []
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
