"""Paths into JSON data, and data rewritten at a path without touching the original.

``customer.name`` is a key in a key, ``rows[].name`` the name in each row, ``rows[0]`` the first row, and
``['temp.max']`` a key that is no plain word. The empty path is the data itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Final, Literal

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind, shorten
from stepwell.errors import ExpressionError, LimitError
from stepwell.suggest import suggest

MAX_PATH: Final = 1_000  # characters; each of its parts takes a Python frame

_PART: Final = re.compile(r"(?P<key>[^.\[\]'\"]+)|\[(?P<index>\d{1,9})\]|\[(?P<each>)\]|\['(?P<quoted>[^']*)'\]")


class RuleError(ExpressionError):
    """A rule of a ``process`` step cannot be understood, or does not fit the data. Never retried by default."""


class RuleLimitError(RuleError, LimitError):
    """The rules of a ``process`` step take more work, or make more data, than there is for them."""

    def said(self, message: str, *, place: str = "", remedy: str = "") -> RuleLimitError:
        """The same error in other words."""
        return RuleLimitError(message, used=self.used, limit=self.limit, place=place, remedy=remedy)


class Mark(Enum):
    """What is no JSON value."""

    MISSING = "missing"
    EACH = "each"


MISSING: Final = Mark.MISSING
EACH: Final = Mark.EACH

Path = tuple[str | int | Literal[Mark.EACH], ...]
Change = Callable[[Any, str], Any]
"""Makes a new value of an old one and its place; ``MISSING`` stands for none, before and after."""

_ROW: Final = 3
"""Units of work for going a step along a path."""
ENTRY: Final = 64
"""Bytes of an entry that a mapping has besides those that were there; what it refers to is paid for elsewhere."""


def parse_path(text: str, place: str) -> Path:
    """Read a path.

    Args:
        text: Such as ``rows[].name``.
        place: Where it is written, for the error.

    Raises:
        RuleError: It is no path.
    """
    parts: list[str | int | Literal[Mark.EACH]] = []
    position = 0
    while position < len(text) <= MAX_PATH:
        dotted = text[position] == "."
        match = _PART.match(text, position + dotted)
        # Keys are parted by dots, the first has none before it, and brackets follow at once.
        if match is None or dotted != bool(parts and match["key"] is not None):
            break
        position = match.end()
        if match["index"] is not None:
            parts.append(int(match["index"]))
        elif match["each"] is not None:
            parts.append(EACH)
        else:
            parts.append(match["key"] if match["key"] is not None else match["quoted"])
    if position < len(text):
        raise RuleError(
            f"this is no path: {shorten(text, 60)}",
            place=place,
            remedy="A path looks like customer.name, rows[].name, rows[0] or ['key with.signs'].",
        )
    return tuple(parts)


def below(at: str, key: str | int) -> str:
    """The place of a part of the data."""
    if isinstance(key, int):
        return f"{at}[{key}]"
    return f"{at}.{key}" if at else key


def missing(holder: Any, key: str | int, at: str) -> RuleError:
    """The error for a part that the data does not have."""
    if isinstance(key, int):
        return RuleError(f"there is no [{key}], only {len(holder)} elements", place=at)
    return RuleError(f'there is no field "{shorten(key, 60)}"{suggest(key, holder)}', place=at)


def rows_of(value: Any, at: str) -> list[Any]:
    """Check that a value is a list.

    Raises:
        RuleError: It is not.
    """
    if isinstance(value, (list, tuple)):
        return list(value)
    raise RuleError(f"a list is needed here, not {kind(value)}", place=at)


def mapping_of(value: Any, at: str) -> Mapping[str, Any]:
    """Check that a value is a mapping.

    Raises:
        RuleError: It is not.
    """
    if isinstance(value, Mapping):
        return value
    hint = "Write [] after a list's name for each of its elements, as in rows[].name."
    raise RuleError(f"{kind(value)} has no fields", place=at, remedy=hint if isinstance(value, (list, tuple)) else "")


def walk(value: Any, path: Path, run: Meter, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is at a path, each with its place; ``MISSING`` where the data has nothing.

    Args:
        value: The data.
        path: Where.
        run: The meter that pays.
        at: The place of the data.

    Raises:
        RuleError: The data has another shape: a text where the path has a key.
    """
    for index, part in enumerate(path):
        run.spend(_ROW)
        if part is EACH:
            for number, row in enumerate(rows_of(value, at)):
                yield from walk(row, path[index + 1 :], run, below(at, number))
            return
        value = _child(value, part, at)
        at = below(at, part)
        if value is MISSING:
            break
    yield at, value


def read(value: Any, path: Path, run: Meter, at: str = "") -> Any:
    """Return what is at a path without ``[]``.

    Raises:
        RuleError: There is nothing.
    """
    run.spend(_ROW * len(path))
    for part in path:
        assert part is not EACH  # noqa: S101 - whoever calls this has seen to it
        child = _child(value, part, at)
        if child is MISSING:
            raise missing(value, part, at)
        value, at = child, below(at, part)
    return value


def rewrite(
    value: Any,
    path: Path,
    change: Change,
    run: Meter,
    *,
    absent: Literal["refuse", "create", "skip"] = "refuse",
    at: str = "",
) -> Any:
    """Return the data with what is at the path changed. What does not change is shared, not copied.

    Args:
        value: The data; it stays as it is.
        path: Where.
        change: What to make of each value there.
        run: The meter that pays.
        absent: What to do where the data has no such part: refuse it, create it (``change`` gets ``MISSING``), or
            leave it.

    Raises:
        RuleError: The data has no such part, or another shape.
    """
    run.spend(_ROW)
    if not path:
        return change(value, at)
    head, rest = path[0], path[1:]
    if head is EACH:
        changed = [
            rewrite(row, rest, change, run, absent=absent, at=below(at, number))
            for number, row in enumerate(rows_of(value, at))
        ]
        return [row for row in changed if row is not MISSING]
    if value is None and absent == "skip":
        return value
    if (value is None or value is MISSING) and absent == "create" and isinstance(head, str):
        value = {}
    child = _child(value, head, at)
    if child is MISSING:
        if absent == "skip":
            return value
        if absent == "refuse" or isinstance(head, int):
            raise missing(value, head, at)
    new = rewrite(child, rest, change, run, absent=absent, at=below(at, head))
    if new is child:
        return value
    run.spend(len(value) // 8)  # what is copied takes the place of what was there
    if child is MISSING:
        run.make(ENTRY)
    if isinstance(head, int):
        return [*value[:head], *([] if new is MISSING else [new]), *value[head + 1 :]]
    copy = dict(value)
    if new is MISSING:
        del copy[head]
    else:
        copy[head] = new
    return copy


def write(value: Any, path: Path, new: Any, run: Meter, at: str = "") -> Any:
    """Return the data with a value at a path without ``[]``; mappings that are not there are created.

    Raises:
        RuleError: The data has another shape.
    """
    return rewrite(value, path, lambda _, __: new, run, absent="create", at=at)


def _child(value: Any, part: str | int | Mark, at: str) -> Any:
    if isinstance(part, int):
        rows = rows_of(value, at)
        return rows[part] if part < len(rows) else MISSING
    return mapping_of(value, at).get(part, MISSING)  # type: ignore[arg-type]
