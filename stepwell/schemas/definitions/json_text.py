"""JSON as it is read strictly, wherever somebody has written it: a file, an option, a request.

Python's reader takes the last of two values of one key, and NaN, which is no JSON; so something would be lost without
a word. Here both are refused, with the place.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from stepwell.schemas.definitions.bounds import not_finite, place_of

_BOM: Final = "\ufeff"  # with which some editors begin a file


class JsonError(ValueError):
    """It is no JSON, or says something that cannot be kept.

    Args:
        what: What is wrong.
        place: Where within the value; empty for the whole of it.
    """

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(f"{place}: {what}" if place else what)
        self.what = what
        self.place = place


class JsonSyntaxError(JsonError):
    """It is no JSON."""


def without_bom(text: str) -> str:
    """A text without the mark with which some editors begin a file."""
    return text.removeprefix(_BOM)


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        JsonError: It is no JSON, has a key twice, or holds NaN, infinity or a number that would become it.
    """
    return _held(parse_json(text))


def _held(data: Any) -> Any:
    place = not_finite(data)
    if place is not None:
        raise JsonError("is NaN, infinity or a number too large for 64 bits, which JSON cannot hold", place)
    return data


def parse_json(text: str, *, number: Callable[[str], Any] | None = None) -> Any:
    """As ``read_json``, without a look at the numbers.

    Args:
        number: Makes something else of the text of a number.

    Raises:
        JsonSyntaxError: It is no JSON.
        JsonError: It has a key twice, or is nested too deeply to tell.
    """
    text = without_bom(text)
    try:
        return _loads(text, _unique, number, number)
    except _GivenTwiceError:
        # Once more, to its end: what comes behind the key may be no JSON at all.
        raise _given_twice(_loads(text, _Pairs, str, None)) from None


def _loads(
    text: str,
    make: Callable[[list[tuple[str, Any]]], Any],
    whole: Callable[[str], Any] | None,
    other: Callable[[str], Any] | None,
) -> Any:
    try:
        return json.loads(text, object_pairs_hook=make, parse_int=whole, parse_float=other, parse_constant=other)
    except RecursionError:
        raise JsonError("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise JsonSyntaxError(f"is no JSON: {error}") from None
    except ValueError:  # Python's own limit
        raise JsonSyntaxError(f"has a number of more than {sys.get_int_max_str_digits():,} digits") from None


class _GivenTwiceError(Exception):
    """An object has a key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _GivenTwiceError
    return made


class _Pairs(list[tuple[str, Any]]):
    """An object with every key that was written."""


def _given_twice(data: Any) -> JsonError:
    """Which key is given twice, and where."""
    left: list[tuple[Any, Any, Any]] = [(data, None, None)]
    while left:
        entry = left.pop()
        value = entry[0]
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, _ in value:
                if key in seen:
                    return JsonError(f'"{key}" is given twice', place_of(entry))
                seen.add(key)
            left.extend((part, entry, key) for key, part in reversed(value))
        elif isinstance(value, list):
            left.extend((part, entry, index) for index, part in reversed(list(enumerate(value))))
    return JsonError("a key is given twice")


def value_of(text: str) -> Any:
    """What is written after ``NAME=``: JSON, or else the text itself.

    A word or a number that JSON has not, or that would become infinity or nothing (``NaN``, ``1e400``, a checksum
    such as ``83e2010``), is a text, too: so nothing is lost.

    Raises:
        JsonError: It is a list or an object which has a key twice, or holds what JSON cannot; or it is nested too
            deeply to tell.
    """
    try:
        value = parse_json(text)
    except JsonSyntaxError:
        return text
    if isinstance(value, float):
        small = value == 0 and re.search("[1-9]", text.lower().partition("e")[0])
        return text if small or not_finite(value) is not None else value
    return _held(value)
