"""What requests ask of many instances, from their query parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar.params import QueryParameter

from stepwell.errors import visible
from stepwell.projections.filters import LEAST_TEXT, FilterError
from stepwell.schemas.definitions.json_text import JsonError, value_of
from stepwell.server.http.problems import RefusedError
from stepwell.server.http.reading import FIELDS

_MOST_FIELDS: Final = 20  # as many as are looked up of an input or output
_LONGEST: Final = 1_000  # characters of a text to look for
_TIME: Final = (
    r"^([0-9]{1,15}|[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[-+ ][0-9]{2}:?[0-9]{2})?)?)$"
)
_MILLISECONDS: Final = re.compile("[0-9]{1,15}")
_OFFSET: Final = re.compile(r" (\d\d:?\d\d)\Z")  # whose plus a form's encoding has made a space


def time_parameter(description: str) -> Any:
    """A parameter that is a time."""
    return QueryParameter(
        schema_extra={"pattern": _TIME},
        description=f"{description} ISO 8601, in UTC where it names no zone, or milliseconds since 1970.",
    )


def text_parameter(description: str) -> Any:
    """A parameter that is a text."""
    return QueryParameter(max_length=_LONGEST, description=description)


def part_parameter(description: str) -> Any:
    """A parameter that is looked for within texts: without NUL, at which SQLite takes a text to end."""
    return QueryParameter(min_length=LEAST_TEXT, max_length=1_000, pattern="^[^\\x00]*$", description=description)


Time = str | None
Text = str | None
Limit = Annotated[int, QueryParameter(ge=1, le=1_000, description="How many at most.")]
FIELDS_PARAMETER: Final[dict[str, Any]] = {
    "name": "fields",
    "in": "query",
    "style": "form",
    "explode": True,
    "example": {},  # or Swagger UI makes one up, which names no field
    "description": "Values of fields of the input and output: `input.customer.id=17&output.ok=true`. Each is JSON, "
    "or else a text; up to three keys deep.",
    "schema": {
        "type": "object",
        "example": {},
        "maxProperties": _MOST_FIELDS,
        "propertyNames": {"pattern": r"^(input|output)\.[A-Za-z0-9_]{1,50}(\.[A-Za-z0-9_]{1,50}){0,2}$"},
        "additionalProperties": {"type": "string"},
    },
}
"""How a description says it: an object whose keys are parameters of their own."""


def time_of(text: str | None, place: str) -> int | None:
    """A time in milliseconds since 1970.

    Raises:
        FilterError: It is none.
    """
    if text is None:
        return None
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(_OFFSET.sub(r"+\1", text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise FilterError(
            f"is no time: {visible(text[:60])!r}",
            place=place,
            remedy="Such as 2026-11-21, 2026-11-21T08:30:00Z, or milliseconds since 1970.",
        ) from None


def fields_of(parameters: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """The fields that parameters name, of ``input`` and of ``output``.

    Raises:
        RefusedError: 400: too many, one twice, or one that has no name.
    """
    found: dict[str, dict[str, Any]] = {"input": {}, "output": {}}
    for name, text in parameters:
        if not name.startswith(FIELDS):
            continue
        root, _, field = name.partition(".")
        if not field:
            raise _wrong(name, "names no field")
        if field in found[root]:
            raise _wrong(name, "is given more than once")
        found[root][field] = _value(name, text)
    if sum(map(len, found.values())) > _MOST_FIELDS:
        raise _wrong("input", f"at most {_MOST_FIELDS} fields are looked for")
    return found


def _value(name: str, text: str) -> Any:
    try:
        return value_of(text)
    except JsonError as error:
        raise _wrong(name, visible(str(error))) from None


def _wrong(name: str, message: str) -> RefusedError:
    return RefusedError(
        HTTPStatus.BAD_REQUEST, message, place=visible(name[:100]), remedy="As in `input.customer.id=17`."
    )
