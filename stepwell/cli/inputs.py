"""The input of a workflow, as the options of a verb say it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from stepwell.cli.exits import UsageError
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.json_text import JsonError, read_json, value_of
from stepwell.schemas.definitions.text import read_text

VALUE_REMEDY: Final = "A value is JSON, or else text; in JSON quotes it is text, whatever it looks like."
_INPUT_REMEDY: Final = "--input takes JSON, or @FILE for a file that holds it; a number in quotes is a text."


def parse_input(text: str | None, params: Iterable[str]) -> Any:
    """The input that the options say: ``--input`` JSON or @FILE, with ``--param`` K=V laid over it.

    Raises:
        UsageError: It is no JSON, or cannot be read.
    """
    data: Any = {}
    if text is not None:
        place = "--input"
        if text.startswith("@"):
            place = text[1:]
            text = _input_file(place)
        try:
            data = read_json(text)
        except JsonError as error:
            raise UsageError(error.what, place=_within(place, error.place), remedy=_INPUT_REMEDY) from None
    given: set[str] = set()
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise UsageError("is not of the form KEY=VALUE", place=f"--param {param}")
        if not isinstance(data, dict):
            raise UsageError("the input must be a mapping where --param is given", place="--input")
        if key in given:
            raise UsageError("is given twice", place=f"--param {key}", remedy="Leave one of them out.")
        given.add(key)
        try:
            data[key] = value_of(value)
        except JsonError as error:
            raise UsageError(error.what, place=_within(f"--param {key}", error.place), remedy=VALUE_REMEDY) from None
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        remedy = "A character beyond U+FFFF is two escapes, \\ud83d\\ude00; and the terminal has to speak UTF-8."
        raise UsageError("holds half of a character (a surrogate)", place="the input", remedy=remedy) from None
    return data


def _within(place: str, inner: str) -> str:
    return f"{place}: {inner}" if inner else place


def _input_file(place: str) -> str:
    """The text of the file that ``--input`` names, or of standard input for ``-``.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return sys.stdin.buffer.read().decode() if place == "-" else read_text(Path(place))
    except DefinitionError as error:
        raise UsageError(error.problems[0], place=place, remedy=_INPUT_REMEDY) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", place=place, remedy=_INPUT_REMEDY) from None
