"""JSON Schemas: checked when a definition is, compiled once, and what does not fit told in words.

jsonschema takes 0.1 s to import, paid only where there is a schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepwell.core.values import kind, shorten
from stepwell.errors import ExpressionError

MOST_PROBLEMS: Final = 20  # told at once: who has more wants to see the first ones
_MESSAGE: Final = 200  # characters: messages quote the data


def compile_schema(schema: Any) -> Any:
    """A validator of a JSON Schema: of draft 2020-12, unless its ``$schema`` says otherwise.

    It never fetches what a schema refers to.

    Raises:
        ExpressionError: It is no schema; ``place`` is the path within it, such as ``.properties.a.type``.
    """
    if not isinstance(schema, Mapping):
        raise ExpressionError(f"a JSON Schema is a mapping, not {kind(schema)}")
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # noqa: PLC0415

    schema = dict(schema)
    try:
        validator_class = validator_for(schema, default=Draft202012Validator)
        validator_class.check_schema(schema)
    except SchemaError as error:
        raise ExpressionError(shorten(error.message, _MESSAGE), place=error.json_path[1:]) from None
    except Exception as error:  # the checker's own limits: nesting, a $schema that is no text
        raise ExpressionError(f"the schema cannot be checked: {type(error).__name__}") from None
    return validator_class(schema, registry=REGISTRY)


def misfits(validator: Any, data: Any, at: str = "") -> Iterator[str]:
    """Each thing in the data that does not fit, as ``place: message``.

    Args:
        validator: From ``compile_schema``.
        data: JSON data.
        at: Where the data is.

    Raises:
        ExpressionError: The schema refers to what is not in it, or cannot be applied.
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    try:
        for error in validator.iter_errors(data):
            place = f"{at}{error.json_path[1:]}".lstrip(".") or "the data"
            yield f"{place}: {shorten(error.message, _MESSAGE)}"
    except Unresolvable as error:
        message = f"the schema refers to what is not in it: {shorten(str(error), _MESSAGE)}"
        raise ExpressionError(message, remedy="Put it under $defs.") from None
    except Exception as error:  # a schema without end, a number beyond floats
        reason = shorten(f"{type(error).__name__}: {error}", _MESSAGE)
        raise ExpressionError(f"the schema cannot be applied: {reason}") from None
