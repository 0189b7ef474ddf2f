"""JSON as it is read strictly, wherever somebody has written it: a file, an option, a request.

Python's reader takes the last of two values of one key, and NaN, which is no JSON; so something would be lost without
a word. Here both are refused, and so is what other readers could not hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from stepwell.schemas.bounds import wrong_values

_BOM: Final = "\ufeff"  # with which some editors begin a file


class JsonError(ValueError):
    """It is no JSON, or says something that cannot be kept."""


class JsonSyntaxError(JsonError):
    """It is no JSON."""


class GivenTwiceError(JsonError):
    """An object has a key twice."""


def without_bom(text: str) -> str:
    """A text without the mark with which some editors begin a file."""
    return text.removeprefix(_BOM)


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        JsonError: It is no JSON, has a key twice, or holds what cannot be kept: NaN, infinity, a number beyond
            64 bits, deep nesting. The message names the place where there is one.
    """
    data = parse_json(text)
    wrong = wrong_values(data)
    if wrong:
        raise JsonError(wrong)
    return data


def parse_json(text: str, *, number: Callable[[str], Any] | None = None) -> Any:
    """As ``read_json``, without a look at the values.

    Args:
        number: Makes something else of the text of a number.

    Raises:
        JsonError: It is no JSON, or has a key twice.
    """
    try:
        return json.loads(without_bom(text), object_pairs_hook=_unique, parse_float=number, parse_int=number)
    except GivenTwiceError:
        raise
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise JsonSyntaxError(f"is no JSON: {what}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise GivenTwiceError(f'"{twice}" is given twice')
    return made


def value_of(text: str) -> Any:
    """What is written after ``NAME=``: JSON, or else the text itself.

    A word or number that JSON has not, or that a number of 64 bits could not hold (``NaN``, ``1e400``, a checksum
    such as ``83e2010``), is a text, too: nothing is lost.

    Raises:
        JsonError: It begins as a list or an object does and is JSON, but holds what cannot be kept; or it is nested
            too deeply to tell.
    """
    begins = text.lstrip()[:1]
    if not begins or begins in "[{":
        try:
            return read_json(text)
        except JsonSyntaxError as error:
            if "too deeply" in str(error):
                raise JsonError("is nested too deeply") from None
            return text
    try:
        value = read_json(text)
    except JsonError:
        return text
    too_small = isinstance(value, float) and value == 0 and re.search("[1-9]", text.lower().partition("e")[0])
    return text if too_small else value
