"""JSON Schemas: checked when a definition is, compiled once, and what does not fit told in words.

jsonschema takes 0.1 s to import, paid only where there is a schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.schema_bounds import BoundedValidator, bounded_validator
from stepwell.core.expressions.values import kind, shorten
from stepwell.errors import ExpressionError

MOST_PROBLEMS: Final = 20  # told at once: who has more wants to see the first ones
_MESSAGE: Final = 200  # characters: messages quote the data


def compile_schema(schema: Any, meter: Meter | None = None) -> BoundedValidator:
    """A validator of a JSON Schema: of draft 2020-12, unless its ``$schema`` says otherwise.

    It never fetches what a schema refers to, and its work is bounded: see ``schema_bounds``.

    Args:
        schema: A mapping.
        meter: As for ``bounded_validator``.

    Raises:
        ExpressionError: It is no schema; ``place`` is the path within it, such as ``.properties.a.type``.
    """
    if not isinstance(schema, Mapping):
        raise ExpressionError(f"a JSON Schema is a mapping, not {kind(schema)}")
    return bounded_validator(dict(schema), meter)


def misfits(validator: BoundedValidator, data: Any, at: str = "", meter: Meter | None = None) -> Iterator[str]:
    """Each thing in the data that does not fit, as ``place: message``.

    Args:
        validator: From ``compile_schema``.
        data: JSON data.
        at: Where the data is.
        meter: As for ``BoundedValidator.iter_errors``.

    Raises:
        ExpressionError: The schema refers to what is not in it, or cannot be applied.
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    try:
        for error in validator.iter_errors(data, meter):
            place = f"{at}{error.json_path[1:]}".lstrip(".") or "the data"
            yield f"{place}: {shorten(error.message, _MESSAGE)}"
    except Unresolvable as error:
        message = f"the schema refers to what is not in it: {shorten(str(error), _MESSAGE)}"
        raise ExpressionError(message, remedy="Put it under $defs.") from None
    except ExpressionError:
        raise
    except Exception as error:  # a schema without end, a number beyond floats
        reason = shorten(f"{type(error).__name__}: {error}", _MESSAGE)
        raise ExpressionError(f"the schema cannot be applied: {reason}") from None


def worst(validator: BoundedValidator, data: Any) -> str:
    """What is most to the point of what does not fit, as ``place: message`` with a place such as ``.rows[2]``.

    Returns:
        Nothing where all fits.

    Raises:
        ExpressionError: As ``misfits``.
    """
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    try:
        best: Any = best_match(validator.iter_errors(data))
    except ExpressionError:
        raise
    except Exception as error:  # a schema without end, a number beyond floats
        raise ExpressionError(shorten(f"{error}", _MESSAGE) or type(error).__name__) from None
    return f"{best.json_path[1:]}: {shorten(best.message, _MESSAGE)}" if best else ""
